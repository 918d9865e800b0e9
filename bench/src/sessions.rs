//! Many sessions at once on one daemon, over loopback, beside one session with the same batch in
//! all; and each adapter beside the one that its run gives when it runs alone.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures_util::future::try_join_all;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use safetensors::SafeTensors;
use serde_json::json;
use shared::protocol::message::{
    ClientMessage, ExampleHeader, Hello, ServerMessage, Split, Upload,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use tests::daemon::Usage;
use tests::{Options, RawClient, Received, TestServer};

use crate::measure::{median, settings};

/// The workload.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Hugging Face directory.
    #[arg(long)]
    model: PathBuf,
    /// Sessions that train at the same time.
    #[arg(long, default_value_t = 16)]
    sessions: u32,
    /// Examples a step of each of them.
    #[arg(long, default_value_t = 8)]
    batch: u32,
    /// Positions of every example.
    #[arg(long, default_value_t = 64)]
    length: u16,
    /// Steps of each run.
    #[arg(long, default_value_t = 12)]
    steps: u32,
    /// Rounds of one session and of many, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// This process: daemon and clients are in it.
const OURSELVES: &str = "self";

/// Of the runs of every daemon here: the k-th has the same start and order in each.
const SEED: u64 = 5;

impl Sessions {
    /// Measures and prints one line.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        tokio::runtime::Runtime::new()?.block_on(self.measure())
    }

    async fn measure(&self) -> anyhow::Result<()> {
        let (mut one, mut many) = (Vec::new(), Vec::new());
        let (mut one_bytes, mut many_bytes) = (0, 0);
        let mut together = Vec::new();
        for _ in 0..self.rounds {
            let (rate, bytes, _) = self.round(1, self.sessions * self.batch).await?;
            one.push(rate);
            one_bytes = one_bytes.max(bytes);
            let (rate, bytes, adapters) = self.round(self.sessions, self.batch).await?;
            many.push(rate);
            many_bytes = many_bytes.max(bytes);
            together = adapters;
        }
        let alone = self.one_after_another().await?;
        ensure!(alone.len() == together.len(), "an adapter is missing");
        let differences = alone
            .iter()
            .zip(&together)
            .map(|(a, b)| largest_difference(a, b));
        let differences: Vec<f32> = differences.collect::<anyhow::Result<_>>()?;
        let ratio = median(&many) / median(&one);
        let line = json!({
            "sessions": self.sessions,
            "batch_of_each": self.batch,
            "length": self.length,
            "steps": self.steps,
            "one_session_examples_per_second": one,
            "many_sessions_examples_per_second": many,
            "ratio_of_medians": ratio,
            "bytes_more_with_one_session": one_bytes,
            "bytes_more_a_session_of_many": many_bytes / u64::from(self.sessions),
            "largest_difference_of_an_adapter_to_its_solo_run":
                differences.iter().copied().fold(0.0, f32::max),
            "threads": std::thread::available_parallelism()?.get(),
        });
        writeln!(io::stdout(), "{line}")?;
        Ok(())
    }

    /// Trains in some sessions at once: examples a second, bytes of memory more than before, and
    /// the adapters in the order of the runs.
    async fn round(&self, sessions: u32, batch: u32) -> anyhow::Result<(f64, u64, Vec<Vec<u8>>)> {
        let daemon = Daemon::start(&self.model).await?;
        let mut clients = Vec::new();
        for _ in 0..sessions {
            clients.push(daemon.client(batch * self.steps, self.length).await?);
        }
        let peak = Peak::watch();
        let before = Usage::of(OURSELVES)?.rss_bytes;
        // One after the other, so that the k-th run is the k-th client's.
        for client in &mut clients {
            let train = ClientMessage::Train(settings(batch));
            client.send(&train, &[]).await?;
            ensure!(
                matches!(client.message().await?, ServerMessage::TrainStarted { .. }),
                "a run did not begin"
            );
        }
        let started = Instant::now();
        try_join_all(clients.iter_mut().map(done)).await?;
        let seconds = started.elapsed().as_secs_f64();
        let bytes = peak.stop().saturating_sub(before);
        let examples = f64::from(sessions * batch * self.steps);
        let adapters = daemon.adapters(sessions as usize)?;
        daemon.stop(clients).await?;
        Ok((examples / seconds, bytes, adapters))
    }

    /// The adapters of the same runs, each alone.
    async fn one_after_another(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let daemon = Daemon::start(&self.model).await?;
        let mut clients = Vec::new();
        for _ in 0..self.sessions {
            let mut client = daemon.client(self.batch * self.steps, self.length).await?;
            let train = ClientMessage::Train(settings(self.batch));
            client.send(&train, &[]).await?;
            done(&mut client).await?;
            clients.push(client);
        }
        let adapters = daemon.adapters(self.sessions as usize)?;
        daemon.stop(clients).await?;
        Ok(adapters)
    }
}

