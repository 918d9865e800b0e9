//! One value of every message: those that docs/protocol.md writes out in hex.

use shared::protocol::limits::Limits;
use shared::protocol::message::{
    Acknowledged, AdapterInUse, AdapterSettings, AdapterTarget, Batch, BatchActivations,
    BottomTraining, ClientMessage, CutGradient, DoneReason, ExampleHeader, Hello, Judgement,
    LabelPlace, Pooled, PooledGradient, PooledPrediction, Predict, Prediction, Received,
    RefusalCode, Refused, Resume, ServerMessage, Split, StepReport, TrainDone, TrainSettings,
    Upload, UseAdapter, ValidationReport, Verdict, Welcome,
};
use shared::protocol::resume::UNCOUNTED;
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

/// A message of the client as docs/protocol.md writes it out.
#[derive(Debug, Clone)]
pub struct ClientSample {
    /// Its name in the document.
    pub name: &'static str,
    /// Its place among the samples, from 1.
    pub sequence: u64,
    /// The message.
    pub message: ClientMessage,
    /// Empty unless the message has a tensor.
    pub values: Vec<f32>,
}

impl ClientSample {
    /// The payload, by the tensor code.
    pub fn payload(&self) -> Vec<u8> {
        encoded(activations(&self.message), &self.values)
    }
}

/// A message of the server as docs/protocol.md writes it out.
#[derive(Debug, Clone)]
pub struct ServerSample {
    /// Its name in the document.
    pub name: &'static str,
    /// Its place among the samples, from 1.
    pub sequence: u64,
    /// The message.
    pub message: ServerMessage,
    /// Empty unless the message has a tensor.
    pub values: Vec<f32>,
}

impl ServerSample {
    /// As of `ClientSample`.
    pub fn payload(&self) -> Vec<u8> {
        encoded(shown(&self.message), &self.values)
    }
}

fn encoded(tensor: Option<TensorDescriptor>, values: &[f32]) -> Vec<u8> {
    let Some(tensor) = tensor else {
        return Vec::new();
    };
    let columns = tensor.columns as usize;
    let (encoded, payload) = TensorDescriptor::encode_rows(tensor.dtype, columns, values)
        .expect("the samples are finite and fill whole rows");
    assert_eq!(encoded, tensor);
    payload
}

/// The tensor of a client's message, if it carries one.
pub fn activations(message: &ClientMessage) -> Option<TensorDescriptor> {
    match message {
        ClientMessage::Upload(upload) => Some(upload.activations),
        ClientMessage::Predict(predict) => Some(predict.activations),
        ClientMessage::BatchActivations(answer) => Some(answer.activations),
        ClientMessage::PooledGradient(answer) => Some(answer.gradient),
        _ => None,
    }
}

/// The tensor of a server's message, if it carries one.
pub fn shown(message: &ServerMessage) -> Option<TensorDescriptor> {
    match message {
        ServerMessage::Pooled(pooled) => Some(pooled.pooled),
        ServerMessage::CutGradient(gradient) => Some(gradient.gradient),
        ServerMessage::PooledPrediction(prediction) => Some(prediction.pooled),
        _ => None,
    }
}

/// A new variant does not compile until it has a name here, and then a block in the document.
fn server_name(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Welcome(_) => "Welcome",
        ServerMessage::Acknowledged(_) => "Acknowledged",
        ServerMessage::TrainStarted { .. } => "TrainStarted",
        ServerMessage::Step(_) => "Step",
        ServerMessage::Validation(_) => "Validation",
        ServerMessage::Paused => "Paused",
        ServerMessage::Continued => "Continued",
        ServerMessage::TrainDone(_) => "TrainDone",
        ServerMessage::Prediction(_) => "Prediction",
        ServerMessage::Refused(_) => "Refused",
        ServerMessage::Batch(_) => "Batch",
        ServerMessage::Pooled(_) => "Pooled",
        ServerMessage::CutGradient(_) => "CutGradient",
        ServerMessage::PooledPrediction(_) => "PooledPrediction",
        ServerMessage::Resumed(_) => "Resumed",
        ServerMessage::Received(_) => "Received",
        ServerMessage::AdapterInUse(_) => "AdapterInUse",
    }
}

