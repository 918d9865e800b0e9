//! The snippets of deploy/ in front of a real daemon: nginx and Caddy as processes.
//!
//! Of a snippet only addresses, names and the places of certificate and key are others here.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use shared::protocol::codec::{decode_server, encode_client};
use shared::protocol::limits::Limits;
use shared::protocol::message::{ClientMessage, ServerMessage};
use tempfile::TempDir;
use tests::TestServer;
use tests::assets::repository;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::tls::{connect, fixture};
use crate::samples::{server, train, upload};

const CERT: &str = "test-only-cert.pem";
const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy with TLS, killed when the test ends.
struct Proxy {
    child: Child,
    addr: SocketAddr,
    directory: TempDir,
}

impl Proxy {
    /// Checks a configuration and starts the proxy with it.
    async fn start(addr: SocketAddr, directory: TempDir, check: &[&str], run: &[&str]) -> Self {
        let command = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command
                .args(&words[1..])
                .env("HOME", directory.path())
                .env("XDG_DATA_HOME", directory.path())
                .env("XDG_CONFIG_HOME", directory.path())
                .env(
                    "PATH",
                    "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/bin",
                )
                .stdin(Stdio::null());
            command
        };
        let checked = command(check).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "{said}");
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = command(run).stderr(log).stdout(Stdio::null()).spawn();
        let child = child.unwrap();
        let mut proxy = Self {
            child,
            addr,
            directory,
        };
        proxy.listens().await;
        proxy
    }

    async fn listens(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect(self.addr).await.is_err() {
            let has_ended = self.child.try_wait().unwrap().is_some();
            let log = std::fs::read_to_string(self.directory.path().join("log"));
            assert!(!has_ended && Instant::now() < give_up, "{log:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The origin of a page that came through this proxy.
    fn origin(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    /// The status of an answer, and what followed its headers.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = connect(self.addr, CERT).await.unwrap();
        let host = format!("localhost:{}", self.addr.port());
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    async fn session(&self, origin: &str) -> Result<WebSocketStream<TlsStream<TcpStream>>, Error> {
        let stream = connect(self.addr, CERT).await.unwrap();
        let url = format!("wss://localhost:{}/v1/session", self.addr.port());
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "cutlayer.v1".parse().unwrap());
        headers.insert("Origin", origin.parse().unwrap());
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(socket)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A snippet with other words in it, each of which must be there.
fn snippet(name: &str, replaced: &[(&str, String)]) -> String {
    let path = repository().join("deploy").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    text
}

fn write(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn nginx(daemon: SocketAddr) -> Proxy {
    let (directory, addr) = (tempfile::tempdir().unwrap(), free());
    let key = fixture("test-only-key.pem");
    let replaced = [
        ("    listen [::]:443 ssl;\n", String::new()),
        ("443", addr.to_string()),
        ("127.0.0.1:8420", daemon.to_string()),
        ("train.example.org;", "localhost;".to_owned()),
        (
            "/etc/ssl/train.example.org/fullchain.pem",
            text(&fixture(CERT)),
        ),
        ("/etc/ssl/train.example.org/key.pem", text(&key)),
    ];
    let snippet = write(
        &directory,
        "snippet.conf",
        &snippet("nginx.conf", &replaced),
    );
    let root = text(directory.path());
    let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places = places.map(|name| format!("{name}_temp_path {root}/{name};\n"));
    let main = format!(
        "daemon off;\nmaster_process off;\npid {root}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}include {snippet};\n}}\n",
        places.concat()
    );
    let main = write(&directory, "nginx.conf", &main);
    let run = ["nginx", "-p", &root, "-c", &main];
    let check = [&run[..], &["-t"]].concat();
    Proxy::start(addr, directory, &check, &run).await
}

async fn caddy(daemon: SocketAddr) -> Proxy {
    let (directory, addr) = (tempfile::tempdir().unwrap(), free());
    let (cert, key) = (text(&fixture(CERT)), text(&fixture("test-only-key.pem")));
    let site = format!(
        "https://localhost:{} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}\n",
        addr.port()
    );
    let replaced = [
        ("train.example.org {\n", site),
        ("127.0.0.1:8420 {", format!("{daemon} {{")),
    ];
    let snippet = snippet("Caddyfile", &replaced);
    let main = format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{snippet}");
    let main = write(&directory, "Caddyfile", &main);
    let rest = ["--adapter", "caddyfile", "--config", &main];
    let check = [&["caddy", "validate"], &rest[..]].concat();
    let run = [&["caddy", "run"], &rest[..]].concat();
    Proxy::start(addr, directory, &check, &run).await
}

/// What a page does: its files, then a run through a WebSocket with its origin.
async fn assert_serves(proxy: &Proxy, server: &TestServer, health: u16) {
    let (status, catalogue) = proxy.get("/v1/catalogue").await;
    assert!(
        status == 200 && catalogue.contains("model_id"),
        "{catalogue}"
    );
    let (status, _) = proxy.get("/v1/artifacts/bottom-1-f16.safetensors").await;
    assert_eq!(status, 200);
    for path in ["/readyz", "/healthz"] {
        assert_eq!(proxy.get(path).await.0, health, "{path}");
    }
    let foreign = proxy.session("https://foreign.example").await;
    let Err(Error::Http(answer)) = foreign else {
        panic!("a page of another origin was let in")
    };
    assert_eq!(answer.status(), 403);

    let mut socket = proxy.session(&proxy.origin()).await.unwrap();
    let hello = server.hello().await.unwrap();
    // More than the bodies of requests may have: 256 * 40 * 32 numbers, 1.3 MB.
    let (batch, payload) = upload(0, 256, 40);
    for (sequence, message, payload) in [
        (1, ClientMessage::Hello(hello), &[][..]),
        (2, ClientMessage::Upload(batch), &payload),
        (3, ClientMessage::Train(train(1)), &[]),
    ] {
        let frame = encode_client(sequence, &message, payload).unwrap();
        socket.send(Message::Binary(frame.into())).await.unwrap();
    }
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(frame))) => {
                let frame = decode_server(&frame, &Limits::default()).unwrap();
                match frame.message {
                    ServerMessage::TrainDone(_) => break,
                    ServerMessage::Refused(refused) => panic!("{refused:?}"),
                    _ => {}
                }
            }
            Some(Ok(_)) => {}
            ended => panic!("{ended:?}"),
        }
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
}

/// Breaks when the snippet is no configuration, or a page behind nginx cannot train.
#[tokio::test]
#[ignore = "needs proxies"]
async fn a_page_trains_behind_nginx() {
    let server = server().await;
    let proxy = nginx(server.addr).await;
    assert_serves(&proxy, &server, 403).await;
}

/// Breaks when the snippet is no configuration, or a page behind Caddy cannot train.
#[tokio::test]
#[ignore = "needs proxies"]
async fn a_page_trains_behind_caddy() {
    let server = server().await;
    let proxy = caddy(server.addr).await;
    assert_serves(&proxy, &server, 404).await;
}
