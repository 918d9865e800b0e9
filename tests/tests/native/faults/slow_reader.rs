//! A client that reads more slowly than its run reports.

use std::collections::BTreeMap;
use std::time::Duration;

use server::limits::OUTGOING_BYTES_MAX;
use shared::protocol::message::Hello;
use tests::daemon::{Daemon, Usage};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::figures::{Row, adapter_of, difference, most};
use super::{daemon, hello};
use crate::durable::{begun_with, done, json};

/// A confusion matrix of so many classes takes 4 MB: what a slow client does not read is soon more
/// than may wait for it.
const CLASSES: u32 = 1000;

/// Of the slow client's run: eighteen times as many matrices as may wait.
const EPOCHS: u32 = 150;

/// Of the other client's.
const EPOCHS_BESIDE: u32 = 500;

/// A few bytes, and how often.
const BYTES: usize = 16;
const EVERY: Duration = Duration::from_millis(500);

/// Between two looks at the daemon.
const LOOK: Duration = Duration::from_millis(50);

/// What is given back is given back by then.
const REST: Duration = Duration::from_secs(3);

/// Two runs, and what they cost.
struct Both {
    adapters: [Vec<u8>; 2],
    used: [Usage; 3],
}

async fn many_classes(daemon: &Daemon) -> Hello {
    Hello {
        n_classes: CLASSES,
        ..hello(daemon).await
    }
}

/// Looks at the daemon until a job has ended.
async fn watched(daemon: &Daemon, id: &str) -> Usage {
    let mut peak = daemon.usage().unwrap();
    loop {
        peak = most(peak, daemon.usage().unwrap());
        let job = json(daemon.addr, &format!("/v1/jobs/{id}")).await;
        if !job["ended_millis"].is_null() {
            assert_eq!(job["state"], "done");
            return peak;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn adapter(daemon: &Daemon, id: &str) -> Vec<u8> {
    adapter_of(daemon.addr, id).await.unwrap()
}

/// Both runs, one after the other; the client of the first has left, so that its speed is no part of it.
async fn undisturbed() -> Both {
    let daemon = daemon().await;
    let before = daemon.usage().unwrap();
    let (first, one) = begun_with(daemon.addr, many_classes(&daemon).await, EPOCHS).await;
    drop(first);
    let peak = watched(&daemon, &one).await;
    let (mut second, other) = begun_with(daemon.addr, hello(&daemon).await, EPOCHS_BESIDE).await;
    done(&mut second).await;
    let adapters = [adapter(&daemon, &one).await, adapter(&daemon, &other).await];
    let after = daemon.usage().unwrap();
    Both {
        adapters,
        used: [before, peak, after],
    }
}

/// Reads a few bytes a second for as long as there are any.
async fn read_slowly(mut socket: TcpStream) {
    let mut some = [0; BYTES];
    while socket.read_exact(&mut some).await.is_ok() {
        tokio::time::sleep(EVERY).await;
    }
}

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn is_dropped_and_holds_nobody_up() {
    let expected = undisturbed().await;
    let mut daemon = daemon().await;
    let before = daemon.usage().unwrap();
    let (slow, one) = begun_with(daemon.addr, many_classes(&daemon).await, EPOCHS).await;
    let reading = tokio::spawn(read_slowly(slow.into_socket().into_inner()));
    let (mut beside, other) = begun_with(daemon.addr, hello(&daemon).await, EPOCHS_BESIDE).await;
    let (peak, ()) = tokio::join!(watched(&daemon, &one), done(&mut beside));
    // Not because its connection was slow to take a message: because too much waits for it.
    let sentence = "a session was not read by its client";
    let said = |daemon: &mut Daemon| daemon.log().contains(sentence).then_some(());
    daemon.eventually(said).await.unwrap();
    reading.abort();
    let adapters = [adapter(&daemon, &one).await, adapter(&daemon, &other).await];
    tokio::time::sleep(REST).await;
    let used = [before, peak, daemon.usage().unwrap()];
    let differences = adapters.iter().zip(&expected.adapters);
    let differences = differences.map(|(actual, expected)| difference(expected, actual));
    let grown = |used: [Usage; 3]| used[1].rss_bytes.saturating_sub(used[0].rss_bytes);
    let more = grown(used).saturating_sub(grown(expected.used));
    Row {
        fault: "slow reader",
        what: format!(
            "{BYTES} bytes every {EVERY:?} of the reports of a run with {CLASSES} classes, {EPOCHS} \
             times 4 MB; another client trains beside it. {} MB above the same run of \
             a client that has left",
            more / 1_000_000
        ),
        struck: 1,
        difference: differences.fold(0.0, f32::max),
        // Their steps may be taken together.
        difference_max: 1e-5,
        used: Some(used),
        told: BTreeMap::from([("let go, its run went on".to_owned(), 1)]),
        ..Row::default()
    }
    .show();
    // What waits, what it has not confirmed, and the same again for messages on their way, and for
    // what an allocator keeps; without a bound it would be 600 MB.
    assert!(more < 4 * OUTGOING_BYTES_MAX as u64, "{more}");
}
