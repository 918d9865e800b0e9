//! What a person relies on who runs the daemon: health, metrics, traces, origins, TLS, data at
//! rest, backup, a page that is what was released, the end.

mod backup;
mod daemon;
mod earlier_state;
mod health;
mod metrics;
mod origins;
mod proxies;
mod request_id;
mod sealed;
mod tls;
mod traces;
mod verify;
