//! The command line of `cutlayer-server`. Every flag is also an environment variable, and a key of
//! the file that `config` reads.

pub mod serving;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

pub use serving::{ServingArgs, TlsFiles};

use crate::auth::Login;
use crate::limits::ADAPTER_MEMORY_BYTES_MAX;
use crate::quota::QuotaLimits;
use crate::store::sealing::{KEY_VARIABLE, KeyError};
use crate::store::{Sealing, StoreKey};
use crate::telemetry::LogFormat;

/// What the trainer computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DeviceChoice {
    /// The GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU; an error if there is none.
    Gpu,
}

/// Keeps the top of a language model and fine-tunes it on activations that clients send.
#[derive(Debug, Clone, Parser)]
#[command(name = "cutlayer-server", version, about)]
#[command(after_help = "cutlayer-server token --help: who may use the daemon\n\
    cutlayer-server backup --help: a copy of the data directory\n\
    cutlayer-server verify --help: whether a page is the page of a release")]
pub struct Args {
    /// Hugging Face directory: config.json, model.safetensors, tokenizer.json.
    #[arg(long, env = "CUTLAYER_MODEL", value_name = "DIR")]
    pub model: PathBuf,

    /// Directory of the built page; without it only the protocol is served.
    #[arg(long, env = "CUTLAYER_PAGE", value_name = "DIR")]
    pub page: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one.
    #[arg(
        long,
        env = "CUTLAYER_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8420"
    )]
    pub listen: SocketAddr,

    /// Allow an address that other machines can reach, and other names than localhost. Everyone then
    /// needs a token (cutlayer-server token create); have TLS, here or in a proxy.
    #[arg(long, env = "CUTLAYER_ALLOW_REMOTE")]
    pub allow_remote: bool,

    /// What to train on.
    #[arg(long, env = "CUTLAYER_DEVICE", value_enum, default_value_t)]
    pub device: DeviceChoice,

    /// Where bottoms and the sessions' activations are kept.
    #[arg(
        long,
        env = "CUTLAYER_DATA",
        value_name = "DIR",
        default_value = "cutlayer-data"
    )]
    pub data: PathBuf,

    /// A file with the key that activations, checkpoints and adapters are sealed with on disk;
    /// CUTLAYER_STORE_KEY may hold the key itself. In the clear without either.
    #[arg(long, env = "CUTLAYER_STORE_KEY_FILE", value_name = "FILE")]
    pub store_key_file: Option<PathBuf>,

    /// Where each finished run's adapter is written, as a PEFT directory.
    #[arg(long, env = "CUTLAYER_EXPORT", value_name = "DIR")]
    pub export: Option<PathBuf>,

    /// Bytes of memory for kept adapters that predict; others are read again when they are asked.
    #[arg(
        long,
        env = "CUTLAYER_ADAPTER_MEMORY_MAX",
        value_name = "BYTES",
        default_value_t = ADAPTER_MEMORY_BYTES_MAX
    )]
    pub adapter_memory_max: u64,

    /// Cuts to offer, such as 0,1,2; all of the model's without it.
    #[arg(
        long,
        env = "CUTLAYER_CUTS",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub cuts: Vec<u32>,

    /// Sessions at the same time.
    #[arg(
        long,
        env = "CUTLAYER_SESSIONS_MAX",
        value_name = "N",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub sessions_max: u16,

    /// For experiments: fixes the adapters' start, the order of batches and dropout of every run.
    #[arg(long, env = "CUTLAYER_SEED", value_name = "N", hide_short_help = true)]
    pub seed: Option<u64>,

    /// Write the log as JSON, one object a line.
    #[arg(long, env = "CUTLAYER_JSON_LOGS")]
    pub json_logs: bool,

    /// What one tenant may have.
    #[command(flatten)]
    pub quotas: QuotaArgs,

    /// What to log, in the syntax of tracing's EnvFilter.
    #[arg(
        long,
        env = "CUTLAYER_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// How the daemon meets the network.
    #[command(flatten)]
    pub serving: ServingArgs,

    /// A TOML file of settings; command line and environment go before it.
    #[arg(long, env = "CUTLAYER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Read everything, say what would be served, and end.
    #[arg(long, env = "CUTLAYER_CHECK_CONFIG")]
    pub check_config: bool,
}

