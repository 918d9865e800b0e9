//! The client's library in runs of all four combinations, against a real daemon; and what of a label
//! is in what it sends.

use std::cell::Cell;
use std::fs;
use std::rc::Rc;

use burn::tensor::Device;
use client_wasm::error::ClientError;
use client_wasm::events::Event;
use client_wasm::job::{Command, Job, Labelled, Plan, Traffic};
use client_wasm::options::{Bottom, LabelsAt, TrainOptions, UploadDtype};
use client_wasm::pipeline::{Pipeline, TextPair};
use client_wasm::release::ReleaseKey;
use client_wasm::transport::Transport;
use client_wasm::transport::memory::{MemoryTransport, pair};
use futures_channel::mpsc::unbounded;
use futures_util::future::join;
use shared::protocol::codec::{decode_client, encode_server};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    Acknowledged, AdapterSettings, AdapterTarget, Batch, BottomTraining, ClientMessage,
    CutGradient, DoneReason, Hello, LabelPlace, PROTOCOL_VERSION, Pooled, ServerMessage, Split,
    Welcome,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use shared::text::{RawText, Tokenizer};
use tests::assets::ModelDirectory;
use tests::reference::Reference;

use crate::pipeline::{Person, TRAIN_STEPS_AN_EPOCH, assert_finished, two_epochs};
use crate::samples::server;

const COMBINATIONS: [(LabelsAt, Bottom); 4] = [
    (LabelsAt::Server, Bottom::Frozen),
    (LabelsAt::Client, Bottom::Frozen),
    (LabelsAt::Server, Bottom::Lora),
    (LabelsAt::Client, Bottom::Lora),
];

