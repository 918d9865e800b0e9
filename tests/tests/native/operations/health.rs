//! `/healthz`, `/readyz`, and what is answered while the daemon stops.

use std::time::Duration;

use server::limits::Timeouts;
use tests::http::{get, send, upgrade_status};
use tests::{Options, RawClient};
use tokio::net::TcpStream;

use crate::samples::{server, server_with};

#[tokio::test]
async fn the_daemon_is_ready_once_its_self_test_has_passed() {
    let server = server().await;
    server.ready().await.unwrap();
    for (path, body) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let response = get(server.addr, path, &[]).await.unwrap();
        assert_eq!((response.status, response.body), (200, body.into()));
        let head = send(server.addr, "HEAD", path, &[]).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let posted = send(server.addr, "POST", path, &[]).await.unwrap();
        assert_eq!(posted.status, 405);
    }
}

/// Breaks when a balancer goes on sending clients, or new clients are cut instead of refused.
#[tokio::test]
async fn a_stopping_daemon_says_so_and_takes_nobody_in() {
    let options = Options {
        timeouts: Timeouts {
            // The raw client does not answer a close frame: the daemon waits this long for it.
            close: Duration::from_secs(3),
            ..Timeouts::default()
        },
        ..Options::default()
    };
    let server = server_with(options).await;
    server.ready().await.unwrap();
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    server.shutdown.cancel();
    let ready = get(server.addr, "/readyz", &[]).await.unwrap();
    assert_eq!(ready.header("retry-after"), Some("5"));
    assert_eq!((ready.status, ready.body), (503, "stopping\n".into()));
    let protocol = ("Sec-WebSocket-Protocol", "cutlayer.v1");
    let status = upgrade_status(server.addr, &[protocol]).await.unwrap();
    assert_eq!(status, 503);
    let alive = get(server.addr, "/healthz", &[]).await.unwrap();
    assert_eq!(alive.status, 200);
    assert_eq!(client.closed().await.unwrap(), Some(1012));
    drop(client);
    let addr = server.addr;
    server.stop().await.unwrap();
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn one_connection_too_many_is_answered_503_and_others_go_on() {
    let options = Options {
        connections_max: 2,
        ..Options::default()
    };
    let server = server_with(options).await;
    let hello = server.hello().await.unwrap();
    // The request for the catalogue gives its slot back a little after its answer.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (_session, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let idle = TcpStream::connect(server.addr).await.unwrap();
    let refused = get(server.addr, "/healthz", &[]).await.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    drop(idle);
    for _ in 0..100 {
        let answer = get(server.addr, "/healthz", &[]).await.unwrap();
        if answer.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a slot that was given back is not used");
}
