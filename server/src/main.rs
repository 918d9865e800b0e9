//! The daemon `cutlayer-server`: reads the command line, loads the model, serves until it is told
//! to stop.

use std::io::{self, Write};

use anyhow::Context;
use server::args::Args;
use server::catalogue::Catalogue;
use server::limits::Timeouts;
use server::state::{SqliteState, StateHandle, UnixMillis, path_in};
use server::store::DataDirectory;
use server::token_command::Invocation;
use server::trainer::TrainerHandle;
use server::{App, Hosts, serve, shutdown, telemetry};
use shared::protocol::limits::Limits;
use tokio::net::TcpListener;

/// Keeps freed memory for the next tensor: the system's allocator gives large blocks back to the
/// kernel, which clears every page of them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = match Invocation::try_parse_from(std::env::args_os()) {
        Ok(Invocation::Serve(args)) => args,
        Ok(Invocation::Token(args)) => return Ok(args.run(&mut io::stdout(), UnixMillis::now())?),
        Err(error) => error.exit(),
    };
    args.check()?;
    telemetry::init(args.log_format(), &args.log, io::stderr)?;
    let shutdown = shutdown::on_signal().context("signal handlers cannot be installed")?;
    // Bound first: whoever waits for the address finds it taken at once, not after the model is
    // loaded.
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let app = tokio::task::spawn_blocking(move || load(&args)).await??;
    tracing::info!(
        %address,
        model = app.catalogue.model_id(),
        device = app.trainer.device_name(),
        "listening"
    );
    // The one line on standard output: where the page is, for people and for scripts that asked for
    // port 0.
    writeln!(io::stdout(), "http://{address}/")?;
    serve(listener, app, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

fn load(args: &Args) -> anyhow::Result<App> {
    let data = DataDirectory::open(&args.data)?;
    let state = StateHandle::new(SqliteState::open(&path_in(&args.data))?);
    let catalogue = Catalogue::load(
        &args.model,
        &args.cuts,
        &data.artifacts(),
        Limits::default(),
    )?;
    let trainer = TrainerHandle::spawn(&args.model, args.device, args.export.clone(), args.seed)?;
    let hosts = if args.allow_remote {
        Hosts::Any
    } else {
        Hosts::Loopback
    };
    Ok(App {
        catalogue,
        trainer,
        data,
        state,
        login: args.login(),
        quotas: args.quotas(),
        page: args.page.clone(),
        hosts,
        sessions_max: usize::from(args.sessions_max),
        timeouts: Timeouts::default(),
    })
}
