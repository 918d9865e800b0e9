//! More connections than there is room for, and none of them says a word.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::RawClient;
use tests::daemon::{Daemon, Usage};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::figures::{Row, adapter_of, difference, most};
use super::{daemon, hello};
use crate::durable::{begun_with, done};

/// Connections that are tried.
const MANY: usize = 10_000;

/// What this process has open beside them.
const OTHERS: usize = 500;

/// Connections and sessions that the daemon takes by default.
const ROOM: usize = 512;
const SESSIONS: usize = 16;

/// Connections that are being told that there is no room, and what a daemon opens by itself.
const BESIDE: usize = 64 + 64;

/// Of the well-behaved client's run.
const EPOCHS: u32 = 1000;

/// Longer than a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(25);

/// Whoever is held for so long was let in.
const LET_IN: Duration = Duration::from_secs(10);

/// What is given back is given back by then, also of connections that still waited to be accepted.
const REST: Duration = Duration::from_secs(30);

/// Files that may be open beyond those from before.
const SPARE: usize = 4;

/// Lets this process open as many files as it may; gives how many that are.
fn raise_files() -> usize {
    let limit = |column: usize| -> usize {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let word = line.unwrap().split_whitespace().nth(column).unwrap();
        word.parse().unwrap()
    };
    // Soft in column 3, hard in column 4. Where it cannot be raised, there are fewer connections.
    let (id, hard) = (std::process::id().to_string(), limit(4));
    let mut raise = Command::new("prlimit");
    let _ = raise
        .args(["--pid", &id, &format!("--nofile={hard}:{hard}")])
        .status();
    limit(3)
}

/// One connection that says nothing; what it was told.
async fn idle(server: SocketAddr) -> String {
    let opened = Instant::now();
    let listen = async {
        let mut socket = TcpStream::connect(server).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    match timeout(PATIENCE, listen).await {
        Err(_) => "no end".to_owned(),
        Ok(Err(error)) => error.kind().to_string(),
        Ok(Ok(answer)) if answer.is_empty() && opened.elapsed() > LET_IN => {
            "let in, and closed for saying nothing".to_owned()
        }
        Ok(Ok(answer)) if answer.is_empty() => "closed at once".to_owned(),
        Ok(Ok(answer)) => {
            let status = answer.split(' ').nth(1).unwrap_or("?");
            let is_complete = answer.contains("\r\nRetry-After: ");
            let when = if is_complete { " with Retry-After" } else { "" };
            format!("HTTP {status}{when}")
        }
    }
}

/// So many of them at once.
async fn flood(many: usize, server: SocketAddr) -> BTreeMap<String, usize> {
    let mut running = JoinSet::new();
    for _ in 0..many {
        running.spawn(idle(server));
    }
    let mut told = BTreeMap::new();
    while let Some(said) = running.join_next().await {
        *told.entry(said.unwrap()).or_default() += 1;
    }
    told
}

/// Holds a run before it goes on in the flood.
async fn held(client: &mut RawClient) {
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    while client.message().await.unwrap() != ServerMessage::Paused {}
}

/// Goes on with it when the flood has come, and waits for its end.
async fn goes_on(client: &mut RawClient) {
    sleep(Duration::from_secs(1)).await;
    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    done(client).await;
}

/// The most that the daemon uses while something goes on.
async fn watched<T>(daemon: &Daemon, work: impl Future<Output = T>) -> (T, Usage) {
    tokio::pin!(work);
    let mut peak = daemon.usage().unwrap();
    loop {
        match timeout(Duration::from_millis(50), &mut work).await {
            Ok(done) => return (done, peak),
            Err(_) => peak = most(peak, daemon.usage().unwrap()),
        }
    }
}

/// What the daemon uses once it has few files open, or after [`REST`].
async fn rested(daemon: &Daemon, files: usize) -> Usage {
    let few = async {
        while daemon.usage().unwrap().files > files {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let _ = timeout(REST, few).await; // the caller says what is too many
    daemon.usage().unwrap()
}

/// More sessions than there is room for; how many were told to come back.
async fn sessions_too_many(server: SocketAddr) -> anyhow::Result<usize> {
    let mut clients = Vec::new();
    for _ in 0..3 * SESSIONS {
        clients.push(RawClient::connect(server).await?);
    }
    let mut told = 0;
    for client in &mut clients {
        match timeout(Duration::from_millis(300), client.closed()).await {
            Ok(Ok(Some(1013))) => told += 1,
            Ok(other) => bail!("closed with {other:?}"),
            Err(_) => {}
        }
    }
    Ok(told)
}

async fn undisturbed() -> Vec<u8> {
    let daemon = daemon().await;
    let (mut client, id) = begun_with(daemon.addr, hello(&daemon).await, EPOCHS).await;
    done(&mut client).await;
    adapter_of(daemon.addr, &id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs cargo xtask faults"]
async fn connections_that_say_nothing_keep_nobody_out() {
    let expected = undisturbed().await;
    let may_open = raise_files();
    let many = MANY.min(may_open.saturating_sub(OTHERS));
    let daemon = daemon().await;
    let (mut client, id) = begun_with(daemon.addr, hello(&daemon).await, EPOCHS).await;
    held(&mut client).await;
    let before = daemon.usage().unwrap();
    let both = async { tokio::join!(flood(many, daemon.addr), goes_on(&mut client)) };
    let ((mut told, ()), peak) = watched(&daemon, both).await;
    let after = rested(&daemon, before.files + SPARE).await;
    let busy = sessions_too_many(daemon.addr).await.unwrap();
    let refused = told.get("HTTP 503 with Retry-After").copied().unwrap_or(0);
    told.insert("session: Busy, close 1013".to_owned(), busy);
    let actual = adapter_of(daemon.addr, &id).await.unwrap();
    Row {
        fault: "idle connections",
        what: format!(
            "{many} tried at once (this process may open {may_open} files), {ROOM} let in at most; \
             a client that was there before trains meanwhile. Then {} sessions at once",
            3 * SESSIONS
        ),
        struck: many,
        difference: difference(&expected, &actual),
        used: Some([before, peak, after]),
        told,
        ..Row::default()
    }
    .show();
    assert!(refused > 0, "nobody was told");
    assert!(peak.files <= before.files + ROOM + BESIDE, "{peak:?}");
    assert!(after.files <= before.files + SPARE, "{before:?} {after:?}");
    // Two buffers each of those that are let in, and nothing for those that are not.
    let room = (ROOM * 2 * 64 * 1024) as u64;
    assert!(
        peak.rss_bytes < before.rss_bytes + 2 * room,
        "{before:?} {peak:?}"
    );
    // One place is the client's.
    assert_eq!(busy, 3 * SESSIONS - (SESSIONS - 1));
}
