//! The client goes away while its run goes on.

use shared::protocol::message::{ClientMessage, RefusalCode, ServerMessage};
use tests::http;

use super::{
    adapter, begun, begun_with, done, events, job_directory, json, milestones, no_examples,
    nothing_left, options, post, stands, train_again, undisturbed,
};
use crate::samples::{server_with, train};

/// Breaks when a run stops with its client, or is another run without it.
#[tokio::test]
async fn a_run_goes_on_when_its_client_is_lost() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (mut client, id) = begun(server.addr, hello).await;
    while !matches!(client.message().await.unwrap(), ServerMessage::Step(_)) {}
    drop(client);
    stands(server.addr, &id, "done").await;
    assert!(adapter(server.data(), &id) == undisturbed().await);
    let events = events(server.addr, &id).await;
    assert_eq!(milestones(&events), ["queued", "started", "done"]);
    // The result is all that is left, and it is elsewhere.
    nothing_left(server.data(), &id).await;
}

#[tokio::test]
async fn a_run_goes_on_after_goodbye() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (mut client, id) = begun(server.addr, hello).await;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
    assert_eq!(server.examples_on_disk().unwrap(), 1);
    stands(server.addr, &id, "done").await;
    assert!(adapter(server.data(), &id) == undisturbed().await);
    no_examples(&server).await;
}

/// Breaks when a run whose client has left cannot be held, ended or deleted.
#[tokio::test]
async fn a_run_without_its_client_is_steered_and_deleted() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun_with(server.addr, hello, 1000).await;
    drop(client);
    let addr = server.addr;
    assert_eq!(post(addr, &id, "pause").await, 202);
    stands(addr, &id, "paused").await;
    let path = format!("/v1/jobs/{id}");
    let delete = async || http::send(addr, "DELETE", &path, &[]).await.unwrap();
    assert_eq!(delete().await.status, 409);
    assert_eq!(post(addr, &id, "resume").await, 202);
    stands(addr, &id, "running").await;
    assert_eq!(post(addr, &id, "cancel").await, 202);
    stands(addr, &id, "cancelled").await;
    no_examples(&server).await;
    let size = adapter(server.data(), &id).len() as u64;
    let events = events(addr, &id).await.len();
    let deleted = delete().await;
    assert_eq!(deleted.status, 200);
    let removed: serde_json::Value = serde_json::from_slice(&deleted.body).unwrap();
    assert_eq!(removed["events"], events);
    assert_eq!(
        (&removed["example_bytes"], &removed["checkpoint_bytes"]),
        (&0.into(), &0.into())
    );
    assert_eq!(removed["adapters"], 1);
    // And its configuration.
    assert!(removed["adapter_bytes"].as_u64().unwrap() > size);
    let adapters = std::fs::read_dir(server.data().join("adapters")).unwrap();
    assert_eq!(adapters.count(), 0);
    assert!(!job_directory(server.data(), &id).exists());
    assert_eq!(http::get(addr, &path, &[]).await.unwrap().status, 404);
}

/// Breaks when a session loses its examples with its first run, or leaves them behind.
#[tokio::test]
async fn a_session_trains_again_and_its_examples_go_with_it() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (mut client, first) = begun_with(server.addr, hello, 1).await;
    done(&mut client).await;
    let second = train_again(server.addr, &mut client, 1).await;
    done(&mut client).await;
    assert_eq!(server.examples_on_disk().unwrap(), 1);
    for id in [&first, &second] {
        adapter(server.data(), id);
    }
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
    // Who sees the close frame knows that they are gone.
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    for id in [&first, &second] {
        adapter(server.data(), id);
    }
}

#[tokio::test]
async fn what_was_deleted_with_its_job_is_not_trained_on() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (mut client, id) = begun_with(server.addr, hello, 1).await;
    done(&mut client).await;
    let path = format!("/v1/jobs/{id}");
    let deleted = http::send(server.addr, "DELETE", &path, &[]).await.unwrap();
    let removed: serde_json::Value = serde_json::from_slice(&deleted.body).unwrap();
    // 32 examples of 5 rows, 32 numbers of 4 bytes each, and their index.
    assert!(removed["example_bytes"].as_u64().unwrap() > 32 * 5 * 32 * 4);
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    let message = ClientMessage::Train(train(1));
    client.send(&message, &[]).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::BadSettings, false)
    );
    assert!(refused.sentence.contains("deleted"));
    // No job came of it, on the disk neither.
    let page = json(server.addr, "/v1/jobs").await;
    assert_eq!(page["jobs"], serde_json::json!([]));
    let jobs = std::fs::read_dir(server.data().join("jobs")).unwrap();
    assert_eq!(jobs.count(), 0);
}
