//! The server's half of Cutlayer: it keeps the top of the model and trains an adapter on
//! activations.
//!
//! | module | what |
//! |---|---|
//! | [`args`], [`config`], [`check`] | the settings, where they come from, whether they fit |
//! | [`catalogue`] | the model, its cuts and the files that a client needs |
//! | [`listener`] | accepted connections: TLS, bounds |
//! | [`routes`] | HTTP: catalogue, artifacts, page, health, the door of the WebSocket |
//! | [`connection`] | one WebSocket: bytes, timers, back-pressure |
//! | [`session`] | one session as a pure state machine |
//! | [`state`] | tenants, tokens, jobs and their events, from one start to the next |
//! | [`auth`], [`quota`] | who may do what, and how much of it |
//! | [`adapters`] | adapters that are kept |
//! | [`jobs`] | steering a job, and writing its log |
//! | [`token_command`], [`backup`], [`verify`] | `cutlayer-server token`, `... backup`, `... verify` |
//! | [`store`] | activations on disk |
//! | [`trainer`] | the thread that owns device, top model, adapters and optimizers |
//! | [`error`] | what is refused, and in which words |
//! | [`limits`], [`readiness`], [`shutdown`] | bounds, whether all is well, the end |
//! | [`telemetry`] | log, metrics, request ids |
//!
//! The server cannot name text, tokens or the privacy mechanisms: they are behind a feature of
//! `shared` that it does not enable.

pub mod adapters;
pub mod app;
pub mod args;
pub mod auth;
pub mod backup;
pub mod catalogue;
pub mod check;
pub mod config;
pub mod connection;
pub mod error;
mod hex;
pub mod jobs;
pub mod limits;
pub mod listener;
pub mod origin;
pub mod quota;
pub mod readiness;
pub mod routes;
pub mod session;
pub mod shutdown;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod token_command;
pub mod trainer;
pub mod verify;

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use listener::Door;
use readiness::Stage;

pub use app::{App, Hosts, Origins};

/// Serves until `shutdown` is cancelled and everything in progress has ended, or run out of time.
///
/// From then on `/readyz` says no and new sessions are answered 503, while the listener stays: who
/// asks is told. It closes once the sessions have ended.
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
    let readiness = app.trainer.readiness().clone();
    let sessions = TaskTracker::new();
    let state = routes::State::prepare(app, shutdown.clone(), sessions.clone())
        .await
        .map_err(io::Error::other)?;
    let door = Door::new(listener, state.app.tls.clone(), state.app.connections_max);
    let drained = CancellationToken::new();
    let http = axum::serve(door, routes::router(Arc::new(state)))
        .with_graceful_shutdown(drained.clone().cancelled_owned());
    let draining = async {
        shutdown.cancelled().await;
        readiness.enter(Stage::Stopping);
        sessions.close();
        sessions.wait().await;
        drained.cancel();
    };
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(deadline).await;
    };
    let ended = async {
        let (served, ()) = tokio::join!(http.into_future(), draining);
        // A session that was on its way in when the others had ended.
        sessions.wait().await;
        served
    };
    tokio::select! {
        result = ended => result,
        () = overdue => {
            tracing::warn!(sessions = sessions.len(), "stopped before everything had ended");
            Ok(())
        }
    }
}
