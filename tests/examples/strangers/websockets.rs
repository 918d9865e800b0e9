//! What Autobahn|Testsuite is held against: an echo behind the daemon's own door, and the daemon.
//!
//! It prints two addresses, a line each, and serves until its standard input ends:
//!
//! | line | what answers |
//! |---|---|
//! | `echo ws://...` | `server::listener::Door` and `server::connection::bounded`, as for a session; behind them every message comes back |
//! | `session ws://...` | the daemon, whose sessions speak `cutlayer.v1` and echo nothing |

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use server::connection::bounded;
use server::limits::Timeouts;
use server::listener::Door;
use shared::protocol::limits::Limits;
use tests::assets::ModelDirectory;
use tests::{Options, TestServer};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

/// As the daemon's default.
const CONNECTIONS_MAX: usize = 512;

/// Serves both until standard input ends.
///
/// # Errors
///
/// When one of them cannot listen.
pub(crate) async fn run() -> anyhow::Result<()> {
    let model = ModelDirectory::of_reference("bert-shaped")?;
    let options = Options {
        timeouts: Timeouts::default(),
        ..Options::default()
    };
    let daemon = TestServer::start_with(&model.path(), options).await?;
    let echo = serve_echo().await?;
    println!("echo ws://{echo}/");
    println!("session ws://{}/v1/session", daemon.addr);
    io::stdout().flush()?;
    spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    daemon.stop().await?;
    Ok(())
}

async fn serve_echo() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let door = Door::new(listener, None, CONNECTIONS_MAX);
    let router = Router::new().route("/", any(upgrade));
    tokio::spawn(axum::serve(door, router).into_future());
    Ok(address)
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    bounded(upgrade, &Limits::default()).on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    // An error is the end of a connection; the last reads carry the answer to a close frame out.
    while let Some(Ok(message)) = socket.recv().await {
        let is_message = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_message && socket.send(message).await.is_err() {
            return;
        }
    }
}