#[tokio::test]
async fn every_combination_trains_measures_predicts_and_trains_again() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    for (connections, (labels, bottom)) in (1..).zip(COMBINATIONS) {
        let options = TrainOptions {
            labels,
            bottom,
            ..two_epochs()
        };
        for run in 0..2 {
            let (mut steps, mut validations, mut released) = (0, 0, 0);
            let done = person
                .train(&options, |event| match event {
                    Event::Progress { .. } => released += 1,
                    Event::Step { step, loss, .. } => {
                        steps += 1;
                        assert_eq!(step, steps);
                        assert!(loss.is_finite() && loss > 0.0);
                    }
                    Event::Validation { confusion, .. } => {
                        assert_eq!(confusion.iter().sum::<u32>(), 4);
                        validations += 1;
                    }
                    _ => {}
                })
                .await;
            assert_finished(done);
            assert_eq!((steps, validations), (2 * TRAIN_STEPS_AN_EPOCH, 2));
            // The second run uses what the first has released.
            assert_eq!(released > 0, run == 0, "{labels:?}, {bottom:?}");
            assert_eq!(person.connections.get(), connections);
            person.assert_predicts().await;
        }
    }
    Box::pin(person.client.goodbye()).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn clear_text_is_learned_in_every_combination() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("none").await;
    for (labels, bottom) in COMBINATIONS {
        let options = TrainOptions {
            epochs: 10,
            learning_rate: 1e-2,
            labels,
            bottom,
            dtype: UploadDtype::F32,
            ..two_epochs()
        };
        let mut losses = Vec::new();
        let done = person
            .train(&options, |event| {
                if let Event::Step { loss, .. } = event {
                    losses.push(loss);
                }
            })
            .await;
        assert_eq!(done.unwrap().reason, DoneReason::Finished);
        let epoch = TRAIN_STEPS_AN_EPOCH as usize;
        let (first, last) = (&losses[..epoch], &losses[losses.len() - epoch..]);
        let [first, last] = [first, last].map(|losses| losses.iter().sum::<f32>());
        assert!(
            last < 0.8 * first,
            "{labels:?}, {bottom:?}: {first} to {last}"
        );
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_number_format_carries_an_exchange() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    for dtype in [UploadDtype::F32, UploadDtype::F16, UploadDtype::Int8] {
        let options = TrainOptions {
            dtype,
            labels: LabelsAt::Client,
            bottom: Bottom::Lora,
            ..two_epochs()
        };
        assert_finished(person.train(&options, |_| {}).await);
        person.assert_predicts().await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn noise_on_the_gradients_of_labels_trains() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    let options = TrainOptions {
        labels: LabelsAt::Client,
        label_noise: 2.0,
        ..two_epochs()
    };
    assert_finished(person.train(&options, |_| {}).await);
    person.assert_predicts().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_together_is_refused_before_anything_is_sent() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("vector").await;
    let lora = TrainOptions {
        bottom: Bottom::Lora,
        ..two_epochs()
    };
    let refused = person.train(&lora, |_| {}).await;
    assert!(matches!(refused, Err(ClientError::RepeatedRelease)));
    person.protect("token").await;
    for label_noise in [1.0, -1.0, f64::NAN, 1e9] {
        let noisy = TrainOptions {
            label_noise,
            ..two_epochs()
        };
        let refused = person.train(&noisy, |_| {}).await;
        assert!(
            matches!(refused, Err(ClientError::Option { .. })),
            "{label_noise}"
        );
    }
    assert_eq!(person.connections.get(), 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_exchange_is_held_continued_and_cancelled() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    for &(labels, bottom) in &COMBINATIONS[1..] {
        let options = TrainOptions {
            epochs: 500,
            labels,
            bottom,
            ..two_epochs()
        };
        let sender = person.sender.clone();
        let say = |command| sender.unbounded_send(command).unwrap();
        let (mut paused, mut continued) = (false, false);
        let done = person
            .train(&options, |event| match event {
                Event::Step { step: 2, .. } => say(Command::Pause),
                Event::Paused => {
                    paused = true;
                    say(Command::Resume);
                }
                Event::Continued => continued = true,
                Event::Validation { step, .. } if step == TRAIN_STEPS_AN_EPOCH => {
                    say(Command::Cancel);
                }
                _ => {}
            })
            .await
            .unwrap();
        assert!(paused && continued, "{labels:?}, {bottom:?}");
        assert_eq!(done.reason, DoneReason::Cancelled);
        assert!(done.steps >= TRAIN_STEPS_AN_EPOCH, "{}", done.steps);
        person.assert_predicts().await;
    }
    server.stop().await.unwrap();
}

/// A session of the client's library that has uploaded four examples, all to train on.
async fn uploaded(
    transport: MemoryTransport,
    place: LabelPlace,
    bottom: BottomTraining,
    labels: [u32; 4],
) -> (Job<MemoryTransport>, Pipeline) {
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        model_id: "m".to_owned(),
        bottom_sha256: [1; 32],
        cut: 1,
        n_classes: 2,
        adapter: AdapterSettings {
            rank: 2,
            alpha: 4.0,
            dropout: 0.0,
            targets: vec![AdapterTarget::Query],
        },
        labels: place,
        bottom,
    };
    let traffic = Rc::new(Cell::new(Traffic::default()));
    let opened = Job::open(transport, hello, ActivationDtype::F32, traffic);
    let mut job = opened.await.unwrap();
    let texts = [
        "word7 word8",
        "word9",
        "word10 word11 word12",
        "word13 word14",
    ];
    let texts = texts.map(|text| RawText::new(text.to_owned()));
    let examples: Vec<_> = texts
        .iter()
        .zip(labels)
        .map(|(text, label)| Labelled {
            text: TextPair {
                text,
                pair: None,
                class: None,
            },
            split: Split::Train,
            label,
        })
        .collect();
    let (_sender, mut commands) = unbounded();
    let pipeline = pipeline().await;
    let upload = job.upload(&pipeline, &examples, &mut commands, |_| {});
    upload.await.unwrap();
    (job, pipeline)
}

/// Every frame that a session sends until it has uploaded.
async fn frames(place: LabelPlace, bottom: BottomTraining, labels: [u32; 4]) -> Vec<Vec<u8>> {
    let (mine, theirs) = pair();
    let client = async {
        let (job, _) = uploaded(mine, place, bottom, labels).await;
        job.goodbye().await;
    };
    join(client, answers(theirs, &[])).await.1
}

async fn pipeline() -> Pipeline {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    let tokenizer = fs::read(model.path().join("tokenizer.json")).unwrap();
    let tokenizer = Tokenizer::from_json(&tokenizer, 32).unwrap();
    let bottom = Reference::open("bert-shaped", None, Device::flex()).bottom(1);
    let key = ReleaseKey::from_bytes([3; 32]);
    Pipeline::new(tokenizer, bottom, key).await.unwrap()
}

/// Welcomes and acknowledges, answers `Train` with `run`, and leaves after any other message; gives
/// what came.
async fn answers(mut transport: MemoryTransport, run: &[(ServerMessage, Vec<u8>)]) -> Vec<Vec<u8>> {
    let (mut came, mut sequence) = (Vec::new(), 0);
    while let Ok(frame) = transport.receive().await {
        let read = decode_client(&frame, &Limits::default()).unwrap();
        let alone = |message| vec![(message, Vec::new())];
        let answer = match read.message {
            ClientMessage::Hello(hello) => alone(ServerMessage::Welcome(Welcome {
                protocol_version: PROTOCOL_VERSION,
                session_token: [0; 16],
                model_id: hello.model_id,
                bottom_sha256: hello.bottom_sha256,
                cut: hello.cut,
                d_model: 32,
                limits: Limits::default(),
                device: "cpu".to_owned(),
                trains_dense: false,
            })),
            ClientMessage::Upload(_) => alone(ServerMessage::Acknowledged(Acknowledged {
                sequence: read.sequence,
                examples_stored: 4,
            })),
            ClientMessage::Train(_) => run.to_vec(),
            _ => Vec::new(),
        };
        came.push(frame);
        if answer.is_empty() {
            return came;
        }
        for (message, payload) in answer {
            sequence += 1;
            let frame = encode_server(sequence, &message, &payload).unwrap();
            // A client that has heard enough is gone.
            let _ = transport.send(frame).await;
        }
    }
    came
}

/// Two files that differ in nothing but their labels look the same from outside.
#[tokio::test]
async fn an_upload_is_the_same_bytes_whatever_the_labels() {
    for bottom in [BottomTraining::Frozen, BottomTraining::Lora] {
        let at_client = async |labels| frames(LabelPlace::Client, bottom, labels).await;
        let (one, other) = (at_client([0, 1, 0, 1]).await, at_client([1, 1, 0, 0]).await);
        assert_eq!(one.len(), 3); // Hello, Upload, Goodbye
        assert!(one == other, "{bottom:?}: the bytes differ");
        // That the comparison would find a label:
        let at_server = async |labels| frames(LabelPlace::Server, bottom, labels).await;
        let (one, other) = (at_server([0, 1, 0, 1]).await, at_server([1, 1, 0, 0]).await);
        assert!(one[0] == other[0] && one[1] != other[1], "{bottom:?}");
    }
}

/// What a session makes of a run that begins with these messages, in batches of 2.
async fn told(
    place: LabelPlace,
    bottom: BottomTraining,
    run: &[(ServerMessage, Vec<u8>)],
) -> ClientError {
    let (mine, theirs) = pair();
    let client = async {
        let (mut job, pipeline) = uploaded(mine, place, bottom, [0, 1, 0, 1]).await;
        let options = TrainOptions {
            epochs: 1,
            batch_size: 2,
            ..TrainOptions::default()
        };
        let plan = Plan {
            settings: options.settings(&[2, 2]),
            label_noise: 0.0,
        };
        let (_sender, mut commands) = unbounded();
        let trained = job.train(&pipeline, plan, &mut commands, |_| {});
        Box::pin(trained).await.unwrap_err()
    };
    join(client, answers(theirs, run)).await.0
}

const STARTED: ServerMessage = ServerMessage::TrainStarted { steps_total: 2 };

fn batch(step: u32, split: Split, ids: &[u32]) -> (ServerMessage, Vec<u8>) {
    let example_ids = ids.to_vec();
    let batch = Batch {
        step,
        split,
        example_ids,
    };
    (ServerMessage::Batch(batch), Vec::new())
}

/// One row of 0.5 for each id, and `more` rows.
fn pooled(step: u32, ids: &[u32], more: usize, square: Option<f32>) -> (ServerMessage, Vec<u8>) {
    let values = vec![0.5; (ids.len() + more) * 32];
    let (tensor, payload) =
        TensorDescriptor::encode_rows(ActivationDtype::F32, 32, &values).unwrap();
    let pooled = Pooled {
        step,
        split: Split::Train,
        example_ids: ids.to_vec(),
        pooled: tensor,
        gradient_square: square,
    };
    (ServerMessage::Pooled(pooled), payload)
}

fn cut_gradient(step: u32, rows: usize) -> (ServerMessage, Vec<u8>) {
    let values = vec![0.5; rows * 32];
    let written = CutGradient::write(step, ActivationDtype::F32, 32, &values, Some(1.0));
    let (message, payload) = written.unwrap();
    (ServerMessage::CutGradient(message), payload)
}

/// A server that asks for what it may not have, or shows what does not fit, gets no answer.
#[tokio::test]
async fn a_server_that_asks_out_of_turn_is_left() {
    let (client, server) = (LabelPlace::Client, LabelPlace::Server);
    let (frozen, lora) = (BottomTraining::Frozen, BottomTraining::Lora);
    let train = Split::Train;
    let wrong = [
        // Another step; one example alone; one that is not there; one twice; none that validates.
        (server, lora, batch(2, train, &[0, 1])),
        (server, lora, batch(1, train, &[0])),
        (server, lora, batch(1, train, &[0, 4])),
        (server, lora, batch(1, train, &[1, 1])),
        (server, lora, batch(1, Split::Validation, &[0, 1])),
        (client, frozen, pooled(1, &[3], 0, None)),
        (client, frozen, pooled(2, &[3, 0], 0, None)),
        // A shape that is not that of the examples; a share of a norm before any step.
        (client, frozen, pooled(1, &[3, 0], 1, None)),
        (client, frozen, pooled(1, &[3, 0], 0, Some(1.0))),
        // What this session does not do.
        (server, frozen, batch(1, train, &[0, 1])),
        (client, frozen, batch(1, train, &[0, 1])),
        (server, frozen, pooled(1, &[0, 1], 0, None)),
        (server, lora, pooled(1, &[0, 1], 0, None)),
        (client, frozen, cut_gradient(1, 7)),
        // What nothing has led to.
        (client, lora, pooled(1, &[0, 1], 0, None)),
        (client, lora, cut_gradient(1, 7)),
    ];
    for (at, (place, bottom, message)) in wrong.into_iter().enumerate() {
        let run = [(STARTED, Vec::new()), message];
        let error = told(place, bottom, &run).await;
        assert!(
            matches!(error, ClientError::Protocol(_)),
            "case {at}: {error}"
        );
    }
    let longer = [(ServerMessage::TrainStarted { steps_total: 3 }, Vec::new())];
    let error = told(client, frozen, &longer).await;
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
    // The same in their order are answered: the server of this test then leaves.
    let right = [
        (server, lora, batch(1, train, &[0, 1])),
        (client, frozen, pooled(1, &[3, 0], 0, None)),
        (client, lora, batch(1, train, &[2, 1])),
    ];
    for (at, (place, bottom, message)) in right.into_iter().enumerate() {
        let run = [(STARTED, Vec::new()), message];
        let error = told(place, bottom, &run).await;
        let left = matches!(error, ClientError::Disconnected { .. });
        assert!(left, "case {at}: {error}");
    }
}
