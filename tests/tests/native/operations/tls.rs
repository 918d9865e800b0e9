//! The daemon under TLS, with the certificate of the tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use server::args::TlsFiles;
use server::listener::tls::Tls;
use shared::protocol::codec::{decode_server, encode_client};
use shared::protocol::limits::Limits;
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::Options;
use tests::assets::repository;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::samples::{server, server_with};

pub(super) fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures/tls").join(name)
}

/// Connects as a client that trusts one certificate and nothing else.
pub(super) async fn connect(
    address: SocketAddr,
    trusted: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(fixture(trusted)).unwrap())
        .unwrap();
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, socket).await
}

fn options() -> Options {
    let files = TlsFiles {
        cert: fixture("test-only-cert.pem"),
        key: fixture("test-only-key.pem"),
    };
    Options {
        tls: Some(Arc::new(Tls::load(files).unwrap())),
        ..Options::default()
    }
}

#[tokio::test]
async fn pages_and_sessions_come_through_tls() {
    let server = server_with(options()).await;
    let mut stream = connect(server.addr, "test-only-cert.pem").await.unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"),
        "{answer}"
    );

    // The same fixture in the clear says what a `Hello` must be.
    let hello = crate::samples::server().await.hello().await.unwrap();
    let stream = connect(server.addr, "test-only-cert.pem").await.unwrap();
    let mut request = "wss://localhost/v1/session".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "cutlayer.v1".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    let frame = encode_client(1, &ClientMessage::Hello(hello), &[]).unwrap();
    socket.send(Message::Binary(frame.into())).await.unwrap();
    let Some(Ok(Message::Binary(frame))) = socket.next().await else {
        panic!("no Welcome")
    };
    let frame = decode_server(&frame, &Limits::default()).unwrap();
    assert!(matches!(frame.message, ServerMessage::Welcome(_)));
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    server.stop().await.unwrap();
}

#[tokio::test]
async fn who_trusts_another_certificate_does_not_connect_and_nor_does_plain_http() {
    let server = server_with(options()).await;
    assert!(
        connect(server.addr, "test-only-other-cert.pem")
            .await
            .is_err()
    );
    assert!(
        tests::http::get(server.addr, "/healthz", &[])
            .await
            .is_err()
    );
    connect(server.addr, "test-only-cert.pem").await.unwrap();
}

#[tokio::test]
async fn without_a_certificate_nothing_is_encrypted() {
    let server = server().await;
    assert!(connect(server.addr, "test-only-cert.pem").await.is_err());
}
