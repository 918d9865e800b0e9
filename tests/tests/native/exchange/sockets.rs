//! A client without manners in a run that waits for it, over a real socket.

use std::time::Duration;

use server::limits::Timeouts;
use shared::protocol::message::{
    Batch, BatchActivations, BottomTraining, ClientMessage, DoneReason, Hello, Judgement,
    LabelPlace, Pooled, PooledGradient, RefusalCode, ServerMessage, Split, Upload, Verdict,
};
use tests::{Options, RawClient, TestServer};

use crate::samples::{
    D_MODEL, assert_serves, f32_bytes, predict, server, server_with, tensor, train, upload,
};

const ROWS: u16 = 5;
const EXAMPLES: u32 = 32;

/// Training examples, validation examples and batches of 4: see `samples`.
const BATCHES_A_PASS: usize = 4;

/// A client with 32 examples known to the server, 16 of each split.
async fn collected(server: &TestServer, labels: LabelPlace, bottom: BottomTraining) -> RawClient {
    let hello = Hello {
        labels,
        bottom,
        ..server.hello().await.unwrap()
    };
    let (mut client, welcome) = RawClient::welcomed(server.addr, hello).await.unwrap();
    assert!(!welcome.trains_dense); // bert-shaped has a pooler
    let (upload, payload) = examples(labels, bottom);
    let message = ClientMessage::Upload(upload);
    client.send(&message, &payload).await.unwrap();
    let acknowledged = client.message().await.unwrap();
    assert!(
        matches!(&acknowledged, ServerMessage::Acknowledged(it) if it.examples_stored == EXAMPLES),
        "{acknowledged:?}"
    );
    client
}

fn examples(labels: LabelPlace, bottom: BottomTraining) -> (Upload, Vec<u8>) {
    let (mut upload, mut payload) = upload(0, EXAMPLES, ROWS);
    if labels == LabelPlace::Client {
        for example in &mut upload.examples {
            example.label = None;
        }
    }
    if bottom == BottomTraining::Lora {
        upload.activations.rows = 0;
        payload.clear();
    }
    (upload, payload)
}

async fn started(server: &TestServer, labels: LabelPlace, bottom: BottomTraining) -> RawClient {
    let mut client = collected(server, labels, bottom).await;
    let message = ClientMessage::Train(train(1));
    client.send(&message, &[]).await.unwrap();
    let started = client.message().await.unwrap();
    assert_eq!(started, ServerMessage::TrainStarted { steps_total: 4 });
    client
}

/// Activations for a batch, all numbers the same; `square` where it is owed.
fn activations(batch: &Batch, square: Option<f32>) -> (ClientMessage, Vec<u8>) {
    let examples = batch.example_ids.len();
    let rows = u32::try_from(examples).unwrap() * u32::from(ROWS);
    let answer = BatchActivations {
        step: batch.step,
        seq_lengths: vec![ROWS; examples],
        activations: tensor(rows),
        gradient_square: square,
    };
    let payload = f32_bytes(&vec![0.25; (rows * D_MODEL) as usize]);
    (ClientMessage::BatchActivations(answer), payload)
}

/// A gradient for what was shown.
fn gradient(pooled: &Pooled) -> (ClientMessage, Vec<u8>) {
    let answer = PooledGradient {
        step: pooled.step,
        gradient: pooled.pooled,
        gradient_square: Some(0.5),
    };
    let numbers = pooled.pooled.rows * D_MODEL;
    let payload = f32_bytes(&vec![0.01; numbers as usize]);
    (ClientMessage::PooledGradient(answer), payload)
}

fn verdict(step: u32, judgement: Judgement) -> ClientMessage {
    ClientMessage::Verdict(Verdict { step, judgement })
}

/// What a run has said to a client that answers everything.
#[derive(Debug, Default)]
struct Heard {
    asked: Vec<(Split, u32)>,
    shown: Vec<(Split, u32)>,
    cut_gradients: Vec<u32>,
    steps: u32,
    losses: u32,
    validations: u32,
}

