//! Measures this project's half of a comparison; `cargo xtask bench` runs the peers beside it.

mod measure;
mod sessions;
mod step;

use clap::{Parser, Subcommand};

/// Keeps freed memory for the next tensor: the system's allocator gives large blocks back to the
/// kernel, which clears every page of them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measures one thing and prints one JSON line")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One training step of the top at cut 0.
    Step(step::Step),
    /// Training in many sessions at once.
    Sessions(sessions::Sessions),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().what {
        What::Step(step) => step.run(),
        What::Sessions(sessions) => sessions.run(),
    }
}
