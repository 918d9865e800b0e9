//! More of everything than there is room for: what is above the bound is told so, what is below it
//! goes on.

use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::http::{get, raw};
use tests::{Options, RawClient};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use crate::samples::{assert_serves, server, server_with, serves_soon, upload};

/// Breaks when idle connections are let in without bound, or push a session out that is open.
#[tokio::test]
async fn idle_connections_above_the_bound_end_and_a_session_goes_on() {
    const ROOM: usize = 8;
    const MANY: usize = 400;
    let server = server_with(Options {
        connections_max: ROOM,
        ..Options::default()
    })
    .await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let mut sockets = Vec::new();
    for _ in 0..MANY {
        sockets.push(TcpStream::connect(server.addr).await.unwrap());
    }
    // Whoever is refused is told so, or closed where too many are being told already.
    let mut open = 0;
    for mut socket in sockets {
        let mut answer = String::new();
        let read = timeout(
            Duration::from_millis(500),
            socket.read_to_string(&mut answer),
        );
        match read.await {
            Ok(Ok(_)) => assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 503 "),
                "{answer}"
            ),
            Ok(Err(_)) => {}
            Err(_) => {
                open += 1;
                assert!(
                    open < ROOM,
                    "more connections are open than there is room for"
                );
            }
        }
    }
    let (some, payload) = upload(0, 8, 3);
    client
        .send(&ClientMessage::Upload(some), &payload)
        .await
        .unwrap();
    let answer = client.message().await.unwrap();
    assert!(matches!(answer, ServerMessage::Acknowledged(_)));
    serves_soon(&server).await;
}

/// A hundred upgrades at once: as many sessions as there may be, and nobody waits in vain.
#[tokio::test]
async fn sessions_above_the_bound_are_told_to_come_back() {
    const ROOM: usize = 3;
    let server = server_with(Options {
        sessions_max: ROOM,
        ..Options::default()
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(RawClient::connect(server.addr).await.unwrap());
    }
    let held = clients.drain(..ROOM).collect::<Vec<_>>();
    for mut client in clients {
        assert_eq!(client.closed().await.unwrap(), Some(1013));
    }
    drop(held);
    serves_soon(&server).await;
}

/// Requests of one connection, all sent before an answer is read.
#[tokio::test]
async fn each_of_many_requests_is_refused_by_its_code() {
    const MANY: usize = 500;
    let server = server().await;
    let request = |path: &str, last: bool| {
        let connection = if last { "close" } else { "keep-alive" };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\
             Authorization: Bearer ctl_{}\r\n\r\n",
            server.addr,
            "0".repeat(96)
        )
    };
    for path in ["/v1/jobs", "/v1/adapters", "/v1/catalogue"] {
        let requests: String = (1..=MANY).map(|n| request(path, n == MANY)).collect();
        let answers = raw(server.addr, requests.as_bytes()).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 401 ").count(), MANY, "{path}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), MANY, "{path}");
    }
    assert_eq!(get(server.addr, "/healthz", &[]).await.unwrap().status, 200);
    assert_serves(&server).await;
}

/// Breaks when what a client sends without listening piles up: it is held back, and then let go.
#[tokio::test]
async fn a_client_that_sends_and_does_not_listen_is_let_go() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let mut sent = 0_u32;
    while client.send(&ClientMessage::Pause, &[]).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000_000, "it is still listened to");
    }
    assert!(sent >= server::limits::REFUSALS_MAX);
    assert_serves(&server).await;
}