/// What one tenant may have.
#[derive(Debug, Clone, clap::Args)]
pub struct QuotaArgs {
    /// Sessions of one tenant at the same time; as many as of all without it.
    #[arg(long, env = "CUTLAYER_TENANT_SESSIONS_MAX", value_name = "N")]
    pub tenant_sessions_max: Option<u32>,

    /// Bytes of activations that one tenant may have on disk.
    #[arg(
        long,
        env = "CUTLAYER_TENANT_STORE_BYTES_MAX",
        value_name = "N",
        default_value_t = QuotaLimits::default().store_bytes_max
    )]
    pub tenant_store_bytes_max: u64,

    /// Bytes of adapters that one tenant may keep on disk.
    #[arg(
        long,
        env = "CUTLAYER_TENANT_ADAPTER_BYTES_MAX",
        value_name = "N",
        default_value_t = QuotaLimits::default().adapter_bytes_max
    )]
    pub tenant_adapter_bytes_max: u64,

    /// Jobs of one tenant in the queue: those that have not ended.
    #[arg(
        long,
        env = "CUTLAYER_TENANT_QUEUED_JOBS_MAX",
        value_name = "N",
        default_value_t = QuotaLimits::default().queued_jobs_max
    )]
    pub tenant_queued_jobs_max: u32,

    /// Optimizer steps of one tenant in an hour.
    #[arg(
        long,
        env = "CUTLAYER_TENANT_STEPS_PER_HOUR_MAX",
        value_name = "N",
        default_value_t = QuotaLimits::default().steps_per_hour_max
    )]
    pub tenant_steps_per_hour_max: u64,
}

/// The arguments contradict each other.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// The address is reachable from other machines and that was not asked for.
    #[error("{address} can be reached from other machines; {missing}")]
    Remote {
        /// The address.
        address: SocketAddr,
        /// What would have to be said or set up.
        missing: &'static str,
    },
    /// A certificate without its key, or the other way round.
    #[error("--tls-cert and --tls-key belong together; --{missing} is missing")]
    HalfTls {
        /// The flag.
        missing: &'static str,
    },
}

const NO_TLS: &str = "traffic would not be encrypted: set --tls-cert and --tls-key or put a proxy \
    with TLS in front, and say --allow-remote if that is meant";
const NO_LOGIN: &str = "traffic would be encrypted, but who reaches it may use it unless tokens \
    are required: say --allow-remote if that is meant";
const METRICS: &str = "metrics are served in the clear to whoever asks: use an address of a \
    private network, and say --allow-remote if that is meant";

impl Args {
    /// Holds the arguments against each other.
    ///
    /// # Errors
    ///
    /// `Remote` for an address that is not loopback without `--allow-remote`, `HalfTls` for one
    /// file of two.
    pub fn check(&self) -> Result<(), ArgsError> {
        let missing = match (&self.serving.tls_cert, &self.serving.tls_key) {
            (Some(_), None) => return Err(ArgsError::HalfTls { missing: "tls-key" }),
            (None, Some(_)) => {
                return Err(ArgsError::HalfTls {
                    missing: "tls-cert",
                });
            }
            (Some(_), Some(_)) => NO_LOGIN,
            (None, None) => NO_TLS,
        };
        let metrics = self
            .serving
            .metrics_listen
            .map(|address| (address, METRICS));
        for (address, missing) in [(self.listen, missing)].into_iter().chain(metrics) {
            if !address.ip().is_loopback() && !self.allow_remote {
                return Err(ArgsError::Remote { address, missing });
            }
        }
        Ok(())
    }

    /// Who is let in without a token. With `--allow-remote` others come through a proxy, also where
    /// the daemon listens on loopback.
    pub fn login(&self) -> Login {
        if self.listen.ip().is_loopback() && !self.allow_remote {
            Login::FromFirstToken
        } else {
            Login::Always
        }
    }

    /// What the data directory is sealed with: the key of the file or of the environment, or
    /// nothing.
    ///
    /// # Errors
    ///
    /// When both are there, the file cannot be read, or one of them is no key.
    pub fn sealing(&self) -> Result<Sealing, KeyError> {
        let variable = std::env::var_os(KEY_VARIABLE);
        Ok(StoreKey::find(variable, self.store_key_file.as_deref())?.into())
    }

    /// What one tenant may have.
    pub fn quotas(&self) -> QuotaLimits {
        let quotas = &self.quotas;
        QuotaLimits {
            sessions_max: quotas
                .tenant_sessions_max
                .unwrap_or_else(|| self.sessions_max.into()),
            store_bytes_max: quotas.tenant_store_bytes_max,
            adapter_bytes_max: quotas.tenant_adapter_bytes_max,
            queued_jobs_max: quotas.tenant_queued_jobs_max,
            steps_per_hour_max: quotas.tenant_steps_per_hour_max,
        }
    }