/// 0, 1, 2 and so on.
fn counted<const N: usize>() -> [u8; N] {
    std::array::from_fn(|at| at as u8)
}

/// One of every message of a client.
pub fn client() -> Vec<ClientSample> {
    let messages = [
        (ClientMessage::Hello(hello()), vec![]),
        (
            ClientMessage::Upload(upload()),
            vec![1.0, -2.0, 0.5, 0.0, 3.0, -1.0],
        ),
        (ClientMessage::Train(train()), vec![]),
        (ClientMessage::Pause, vec![]),
        (ClientMessage::Continue, vec![]),
        (ClientMessage::Cancel, vec![]),
        (ClientMessage::Predict(predict()), vec![63.5, -2.0]),
        (ClientMessage::Goodbye, vec![]),
        (
            ClientMessage::BatchActivations(batch_activations()),
            vec![1.0, -2.0, 0.5, 0.25, 3.0, -1.0],
        ),
        (
            ClientMessage::PooledGradient(pooled_gradient()),
            vec![0.25, -0.25, -0.5, 0.5],
        ),
        (
            ClientMessage::Verdict(Verdict {
                step: 2,
                judgement: Judgement::Best,
            }),
            vec![],
        ),
        (
            ClientMessage::Resume(Resume {
                session_token: counted(),
                received: 5,
            }),
            vec![],
        ),
        (ClientMessage::Received(Received { received: 16 }), vec![]),
        (
            ClientMessage::UseAdapter(UseAdapter {
                adapter: Some(counted()),
            }),
            vec![],
        ),
    ];
    let samples = (1..)
        .zip(messages)
        .map(|(sequence, (message, values))| ClientSample {
            name: message.name(),
            sequence: if message.is_counted() {
                sequence
            } else {
                UNCOUNTED
            },
            message,
            values,
        });
    samples.collect()
}

/// One of every message of the server.
pub fn server() -> Vec<ServerSample> {
    let step = StepReport {
        step: 1,
        epoch: 1,
        loss: Some(0.6875),
        learning_rate: 0.001,
        step_millis: 12,
    };
    let done = TrainDone {
        steps: 6,
        best_step: 2,
        reason: DoneReason::StoppedEarly,
    };
    let refused = Refused {
        sequence: Some(9),
        code: RefusalCode::WrongShape,
        sentence: "an activation has 2 columns; the tensor has 3".into(),
        closes: false,
    };
    let messages = [
        ServerMessage::Welcome(welcome()),
        ServerMessage::Acknowledged(Acknowledged {
            sequence: 2,
            examples_stored: 2,
        }),
        ServerMessage::TrainStarted { steps_total: 6 },
        ServerMessage::Step(step),
        ServerMessage::Validation(validation()),
        ServerMessage::Paused,
        ServerMessage::Continued,
        ServerMessage::TrainDone(done),
        ServerMessage::Prediction(Prediction {
            request_id: 1,
            probabilities: vec![0.25, 0.75],
        }),
        ServerMessage::Refused(refused),
        ServerMessage::Batch(Batch {
            step: 1,
            split: Split::Train,
            example_ids: vec![7, 9],
        }),
        ServerMessage::Pooled(pooled()),
        ServerMessage::CutGradient(cut_gradient()),
        ServerMessage::PooledPrediction(PooledPrediction {
            request_id: 1,
            pooled: tensor(ActivationDtype::F32, 1),
        }),
        ServerMessage::Resumed(Received { received: 4 }),
        ServerMessage::Received(Received { received: 16 }),
        ServerMessage::AdapterInUse(AdapterInUse { adapter: counted() }),
    ];
    let at_the_door = ServerMessage::Refused(Refused {
        sequence: None,
        code: RefusalCode::WrongVersion,
        sentence: "expected protocol version 1; got 2".into(),
        closes: true,
    });
    let sample = |name, sequence, message: ServerMessage| {
        let rows = shown(&message).map_or(0, |tensor| tensor.rows);
        // 0.5, -0.5, 1.0, -1.0 and so on.
        let values = (1..=rows).flat_map(|row| [row as f32 / 2.0, row as f32 / -2.0]);
        ServerSample {
            name,
            sequence,
            values: values.collect(),
            message,
        }
    };
    let named = (1..).zip(messages).map(|(at, message)| {
        let sequence = if message.is_counted() { at } else { UNCOUNTED };
        sample(server_name(&message), sequence, message)
    });
    let door = sample("Refused-at-the-door", 1, at_the_door);
    named.chain([door]).collect()
}

