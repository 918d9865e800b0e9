//! What the daemon has to survive, at full size and with figures.
//!
//! `cargo xtask faults` runs these, reads the line of JSON that each prints, and writes
//! `docs/results/faults.md`. Shorter ones of the same kind run always: `durable`, `resume`,
//! `hostile`.
//!
//! | module | what would break it |
//! |---|---|
//! | `network` | a message that is lost, or has its effect twice, wherever the network fails |
//! | `kills` | a run that does not go on as itself after its process was killed |
//! | `slow_reader` | a client that reads slowly and holds up a run, others, or memory |
//! | `full_disk` | a disk that is full and takes something with it that was acknowledged |
//! | `idle` | connections that say nothing and keep others out, or are never given back |

pub mod figures;
mod full_disk;
mod idle;
mod kills;
mod network;
mod slow_reader;

use shared::protocol::message::Hello;
use tests::daemon::Daemon;
use tests::test_server;

use crate::durable::{SEED, json};

/// Arguments of a daemon whose first run is that of every other one here.
fn seeded<'a>(seed: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--seed", seed], more].concat()
}

/// A daemon whose first run is that of every other one here.
async fn daemon() -> Daemon {
    let seed = SEED.to_string();
    Daemon::start(&seeded(&seed, &[])).await.unwrap()
}

/// A `Hello` that a daemon accepts.
async fn hello(daemon: &Daemon) -> Hello {
    test_server::hello(&json(daemon.addr, "/v1/catalogue").await).unwrap()
}
