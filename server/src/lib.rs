//! The server's half of Cutlayer: it keeps the top of the model and trains an adapter on
//! activations.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line |
//! | [`catalogue`] | the model, its cuts and the files that a client needs |
//! | [`routes`] | HTTP: catalogue, artifacts, page, the door of the WebSocket |
//! | [`connection`] | one WebSocket: bytes, timers, back-pressure |
//! | [`session`] | one session as a pure state machine |
//! | [`state`] | tenants, tokens, jobs and their events, from one start to the next |
//! | [`auth`], [`quota`] | who may do what, and how much of it |
//! | [`jobs`] | steering a job, and writing its log |
//! | [`token_command`] | `cutlayer-server token` |
//! | [`store`] | activations on disk |
//! | [`trainer`] | the thread that owns device, top model, adapters and optimizers |
//! | [`error`] | what is refused, and in which words |
//! | [`limits`], [`shutdown`], [`telemetry`] | bounds, the end, the log |
//!
//! The server cannot name text, tokens or the privacy mechanisms: they are behind a feature of
//! `shared` that it does not enable.

pub mod app;
pub mod args;
pub mod auth;
pub mod catalogue;
pub mod connection;
pub mod error;
pub mod jobs;
pub mod limits;
pub mod quota;
pub mod routes;
pub mod session;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod token_command;
pub mod trainer;

use std::io;
use std::sync::Arc;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use app::{App, Hosts};

/// Serves until `shutdown` is cancelled and everything in progress has ended, or run out of time.
///
/// axum's graceful shutdown does not wait for WebSocket sessions (tokio-rs/axum#3003), and waits
/// for slow downloads without bound. Here sessions are tracked and told, and both share
/// `Timeouts::shutdown`.
///
/// # Errors
///
/// When the listener or the state fails.
pub async fn serve(listener: TcpListener, app: App, shutdown: CancellationToken) -> io::Result<()> {
    let deadline = app.timeouts.shutdown;
    let sessions = TaskTracker::new();
    let state = routes::State::prepare(app, shutdown.clone(), sessions.clone())
        .await
        .map_err(io::Error::other)?;
    let listener = listener.tap_io(|socket| {
        // Small messages answer each other here; a socket that refuses the option still works.
        let _ = socket.set_nodelay(true);
    });
    let http = axum::serve(listener, routes::router(Arc::new(state)))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(deadline).await;
    };
    let ended = async {
        http.await?;
        sessions.close();
        sessions.wait().await;
        Ok(())
    };
    tokio::select! {
        result = ended => result,
        () = overdue => {
            tracing::warn!(sessions = sessions.len(), "stopped before everything had ended");
            Ok(())
        }
    }
}