fn tensor(dtype: ActivationDtype, rows: u32) -> TensorDescriptor {
    TensorDescriptor {
        dtype,
        rows,
        columns: 2,
    }
}

fn batch_activations() -> BatchActivations {
    BatchActivations {
        step: 1,
        seq_lengths: vec![1, 2],
        activations: tensor(ActivationDtype::F16, 3),
        gradient_square: None,
    }
}

fn pooled() -> Pooled {
    Pooled {
        step: 1,
        split: Split::Train,
        example_ids: vec![7, 9],
        pooled: tensor(ActivationDtype::F32, 2),
        gradient_square: None,
    }
}

fn pooled_gradient() -> PooledGradient {
    PooledGradient {
        step: 1,
        gradient: tensor(ActivationDtype::F32, 2),
        gradient_square: Some(0.5),
    }
}

/// Numbers of the payload are multiplied by 0.25.
fn cut_gradient() -> CutGradient {
    CutGradient {
        step: 1,
        gradient: tensor(ActivationDtype::F16, 3),
        scale: 0.25,
        gradient_square: Some(2.0),
    }
}

fn hello() -> Hello {
    Hello {
        protocol_version: 1,
        model_id: "tiny".into(),
        bottom_sha256: counted(),
        cut: 1,
        n_classes: 2,
        adapter: AdapterSettings {
            rank: 8,
            alpha: 16.0,
            dropout: 0.5,
            targets: vec![AdapterTarget::Query, AdapterTarget::Value],
        },
        labels: LabelPlace::Server,
        bottom: BottomTraining::Lora,
    }
}

fn upload() -> Upload {
    let first = ExampleHeader {
        example_id: 7,
        split: Split::Train,
        label: Some(0),
        seq_length: 1,
    };
    let second = ExampleHeader {
        example_id: 8,
        split: Split::Validation,
        label: None,
        seq_length: 2,
    };
    Upload {
        examples: vec![first, second],
        activations: TensorDescriptor {
            dtype: ActivationDtype::F16,
            rows: 3,
            columns: 2,
        },
    }
}

fn train() -> TrainSettings {
    TrainSettings {
        epochs: 3,
        batch_size: 2,
        learning_rate: 0.001,
        warmup_share: 0.0625,
        weight_decay: 0.01,
        gradient_norm_max: 1.0,
        class_weights: vec![1.0, 1.5],
        patience: 2,
        validations_per_epoch: 1,
    }
}

fn predict() -> Predict {
    let activations = TensorDescriptor {
        dtype: ActivationDtype::Int8,
        rows: 1,
        columns: 2,
    };
    Predict {
        request_id: 1,
        seq_lengths: vec![1],
        activations,
    }
}

fn welcome() -> Welcome {
    Welcome {
        protocol_version: 1,
        session_token: counted(),
        model_id: "tiny".into(),
        bottom_sha256: counted(),
        cut: 1,
        d_model: 128,
        limits: Limits::default(),
        device: "cpu".into(),
        trains_dense: true,
    }
}

/// 6 of 8 right, three of four in each class: accuracy and both F1 are 0.75.
fn validation() -> ValidationReport {
    ValidationReport {
        step: 2,
        loss: 0.5,
        accuracy: 0.75,
        macro_f1: 0.75,
        confusion: vec![3, 1, 1, 3],
        best: true,
    }
}