/// A daemon that exports what it trains.
struct Daemon {
    server: TestServer,
    hello: Hello,
    d_model: u32,
    exports: tempfile::TempDir,
}

impl Daemon {
    async fn start(model: &Path) -> anyhow::Result<Self> {
        let exports = tempfile::tempdir()?;
        let options = Options {
            sessions_max: 64,
            export: Some(exports.path().to_owned()),
            seed: Some(SEED),
            ..Options::default()
        };
        let server = TestServer::start_with(model, options).await?;
        server.ready().await?;
        let hello = server.hello().await?;
        let d_model = server.catalogue().await?["d_model"]
            .as_u64()
            .and_then(|width| u32::try_from(width).ok())
            .context("the catalogue does not say how wide an activation is")?;
        Ok(Self {
            server,
            hello,
            d_model,
            exports,
        })
    }

    /// A session with training examples stored and one example to validate with.
    async fn client(&self, train: u32, length: u16) -> anyhow::Result<RawClient> {
        let (mut client, _) = RawClient::welcomed(self.server.addr, self.hello.clone()).await?;
        let examples: Vec<ExampleHeader> = (0..=train)
            .map(|at| ExampleHeader {
                example_id: at,
                split: match at < train {
                    true => Split::Train,
                    false => Split::Validation,
                },
                label: Some(at % 2),
                seq_length: length,
            })
            .collect();
        // Small enough for a frame, however many.
        for part in examples.chunks(32) {
            let rows = u32::from(length) * u32::try_from(part.len())?;
            let mut rng = ChaCha8Rng::seed_from_u64(u64::from(part[0].example_id));
            let numbers = rows * self.d_model;
            let payload: Vec<u8> = (0..numbers)
                .flat_map(|_| (rng.next_u32() as f32 / u32::MAX as f32 - 0.5).to_le_bytes())
                .collect();
            let upload = Upload {
                examples: part.to_vec(),
                activations: TensorDescriptor {
                    dtype: ActivationDtype::F32,
                    rows,
                    columns: self.d_model,
                },
            };
            client
                .send(&ClientMessage::Upload(upload), &payload)
                .await?;
            ensure!(
                matches!(client.message().await?, ServerMessage::Acknowledged(_)),
                "an upload was not acknowledged"
            );
        }
        Ok(client)
    }

    /// The adapters' tensors, by the number of the run.
    fn adapters(&self, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.exports.path())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.rsplit('-').next()?.parse::<u64>().ok());
            let number = number.context("an export is named otherwise")?;
            found.push((number, fs::read(path.join("adapter_model.safetensors"))?));
        }
        ensure!(found.len() == count, "{} adapters of {count}", found.len());
        found.sort_by_key(|(number, _)| *number);
        Ok(found.into_iter().map(|(_, bytes)| bytes).collect())
    }

    async fn stop(self, clients: Vec<RawClient>) -> anyhow::Result<()> {
        drop(clients);
        self.server.stop().await?;
        Ok(())
    }
}

/// Waits for the end of a run.
async fn done(client: &mut RawClient) -> anyhow::Result<()> {
    loop {
        match client.receive().await? {
            Received::Message(ServerMessage::TrainDone(_)) => return Ok(()),
            Received::Message(ServerMessage::Refused(refused)) => bail!("refused: {refused:?}"),
            Received::Message(_) => {}
            Received::Closed(code) => bail!("closed with {code:?}"),
        }
    }
}

/// The largest difference of two adapters' numbers.
fn largest_difference(left: &[u8], right: &[u8]) -> anyhow::Result<f32> {
    let (left, right) = (
        SafeTensors::deserialize(left)?,
        SafeTensors::deserialize(right)?,
    );
    let mut largest = 0.0f32;
    for (name, view) in left.tensors() {
        let other = right.tensor(&name)?;
        ensure!(view.shape() == other.shape(), "shapes of {name} differ");
        let numbers = view.data().as_chunks().0.iter();
        for (a, b) in numbers.zip(other.data().as_chunks().0) {
            largest = largest.max((f32::from_le_bytes(*a) - f32::from_le_bytes(*b)).abs());
        }
    }
    Ok(largest)
}

/// The most memory that this process had while it was watched.
struct Peak {
    stop: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Peak {
    fn watch() -> Self {
        let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (ends, highest): (_, Arc<AtomicU64>) = (stop.clone(), Arc::clone(&bytes));
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let bytes = Usage::of(OURSELVES).map_or(0, |usage| usage.rss_bytes);
                highest.fetch_max(bytes, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            stop,
            bytes,
            thread,
        }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // A watcher that panicked has seen what it has seen.
        let _ = self.thread.join();
        self.bytes.load(Ordering::Relaxed)
    }
}
