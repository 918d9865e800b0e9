//! What a person relies on who runs the daemon: health, metrics, traces, origins, TLS, backup, the
//! end.

mod backup;
mod daemon;
mod health;
mod metrics;
mod origins;
mod proxies;
mod request_id;
mod tls;
mod traces;
