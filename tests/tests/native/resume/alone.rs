//! What becomes of a run whose client was lost: within the window, and when it is over.

use std::time::{Duration, Instant};

use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::Options;

use super::raw::{
    asked, assert_acknowledged, assert_unknown, long, resume, resumed, send_upload, welcomed,
};
use super::waiting;
use crate::durable::{begun_with, json, no_examples, post, stands};
use crate::samples::{serves_soon, train};

/// Breaks when the end of a window ends a run that has all it needs.
#[tokio::test]
async fn a_run_that_has_all_it_needs_outlives_the_window() {
    let options = Options {
        sessions_max: 1,
        ..Options::default()
    };
    let server = waiting(Duration::from_millis(300), options).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun_with(server.addr, hello, 1000).await;
    // Held, so that it cannot come to its end before the window does.
    assert_eq!(post(server.addr, &id, "pause").await, 202);
    stands(server.addr, &id, "paused").await;
    drop(client);
    // The session has let go of its place.
    serves_soon(&server).await;
    stands(server.addr, &id, "paused").await;
    assert_eq!(post(server.addr, &id, "resume").await, 202);
    stands(server.addr, &id, "running").await;
    assert_eq!(post(server.addr, &id, "cancel").await, 202);
    stands(server.addr, &id, "cancelled").await;
    no_examples(&server).await;
}

/// Breaks when a run that needs its client ends with the connection, or never.
#[tokio::test]
async fn a_run_that_needs_its_client_ends_with_the_window() {
    let window = Duration::from_millis(500);
    let server = waiting(window, Options::default()).await;
    let (client, token) = asked(&server).await;
    let jobs = json(server.addr, "/v1/jobs").await;
    let id = jobs["jobs"][0]["id"].as_str().unwrap();
    let lost = Instant::now();
    drop(client);
    let job = stands(server.addr, id, "failed").await;
    assert!(lost.elapsed() >= window, "it ended with the connection");
    assert_eq!(job["failure"], "client_lost");
    no_examples(&server).await;
    assert_unknown(&server, resume(token, 4)).await;
}

/// Breaks when a session that waits for its client is taken for one that does not keep up: there are
/// more reports than its queue has places.
#[tokio::test]
async fn a_session_that_waits_hears_its_run_to_the_end() {
    const EPOCHS: u32 = 500;
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 32).await;
    assert_acknowledged(&mut client, 2, 32).await;
    let message = ClientMessage::Train(train(EPOCHS));
    client.send(&message, &[]).await.unwrap();
    let started = client.message().await.unwrap();
    assert!(matches!(started, ServerMessage::TrainStarted { .. }));
    let jobs = json(server.addr, "/v1/jobs").await;
    drop(client);
    stands(server.addr, jobs["jobs"][0]["id"].as_str().unwrap(), "done").await;
    let mut client = resumed(&server, resume(token, 3), 3).await;
    let mut validations = 0;
    loop {
        match client.message().await.unwrap() {
            ServerMessage::Step(_) => {}
            ServerMessage::Validation(_) => validations += 1,
            ServerMessage::TrainDone(done) => {
                assert_eq!(done.steps, 4 * EPOCHS);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(validations, EPOCHS);
}
