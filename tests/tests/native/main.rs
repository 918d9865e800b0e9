//! Everything that is tested over real sockets and files, in one binary.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod audit;
mod cli;
mod decoders;
mod durable;
mod exchange;
mod faults;
mod gpu;
mod hostile;
mod operations;
mod peft;
mod pipeline;
mod reading;
mod reference;
mod resume;
mod samples;
mod server_http;
mod server_session;
mod server_training;
mod tenants;
mod tidy;
mod together;
mod wire;
