//! The daemon's process is killed, and starts again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tempfile::TempDir;
use tests::test_server;

use super::{SEED, adapter, begun, events, job_directory, json, stands, undisturbed};
use tests::daemon::Daemon;

/// How often the run is written to disk, in each of the processes that are killed: twice not at all,
/// so that it begins anew, then after every step.
const CHECKPOINT_SECONDS: [&str; 5] = ["1000", "1000", "0", "0", "0"];

async fn start(directory: &Arc<TempDir>, checkpoint_seconds: &str) -> Daemon {
    let seed = SEED.to_string();
    let arguments = ["--seed", &seed, "--checkpoint-seconds", checkpoint_seconds];
    Daemon::start_in(directory.clone(), &arguments)
        .await
        .unwrap()
}

/// Reads a job's log on from a cursor until something is in it.
async fn logged(addr: SocketAddr, id: &str, cursor: &mut u64, kind: &str) {
    for _ in 0..1000 {
        let page = json(
            addr,
            &format!("/v1/jobs/{id}/events?after={cursor}&limit=200"),
        )
        .await;
        *cursor = page["next"].as_u64().unwrap();
        let events = page["events"].as_array().unwrap();
        if events.iter().any(|event| event["kind"] == kind) {
            return;
        }
        if events.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    panic!("{kind} is not in the log");
}

/// Breaks when a run that was killed anywhere does not go on, or goes on as another.
#[tokio::test]
async fn a_run_goes_on_after_every_kill_as_if_nothing_had_been() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let data = directory.path().join("data");
    let mut rng = ChaCha8Rng::seed_from_u64(2);

    let mut daemon = start(&directory, CHECKPOINT_SECONDS[0]).await;
    let catalogue = json(daemon.addr, "/v1/catalogue").await;
    let hello = test_server::hello(&catalogue).unwrap();
    let (client, id) = begun(daemon.addr, hello).await;
    drop(client);
    let checkpoint = job_directory(&data, &id).join("checkpoint");
    let mut cursor = 0;
    logged(daemon.addr, &id, &mut cursor, "started").await;
    for (killed, seconds) in CHECKPOINT_SECONDS.into_iter().enumerate() {
        if killed > 0 {
            daemon = start(&directory, seconds).await;
            logged(daemon.addr, &id, &mut cursor, "resumed").await;
        }
        if seconds == "0" {
            let written = |_: &mut Daemon| checkpoint.is_file().then_some(());
            daemon.eventually(written).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(rng.next_u64() % 60)).await;
        daemon.signal("KILL").unwrap();
        daemon.ended().await.unwrap();
        assert_eq!(checkpoint.is_file(), seconds == "0");
    }

    let daemon = start(&directory, "1000").await;
    stands(daemon.addr, &id, "done").await;
    assert!(adapter(&data, &id) == undisturbed().await);
    assert!(!checkpoint.exists());
    let events = events(daemon.addr, &id).await;
    let resumed = events.iter().filter(|event| event["kind"] == "resumed");
    let at: Vec<_> = resumed
        .map(|event| event["data"]["step"].as_u64().unwrap())
        .collect();
    assert_eq!(at.len(), CHECKPOINT_SECONDS.len());
    assert!(
        at[..2] == [0, 0] && at[2..].iter().all(|step| *step > 0),
        "{at:?}"
    );
}
