//! Messages as a client of the model `bert-shaped` sends them.

use shared::protocol::message::{
    ClientMessage, ExampleHeader, Predict, Split, TrainSettings, Upload,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

/// Width of the model `bert-shaped`.
pub const D_MODEL: u32 = 32;

/// A tensor of f32 as wide as the model.
pub fn tensor(rows: u32) -> TensorDescriptor {
    TensorDescriptor {
        dtype: ActivationDtype::F32,
        rows,
        columns: D_MODEL,
    }
}

/// Numbers as the payload of an f32 tensor.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Examples of `rows` rows each with ids from `first_id`; class and split alternate, and every
/// number of an example of class 1 is the opposite of one of class 0.
pub fn upload(first_id: u32, examples: u32, rows: u16) -> (Upload, Vec<u8>) {
    let header = |place: u32| ExampleHeader {
        example_id: first_id + place,
        split: if place % 4 < 2 {
            Split::Train
        } else {
            Split::Validation
        },
        label: Some(place % 2),
        seq_length: rows,
    };
    let headers: Vec<_> = (0..examples).map(header).collect();
    let mut values = Vec::new();
    for header in &headers {
        let sign = if header.label == Some(0) { 1.0 } else { -1.0 };
        let numbers = u32::from(rows) * D_MODEL;
        values
            .extend((0..numbers).map(|i| sign * ((i * 7 + header.example_id) % 11) as f32 / 11.0));
    }
    let activations = tensor(examples * u32::from(rows));
    (
        Upload {
            examples: headers,
            activations,
        },
        f32_bytes(&values),
    )
}

/// Examples to predict, as in [`upload`].
pub fn predict(request_id: u32, examples: u32, rows: u16) -> (ClientMessage, Vec<u8>) {
    let (upload, payload) = upload(0, examples, rows);
    let seq_lengths = upload
        .examples
        .iter()
        .map(|example| example.seq_length)
        .collect();
    let predict = Predict {
        request_id,
        seq_lengths,
        activations: upload.activations,
    };
    (ClientMessage::Predict(predict), payload)
}

/// Settings of a short run.
pub fn train(epochs: u32) -> TrainSettings {
    TrainSettings {
        epochs,
        batch_size: 4,
        learning_rate: 0.01,
        warmup_share: 0.1,
        weight_decay: 0.0,
        gradient_norm_max: 1.0,
        class_weights: vec![],
        patience: 0,
        validations_per_epoch: 1,
    }
}
