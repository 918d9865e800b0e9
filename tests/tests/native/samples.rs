//! Messages that the tests of the server send.

use shared::protocol::message::{
    ClientMessage, ExampleHeader, Predict, Split, TrainSettings, Upload,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use tests::TestServer;
use tests::assets::ModelDirectory;

/// Width of the model `bert-shaped`.
pub const D_MODEL: u32 = 32;

/// A daemon for the model `bert-shaped`.
pub async fn server() -> TestServer {
    server_with(tests::Options::default()).await
}

pub async fn server_with(options: tests::Options) -> TestServer {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    TestServer::start_with(&model.path(), options)
        .await
        .unwrap()
}

/// Holds that the daemon still takes new sessions.
pub async fn assert_serves(server: &TestServer) {
    let hello = server.hello().await.unwrap();
    let (mut client, _) = tests::RawClient::welcomed(server.addr, hello)
        .await
        .unwrap();
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
}

/// Waits until the daemon takes new sessions: a session that ends gives its slot back a little after
/// its client has seen the end.
pub async fn serves_soon(server: &TestServer) {
    let hello = server.hello().await.unwrap();
    for _ in 0..200 {
        if tests::RawClient::welcomed(server.addr, hello.clone())
            .await
            .is_ok()
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the daemon takes no session");
}

pub fn tensor(rows: u32) -> TensorDescriptor {
    TensorDescriptor {
        dtype: ActivationDtype::F32,
        rows,
        columns: D_MODEL,
    }
}

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
