//! The native client `cutlayer`: what the page does, from a shell or a script.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line |
//! | [`input`] | files of the owner, read before anything is asked of the server |
//! | [`setup`] | what the commands begin with: connect, read, protect |
//! | [`train`], [`predict`], [`preview`], [`audit`] | the commands |
//! | [`jobs`], [`adapters`] | the commands about what the server keeps |
//! | [`api`], [`watch`] | its HTTP API, and its streams of events |
//! | [`client_side`] | what stays here of a classifier that the server keeps |
//! | [`connection`] | a socket that answers the server's pings while a person thinks |
//! | [`record`] | what was really sent, for an audit |
//! | [`interrupt`] | Ctrl-C |
//! | [`output`], [`tables`], [`listing`] | events and results, for people and for programs |

mod adapters;
mod api;
mod args;
mod audit;
mod client_side;
mod connection;
mod input;
mod interrupt;
mod jobs;
mod listing;
mod output;
mod predict;
mod preview;
mod record;
mod setup;
mod tables;
mod train;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::api::Api;
use crate::args::{Args, Command};
use crate::output::Output;

/// Keeps freed memory for the next tensor: the system's allocator gives large blocks back to the
/// kernel, which clears every page of them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(usage) = args.check() {
        usage.exit();
    }
    let mut output = Output::new(args.command.remote().json);
    match run(&args, &mut output) {
        Ok(code) => code,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.command.remote().server();
    match &args.command {
        Command::Jobs(args) => jobs::run(&args.command, &Api::new(server), output),
        Command::Adapters(args) => {
            adapters::run(&args.command, &Api::new(server), output).map(|()| ExitCode::SUCCESS)
        }
        Command::Train(_) | Command::Predict(_) | Command::Preview(_) | Command::Audit(_) => {
            run_here(args, output).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Runs a command for which a part of the model runs here.
fn run_here(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    // One thread: the futures of a client are not `Send`, in the browser nothing is.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        match &args.command {
            Command::Train(args) => Box::pin(train::run(args, output)).await,
            Command::Predict(args) => Box::pin(predict::run(args, output)).await,
            Command::Preview(args) => Box::pin(preview::run(args, output)).await,
            Command::Audit(args) => Box::pin(audit::run(args, output)).await,
            Command::Jobs(_) | Command::Adapters(_) => Ok(()), // they need no runtime
        }
    });
    // A download that hangs must not hold up the end of the program.
    runtime.shutdown_background();
    done
}
