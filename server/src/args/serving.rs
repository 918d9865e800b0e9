//! Flags about sockets and time: encryption, other origins, bounds, metrics, checkpoints, the end.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::origin::Origin;

/// How the daemon meets the network.
#[derive(Debug, Clone, clap::Args)]
pub struct ServingArgs {
    /// Certificate chain as PEM, the daemon's own first; with it the daemon speaks TLS. Read again
    /// on SIGHUP.
    #[arg(long, env = "CUTLAYER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate as PEM.
    #[arg(long, env = "CUTLAYER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Where Prometheus may fetch metrics, as plain HTTP; nowhere without it.
    #[arg(long, env = "CUTLAYER_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,

    /// Where traces are sent as OTLP over HTTP, such as `http://127.0.0.1:4318`; nowhere without it.
    #[arg(long, env = "CUTLAYER_OTLP_ENDPOINT", value_name = "ORIGIN")]
    pub otlp_endpoint: Option<Origin>,

    /// Also let pages of this origin open sessions, such as `https://train.example.org`.
    #[arg(
        long,
        env = "CUTLAYER_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origin: Vec<Origin>,

    /// Serve a page that is hosted elsewhere: it may read catalogue and artifacts, and open
    /// sessions.
    #[arg(
        long,
        env = "CUTLAYER_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origin: Vec<Origin>,

    /// Connections at the same time; more are answered 503.
    #[arg(
        long,
        env = "CUTLAYER_CONNECTIONS_MAX",
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub connections_max: u16,

    /// How long a session whose connection was lost waits for its client; 0: it ends at once.
    #[arg(
        long,
        env = "CUTLAYER_RESUME_WINDOW",
        value_name = "SECONDS",
        default_value_t = 120,
        value_parser = clap::value_parser!(u16).range(..=3600)
    )]
    pub resume_window: u16,

    /// How often a run that goes on is written to disk: a crash costs it at most these seconds and a
    /// step. 0 is after every step.
    #[arg(
        long,
        env = "CUTLAYER_CHECKPOINT_SECONDS",
        value_name = "N",
        default_value_t = 30
    )]
    pub checkpoint_seconds: u16,

    /// After SIGTERM, how long sessions and requests may take to end.
    #[arg(
        long,
        env = "CUTLAYER_SHUTDOWN_SECONDS",
        value_name = "N",
        default_value_t = 20,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub shutdown_seconds: u16,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the daemon's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl ServingArgs {
    /// Both files of TLS; none for plain HTTP, or where one of the two is missing.
    pub fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}
