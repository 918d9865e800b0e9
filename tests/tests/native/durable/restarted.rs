//! The daemon stops as it should, and starts again.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shared::protocol::message::{ClientMessage, Hello, LabelPlace};
use tests::RawClient;

use super::{
    adapter, again, begun, events, job_directory, milestones, no_examples, options, post, stands,
    undisturbed,
};
use crate::samples::{server_with, train, upload};

/// How often the daemon is stopped in the middle of the run.
const STOPS: u64 = 5;

/// Breaks when a stop loses a step, repeats one with other numbers, or a start does not go on.
#[tokio::test]
async fn a_run_goes_on_after_every_stop_as_if_nothing_had_been() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let options = options(Some(data.clone()));
    let mut server = server_with(options.clone()).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun(server.addr, hello).await;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for stop in 0..STOPS {
        if stop > 0 {
            stands(server.addr, &id, "running").await;
        }
        tokio::time::sleep(Duration::from_millis(rng.next_u64() % 60)).await;
        server.stop().await.unwrap();
        assert!(job_directory(data.path(), &id).join("checkpoint").is_file());
        server = again(&options).await;
    }
    drop(client);
    stands(server.addr, &id, "done").await;
    assert!(adapter(data.path(), &id) == undisturbed().await);
    no_examples(&server).await;
    assert!(!job_directory(data.path(), &id).join("checkpoint").exists());

    let events = events(server.addr, &id).await;
    let mut expected = vec!["queued", "started"];
    for _ in 0..STOPS {
        expected.extend(["queued", "resumed"]);
    }
    expected.push("done");
    assert_eq!(milestones(&events), expected);
    // A stop is written where the run is: no step is taken twice.
    let steps = events.iter().filter(|event| event["kind"] == "step");
    let steps: Vec<_> = steps
        .map(|event| event["data"]["step"].as_u64().unwrap())
        .collect();
    assert!(steps.is_sorted_by(|one, next| one < next), "{steps:?}");
    let at = events.iter().filter(|event| event["kind"] == "resumed");
    let at: Vec<_> = at
        .map(|event| event["data"]["step"].as_u64().unwrap())
        .collect();
    assert!(at.is_sorted(), "{at:?}");
}

/// Breaks when a restart takes a job up that its owner holds.
#[tokio::test]
async fn a_held_job_is_held_after_a_restart() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let options = options(Some(data.clone()));
    let server = server_with(options.clone()).await;
    let hello = server.hello().await.unwrap();
    let (_client, id) = begun(server.addr, hello).await;
    assert_eq!(post(server.addr, &id, "pause").await, 202);
    stands(server.addr, &id, "paused").await;
    server.stop().await.unwrap();
    let server = again(&options).await;
    // Until it was taken up, it cannot be steered.
    for _ in 0..400 {
        if post(server.addr, &id, "resume").await == 202 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stands(server.addr, &id, "done").await;
    assert!(adapter(data.path(), &id) == undisturbed().await);
    let events = events(server.addr, &id).await;
    let expected = [
        "queued",
        "started",
        "paused",
        "resumed",
        "paused",
        "continued",
        "done",
    ];
    assert_eq!(milestones(&events), expected);
}

#[tokio::test]
async fn a_run_that_needs_its_client_ends_with_the_daemon() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let options = options(Some(data.clone()));
    let server = server_with(options.clone()).await;
    let hello = Hello {
        labels: LabelPlace::Client,
        ..server.hello().await.unwrap()
    };
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (mut batch, payload) = upload(0, 32, 5);
    for example in &mut batch.examples {
        example.label = None;
    }
    let messages = [
        (ClientMessage::Upload(batch), payload),
        (ClientMessage::Train(train(9)), vec![]),
    ];
    for (message, payload) in messages {
        client.send(&message, &payload).await.unwrap();
        client.message().await.unwrap();
    }
    let page = super::json(server.addr, "/v1/jobs").await;
    let id = page["jobs"][0]["id"].as_str().unwrap().to_owned();
    server.stop().await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1012));
    assert!(!job_directory(data.path(), &id).exists());
    let server = again(&options).await;
    let job = stands(server.addr, &id, "failed").await;
    assert_eq!(job["failure"], "interrupted");
}