/// Answers until the run is done.
async fn answer_all(client: &mut RawClient) -> Heard {
    let (mut heard, mut owed, mut measured) = (Heard::default(), false, 0);
    loop {
        let message = client.message().await.unwrap();
        let (answer, payload) = match message {
            ServerMessage::Batch(batch) => {
                heard.asked.push((batch.split, batch.step));
                let square = owed.then_some(0.25);
                owed = false;
                activations(&batch, square)
            }
            ServerMessage::Pooled(pooled) => {
                heard.shown.push((pooled.split, pooled.step));
                let values = pooled.pooled.decode(&client.payload).unwrap();
                assert_eq!(values.len(), pooled.example_ids.len() * D_MODEL as usize);
                match pooled.split {
                    Split::Train => gradient(&pooled),
                    Split::Validation => {
                        measured += 1;
                        let last = measured % BATCHES_A_PASS == 0;
                        let judgement = if last {
                            Judgement::Best
                        } else {
                            Judgement::Unfinished
                        };
                        (verdict(pooled.step, judgement), vec![])
                    }
                }
            }
            ServerMessage::CutGradient(gradient) => {
                heard.cut_gradients.push(gradient.step);
                assert!(gradient.gradient_square.unwrap() > 0.0);
                let expected = 4 * u32::from(ROWS);
                assert_eq!((gradient.gradient.rows, gradient.scale), (expected, 1.0));
                let values = gradient.gradient.decode(&client.payload).unwrap();
                assert!(values.iter().any(|value| *value != 0.0));
                owed = true;
                continue;
            }
            ServerMessage::Step(report) => {
                heard.steps += 1;
                heard.losses += u32::from(report.loss.is_some());
                continue;
            }
            ServerMessage::Validation(report) => {
                assert_eq!(report.confusion.iter().sum::<u32>(), 16);
                heard.validations += 1;
                continue;
            }
            ServerMessage::TrainDone(done) => {
                assert_eq!((done.steps, done.reason), (4, DoneReason::Finished));
                assert_eq!(done.best_step, 4);
                return heard;
            }
            other => panic!("{other:?}"),
        };
        client.send(&answer, &payload).await.unwrap();
    }
}

/// The batches of one epoch and the validation after it.
fn all_batches() -> Vec<(Split, u32)> {
    let train = (1..=4).map(|step| (Split::Train, step));
    train
        .chain([(Split::Validation, 4); BATCHES_A_PASS])
        .collect()
}

#[tokio::test]
async fn labels_at_the_client_are_a_conversation_about_pooled_outputs() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    let heard = answer_all(&mut client).await;
    assert_eq!(heard.shown, all_batches());
    assert_eq!((heard.asked.len(), heard.cut_gradients.len()), (0, 0));
    // The server knows no loss, and measures nothing.
    assert_eq!((heard.steps, heard.losses, heard.validations), (4, 0, 0));
    let (message, payload) = predict(7, 6, ROWS);
    client.send(&message, &payload).await.unwrap();
    let ServerMessage::PooledPrediction(shown) = client.message().await.unwrap() else {
        panic!("not what a head reads")
    };
    assert_eq!((shown.request_id, shown.pooled), (7, tensor(6)));
    shown.pooled.check(&client.payload).unwrap();
}

#[tokio::test]
async fn a_trained_bottom_is_a_conversation_about_batches() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Server, BottomTraining::Lora).await;
    let heard = answer_all(&mut client).await;
    assert_eq!(heard.asked, all_batches());
    assert_eq!(heard.cut_gradients, [1, 2, 3, 4]);
    assert_eq!(
        (heard.shown.len(), heard.losses, heard.validations),
        (0, 4, 1)
    );
    let (message, payload) = predict(7, 6, ROWS);
    client.send(&message, &payload).await.unwrap();
    let answer = client.message().await.unwrap();
    assert!(matches!(answer, ServerMessage::Prediction(_)), "{answer:?}");
}

