//! Where Prometheus fetches the metrics: a listener of its own that answers `GET /metrics` and
//! nothing else.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use super::metrics::{
    BUILD_INFO, CHECKPOINT_FAILURES, CONNECTIONS_REFUSED, Description, HTTP_RESPONSES, Kind,
    PROCESS_START, REFUSALS, SESSIONS_PARKED, SESSIONS_RESUMED, STORE_BYTES, all,
};
use crate::store::usage::bytes_under;

/// How often recorded values are folded into their buckets when nobody fetches them; they pile up
/// in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// The text format of Prometheus.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The buckets of a histogram.
    #[error("the metrics cannot be set up: {0}")]
    Buckets(#[from] BuildError),
    /// Another recorder is there.
    #[error("the metrics were set up before")]
    Twice,
}

/// What was recorded; cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

/// Begins to record, once a process.
///
/// # Errors
///
/// The second time.
pub fn install() -> Result<Exporter, ExporterError> {
    let mut builder = PrometheusBuilder::new();
    for metric in all().filter(|metric| metric.kind == Kind::Histogram) {
        let matcher = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, metric.buckets)?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| ExporterError::Twice)?;
    all().for_each(describe);
    metrics::gauge!(BUILD_INFO.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    PROCESS_START.set(now.map_or(0.0, |now| now.as_secs_f64()));
    SESSIONS_PARKED.set(0.0);
    SESSIONS_RESUMED.add(0);
    CONNECTIONS_REFUSED.begin();
    HTTP_RESPONSES.begin();
    REFUSALS.begin();
    // Rare, and worth an alarm that has seen it at nothing.
    CHECKPOINT_FAILURES.add(0);
    Ok(Exporter { handle })
}

fn describe(metric: &Description) {
    let Description {
        name, unit, help, ..
    } = *metric;
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(name, unit, help),
        Kind::Gauge => metrics::describe_gauge!(name, unit, help),
        Kind::Histogram => metrics::describe_histogram!(name, unit, help),
    }
}

#[derive(Debug, Clone)]
struct Served {
    exporter: Exporter,
    data: PathBuf,
}

/// Serves the metrics; `data` is the directory whose bytes are counted.
///
/// # Errors
///
/// When the listener fails.
pub async fn serve(listener: TcpListener, exporter: Exporter, data: PathBuf) -> io::Result<()> {
    let folding = exporter.handle.clone();
    let upkeep = async move {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            folding.run_upkeep();
        }
    };
    let router = Router::new()
        .route("/metrics", get(scrape))
        .with_state(Served { exporter, data });
    tokio::select! {
        () = upkeep => Ok(()),
        served = axum::serve(listener, router).into_future() => served,
    }
}

async fn scrape(State(served): State<Served>) -> Response {
    let data = served.data;
    // A directory that is just being emptied is no reason to give nothing.
    if let Ok(Ok(bytes)) = tokio::task::spawn_blocking(move || bytes_under(&data)).await {
        STORE_BYTES.set(bytes as f64);
    }
    let text = served.exporter.handle.render();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}
