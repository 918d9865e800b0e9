//! Mixed traffic against the built daemon for as long as is asked: clients that train, clients that
//! are lost, programs that ask about jobs, and clients that do everything wrong.
//!
//! It prints a line of JSON every ten seconds: what the daemon uses and what was done
//! since the beginning. The last line says how it ended. All of it is on loopback, and it stops by
//! itself.

mod clients;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::daemon::{Daemon, bytes_under};
use tests::test_server::examples_in;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use clients::{Counts, hostile, lost, polls, trains};

/// Between two samples.
const PERIOD: Duration = Duration::from_secs(10);

/// Everybody here is one tenant, which takes more steps than a tenant may by default. Clients are lost
/// all the time, and none comes back: for as long as by default their sessions would have all places.
const ARGUMENTS: [&str; 6] = [
    "--log",
    "warn",
    "--tenant-steps-per-hour-max",
    "1000000000",
    "--resume-window",
    "1",
];

/// Clients of each kind at the same time.
const TRAINING: u32 = 3;
const LOST: u32 = 2;
const POLLING: u32 = 2;
const HOSTILE: u32 = 2;

/// Runs for so many seconds, and a little longer until everybody has gone.
///
/// # Errors
///
/// When the daemon does not survive.
pub(crate) async fn run(seconds: u64) -> anyhow::Result<()> {
    let mut daemon = Daemon::start(&ARGUMENTS).await?;
    let counts = Arc::new(Counts::default());
    let ended = CancellationToken::new();
    let mut clients = start(daemon.addr, &counts, &ended);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        line(&sample(&daemon, started, &counts)?)?;
        tokio::time::sleep(PERIOD).await;
    }
    ended.cancel();
    while clients.join_next().await.is_some() {}
    // What a session had is given back by now.
    tokio::time::sleep(PERIOD).await;
    line(&sample(&daemon, started, &counts)?)?;
    daemon.signal("TERM")?;
    let status = daemon.ended().await?;
    let log = daemon.log();
    let warnings = log.lines().filter(|line| line.contains("\"WARN\"")).count();
    let errors = log
        .lines()
        .filter(|line| line.contains("\"ERROR\""))
        .count();
    line(&json!({ "ended": status.code(), "warnings": warnings, "errors": errors }))
}

fn line(value: &Value) -> anyhow::Result<()> {
    println!("{value}");
    Ok(std::io::stdout().flush()?)
}

fn sample(daemon: &Daemon, started: Instant, counts: &Counts) -> anyhow::Result<Value> {
    let usage = daemon.usage()?;
    Ok(json!({
        "seconds": started.elapsed().as_secs(),
        "rss_bytes": usage.rss_bytes,
        "files": usage.files,
        "data_bytes": bytes_under(&daemon.data())?,
        "sessions_on_disk": examples_in(&daemon.data())?,
        "done": counts.to_json(),
    }))
}

fn start(server: SocketAddr, counts: &Arc<Counts>, ended: &CancellationToken) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..TRAINING {
        clients.spawn(trains(server, counts.clone(), ended.clone()));
    }
    for _ in 0..LOST {
        clients.spawn(lost(server, counts.clone(), ended.clone()));
    }
    for _ in 0..POLLING {
        clients.spawn(polls(server, counts.clone(), ended.clone()));
    }
    for _ in 0..HOSTILE {
        clients.spawn(hostile(server, counts.clone(), ended.clone()));
    }
    clients
}
