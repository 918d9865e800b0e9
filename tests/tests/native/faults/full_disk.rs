//! A disk that is really full, at every place where the daemon writes.

use std::collections::BTreeMap;

use shared::protocol::message::{AdapterTarget, ClientMessage, Hello, RefusalCode, ServerMessage};
use tests::RawClient;
use tests::daemon::Daemon;
use tests::small_disk::{Ballast, SmallDisk};

use super::figures::{Row, adapter_of, difference, lost};
use super::{hello, seeded};
use crate::durable::{
    EPOCHS, SEED, begun_with, done, job_directory, json, options, stands, train_again, undisturbed,
};
use crate::samples::{server_with, train, upload};

const DISK_BYTES: u64 = 16 * 1024 * 1024;

/// Examples of a run.
const EXAMPLES: u64 = 32;

/// Says that a run's log has found no room.
const WAITS: &str = "the disk is full; what a run reports waits for room";

/// Says that a checkpoint has found no room.
const NO_CHECKPOINT: &str = "a checkpoint could not be written";

/// Says that an adapter has found no room.
const NO_ADAPTER: &str = "an adapter could not be kept: the disk is full";

async fn on_small_disk(arguments: &[&str]) -> Daemon {
    let disk = SmallDisk::new(DISK_BYTES).unwrap();
    let seed = SEED.to_string();
    let arguments = seeded(&seed, arguments);
    Daemon::start_on(&disk, &arguments).await.unwrap()
}

/// Keeps the disk full until the log says something; gives what to drop for room.
async fn full_until(daemon: &mut Daemon, sentence: &str) -> Ballast {
    let mut ballast = Ballast::fill(&daemon.data()).unwrap();
    let says = |daemon: &mut Daemon| {
        // A file that takes another's place gives that one's room back.
        ballast.top_up().unwrap();
        daemon.log().contains(sentence).then_some(())
    };
    daemon.eventually(says).await.unwrap();
    ballast
}

fn said(daemon: &Daemon, sentence: &str) -> usize {
    daemon.log().matches(sentence).count()
}

async fn refused(client: &mut RawClient) {
    let refused = client.refusal().await.unwrap();
    let how = (refused.code, refused.closes);
    assert_eq!(how, (RefusalCode::Internal, false), "{refused:?}");
}

fn refusals(many: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([("Internal, and the session goes on".to_owned(), many)])
}

/// A row of a run that has ended on a small disk.
async fn row(daemon: &Daemon, id: &str, expected: &[u8]) -> Row {
    let job = json(daemon.addr, &format!("/v1/jobs/{id}")).await;
    let events = crate::durable::events(daemon.addr, id).await;
    let actual = adapter_of(daemon.addr, id).await.unwrap();
    Row {
        lost: lost(&job, EXAMPLES),
        twice: super::figures::applied_twice(&events),
        difference: difference(expected, &actual),
        ..Row::default()
    }
}

/// Breaks when an upload that finds no room is acknowledged, or takes the session with it.
#[tokio::test]
#[ignore = "needs tmpfs"]
async fn at_an_upload() {
    let daemon = on_small_disk(&[]).await;
    let mut hello = hello(&daemon).await;
    hello.adapter.dropout = 0.1;
    let (mut client, _) = RawClient::welcomed(daemon.addr, hello).await.unwrap();
    let mut struck = 0;
    for first_id in [0, 16] {
        let (batch, payload) = upload(first_id, 16, 5);
        let message = ClientMessage::Upload(batch);
        let ballast = Ballast::fill(&daemon.data()).unwrap();
        client.send(&message, &payload).await.unwrap();
        refused(&mut client).await;
        struck += 1;
        drop(ballast);
        client.send(&message, &payload).await.unwrap();
        let ServerMessage::Acknowledged(stored) = client.message().await.unwrap() else {
            panic!("it is refused although there is room")
        };
        assert_eq!(stored.examples_stored, first_id + 16);
    }
    let id = train_again(daemon.addr, &mut client, EPOCHS).await;
    done(&mut client).await;
    Row {
        fault: "disk full: upload",
        what: "the first upload of a session, which creates its store, and the second".to_owned(),
        struck,
        told: refusals(struck),
        ..row(&daemon, &id, undisturbed().await).await
    }
    .show();
}

