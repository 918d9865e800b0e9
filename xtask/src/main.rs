//! Every command that a developer, a user on a fresh machine or CI runs: `cargo xtask ...`.
//!
//! It runs the other rooms as programs and depends on none of them, so that it is built in seconds. Each step
//! prints what it does, says "already done" when there is nothing to do, and how long it took; each failure ends
//! with one sentence that says what to install or to do.

#![allow(
    clippy::print_stdout,
    reason = "printing to a person is what this program does"
)]

mod assets;
mod autobahn;
mod bench;
mod browser;
mod check;
mod experiment;
mod faults;
mod fuzz;
mod hostile;
mod ignored;
mod integrity;
mod measured;
mod npm;
mod page;
mod release;
mod report;
mod reproduce;
mod serve;
mod shell;
mod soak;
mod step;
mod system;
mod test;
mod toolchain;
mod types;
mod wasm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, serves and tests Cutlayer.
#[derive(Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything, brings the model and the demo reviews, and serves the page on loopback.
    Serve(serve::Args),
    /// Runs every test, in a real browser too; `.ci/run` calls exactly this.
    Test(test::Args),
    /// Runs formatting, spelling, dependency rules, clippy, doc links and the tests, cheapest first.
    Check(check::Args),
    /// Measures Cutlayer beside a peer in the same run.
    Bench(bench::Args),
    /// Runs an experiment and writes its tables and figures; what is there already is not run again.
    Experiment(experiment::Args),
    /// Fuzzes the decoders, needs nightly; the corpus is read by the tests too.
    Fuzz(fuzz::Args),
    /// Runs Autobahn|Testsuite against the daemon's WebSocket.
    Autobahn,
    /// Measures memory and latency of the daemon while strangers do their worst.
    Hostile,
    /// Lets networks, disks, processes and clients fail, and holds what the daemon makes of it to the undisturbed run.
    Faults,
    /// Runs the daemon for hours under mixed traffic and draws what it used.
    Soak(soak::Args),
    /// Builds the browser client and the page, and prints their sizes and the sha256 of the release.
    Wasm,
    /// Builds the browser client and packs it for pages of others, as `npm pack` does.
    Npm,
    /// Builds the page twice in two directories and compares: some half an hour, not in CI.
    Reproduce(reproduce::Args),
    /// Brings the models and the demo reviews into the cache and checks their sha256.
    Fetch,
    /// Waits until the daemon listens, prints the address and opens a browser (used by `serve`).
    #[command(hide = true)]
    Announce(serve::AnnounceArgs),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // The causes first, the sentence that says what to do last.
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    if let Command::Announce(args) = &cli.command {
        return serve::announce(args);
    }
    let workspace = Workspace::locate()?;
    match cli.command {
        Command::Serve(args) => serve::run(&workspace, &args),
        Command::Test(args) => test::run(&workspace, &args),
        Command::Check(args) => check::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Experiment(args) => experiment::run(&workspace, &args),
        Command::Fuzz(args) => fuzz::run(&workspace, &args),
        Command::Autobahn => autobahn::run(&workspace),
        Command::Hostile => hostile::run(&workspace),
        Command::Faults => faults::run(&workspace),
        Command::Soak(args) => soak::run(&workspace, &args),
        Command::Wasm => {
            assets::fetch(&workspace, assets::SAMPLE)?;
            wasm::build(&workspace).map(|_| ExitCode::SUCCESS)
        }
        Command::Npm => npm::pack(&workspace).map(|_| ExitCode::SUCCESS),
        Command::Reproduce(args) => reproduce::run(&workspace, &args),
        Command::Fetch => assets::fetch(&workspace, assets::ALL).map(|()| ExitCode::SUCCESS),
        Command::Announce(args) => serve::announce(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Breaks when two options of a command collide or a default does not parse.
    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
