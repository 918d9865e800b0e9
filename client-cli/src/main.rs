//! The native client `cutlayer`: what the page does, from a shell or a script.
//!
//! | module | what |
//! |---|---|
//! | [`args`] | the command line |
//! | [`input`] | files of the owner, read before anything is asked of the server |
//! | [`setup`] | what the commands begin with: connect, read, protect |
//! | [`train`], [`predict`], [`preview`], [`audit`] | the commands |
//! | [`connection`] | a socket that answers the server's pings while a person thinks |
//! | [`record`] | what was really sent, for an audit |
//! | [`interrupt`] | Ctrl-C |
//! | [`output`], [`tables`] | events and results, for people and for programs |

mod args;
mod audit;
mod connection;
mod input;
mod interrupt;
mod output;
mod predict;
mod preview;
mod record;
mod setup;
mod tables;
mod train;

use std::process::ExitCode;

use clap::Parser;

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
    let mut output = Output::new(args.command.common().json);
    match run(&args, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, output: &mut Output) -> anyhow::Result<()> {
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
        }
    });
    // A download that hangs must not hold up the end of the program.
    runtime.shutdown_background();
    done
}
