//! Which server, and what is asked of it about jobs and adapters.

use std::path::PathBuf;

use clap::Subcommand;
use client_wasm::server::{AccessToken, Server};

/// Which server, and how its answers are printed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Remote {
    /// Address of the server.
    #[arg(
        long,
        env = "CUTLAYER_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8420",
        value_parser = server,
        global = true
    )]
    server: String,

    /// What the server's operator gave you, where it asks for that; better in the variable, since others can read command
    /// lines.
    #[arg(
        long,
        env = "CUTLAYER_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = AccessToken::new,
        global = true
    )]
    token: Option<AccessToken>,

    /// Print one JSON object a line on standard output instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Remote {
    pub(crate) fn server(&self) -> Server {
        Server::from(&self.server).with_token(self.token.clone())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct JobsArgs {
    #[command(subcommand)]
    pub(crate) command: JobsCommand,

    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What can be asked of jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first.
    List(ListArgs),
    /// Show one job.
    Show(JobArg),
    /// Print what happens to a job until it has ended: 0 if it is done, 1 if it failed, 3 if it was cancelled.
    Watch {
        #[command(flatten)]
        job: JobArg,

        /// Begin behind this event instead of at the first.
        #[arg(long, value_name = "CURSOR", default_value_t = 0)]
        after: u64,
    },
    /// Hold a job after its current step.
    Pause(JobArg),
    /// Go on with a held job.
    Resume(JobArg),
    /// End a job and keep its best adapter.
    Cancel(JobArg),
    /// Delete a job that has ended, with its events and its adapter.
    Delete(JobArg),
    /// Write a job's adapter as a PEFT directory.
    Export {
        #[command(flatten)]
        job: JobArg,

        /// Directory to write; created where needed.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Which job.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArg {
    /// The job's id, as the list shows it.
    #[arg(value_name = "JOB")]
    pub(crate) id: String,
}

/// How much of a list.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Entries at most; all when not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AdaptersArgs {
    #[command(subcommand)]
    pub(crate) command: AdaptersCommand,

    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// What can be asked of adapters that the server keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum AdaptersCommand {
    /// List adapters, newest first.
    List(ListArgs),
    /// Show one adapter.
    Show(AdapterArg),
    /// Give an adapter another name.
    Rename {
        #[command(flatten)]
        adapter: AdapterArg,

        /// 1 to 64 letters, digits, '-', '_' and '.'.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Delete an adapter.
    Delete(AdapterArg),
    /// Write an adapter as a PEFT directory.
    Export {
        #[command(flatten)]
        adapter: AdapterArg,

        /// Directory to write; created where needed.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Let the server keep the adapter of a PEFT directory.
    Import {
        /// Directory with adapter_config.json and adapter_model.safetensors.
        #[arg(value_name = "DIR")]
        directory: PathBuf,

        /// Blocks of the model that clients run.
        #[arg(long, value_name = "N")]
        cut: u32,

        /// Its name at the server; one is made up when not given.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Let an adapter predict where none is named, for its model and cut.
    Default {
        #[command(flatten)]
        adapter: AdapterArg,

        /// Let it be the default no more.
        #[arg(long)]
        off: bool,
    },
}

/// Which adapter.
#[derive(Debug, clap::Args)]
pub(crate) struct AdapterArg {
    /// The adapter's id or name, as the list shows them.
    #[arg(value_name = "ADAPTER")]
    pub(crate) adapter: String,
}

fn server(url: &str) -> Result<String, &'static str> {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err("an address such as http://127.0.0.1:8420 is needed"),
    }
}
