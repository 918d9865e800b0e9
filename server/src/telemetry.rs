//! The daemon's log, its metrics, its traces, and the id that connects what belongs to one request.
//!
//! Events hold names, numbers, durations and codes. Records of the `log` crate are not bridged: the
//! WebSocket library writes whole frames there at its finest levels, and no level may put a
//! client's bytes into a log.

pub mod exporter;
pub mod metrics;
pub mod request_id;
pub mod traces;

use tracing::subscriber::{SetGlobalDefaultError, set_global_default};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in EnvFilter's syntax.
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is there.
    #[error("the log was set up before")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Whether a filter can be read.
///
/// # Errors
///
/// For one that cannot.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    EnvFilter::try_new(filter)?;
    Ok(())
}

/// Sets the process's log up; once.
///
/// # Errors
///
/// For a filter that cannot be read, and the second time.
pub fn init<W>(format: LogFormat, filter: &str, writer: W) -> Result<(), TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(writer)
        .with_ansi(false);
    match format {
        LogFormat::Text => set_global_default(builder.finish())?,
        LogFormat::Json => set_global_default(builder.json().finish())?,
    }
    Ok(())
}
