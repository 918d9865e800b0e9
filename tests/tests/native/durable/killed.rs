//! The daemon's process is killed, and starts again.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use server::store::ActivationStore;
use server::trainer::checkpoint::Checkpoint;
use tempfile::TempDir;
use tests::daemon::Daemon;
use tests::test_server;

use super::{EPOCHS, SEED, adapter, begun, events, job_directory, json, stands, undisturbed};
use crate::faults::figures::applied_twice;

/// The first processes are killed before the run was written to disk, so that it begins anew; those
/// after them write it after every step.
const UNWRITTEN: usize = 2;

/// Longer than the whole run takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Examples that the run begins with.
const EXAMPLES: usize = 32;

/// A run whose process was killed again and again, and came to its end.
pub struct Killed {
    /// The step on disk at each kill; 0 for none.
    pub killed_at: Vec<u32>,
    /// The step behind which each later process went on.
    pub resumed_at: Vec<u64>,
    /// Acknowledged examples that were not on disk after one of the kills.
    pub lost: u64,
    /// Steps that were taken again on top of themselves.
    pub twice: u64,
    /// What the run has trained.
    pub adapter: Vec<u8>,
}

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

/// The step of a checkpoint; 0 where there is none.
fn written(checkpoint: &Path) -> u32 {
    Checkpoint::load(checkpoint).map_or(0, |checkpoint| checkpoint.state().step)
}

/// At which steps to kill: before any checkpoint, then at random ones, in order, within about 90
/// steps for each kill: every step is synced there. The last tenth of the run is left to the
/// process that lives.
fn plan(kills: usize, rng: &mut impl Rng) -> Vec<Option<u32>> {
    let within = (90 * kills as u32).min(4 * EPOCHS * 9 / 10);
    let random = (UNWRITTEN..kills).map(|_| 1 + rng.next_u32() % within);
    let mut random: Vec<_> = random.collect();
    random.sort_unstable();
    let unwritten = std::iter::repeat_n(None, UNWRITTEN.min(kills));
    unwritten.chain(random.into_iter().map(Some)).collect()
}

/// Runs while its process is killed so many times at random steps.
pub async fn killed(kills: usize, seed: u64) -> Killed {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let data = directory.path().join("data");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut id, mut cursor) = (String::new(), 0);
    let (mut killed_at, mut lost) = (Vec::new(), 0);
    for (number, at) in plan(kills, &mut rng).into_iter().enumerate() {
        let seconds = at.map_or("1000", |_| "0");
        let mut daemon = start(&directory, seconds).await;
        if number == 0 {
            let catalogue = json(daemon.addr, "/v1/catalogue").await;
            let hello = test_server::hello(&catalogue).unwrap();
            let (client, job) = begun(daemon.addr, hello).await;
            drop(client);
            id = job;
        }
        let kind = if number == 0 { "started" } else { "resumed" };
        logged(daemon.addr, &id, &mut cursor, kind).await;
        let checkpoint = job_directory(&data, &id).join("checkpoint");
        match at {
            None => tokio::time::sleep(Duration::from_millis(rng.next_u64() % 60)).await,
            // As soon as it is there: the run has the rest of its steps to be caught in.
            Some(step) => {
                let reached = async {
                    while written(&checkpoint) < step {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(PATIENCE, reached).await.unwrap();
            }
        }
        daemon.signal("KILL").unwrap();
        daemon.ended().await.unwrap();
        killed_at.push(written(&checkpoint));
        assert_eq!(checkpoint.is_file(), at.is_some());
        let store = ActivationStore::open(&job_directory(&data, &id).join("examples")).unwrap();
        lost += EXAMPLES.saturating_sub(store.len()) as u64;
    }
    let daemon = start(&directory, "1000").await;
    stands(daemon.addr, &id, "done").await;
    let adapter = adapter(&data, &id);
    assert!(!job_directory(&data, &id).join("checkpoint").exists());
    let events = events(daemon.addr, &id).await;
    let resumed = events.iter().filter(|event| event["kind"] == "resumed");
    Killed {
        killed_at,
        resumed_at: resumed
            .map(|event| event["data"]["step"].as_u64().unwrap())
            .collect(),
        lost,
        twice: applied_twice(&events),
        adapter,
    }
}

/// Breaks when a run that was killed anywhere does not go on, or goes on as another.
#[tokio::test]
async fn a_run_goes_on_after_every_kill_as_if_nothing_had_been() {
    let run = killed(5, 2).await;
    assert!(run.adapter == undisturbed().await);
    assert_eq!((run.lost, run.twice), (0, 0));
    let killed_at = run.killed_at.iter().map(|step| u64::from(*step));
    assert!(killed_at.eq(run.resumed_at.iter().copied()));
    let at = &run.resumed_at;
    assert!(
        at[..2] == [0, 0] && at[2..].iter().all(|step| *step > 0),
        "{at:?}"
    );
}
