//! Runs that outlive their client and their daemon: whatever happens, the adapter is the one of a
//! run that nothing happened to, bit for bit.

mod alone;
mod files;
pub mod killed;
mod restarted;
mod sealed;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use server::state::{AdapterKey, SqliteState, StateStore, TenantName, path_in};
use shared::protocol::message::{ClientMessage, Hello, ServerMessage};
use tempfile::TempDir;
use tests::assets::ModelDirectory;
use tests::{Options, RawClient, TestServer, http};
use tokio::sync::OnceCell;

use crate::samples::{server_with, train, upload};

/// Of every daemon here: the first run of each is the same run.
pub const SEED: u64 = 7;

/// Of the run: 4 steps and a validation each. Long enough to be stopped five times.
pub const EPOCHS: u32 = 500;

/// Longer than any run here.
const NEVER: Duration = Duration::from_secs(100_000);

/// The adapter of the run that nothing happens to.
static UNDISTURBED: OnceCell<Vec<u8>> = OnceCell::const_new();

pub fn options(data: Option<Arc<TempDir>>) -> Options {
    Options {
        seed: Some(SEED),
        checkpoint_every: NEVER,
        data,
        ..Options::default()
    }
}

/// Begins the run, and gives its client and its job.
async fn begun(addr: SocketAddr, hello: Hello) -> (RawClient, String) {
    begun_with(addr, hello, EPOCHS).await
}

pub async fn begun_with(addr: SocketAddr, mut hello: Hello, epochs: u32) -> (RawClient, String) {
    hello.adapter.dropout = 0.1;
    let (mut client, _) = RawClient::welcomed(addr, hello).await.unwrap();
    let (batch, payload) = upload(0, 32, 5);
    let batch = ClientMessage::Upload(batch);
    client.send(&batch, &payload).await.unwrap();
    client.message().await.unwrap();
    let id = train_again(addr, &mut client, epochs).await;
    (client, id)
}

/// Begins a run on what is stored, and gives its job.
pub async fn train_again(addr: SocketAddr, client: &mut RawClient, epochs: u32) -> String {
    let message = ClientMessage::Train(train(epochs));
    client.send(&message, &[]).await.unwrap();
    let started = client.message().await.unwrap();
    let steps_total = 4 * epochs;
    assert_eq!(started, ServerMessage::TrainStarted { steps_total });
    let page = json(addr, "/v1/jobs").await;
    page["jobs"][0]["id"].as_str().unwrap().to_owned()
}

/// Passes over reports to the end of a run.
pub async fn done(client: &mut RawClient) {
    while !matches!(client.message().await.unwrap(), ServerMessage::TrainDone(_)) {}
}

pub async fn json(addr: SocketAddr, path: &str) -> Value {
    let response = http::get(addr, path, &[]).await.unwrap();
    assert_eq!(response.status, 200, "{path}");
    serde_json::from_slice(&response.body).unwrap()
}

pub async fn post(addr: SocketAddr, id: &str, verb: &str) -> u16 {
    let path = format!("/v1/jobs/{id}/{verb}");
    http::send(addr, "POST", &path, &[]).await.unwrap().status
}

/// Waits until a job is in a state, and gives it.
pub async fn stands(addr: SocketAddr, id: &str, state: &str) -> Value {
    let path = format!("/v1/jobs/{id}");
    let mut job = Value::Null;
    for _ in 0..6000 {
        job = json(addr, &path).await;
        if job["state"] == state {
            return job;
        }
        let has_ended = !job["ended_millis"].is_null();
        assert!(!has_ended, "expected {state}; got {job}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("expected {state}; got {job}");
}

/// All jobs, when each of them has ended.
pub async fn ended(addr: SocketAddr) -> Vec<Value> {
    for _ in 0..6000 {
        let page = json(addr, "/v1/jobs").await;
        let jobs = page["jobs"].as_array().unwrap();
        if jobs.iter().all(|job| !job["ended_millis"].is_null()) {
            return jobs.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a job does not end");
}

/// All events of a job.
pub async fn events(addr: SocketAddr, id: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let page = json(
            addr,
            &format!("/v1/jobs/{id}/events?after={next}&limit=200"),
        )
        .await;
        let found = page["events"].as_array().unwrap();
        if found.is_empty() {
            return all;
        }
        all.extend(found.iter().cloned());
        next = page["next"].as_u64().unwrap();
    }
}

/// The names of events that are neither steps nor validations.
fn milestones(events: &[Value]) -> Vec<&str> {
    let kinds = events.iter().map(|event| event["kind"].as_str().unwrap());
    kinds
        .filter(|kind| !matches!(*kind, "step" | "validation"))
        .collect()
}

pub fn job_directory(data: &Path, id: &str) -> PathBuf {
    data.join("jobs").join(id)
}

/// The adapter that a job has left.
fn adapter_of(data: &Path, id: &str) -> AdapterKey {
    let state = SqliteState::open(&path_in(data)).unwrap();
    let tenant = state.tenant(&TenantName::local()).unwrap();
    let adapter = state.adapter_of_job(tenant, id.parse().unwrap()).unwrap();
    adapter.unwrap().key
}

fn adapter(data: &Path, id: &str) -> Vec<u8> {
    let key = adapter_of(data, id).to_string();
    let directory = data.join("adapters").join(key);
    assert!(directory.join("adapter_config.json").is_file());
    std::fs::read(directory.join("adapter_model.safetensors")).unwrap()
}

/// The adapter of the run with its client from the beginning to the end and no checkpoint.
pub async fn undisturbed() -> &'static [u8] {
    let run = async {
        let server = server_with(options(None)).await;
        let hello = server.hello().await.unwrap();
        let (mut client, id) = begun(server.addr, hello).await;
        done(&mut client).await;
        let adapter = adapter(server.data(), &id);
        server.stop().await.unwrap();
        adapter
    };
    UNDISTURBED.get_or_init(|| run).await
}

/// Waits until no examples are on disk.
pub async fn no_examples(server: &TestServer) {
    for _ in 0..400 {
        if server.examples_on_disk().unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("examples are still there");
}

/// Waits until a job has nothing on disk.
async fn nothing_left(data: &Path, id: &str) {
    for _ in 0..400 {
        if !job_directory(data, id).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("files of the job are still there");
}

/// Starts a daemon where another one was; the last request's task may hold the directory a moment
/// longer.
async fn again(options: &Options) -> TestServer {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    for _ in 0..200 {
        if let Ok(server) = TestServer::start_with(&model.path(), options.clone()).await {
            return server;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no daemon starts where another one was");
}