#[tokio::test]
async fn both_together_are_both_conversations() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Lora).await;
    let heard = answer_all(&mut client).await;
    assert_eq!(
        (&heard.asked, &heard.shown),
        (&all_batches(), &all_batches())
    );
    assert_eq!(heard.cut_gradients, [1, 2, 3, 4]);
    assert_eq!((heard.steps, heard.losses, heard.validations), (4, 0, 0));
    // A second run asks for the same examples again, and nothing is uploaded for it.
    let again = ClientMessage::Train(train(1));
    client.send(&again, &[]).await.unwrap();
    let message = client.message().await.unwrap();
    assert_eq!(message, ServerMessage::TrainStarted { steps_total: 4 });
    assert_eq!(answer_all(&mut client).await.asked, all_batches());
}

#[tokio::test]
async fn an_answer_that_is_wrong_is_refused_and_the_right_one_still_taken() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    let ServerMessage::Pooled(pooled) = client.message().await.unwrap() else {
        panic!("nothing was shown")
    };
    let (right, payload) = gradient(&pooled);
    let ClientMessage::PooledGradient(answer) = right.clone() else {
        panic!("not a gradient")
    };
    let changed = |change: fn(&mut PooledGradient)| {
        let mut answer = answer.clone();
        change(&mut answer);
        ClientMessage::PooledGradient(answer)
    };
    let mut nan = payload.clone();
    nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases = [
        (changed(|it| it.step = 2), &payload, RefusalCode::NotAwaited),
        (
            changed(|it| it.gradient_square = None),
            &payload,
            RefusalCode::NotAwaited,
        ),
        (
            changed(|it| it.gradient_square = Some(f32::NAN)),
            &payload,
            RefusalCode::NotFinite,
        ),
        (
            changed(|it| it.gradient.rows = 3),
            &payload,
            RefusalCode::WrongShape,
        ),
        (
            changed(|it| it.gradient.columns = 31),
            &payload,
            RefusalCode::WrongShape,
        ),
        (right.clone(), &nan, RefusalCode::NotFinite),
        (
            verdict(1, Judgement::Best),
            &vec![],
            RefusalCode::NotAwaited,
        ),
    ];
    for (message, payload, code) in cases {
        let sequence = client.send(&message, payload).await.unwrap();
        let refused = client.refusal().await.unwrap();
        assert_eq!(
            (refused.sequence, refused.code, refused.closes),
            (Some(sequence), code, false)
        );
    }
    client.send(&right, &payload).await.unwrap();
    let step = client.message().await.unwrap();
    assert!(matches!(step, ServerMessage::Step(_)), "{step:?}");
    let ServerMessage::Pooled(next) = client.message().await.unwrap() else {
        panic!("the run does not go on")
    };
    assert_eq!(next.step, 2);
    assert!(next.gradient_square.unwrap() > 0.0); // the top's share of the step before
}

#[tokio::test]
async fn nothing_is_answered_twice_and_nothing_unasked() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Server, BottomTraining::Lora).await;
    let ServerMessage::Batch(batch) = client.message().await.unwrap() else {
        panic!("nothing was asked")
    };
    let (answer, payload) = activations(&batch, None);
    client.send(&answer, &payload).await.unwrap();
    let sequence = client.send(&answer, &payload).await.unwrap();
    loop {
        match client.message().await.unwrap() {
            ServerMessage::Refused(refused) => {
                assert_eq!(refused.sequence, Some(sequence));
                // The next batch was asked for in the meantime, or it was not.
                assert_eq!(refused.code, RefusalCode::NotAwaited);
                break;
            }
            ServerMessage::CutGradient(_) | ServerMessage::Step(_) | ServerMessage::Batch(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_holds_nobody_up() {
    let server = server().await;
    let mut silent = started(&server, LabelPlace::Client, BottomTraining::Lora).await;
    assert!(matches!(
        silent.message().await.unwrap(),
        ServerMessage::Batch(_)
    ));
    let mut busy = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    answer_all(&mut busy).await;
    assert_eq!(server.examples_on_disk().unwrap(), 2);
    // One that vanishes in the middle of a step leaves nothing behind.
    drop(silent);
    for _ in 0..1000 {
        if server.examples_on_disk().unwrap() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the client that vanished is still there");
}

#[tokio::test]
async fn a_client_that_does_not_answer_in_time_is_let_go() {
    let timeouts = Timeouts {
        answer: Duration::from_millis(300),
        ..Options::default().timeouts
    };
    let server = server_with(Options {
        timeouts,
        ..Options::default()
    })
    .await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Pooled(_)
    ));
    assert_eq!(client.closed().await.unwrap(), Some(1001));
    // Held runs wait for a person, not for the client.
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    let ServerMessage::Pooled(pooled) = client.message().await.unwrap() else {
        panic!("nothing was shown")
    };
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    assert_eq!(client.message().await.unwrap(), ServerMessage::Paused);
    tokio::time::sleep(Duration::from_millis(900)).await;
    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    assert_eq!(client.message().await.unwrap(), ServerMessage::Continued);
    let (answer, payload) = gradient(&pooled);
    client.send(&answer, &payload).await.unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Step(_)
    ));
}

