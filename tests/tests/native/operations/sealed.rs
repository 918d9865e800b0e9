//! A daemon whose data directory is sealed with a key.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use server::store::{Sealing, StoreKey};
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::{Options, RawClient};

use crate::samples::{server_with, train, upload};

/// Every byte of the files of the only session that is open.
fn session_bytes(data: &Path) -> Vec<u8> {
    let mut sessions = fs::read_dir(data.join("sessions")).unwrap();
    let session = sessions.next().unwrap().unwrap().path();
    let files = fs::read_dir(session).unwrap();
    files
        .flat_map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

/// Trains, and gives the losses of all steps and whether the upload lay in the clear meanwhile.
async fn run(sealing: Sealing) -> (Vec<f32>, bool) {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let options = Options {
        seed: Some(7),
        data: Some(data.clone()),
        sealing,
        ..Options::default()
    };
    let server = server_with(options).await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (batch, payload) = upload(0, 16, 5);
    client
        .send(&ClientMessage::Upload(batch), &payload)
        .await
        .unwrap();
    let stored = client.message().await.unwrap();
    assert!(matches!(stored, ServerMessage::Acknowledged(_)));
    let bytes = session_bytes(data.path());
    let row = &payload[..128]; // 32 numbers of f32
    let lies_clear = bytes.windows(row.len()).any(|window| window == row);

    client
        .send(&ClientMessage::Train(train(2)), &[])
        .await
        .unwrap();
    let mut losses = Vec::new();
    loop {
        match client.message().await.unwrap() {
            ServerMessage::Step(report) => losses.extend(report.loss),
            ServerMessage::TrainDone(_) => return (losses, lies_clear),
            _ => {}
        }
    }
}

/// Breaks when a key is set and activations lie in the clear, or a run is another with it.
#[tokio::test]
async fn a_run_is_the_same_whether_its_examples_are_sealed_or_not() {
    let key = StoreKey::parse(&"5c".repeat(32)).unwrap();
    let (sealed, lies_clear) = run(Some(key).into()).await;
    assert!(!lies_clear);
    let (clear, lies_clear) = run(Sealing::default()).await;
    assert!(lies_clear, "what is searched for would be found");
    assert!(!sealed.is_empty());
    assert_eq!(sealed, clear);
}
