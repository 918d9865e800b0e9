//! The real daemon in this process: a free port, directories of its own, the CPU.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use server::args::DeviceChoice;
use server::auth::Login;
use server::catalogue::Catalogue;
use server::limits::{ADAPTER_MEMORY_BYTES_MAX, Timeouts};
use server::listener::tls::Tls;
use server::quota::QuotaLimits;
use server::state::{SqliteState, StateHandle, path_in};
use server::store::{DataDirectory, Sealing};
use server::trainer::{TrainerHandle, TrainerSettings};
use server::{App, Hosts, Origins, serve};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, Hello, LabelPlace, PROTOCOL_VERSION,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{http, log};

/// What a test wants to be different.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sessions at the same time.
    pub sessions_max: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Which other pages are let in.
    pub origins: Origins,
    /// What connections are encrypted with.
    pub tls: Option<Arc<Tls>>,
    /// What sessions may ask for.
    pub limits: Limits,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// The built page.
    pub page: Option<PathBuf>,
    /// Where adapters are written.
    pub export: Option<PathBuf>,
    /// Bytes of memory for kept adapters.
    pub adapter_memory_max: u64,
    /// What fixes the randomness of runs.
    pub seed: Option<u64>,
    /// How often a run is written to disk.
    pub checkpoint_every: Duration,
    /// Who is let in without a token.
    pub login: Login,
    /// What one tenant may have.
    pub quotas: QuotaLimits,
    /// A data directory that an earlier daemon worked in.
    pub data: Option<Arc<TempDir>>,
    /// What the data directory is sealed with.
    pub sealing: Sealing,
}

impl Default for Options {
    fn default() -> Self {
        // A raw client does not answer close frames: do not wait long for that.
        let timeouts = Timeouts {
            close: Duration::from_millis(300),
            ..Timeouts::default()
        };
        let limits = Limits::default();
        Self {
            sessions_max: 16,
            connections_max: 512,
            origins: Origins::default(),
            tls: None,
            limits,
            timeouts,
            page: None,
            export: None,
            adapter_memory_max: ADAPTER_MEMORY_BYTES_MAX,
            seed: None,
            checkpoint_every: Duration::from_secs(30),
            login: Login::FromFirstToken,
            quotas: QuotaLimits::default(),
            data: None,
            sealing: Sealing::default(),
        }
    }
}

/// A running daemon.
#[derive(Debug)]
pub struct TestServer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Stops it when cancelled.
    pub shutdown: CancellationToken,
    /// Its state, as the command line sees it.
    pub state: StateHandle,
    data: Arc<TempDir>,
    task: JoinHandle<io::Result<()>>,
}

impl TestServer {
    /// Starts a daemon for a model directory.
    ///
    /// # Errors
    ///
    /// When the model cannot be offered or the port not be bound.
    pub async fn start(model_dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(model_dir, Options::default()).await
    }

    /// Starts a daemon with options.
    ///
    /// # Errors
    ///
    /// When the model cannot be offered or the port not be bound.
    pub async fn start_with(model_dir: &Path, options: Options) -> anyhow::Result<Self> {
        log::capture();
        let data = match options.data {
            Some(data) => data,
            None => Arc::new(tempfile::tempdir()?),
        };
        let state = StateHandle::new(SqliteState::open(&path_in(data.path()))?);
        let directory = DataDirectory::open(data.path())?.with_sealing(options.sealing)?;
        let catalogue = Catalogue::load(model_dir, &[], &directory.artifacts(), options.limits)?;
        let training = TrainerSettings {
            export_dir: options.export,
            seed: options.seed,
            checkpoint_every: options.checkpoint_every,
            adapter_bytes_max: options.adapter_memory_max,
        };
        let trainer = TrainerHandle::spawn(model_dir, DeviceChoice::Cpu, training)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let app = App {
            catalogue,
            trainer,
            data: directory,
            state: state.clone(),
            login: options.login,
            quotas: options.quotas,
            page: options.page,
            hosts: Hosts::Loopback,
            origins: options.origins,
            tls: options.tls,
            connections_max: options.connections_max,
            sessions_max: options.sessions_max,
            timeouts: options.timeouts,
        };
        let task = tokio::spawn(serve(listener, app, shutdown.clone()));
        Ok(Self {
            addr,
            shutdown,
            state,
            data,
            task,
        })
    }

