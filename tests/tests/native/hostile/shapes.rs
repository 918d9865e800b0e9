//! Small messages that claim to be large, and large ones that say little: judged by what came.

use shared::protocol::message::{
    AdapterTarget, ClientMessage, ExampleHeader, Predict, RefusalCode, Split, Upload,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use tests::http::{get, raw};
use tests::{Options, RawClient};

use crate::samples::{D_MODEL, assert_serves, server, server_with, train, upload};

/// Examples that claim so many rows each.
fn claimed(examples: u32, seq_length: u16, activations: TensorDescriptor) -> ClientMessage {
    let header = |example_id| ExampleHeader {
        example_id,
        split: Split::Train,
        label: Some(0),
        seq_length,
    };
    ClientMessage::Upload(Upload {
        examples: (0..examples).map(header).collect(),
        activations,
    })
}

fn tensor(dtype: ActivationDtype, rows: u32, columns: u32) -> TensorDescriptor {
    TensorDescriptor {
        dtype,
        rows,
        columns,
    }
}

/// Breaks when memory for a tensor is reserved before its bytes are there.
#[tokio::test]
async fn a_descriptor_of_gigabytes_with_four_bytes_behind_it_is_refused_and_the_session_goes_on() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    for dtype in [
        ActivationDtype::F32,
        ActivationDtype::F16,
        ActivationDtype::Int8,
    ] {
        for (rows, columns) in [
            (u32::MAX, u32::MAX),
            (u32::MAX, D_MODEL),
            (256 * 40, D_MODEL),
            (0, 0),
        ] {
            let upload = claimed(256, 40, tensor(dtype, rows, columns));
            client.send(&upload, &[0; 4]).await.unwrap();
            let refused = client.refusal().await.unwrap();
            let expected = (RefusalCode::WrongShape, false);
            assert_eq!((refused.code, refused.closes), expected, "{rows} {columns}");
        }
    }
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    let (good, payload) = upload(0, 2, 3);
    client
        .send(&ClientMessage::Upload(good), &payload)
        .await
        .unwrap();
    client.message().await.unwrap();
}

/// Breaks when a list is worked through before it is counted.
#[tokio::test]
async fn lists_as_long_as_a_header_holds_are_refused_by_their_length() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello.clone())
        .await
        .unwrap();
    // Twelve bytes an example and more: about as many as 64 KiB hold.
    let many = claimed(4_000, 1, tensor(ActivationDtype::F32, 4_000, D_MODEL));
    client.send(&many, &[0; 4]).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::LimitExceeded, false)
    );
    let mut settings = train(1);
    settings.class_weights = vec![1.0; 15_000];
    let (some, payload) = upload(0, 8, 3);
    client
        .send(&ClientMessage::Upload(some), &payload)
        .await
        .unwrap();
    client.message().await.unwrap();
    let message = ClientMessage::Train(settings);
    client.send(&message, &[]).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::BadSettings, false)
    );
    let predict = ClientMessage::Predict(Predict {
        request_id: 1,
        seq_lengths: vec![1; 30_000],
        activations: tensor(ActivationDtype::F32, 30_000, D_MODEL),
    });
    client.send(&predict, &[0; 4]).await.unwrap();
    let refused = client.refusal().await.unwrap();
    // Nothing was trained that could predict; either way it is not worked through.
    assert!(
        matches!(
            refused.code,
            RefusalCode::LimitExceeded | RefusalCode::WrongPhase
        ),
        "{refused:?}"
    );

    let mut greedy = hello;
    greedy.adapter.targets = vec![AdapterTarget::Query; 16_000];
    let mut client = RawClient::connect(server.addr).await.unwrap();
    let message = ClientMessage::Hello(greedy);
    client.send(&message, &[]).await.unwrap();
    let end = client.refused_for_good().await.unwrap();
    assert_eq!(end, (RefusalCode::BadSettings, Some(1008)));
    assert_serves(&server).await;
}

#[tokio::test]
async fn requests_of_any_size_are_refused_by_http() {
    let server = server().await;
    let request = |target: &str, headers: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            server.addr
        )
    };
    let many: String = (0..500).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X: {}\r\n", "a".repeat(1 << 20));
    let address = format!("/v1/catalogue?q={}", "a".repeat(70_000));
    for (bytes, expected) in [
        (request("/healthz", ""), 200),
        (request("/healthz", &many), 431),
        (request(&address, ""), 414),
        ("\u{0}\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), 400),
    ] {
        let answer = raw(server.addr, bytes.as_bytes()).await.unwrap();
        let status = format!("HTTP/1.1 {expected} ");
        let head: String = answer.chars().take(40).collect();
        assert!(answer.starts_with(&status), "{expected}: {head}");
    }
    // It need not read a megabyte of header to the end; a reset may take the answer back.
    let answer = raw(server.addr, request("/healthz", &long).as_bytes()).await;
    let answer = answer.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "));
    assert_serves(&server).await;
}

/// A body that nobody asked for, as deep as JSON can be.
#[tokio::test]
async fn a_body_that_nobody_asked_for_is_not_read() {
    let server = server().await;
    let deep = "[".repeat(100_000);
    let bytes = format!(
        "POST /v1/jobs/{}/pause HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{deep}",
        "0".repeat(32),
        server.addr,
        deep.len(),
    );
    let answer = raw(server.addr, bytes.as_bytes()).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 404 "));
    assert_serves(&server).await;
}

/// Breaks when a name leads out of the page's directory.
#[tokio::test]
async fn no_address_leads_out_of_the_page() {
    let parent = tempfile::tempdir().unwrap();
    let page = parent.path().join("page");
    std::fs::create_dir(&page).unwrap();
    std::fs::write(page.join("index.html"), "the page").unwrap();
    std::fs::write(parent.path().join("secret"), "canary").unwrap();
    let server = server_with(Options {
        page: Some(page),
        ..Options::default()
    })
    .await;
    let found = get(server.addr, "/index.html", &[]).await.unwrap();
    assert_eq!((found.status, &found.body[..]), (200, &b"the page"[..]));
    for address in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/..%5csecret",
        "/index.html/../../secret",
        "//secret",
        "/%2e%2e%2fsecret%00.html",
        "/....//secret",
    ] {
        let refused = get(server.addr, address, &[]).await.unwrap();
        assert!((400..500).contains(&refused.status), "{address}");
        assert!(!String::from_utf8_lossy(&refused.body).contains("canary"));
    }
}
