//! The clients of a soak. Each does its work again and again until it is told to end; what fails is
//! counted, and tried again.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::{Value, json};
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::RawClient;
use tests::http::{get, send, upgrade_status};
use tests::test_server::hello;
use tests::traffic::{predict, train, upload};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Between two rounds of a client.
const PAUSE: Duration = Duration::from_millis(250);

/// Finished jobs that are kept; older ones are removed, as a tenant would.
const JOBS_KEPT: usize = 20;

/// What was done since the beginning.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    trained: AtomicU64,
    predicted: AtomicU64,
    lost: AtomicU64,
    requests: AtomicU64,
    removed: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// As it is written down.
    pub(crate) fn to_json(&self) -> Value {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "trained": read(&self.trained),
            "predicted": read(&self.predicted),
            "lost": read(&self.lost),
            "requests": read(&self.requests),
            "removed": read(&self.removed),
            "refused": read(&self.refused),
            "failed": read(&self.failed),
        })
    }
}

fn count(one: &AtomicU64) {
    one.fetch_add(1, Ordering::Relaxed);
}

/// Does one round after the other until the end.
async fn again<F>(counts: &Counts, ended: &CancellationToken, mut round: impl FnMut(u64) -> F)
where
    F: Future<Output = anyhow::Result<()>>,
{
    for number in 0.. {
        if ended.is_cancelled() {
            return;
        }
        if round(number).await.is_err() {
            count(&counts.failed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn welcomed(server: SocketAddr) -> anyhow::Result<RawClient> {
    let catalogue = get(server, "/v1/catalogue", &[]).await?;
    let hello = hello(&serde_json::from_slice(&catalogue.body)?)?;
    Ok(RawClient::welcomed(server, hello).await?.0)
}

/// A session with 64 examples of 12 positions.
async fn collected(server: SocketAddr) -> anyhow::Result<RawClient> {
    let mut client = welcomed(server).await?;
    for batch in 0..4 {
        let (some, payload) = upload(batch * 16, 16, 12);
        let message = ClientMessage::Upload(some);
        client.send(&message, &payload).await?;
        let answer = client.message().await?;
        ensure!(
            matches!(answer, ServerMessage::Acknowledged(_)),
            "{answer:?}"
        );
    }
    let message = ClientMessage::Train(train(3));
    client.send(&message, &[]).await?;
    Ok(client)
}

/// Uploads, trains, predicts and says goodbye.
pub(crate) async fn trains(server: SocketAddr, counts: Arc<Counts>, ended: CancellationToken) {
    let counts = &*counts;
    again(counts, &ended, move |_| async move {
        let mut client = collected(server).await?;
        loop {
            match client.message().await? {
                ServerMessage::TrainDone(_) => break,
                ServerMessage::Refused(refused) => bail!("refused with {:?}", refused.code),
                _ => {}
            }
        }
        count(&counts.trained);
        for request_id in 1..=10 {
            let (message, payload) = predict(request_id, 4, 12);
            client.send(&message, &payload).await?;
            let answer = client.message().await?;
            ensure!(matches!(answer, ServerMessage::Prediction(_)), "{answer:?}");
            count(&counts.predicted);
        }
        client.send(&ClientMessage::Goodbye, &[]).await?;
        client.closed().await?;
        Ok(())
    })
    .await;
}

/// Uploads, begins to train, and is gone without a word: after one step, after two, and so on.
pub(crate) async fn lost(server: SocketAddr, counts: Arc<Counts>, ended: CancellationToken) {
    let counts = &*counts;
    again(counts, &ended, move |number| async move {
        let mut client = collected(server).await?;
        for _ in 0..number % 7 {
            client.message().await?;
        }
        drop(client);
        count(&counts.lost);
        Ok(())
    })
    .await;
}

/// Asks for everything that there is, and removes jobs that have ended.
pub(crate) async fn polls(server: SocketAddr, counts: Arc<Counts>, ended: CancellationToken) {
    let counts = &*counts;
    again(counts, &ended, move |_| async move {
        for path in [
            "/readyz",
            "/v1/catalogue",
            "/v1/adapters",
            "/v1/openapi.json",
        ] {
            let answer = get(server, path, &[]).await?;
            ensure!(answer.status == 200, "{path}: {}", answer.status);
            count(&counts.requests);
        }
        let page = get(server, "/v1/jobs?limit=200", &[]).await?;
        count(&counts.requests);
        let page: Value = serde_json::from_slice(&page.body)?;
        let jobs = page["jobs"].as_array().into_iter().flatten();
        let has_ended = |job: &&Value| job["ended_millis"].is_u64();
        for job in jobs.filter(has_ended).skip(JOBS_KEPT) {
            let id = job["id"].as_str().unwrap_or_default();
            let path = format!("/v1/jobs/{id}");
            get(server, &format!("{path}/events"), &[]).await?;
            // Another client of this kind may have been faster.
            if send(server, "DELETE", &path, &[]).await?.status == 200 {
                count(&counts.removed);
            }
        }
        Ok(())
    })
    .await;
}

/// Does one wrong thing after the other.
pub(crate) async fn hostile(server: SocketAddr, counts: Arc<Counts>, ended: CancellationToken) {
    let counts = &*counts;
    again(counts, &ended, move |number| async move {
        match number % 6 {
            0 => {
                let mut client = RawClient::connect(server).await?;
                client.send_bytes(vec![0xff; 4096]).await?;
                client.closed().await?;
            }
            1 => {
                let mut client = RawClient::connect(server).await?;
                client.send_text("{}").await?;
                client.closed().await?;
            }
            2 => {
                let mut client = welcomed(server).await?;
                let (mut claim, _) = upload(0, 4, 3);
                claim.activations.rows = u32::MAX;
                let message = ClientMessage::Upload(claim);
                client.send(&message, &[0; 4]).await?;
                client.refusal().await?;
            }
            3 => {
                let headers = [
                    ("Sec-WebSocket-Protocol", "cutlayer.v1"),
                    ("Origin", "http://example.org"),
                ];
                let status = upgrade_status(server, &headers).await?;
                ensure!(status == 403, "{status}");
            }
            4 => {
                let mut socket = TcpStream::connect(server).await?;
                socket.write_all(b"GET /v1/session HTTP/1.1\r\n").await?;
            }
            _ => {
                let token = format!("Bearer ctl_{}", "0".repeat(96));
                let headers = [("Authorization", token.as_str())];
                let answer = get(server, "/v1/jobs", &headers).await?;
                ensure!(answer.status == 401, "{}", answer.status);
            }
        }
        count(&counts.refused);
        Ok(())
    })
    .await;
}
