//! One id from the client to the trainer, in every line of the log that belongs together.

use client_wasm::error::ClientError;
use client_wasm::transport::Transport;
use client_wasm::transport::native::NativeTransport;
use serde_json::Value;
use tests::http::get;
use tests::{Options, RawClient};

use crate::samples::{server, server_with, trained};

/// The request id of a line of the log.
fn id(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line["span"]["request_id"].as_str()?.to_owned())
}

#[tokio::test]
async fn a_request_has_the_id_that_it_brought_or_a_new_one() {
    let server = server().await;
    let id = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{id}-b7ad6b7169203331-01");
    let brought = get(server.addr, "/healthz", &[("traceparent", &parent)])
        .await
        .unwrap();
    assert_eq!(brought.header("x-request-id"), Some(id));
    let drawn = get(server.addr, "/healthz?trace=canary", &[])
        .await
        .unwrap();
    let drawn = drawn.header("x-request-id").unwrap().to_owned();
    assert_eq!(drawn.len(), 32);
    // The access log is written before the answer: it has the ids, and no query.
    let log = tests::log::captured();
    for id in [id, &drawn] {
        let line = log
            .lines()
            .find(|line| line.contains(id) && line.contains("answered"))
            .unwrap();
        assert!(
            line.contains("/healthz") && !line.contains("canary"),
            "{line}"
        );
    }
}

/// Breaks when what a person quotes from an error is not found in the log.
#[tokio::test]
async fn the_id_that_a_client_names_is_that_of_its_session() {
    let server = server().await;
    let address = format!("http://{}", server.addr);
    let mut transport = NativeTransport::connect(&address).await.unwrap();
    server.shutdown.cancel();
    let Err(ClientError::Disconnected { reason, .. }) = transport.receive().await else {
        panic!("the server did not close")
    };
    let named = reason.strip_prefix("closed with code 1013; request ");
    let named = named.unwrap().to_owned();
    let log = tests::log::captured();
    let mut opened = log.lines().filter(|line| line.contains("a session opened"));
    assert!(
        opened.any(|line| id(line).as_ref() == Some(&named)),
        "{named}"
    );
}

#[tokio::test]
async fn a_run_at_the_trainer_writes_its_sessions_id() {
    let export = tempfile::tempdir().unwrap();
    let options = Options {
        export: Some(export.path().to_owned()),
        ..Options::default()
    };
    let server = server_with(options).await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    trained(&mut client).await;
    let log = tests::log::captured();
    let directory = export.path().to_str().unwrap();
    let exported = log
        .lines()
        .find(|line| line.contains("adapter exported") && line.contains(directory));
    let of_the_run = id(exported.unwrap()).unwrap();
    let mut opened = log.lines().filter(|line| line.contains("a session opened"));
    assert!(opened.any(|line| id(line).as_ref() == Some(&of_the_run)));
}