    /// Stops the daemon and waits until it has ended.
    ///
    /// # Errors
    ///
    /// When it failed.
    pub async fn stop(self) -> anyhow::Result<Arc<TempDir>> {
        self.shutdown.cancel();
        self.task.await??;
        Ok(self.data)
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    ///
    /// When it does not in time.
    pub async fn ready(&self) -> anyhow::Result<()> {
        for _ in 0..1000 {
            if http::get(self.addr, "/readyz", &[]).await?.status == 200 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the daemon does not become ready")
    }

    /// The catalogue, as a client sees it.
    ///
    /// # Errors
    ///
    /// When it cannot be fetched or read.
    pub async fn catalogue(&self) -> anyhow::Result<Value> {
        self.catalogue_with(&[]).await
    }

    async fn catalogue_with(&self, headers: &[(&str, &str)]) -> anyhow::Result<Value> {
        let response = http::get(self.addr, "/v1/catalogue", headers).await?;
        anyhow::ensure!(response.status == 200, "answered {}", response.status);
        Ok(serde_json::from_slice(&response.body)?)
    }

    /// A `Hello` for cut 1 in f32 that the server accepts: labels travel, the bottom is frozen.
    ///
    /// # Errors
    ///
    /// When the catalogue does not offer that.
    pub async fn hello(&self) -> anyhow::Result<Hello> {
        hello(&self.catalogue().await?)
    }

    /// As `hello`, for somebody with a token.
    ///
    /// # Errors
    ///
    /// As for `hello`.
    pub async fn hello_as(&self, token: &str) -> anyhow::Result<Hello> {
        let bearer = format!("Bearer {token}");
        hello(&self.catalogue_with(&[("Authorization", &bearer)]).await?)
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Sessions and jobs that have examples on disk.
    ///
    /// # Errors
    ///
    /// When the data directory cannot be read.
    pub fn examples_on_disk(&self) -> io::Result<usize> {
        examples_in(self.data.path())
    }
}

/// A `Hello` for cut 1 in f32 that a server with this catalogue accepts: labels travel, the bottom
/// is frozen.
///
/// # Errors
///
/// When the catalogue does not offer that.
pub fn hello(catalogue: &Value) -> anyhow::Result<Hello> {
    let cuts = catalogue["cuts"].as_array().context("no cuts")?;
    let cut = cuts
        .iter()
        .find(|cut| cut["cut"] == 1)
        .context("no cut 1")?;
    let artifacts = cut["artifacts"].as_array().context("no artifacts")?;
    let bottom = artifacts
        .iter()
        .find(|one| one["precision"] == "f32")
        .context("no f32")?;
    Ok(Hello {
        protocol_version: PROTOCOL_VERSION,
        model_id: catalogue["model_id"]
            .as_str()
            .context("no model_id")?
            .to_owned(),
        bottom_sha256: unhex(bottom["sha256"].as_str().context("no sha256")?)?,
        cut: 1,
        n_classes: 2,
        adapter: AdapterSettings {
            rank: 4,
            alpha: 8.0,
            dropout: 0.0,
            targets: vec![AdapterTarget::Query, AdapterTarget::Value],
        },
        labels: LabelPlace::Server,
        bottom: BottomTraining::Frozen,
    })
}

/// Sessions and jobs that have examples under a data directory.
///
/// # Errors
///
/// When it cannot be read.
pub fn examples_in(data: &Path) -> io::Result<usize> {
    let sessions = std::fs::read_dir(data.join("sessions"))?.count();
    let jobs = std::fs::read_dir(data.join("jobs"))?;
    let jobs = jobs.filter_map(Result::ok);
    let jobs = jobs.filter(|job| job.path().join("examples").exists());
    Ok(sessions + jobs.count())
}

fn unhex(text: &str) -> anyhow::Result<[u8; 32]> {
    anyhow::ensure!(text.len() == 64 && text.is_ascii(), "not a sha256");
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16)?;
    }
    Ok(bytes)
}