/// Breaks when a checkpoint or a log that finds no room ends a run whose client has gone.
#[tokio::test]
#[ignore = "needs tmpfs"]
async fn at_a_checkpoint() {
    let mut daemon = on_small_disk(&["--checkpoint-seconds", "0"]).await;
    let hello = hello(&daemon).await;
    let (client, id) = begun_with(daemon.addr, hello, EPOCHS).await;
    drop(client);
    let checkpoint = job_directory(&daemon.data(), &id).join("checkpoint");
    let written = |_: &mut Daemon| checkpoint.is_file().then_some(());
    daemon.eventually(written).await.unwrap();
    let mut ballast = full_until(&mut daemon, NO_CHECKPOINT).await;
    let waits = |daemon: &mut Daemon| {
        ballast.top_up().unwrap();
        daemon.log().contains(WAITS).then_some(())
    };
    daemon.eventually(waits).await.unwrap();
    let struck = said(&daemon, NO_CHECKPOINT);
    drop(ballast);
    stands(daemon.addr, &id, "done").await;
    Row {
        fault: "disk full: checkpoint",
        what: "of a run whose client has gone; its log finds no room either, and waits".to_owned(),
        struck,
        ..row(&daemon, &id, undisturbed().await).await
    }
    .show();
}

/// The adapter of the third run of a daemon: a run that is refused has had its number all the same.
async fn third_run() -> Vec<u8> {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = begun_with(server.addr, hello, 1).await;
    done(&mut client).await;
    let mut id = String::new();
    for epochs in [1, EPOCHS] {
        id = train_again(server.addr, &mut client, epochs).await;
        done(&mut client).await;
    }
    adapter_of(server.addr, &id).await.unwrap()
}

/// Breaks when a log that finds no room ends a run, or a run begins that is not written down.
#[tokio::test]
#[ignore = "needs tmpfs"]
async fn at_the_database() {
    let mut daemon = on_small_disk(&["--checkpoint-seconds", "1000"]).await;
    let greeting = hello(&daemon).await;
    let (mut client, id) = begun_with(daemon.addr, greeting, EPOCHS).await;
    drop(full_until(&mut daemon, WAITS).await);
    done(&mut client).await;
    let first = row(&daemon, &id, undisturbed().await).await;
    // And a run that is to begin.
    let ballast = Ballast::fill(&daemon.data()).unwrap();
    let message = ClientMessage::Train(train(EPOCHS));
    client.send(&message, &[]).await.unwrap();
    refused(&mut client).await;
    drop(ballast);
    let id = train_again(daemon.addr, &mut client, EPOCHS).await;
    done(&mut client).await;
    let second = row(&daemon, &id, &third_run().await).await;
    Row {
        fault: "disk full: database",
        what: "the log of a run at work, which waits, and the record of one that is to begin"
            .to_owned(),
        struck: said(&daemon, WAITS) + 1,
        lost: first.lost + second.lost,
        twice: first.twice + second.twice,
        difference: first.difference.max(second.difference),
        told: refusals(1),
        ..Row::default()
    }
    .show();
}

/// A `Hello` whose adapter takes 0.9 MB: more than the log of a run.
fn with_large_adapter(mut hello: Hello) -> Hello {
    hello.adapter.rank = 256;
    hello.adapter.targets = vec![
        AdapterTarget::Query,
        AdapterTarget::Key,
        AdapterTarget::Value,
        AdapterTarget::AttentionOutput,
        AdapterTarget::FeedForwardUp,
        AdapterTarget::FeedForwardDown,
    ];
    hello
}

/// Room for the log of the rest of the run, and not for its adapter.
const SPARE_BYTES: u64 = 768 * 1024;

const EPOCHS_OF_LARGE: u32 = 100;

/// Breaks when a run that has ended is called done without its adapter, or loses it.
#[tokio::test]
#[ignore = "needs tmpfs"]
async fn at_an_adapter() {
    let server = server_with(options(None)).await;
    let greeting = with_large_adapter(server.hello().await.unwrap());
    let (mut client, id) = begun_with(server.addr, greeting, EPOCHS_OF_LARGE).await;
    done(&mut client).await;
    let expected = adapter_of(server.addr, &id).await.unwrap();
    assert!(expected.len() as u64 > SPARE_BYTES);

    let mut daemon = on_small_disk(&["--checkpoint-seconds", "1000"]).await;
    let greeting = with_large_adapter(hello(&daemon).await);
    let (mut client, id) = begun_with(daemon.addr, greeting, EPOCHS_OF_LARGE).await;
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    while client.message().await.unwrap() != ServerMessage::Paused {}
    let mut ballast = Ballast::fill(&daemon.data()).unwrap();
    ballast.spare(SPARE_BYTES).unwrap();
    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    let says = |daemon: &mut Daemon| daemon.log().contains(NO_ADAPTER).then_some(());
    daemon.eventually(says).await.unwrap();
    let struck = said(&daemon, NO_ADAPTER);
    let job = json(daemon.addr, &format!("/v1/jobs/{id}")).await;
    assert_eq!(job["state"], "running", "it is done without its adapter");
    drop(ballast);
    done(&mut client).await;
    Row {
        fault: "disk full: adapter",
        what: "of a run that has ended; it is done when its adapter is kept".to_owned(),
        struck,
        ..row(&daemon, &id, &expected).await
    }
    .show();
}
