//! What strangers cost: the built daemon, a client with manners beside them, and one attack after
//! the other, each bounded in number and time, all of it on loopback.
//!
//! It prints a line of JSON for each attack: what its clients were told, the daemon's memory
//! and files before, at most and after, and how long the client with manners waited meanwhile.
//! Whether anything is refused by the right code is held by the tests; here are figures.

mod attacks;
mod bystander;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;
use tests::daemon::{Daemon, Usage};
use tokio::runtime::Builder;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use attacks::{ATTACKS, Attack};
use bystander::Waits;

/// Between two looks at the daemon's memory.
const LOOK: Duration = Duration::from_millis(100);

/// What is given back is given back by then.
const REST: Duration = Duration::from_secs(3);

/// Runs every attack.
///
/// # Errors
///
/// When the daemon does not survive one.
pub(crate) async fn run() -> anyhow::Result<()> {
    let daemon = Arc::new(Daemon::start(&[]).await?);
    // What is allocated once, on the first session and the first of everything, is no cost of an
    // attack.
    for attack in &ATTACKS[..1] {
        measure(&daemon, attack).await?;
    }
    for attack in &ATTACKS {
        println!("{}", measure(&daemon, attack).await?);
    }
    let mut daemon = Arc::into_inner(daemon).expect("nothing holds it any more");
    daemon.signal("TERM")?;
    let status = daemon.ended().await?;
    println!("{}", json!({ "ended": status.code() }));
    Ok(())
}

async fn measure(daemon: &Arc<Daemon>, attack: &Attack) -> anyhow::Result<serde_json::Value> {
    let before = daemon.usage()?;
    let ended = CancellationToken::new();
    let waits = Arc::new(Mutex::new(Waits::default()));
    let aside = beside(daemon.clone(), before, waits.clone(), ended.clone());
    // The client with manners is there before anybody else.
    while !aside.is_finished() && waits.lock().await.is_empty() {
        tokio::time::sleep(LOOK).await;
    }
    let started = Instant::now();
    let told = (attack.run)(daemon.addr).await;
    let seconds = started.elapsed().as_secs_f64();
    ended.cancel();
    let (peak, lived) = tokio::task::spawn_blocking(|| aside.join())
        .await?
        .map_err(|_| anyhow!("the thread of the client with manners ended"))??;
    tokio::time::sleep(REST).await;
    let after = daemon.usage()?;
    let waits = std::mem::take(&mut *waits.lock().await);
    Ok(json!({
        "attack": attack.name,
        "what": attack.what,
        "seconds": seconds,
        "told": told,
        "rss_bytes": [before.rss_bytes, peak.rss_bytes, after.rss_bytes],
        "files": [before.files, peak.files, after.files],
        "requests": waits.summary(),
        "bystander": lived.err().map(|error| error.to_string()),
    }))
}

/// What was seen at most, and whether the client with manners was served.
type Aside = anyhow::Result<(Usage, anyhow::Result<()>)>;

/// Looks at the daemon, and is its client with manners, on a thread of their own: what keeps the
/// attackers busy is not to be measured.
fn beside(
    daemon: Arc<Daemon>,
    before: Usage,
    waits: Arc<Mutex<Waits>>,
    ended: CancellationToken,
) -> JoinHandle<Aside> {
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let living = bystander::live(daemon.addr, waits, ended.clone());
            let (peak, lived) = tokio::join!(watch(&daemon, before, ended.clone()), living);
            Ok((peak?, lived))
        })
    })
}

/// The most of everything until the end.
async fn watch(daemon: &Daemon, before: Usage, ended: CancellationToken) -> anyhow::Result<Usage> {
    let mut peak = before;
    while !ended.is_cancelled() {
        let now = daemon.usage()?;
        peak.rss_bytes = peak.rss_bytes.max(now.rss_bytes);
        peak.files = peak.files.max(now.files);
        tokio::time::sleep(LOOK).await;
    }
    Ok(peak)
}
