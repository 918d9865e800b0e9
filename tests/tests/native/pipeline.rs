//! The client's library against a real daemon: connect, read a file, protect, look, train, predict.

use std::cell::Cell;

use client_wasm::artifacts;
use client_wasm::cache::direct::Direct;
use client_wasm::client::Client;
use client_wasm::error::ClientError;
use client_wasm::events::{Event, LoadingStage};
use client_wasm::job::{Command, Traffic};
use client_wasm::options::{
    BottomPrecision, ConnectOptions, DeviceChoice, PrivacyOptions, TrainOptions, UploadDtype,
};
use client_wasm::release::ReleaseKey;
use client_wasm::server::Server;
use client_wasm::transport::native::NativeTransport;
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use shared::protocol::message::{DoneReason, TrainDone};
use shared::text::RawText;
use tests::TestServer;

use crate::samples::server;

/// Examples of the file; a tenth of them validates.
pub const ROWS: usize = 40;

/// Examples of a class that train: a tenth of the 20 validates.
pub const TRAIN_STEPS_AN_EPOCH: u32 = 36 / 4;

/// A client, and what it is told while it runs.
pub struct Person {
    pub client: Client<NativeTransport>,
    address: String,
    commands: UnboundedReceiver<Command>,
    pub sender: UnboundedSender<Command>,
    /// Connections that were opened for training.
    pub connections: Cell<u32>,
}

impl Person {
    /// Connects and reads the file.
    pub async fn with_file(server: &TestServer) -> Self {
        let address = format!("http://{}", server.addr);
        let options = ConnectOptions {
            device: DeviceChoice::Cpu,
            cut: Some(1),
            precision: BottomPrecision::F32,
            seq_length_max: 0,
        };
        let key = ReleaseKey::from_bytes([7; 32]);
        let connected = Client::<NativeTransport>::connect(&address, &options, key, |_| {});
        let mut client = Box::pin(connected).await.unwrap();
        let report = client.read_file("rows.csv", file().as_bytes()).unwrap();
        assert_eq!((report.rows, report.bad_rows_total), (ROWS, 0));
        assert_eq!(report.problem, None);
        let counts: Vec<usize> = report.labels.iter().map(|label| label.count).collect();
        assert_eq!(counts, [ROWS / 2, ROWS / 2]);
        let (sender, commands) = unbounded();
        Self {
            client,
            address,
            commands,
            sender,
            connections: Cell::new(0),
        }
    }

    /// The same person, whose further connections go through another address.
    pub fn through(self, address: std::net::SocketAddr) -> Self {
        Self {
            address: format!("http://{address}"),
            ..self
        }
    }

    pub async fn protect(&mut self, mechanism: &str) {
        let options = PrivacyOptions {
            mechanism: mechanism.to_owned(),
            ..PrivacyOptions::default()
        };
        self.client.set_privacy(&options).await.unwrap();
    }

    pub async fn train(
        &mut self,
        options: &TrainOptions,
        on_event: impl FnMut(Event),
    ) -> Result<TrainDone, ClientError> {
        let (address, connections) = (&self.address, &self.connections);
        let connect = || {
            connections.set(connections.get() + 1);
            NativeTransport::connect(address)
        };
        let trained = self
            .client
            .train(connect, options, &mut self.commands, on_event);
        Box::pin(trained).await
    }

    pub fn traffic(&self) -> Traffic {
        self.client.traffic().get()
    }

    /// Holds that the adapter answers, with probabilities of the file's classes, and the same when asked again.
    pub async fn assert_predicts(&mut self) {
        let texts = ["word7 word30", "word9 word31 word9"];
        let texts = texts.map(|text| (RawText::new(text.to_owned()), None));
        let answers = self.client.predict(&texts).await.unwrap();
        assert_eq!(answers.len(), 2);
        for answer in &answers {
            let all: f32 = answer.probabilities.iter().map(|p| p.probability).sum();
            assert!((all - 1.0).abs() < 1e-5, "{all}");
            let of = |class: usize| &answer.probabilities[class];
            let best = usize::from(of(1).probability > of(0).probability);
            assert_eq!(answer.label, of(best).label);
            assert!(["no", "yes"].contains(&&*answer.label));
        }
        // One release a text: fresh noise could be averaged away.
        let again = self.client.predict(&texts).await.unwrap();
        assert!(again == answers);
    }
}

/// Distinct rows of four words; the first says the class.
fn file() -> String {
    let row = |n: usize| {
        let (word, label) = [("word7", "no"), ("word9", "yes")][n % 2];
        format!("{word} word{} {word} word{},{label}\n", 20 + n, 60 + n)
    };
    let rows: String = (0..ROWS).map(row).collect();
    format!("text,label\n{rows}")
}

pub fn two_epochs() -> TrainOptions {
    TrainOptions {
        epochs: 2,
        batch_size: 4,
        ..TrainOptions::default()
    }
}

#[track_caller]
pub fn assert_finished(done: Result<TrainDone, ClientError>) {
    let done = done.unwrap();
    let steps = 2 * TRAIN_STEPS_AN_EPOCH;
    assert_eq!((done.reason, done.steps), (DoneReason::Finished, steps));
}

