//! The client with manners: one session that uploads a little and waits for the acknowledgement,
//! again and again, whatever happens around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::RawClient;
use tests::http::get;
use tests::test_server::hello;
use tests::traffic::upload;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// Between two uploads.
const PAUSE: Duration = Duration::from_millis(20);

/// How long each answer took.
#[derive(Debug, Default)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    /// Whether no answer has come yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number, median, 99th percentile and most, in milliseconds.
    pub(crate) fn summary(&self) -> Value {
        let mut sorted = self.0.clone();
        sorted.sort();
        let at = |share: f64| {
            let place = (sorted.len() as f64 * share) as usize;
            let wait = sorted.get(place).or(sorted.last());
            wait.map(|wait| wait.as_secs_f64() * 1e3)
        };
        json!({ "count": sorted.len(), "median": at(0.5), "p99": at(0.99), "most": at(1.0) })
    }
}

/// Lives until it is told to end.
///
/// # Errors
///
/// When it is not served.
pub(crate) async fn live(
    server: SocketAddr,
    waits: Arc<Mutex<Waits>>,
    ended: CancellationToken,
) -> anyhow::Result<()> {
    let catalogue = get(server, "/v1/catalogue", &[]).await?;
    let hello = hello(&serde_json::from_slice(&catalogue.body)?)?;
    let (mut client, _) = RawClient::welcomed(server, hello).await?;
    for first_id in (0..).step_by(4) {
        let (some, payload) = upload(first_id, 4, 3);
        let asked = Instant::now();
        client.send(&ClientMessage::Upload(some), &payload).await?;
        let answer = client.message().await?;
        waits.lock().await.0.push(asked.elapsed());
        ensure!(
            matches!(answer, ServerMessage::Acknowledged(_)),
            "{answer:?}"
        );
        if ended.is_cancelled() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    client.send(&ClientMessage::Goodbye, &[]).await?;
    client.closed().await?;
    Ok(())
}
