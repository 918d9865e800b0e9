//! What a person relies on who runs the daemon: health, metrics, origins, TLS, the end.

mod daemon;
mod health;
mod metrics;
mod origins;
mod request_id;
mod tls;