#[tokio::test]
async fn half_of_the_words_change_and_the_preview_shows_them() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    let options = PrivacyOptions::default(); // token, 0.5
    let report = person.client.set_privacy(&options).await.unwrap();
    let share = report.protection.unwrap();
    assert!((share - 0.5).abs() < 0.05, "{share}");
    let preview = person.client.preview(3).await.unwrap();
    assert_eq!(preview.examples.len(), 3);
    assert_eq!(preview.tokens_counted, 4 * ROWS);
    let shares = preview.shares;
    assert!((shares.unchanged - 0.5).abs() < 0.2, "{shares:?}");
    assert!((shares.unchanged + shares.near + shares.far - 1.0).abs() < 1e-9);
    let first = &preview.examples[0].tokens;
    let texts: Vec<&str> = first.iter().map(|token| &*token.text).collect();
    let expected = ["[CLS]", "word7", "word20", "word7", "word60", "[SEP]"];
    assert_eq!(texts, expected);
    for token in preview.examples.iter().flat_map(|example| &example.tokens) {
        let same = token.text == token.seen;
        assert_eq!(same, ["special", "unchanged"].contains(&token.kind));
    }
    assert!(person.client.preview(3).await.unwrap() == preview);
    // Looking sends nothing.
    assert_eq!(person.traffic(), Traffic::default());
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_run_uses_what_the_first_has_sent() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    let mut sent = Vec::new();
    let (mut steps, mut validations) = (0, 0);
    let done = person
        .train(&two_epochs(), |event| match event {
            Event::Progress {
                done, bytes_sent, ..
            } => sent.push((done, bytes_sent)),
            Event::Step { loss, .. } => {
                assert!(loss.is_finite());
                steps += 1;
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
    let released: Vec<u32> = sent.iter().map(|(done, _)| *done).collect();
    assert_eq!(released, [16, 32, 40]);
    person.assert_predicts().await;

    let one_upload = sent[1].1 - sent[0].1;
    let before = person.traffic();
    let mut released_again = 0;
    let done = person
        .train(&two_epochs(), |event| {
            released_again += u32::from(matches!(event, Event::Progress { .. }));
        })
        .await;
    assert_finished(done);
    let after = person.traffic();
    assert_eq!((released_again, person.connections.get()), (0, 1));
    assert_eq!(after.frames_sent, before.frames_sent + 1); // `Train` alone
    assert!(after.bytes_sent - before.bytes_sent < one_upload);

    let other = TrainOptions {
        rank: 4,
        ..two_epochs()
    };
    assert_finished(person.train(&other, |_| {}).await);
    assert_eq!(person.connections.get(), 2); // another adapter is another session
    Box::pin(person.client.goodbye()).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_number_format_trains_and_the_shorter_sends_less() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    let mut sent = Vec::new();
    for dtype in [UploadDtype::F32, UploadDtype::F16, UploadDtype::Int8] {
        person.protect("token").await; // also ends the run before
        let options = TrainOptions {
            dtype,
            ..two_epochs()
        };
        assert_finished(person.train(&options, |_| {}).await);
        sent.push(person.traffic().bytes_sent);
        person.assert_predicts().await;
    }
    // 40 examples of 6 tokens and 32 numbers each: 4, 2, and 1 byte a number with 4 a row.
    let numbers = 40 * 6 * 32;
    assert_eq!(sent[0] - sent[1], 2 * numbers);
    assert_eq!(sent[1] - sent[2], numbers - 40 * 6 * 4);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn noise_at_the_cut_trains_and_is_the_same_noise_again() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    let options = PrivacyOptions {
        mechanism: "vector".to_owned(),
        ..PrivacyOptions::default()
    };
    let report = person.client.set_privacy(&options).await.unwrap();
    assert!((report.protection.unwrap() - 0.5).abs() < 1e-6);
    assert_finished(person.train(&two_epochs(), |_| {}).await);
    person.assert_predicts().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn clear_text_is_learned() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("none").await;
    let options = TrainOptions {
        epochs: 10,
        learning_rate: 1e-2,
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
    assert!(last < 0.8 * first, "{first} to {last}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_run_keeps_an_adapter_that_predicts() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    let options = TrainOptions {
        epochs: 500,
        ..two_epochs()
    };
    let mut cancel = Some(person.sender.clone());
    let done = person
        .train(&options, |event| {
            if matches!(event, Event::Validation { .. })
                && let Some(sender) = cancel.take()
            {
                sender.unbounded_send(Command::Cancel).unwrap();
            }
        })
        .await
        .unwrap();
    assert_eq!(done.reason, DoneReason::Cancelled);
    assert!((TRAIN_STEPS_AN_EPOCH..500 * TRAIN_STEPS_AN_EPOCH).contains(&done.steps));
    person.assert_predicts().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_stopped_trains_nothing_and_can_be_tried_again() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("token").await;
    person.sender.unbounded_send(Command::Cancel).unwrap();
    let stopped = person.train(&two_epochs(), |_| {}).await;
    assert!(matches!(stopped, Err(ClientError::Stopped)));
    let text = [(RawText::new("word7".to_owned()), None)];
    let answers = person.client.predict(&text).await;
    assert!(matches!(answers, Err(ClientError::NotYet(_))));
    assert_finished(person.train(&two_epochs(), |_| {}).await);
    person.assert_predicts().await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_bottom_that_is_not_the_announced_one_is_refused() {
    let server = server().await;
    let address = format!("http://{}", server.addr);
    let address = Server::from(&address);
    let files = Direct::new(&address);
    let catalogue = artifacts::catalogue(&files).await.unwrap();
    let (_, bottom) = catalogue.bottom(Some(1), "f32").unwrap();
    let fetch = async |file: &artifacts::FileEntry| {
        let stage = LoadingStage::Bottom;
        catalogue.file(&files, file, stage, |_, _| {}).await
    };
    let bytes = fetch(&bottom.file).await.unwrap();
    assert_eq!(bytes.len() as u64, bottom.file.bytes);
    let mut other = bottom.file.clone();
    let digit = if other.sha256.starts_with('0') {
        "1"
    } else {
        "0"
    };
    other.sha256.replace_range(..1, digit);
    let refused = fetch(&other).await;
    assert!(matches!(refused, Err(ClientError::WrongArtifact { .. })));
    server.stop().await.unwrap();
}
