//! Several sessions train on one daemon at the same time, and each gets the adapter that it gets when
//! the daemon does nothing else.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use shared::protocol::message::{ClientMessage, ServerMessage, TrainSettings};
use tempfile::TempDir;
use tests::{Options, RawClient, Received, TestServer};

use crate::samples::{server_with, train, upload};

/// Examples, rows of each, examples a step, epochs, and dropout in tenths.
const RUNS: [[u16; 5]; 5] = [
    [16, 5, 2, 8, 0],
    [24, 3, 3, 9, 1],
    [32, 7, 4, 60, 3],
    [12, 9, 2, 11, 2],
    [20, 4, 5, 12, 0],
];
/// The run that is cancelled while the others go on: the one that would last longest.
const CANCELLED: usize = 2;

fn settings([_, _, batch_size, epochs, _]: [u16; 5]) -> TrainSettings {
    TrainSettings {
        batch_size: u32::from(batch_size),
        learning_rate: 1e-3,
        ..train(u32::from(epochs))
    }
}

/// A daemon whose k-th run begins the same each time; where it exports.
async fn daemon() -> (TestServer, TempDir) {
    let exports = tempfile::tempdir().unwrap();
    let options = Options {
        export: Some(exports.path().to_owned()),
        seed: Some(3),
        ..Options::default()
    };
    (server_with(options).await, exports)
}

/// A client whose examples are stored.
async fn client(server: &TestServer, run: [u16; 5]) -> RawClient {
    let [examples, rows, _, _, dropout] = run;
    let mut hello = server.hello().await.unwrap();
    hello.adapter.dropout = f32::from(dropout) / 10.0;
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (upload, payload) = upload(0, u32::from(examples), rows);
    let upload = ClientMessage::Upload(upload);
    client.send(&upload, &payload).await.unwrap();
    let stored = client.message().await.unwrap();
    assert!(matches!(stored, ServerMessage::Acknowledged(_)));
    client
}

async fn begin(client: &mut RawClient, run: [u16; 5]) {
    let train = ClientMessage::Train(settings(run));
    client.send(&train, &[]).await.unwrap();
    let started = client.message().await.unwrap();
    assert!(matches!(started, ServerMessage::TrainStarted { .. }));
}

async fn done(client: &mut RawClient) {
    loop {
        match client.receive().await.unwrap() {
            Received::Message(ServerMessage::TrainDone(_)) => return,
            Received::Message(ServerMessage::Step(_) | ServerMessage::Validation(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The adapters that were exported, in the order of their runs.
fn adapters(exports: &Path) -> Vec<Vec<u8>> {
    let number = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.rsplit('-').next().unwrap().parse::<u64>().unwrap()
    };
    let entries = fs::read_dir(exports).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort_by_key(|path| number(path));
    assert_eq!(found.len(), RUNS.len());
    let read = |path: &std::path::PathBuf| fs::read(path.join("adapter_model.safetensors"));
    found.iter().map(|path| read(path).unwrap()).collect()
}

fn assert_close(left: &[u8], right: &[u8], run: usize) {
    let [left, right] = [left, right].map(|file| SafeTensors::deserialize(file).unwrap());
    assert!(!left.is_empty() && left.len() == right.len());
    for (name, own) in left.tensors() {
        let other = right.tensor(&name).unwrap();
        assert_eq!(own.shape(), other.shape());
        let pairs = own.data().chunks_exact(4).zip(other.data().chunks_exact(4));
        for (a, b) in pairs {
            let [a, b] = [a, b].map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            // Not `> 1e-5`, which would pass over a NaN.
            assert!((a - b).abs() <= 1e-5, "run {run}, {name}: {a} against {b}");
        }
    }
}

/// Breaks when the result of a run depends on who else was running, or on who was cancelled.
#[tokio::test]
async fn runs_at_the_same_time_leave_the_adapters_of_the_runs_one_after_another() {
    let (server, exports) = daemon().await;
    let mut clients = Vec::new();
    for run in RUNS {
        clients.push(client(&server, run).await);
    }
    for (client, run) in clients.iter_mut().zip(RUNS) {
        begin(client, run).await;
    }
    let cancel = ClientMessage::Cancel;
    clients[CANCELLED].send(&cancel, &[]).await.unwrap();
    for client in &mut clients {
        done(client).await;
    }
    let together = adapters(exports.path());

    let (server, exports) = daemon().await;
    for run in RUNS {
        let mut client = client(&server, run).await;
        begin(&mut client, run).await;
        done(&mut client).await;
    }
    let alone = adapters(exports.path());
    for (run, (together, alone)) in together.iter().zip(&alone).enumerate() {
        if run != CANCELLED {
            assert_close(together, alone, run);
        }
    }
    assert_ne!(together[0], together[1]);
}
