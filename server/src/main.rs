//! The daemon `cutlayer-server`: reads the command line, loads the model, serves until it is told
//! to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use server::args::Args;
use server::backup::Copied;
use server::catalogue::Catalogue;
use server::config::ConfigError;
use server::limits::Timeouts;
use server::listener::tls::Tls;
use server::state::{SqliteState, StateHandle, UnixMillis, path_in};
use server::store::DataDirectory;
use server::telemetry::{exporter, traces};
use server::token_command::Invocation;
use server::trainer::{TrainerHandle, TrainerSettings};
use server::{App, Hosts, check, serve, shutdown, telemetry};
use shared::protocol::limits::Limits;
use tokio::net::TcpListener;

/// Keeps freed memory for the next tensor: the system's allocator gives large blocks back to the
/// kernel, which clears every page of them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = match Invocation::read(std::env::args_os()) {
        Ok(Invocation::Serve(args)) => args,
        Ok(Invocation::Token(args)) => {
            args.run(&mut io::stdout(), UnixMillis::now())?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Invocation::Backup(args)) => {
            let Copied { files, bytes } = args.run()?;
            writeln!(
                io::stdout(),
                "the state, and {files} files of {bytes} bytes"
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Invocation::Verify(args)) => {
            return Ok(match args.run(&mut io::stdout())? {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            });
        }
        Err(ConfigError::CommandLine(error)) => error.exit(),
        Err(error) => return Err(error.into()),
    };
    if args.check_config {
        io::stdout().write_all(check::check(&args)?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    run(*args).await?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until it is told to stop.
async fn run(args: Args) -> anyhow::Result<()> {
    args.check()?;
    telemetry::init(args.log_format(), &args.log, io::stderr)?;
    let traces = args.serving.otlp_endpoint.as_ref().map(traces::install);
    let tls = args.serving.tls_files().map(Tls::load).transpose()?;
    let tls = tls.map(Arc::new);
    let shutdown = shutdown::on_signal().context("signal handlers cannot be installed")?;
    if let Some(tls) = &tls {
        tls.reload_on_hangup()
            .context("signal handlers cannot be installed")?;
    }
    // Bound first: whoever waits for the address finds it taken at once, not after the model is
    // loaded.
    let listener = bind(args.listen).await?;
    let address = listener.local_addr()?;
    if let Some(address) = args.serving.metrics_listen {
        serve_metrics(bind(address).await?, &args)?;
    }
    if !address.ip().is_loopback() && tls.is_none() {
        tracing::warn!(%address, "other machines can connect without TLS; have a proxy in front");
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let app = tokio::task::spawn_blocking(move || load(&args, tls)).await??;
    tracing::info!(
        %address,
        model = app.catalogue.model_id(),
        device = app.trainer.device_name(),
        "listening"
    );
    // The one line on standard output: where the page is, for people and for scripts that asked for
    // port 0.
    writeln!(io::stdout(), "{scheme}://{address}/")?;
    serve(listener, app, shutdown).await?;
    if let Some(traces) = traces {
        tokio::task::spawn_blocking(|| traces.finish()).await?;
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

/// Serves metrics as long as the process lives, while the daemon stops too.
fn serve_metrics(listener: TcpListener, args: &Args) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let served = exporter::serve(listener, exporter::install()?, args.data.clone());
    tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    tracing::info!(%address, "metrics");
    Ok(())
}

fn load(args: &Args, tls: Option<Arc<Tls>>) -> anyhow::Result<App> {
    let sealing = args.sealing()?;
    if let Some(key) = sealing.key_id() {
        tracing::info!(%key, "activations, checkpoints and adapters are sealed on disk");
    }
    let data = DataDirectory::open(&args.data)?.with_sealing(sealing)?;
    let state = StateHandle::new(SqliteState::open(&path_in(&args.data))?);
    let catalogue = Catalogue::load(
        &args.model,
        &args.cuts,
        &data.artifacts(),
        Limits::default(),
    )?;
    let training = TrainerSettings {
        export_dir: args.export.clone(),
        seed: args.seed,
        checkpoint_every: Duration::from_secs(u64::from(args.serving.checkpoint_seconds)),
        adapter_bytes_max: args.adapter_memory_max,
    };
    let trainer = TrainerHandle::spawn(&args.model, args.device, training)?;
    let hosts = if args.allow_remote {
        Hosts::Any
    } else {
        Hosts::Loopback
    };
    let serving = &args.serving;
    Ok(App {
        catalogue,
        trainer,
        data,
        state,
        login: args.login(),
        quotas: args.quotas(),
        page: args.page.clone(),
        hosts,
        origins: serving.into(),
        tls,
        connections_max: usize::from(serving.connections_max),
        sessions_max: usize::from(args.sessions_max),
        timeouts: Timeouts {
            shutdown: Duration::from_secs(u64::from(serving.shutdown_seconds)),
            resume: Duration::from_secs(u64::from(serving.resume_window)),
            ..Timeouts::default()
        },
    })
}