#[tokio::test]
async fn a_parked_run_is_held_and_goes_on_with_the_answer_that_came_meanwhile() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Frozen).await;
    let ServerMessage::Pooled(pooled) = client.message().await.unwrap() else {
        panic!("nothing was shown")
    };
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    let (answer, payload) = gradient(&pooled);
    client.send(&answer, &payload).await.unwrap();
    assert_eq!(client.message().await.unwrap(), ServerMessage::Paused);
    let nothing = tokio::time::timeout(Duration::from_millis(500), client.message()).await;
    assert!(nothing.is_err(), "a held run says {nothing:?}");
    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    assert_eq!(client.message().await.unwrap(), ServerMessage::Continued);
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Step(_)
    ));
    let next = client.message().await.unwrap();
    assert!(
        matches!(&next, ServerMessage::Pooled(it) if it.step == 2),
        "{next:?}"
    );
}

#[tokio::test]
async fn a_parked_run_is_cancelled_and_a_late_answer_survived() {
    let server = server().await;
    let mut client = started(&server, LabelPlace::Client, BottomTraining::Lora).await;
    let ServerMessage::Batch(batch) = client.message().await.unwrap() else {
        panic!("nothing was asked")
    };
    client.send(&ClientMessage::Cancel, &[]).await.unwrap();
    let ServerMessage::TrainDone(done) = client.message().await.unwrap() else {
        panic!("the run did not end")
    };
    assert_eq!((done.steps, done.reason), (0, DoneReason::Cancelled));
    let (answer, payload) = activations(&batch, None);
    client.send(&answer, &payload).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::WrongPhase, false)
    );
    let (message, payload) = predict(1, 1, ROWS);
    client.send(&message, &payload).await.unwrap();
    let answer = client.message().await.unwrap();
    assert!(
        matches!(answer, ServerMessage::PooledPrediction(_)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn labels_and_activations_are_refused_where_they_do_not_belong() {
    let server = server().await;
    let (client, frozen) = (LabelPlace::Client, BottomTraining::Frozen);
    let cases = [
        // Labels though they stay at the client; none though they travel; rows before they are asked.
        (
            client,
            frozen,
            examples(LabelPlace::Server, frozen),
            RefusalCode::BadLabel,
        ),
        (
            LabelPlace::Server,
            frozen,
            examples(client, frozen),
            RefusalCode::BadLabel,
        ),
        (
            client,
            BottomTraining::Lora,
            examples(client, frozen),
            RefusalCode::WrongShape,
        ),
        (
            client,
            frozen,
            examples(client, BottomTraining::Lora),
            RefusalCode::WrongShape,
        ),
    ];
    for (labels, bottom, (upload, payload), code) in cases {
        let hello = Hello {
            labels,
            bottom,
            ..server.hello().await.unwrap()
        };
        let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
        let message = ClientMessage::Upload(upload);
        client.send(&message, &payload).await.unwrap();
        let refused = client.refusal().await.unwrap();
        assert_eq!((refused.code, refused.closes), (code, false));
    }
}
