//! A run whose files are sealed with a key.

use std::sync::Arc;
use std::time::Duration;

use server::store::{DataDirectory, DataDirectoryError, Sealing, StoreKey};
use shared::adapter::peft::TENSORS_FILE;
use tests::assets::ModelDirectory;
use tests::{Options, TestServer, http};

use super::{adapter, adapter_of, again, begun, job_directory, options, stands, undisturbed};
use crate::samples::server_with;

/// Breaks when a run does not go on from what is sealed, its adapter lies in the clear or is not
/// exported, or a daemon with another key, or with none, gives its job up.
#[tokio::test]
async fn a_sealed_run_goes_on_after_a_restart_and_with_its_key_only() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let key = |digit: &str| Sealing::from(StoreKey::parse(&digit.repeat(64)));
    let options = Options {
        sealing: key("a"),
        ..options(Some(data.clone()))
    };
    let server = server_with(options.clone()).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun(server.addr, hello).await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    server.stop().await.unwrap();
    drop(client);
    let checkpoint = std::fs::read(job_directory(data.path(), &id).join("checkpoint")).unwrap();
    assert!(checkpoint.starts_with(b"CUTSEALF"));

    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    for sealing in [key("b"), Sealing::default()] {
        let other = Options {
            sealing,
            ..options.clone()
        };
        let said = loop {
            let refused = TestServer::start_with(&model.path(), other.clone()).await;
            let said = refused.unwrap_err().to_string();
            // The last request's task may hold the directory a moment longer.
            if !said.contains("is in use") {
                break said;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        };
        assert!(said.contains("the key that is set"), "{said}");
    }

    let server = again(&options).await;
    stands(server.addr, &id, "done").await;
    let expected = undisturbed().await;
    let kept = adapter_of(data.path(), &id);
    let path = format!("/v1/adapters/{kept}/files/{TENSORS_FILE}");
    let exported = http::get(server.addr, &path, &[]).await.unwrap();
    assert_eq!(exported.status, 200);
    assert!(exported.body == expected);
    server.stop().await.unwrap();
    assert!(
        adapter(data.path(), &id) != expected,
        "it lies in the clear"
    );
    let directory = loop {
        match DataDirectory::open(data.path()) {
            Ok(directory) => break directory.with_sealing(key("a")).unwrap(),
            Err(DataDirectoryError::InUse { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    };
    let files = directory.adapters().of(kept);
    assert!(files.read().unwrap().tensors == expected);
}