    /// How the log is written.
    pub fn log_format(&self) -> LogFormat {
        if self.json_logs {
            LogFormat::Json
        } else {
            LogFormat::Text
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["cutlayer-server", "--model", "m"], more].concat())
    }

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        for argument in Args::command().get_arguments() {
            if let Some(long) = argument
                .get_long()
                .filter(|l| !matches!(*l, "help" | "version"))
            {
                let expected = format!("CUTLAYER_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(
                    argument.get_env().unwrap().to_str(),
                    Some(expected.as_str())
                );
            }
        }
    }

    #[test]
    fn lists_and_choices_are_read() {
        let args = parse(&["--cuts", "0,2", "--device", "cpu"]).unwrap();
        assert_eq!(args.cuts, [0, 2]);
        assert_eq!(args.device, DeviceChoice::Cpu);
        assert_eq!(args.seed, None); // the system's randomness
        assert!(parse(&["--sessions-max", "0"]).is_err());
        assert!(parse(&["--device", "tpu"]).is_err());
    }

    #[test]
    fn who_can_be_reached_asks_for_a_token() {
        let login = |flags: &[&str]| parse(flags).unwrap().login();
        assert_eq!(login(&[]), Login::FromFirstToken);
        assert_eq!(login(&["--listen", "[::1]:0"]), Login::FromFirstToken);
        // A proxy on the same machine.
        assert_eq!(login(&["--allow-remote"]), Login::Always);
        let remote = ["--listen", "0.0.0.0:8420", "--allow-remote"];
        assert_eq!(login(&remote), Login::Always);
    }

    #[test]
    fn quotas_are_those_of_the_flags() {
        assert_eq!(parse(&[]).unwrap().quotas(), QuotaLimits::default());
        // A daemon with more room gives it to its only tenant.
        let more = parse(&["--sessions-max=40"]).unwrap().quotas();
        assert_eq!(more.sessions_max, 40);
        let flags = [
            "--tenant-sessions-max=1",
            "--tenant-store-bytes-max=2",
            "--tenant-queued-jobs-max=3",
            "--tenant-steps-per-hour-max=4",
            "--tenant-adapter-bytes-max=5",
        ];
        let expected = QuotaLimits {
            sessions_max: 1,
            store_bytes_max: 2,
            queued_jobs_max: 3,
            steps_per_hour_max: 4,
            adapter_bytes_max: 5,
        };
        assert_eq!(parse(&flags).unwrap().quotas(), expected);
    }

    #[test]
    fn other_machines_are_let_in_only_on_request() {
        parse(&[]).unwrap().check().unwrap();
        parse(&["--listen", "[::1]:0"]).unwrap().check().unwrap();
        let args = parse(&["--listen", "0.0.0.0:8420"]).unwrap();
        assert!(matches!(
            args.check(),
            Err(ArgsError::Remote {
                missing: NO_TLS,
                ..
            })
        ));
        parse(&["--listen", "0.0.0.0:8420", "--allow-remote"])
            .unwrap()
            .check()
            .unwrap();
    }

    /// Breaks when a daemon with TLS is told that it needs TLS, or metrics leave the machine
    /// unasked.
    #[test]
    fn what_is_still_missing_for_other_machines_is_said() {
        let tls = ["--listen", "0.0.0.0:1", "--tls-cert", "c", "--tls-key", "k"];
        let missing = |args: Args| match args.check() {
            Err(ArgsError::Remote { missing, .. }) => missing,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing(parse(&tls).unwrap()), NO_LOGIN);
        let metrics = parse(&["--metrics-listen", "0.0.0.0:9"]).unwrap();
        assert_eq!(missing(metrics), METRICS);
        parse(&["--metrics-listen", "127.0.0.1:9"])
            .unwrap()
            .check()
            .unwrap();
    }

    #[test]
    fn one_file_of_tls_is_not_enough() {
        for (flag, missing) in [("--tls-cert", "tls-key"), ("--tls-key", "tls-cert")] {
            let args = parse(&[flag, "f"]).unwrap();
            assert_eq!(args.check(), Err(ArgsError::HalfTls { missing }));
            assert_eq!(args.serving.tls_files(), None);
        }
    }
}
