//! Traces: one tree of spans from a request to the steps of its run, sent to a collector as OTLP.
//!
//! ```text
//! GET /v1/session          the upgrade; its parent is the caller's span, if the caller recorded one
//!   session                until the connection has ended
//!     run                  from `Train` to the end of the run, at the trainer
//!       step               the first step and every hundredth, with the client's part in it
//! ```
//!
//! The trace id is the request's id ([`super::request_id`]), so a line of the log is found by a trace
//! and the other way round. Spans are made here and nowhere else, and their attributes are those of
//! [`ATTRIBUTES`]: numbers, and words of this program. Neither spans nor events of the log are
//! exported.
//!
//! Without a collector every span is an empty one, and costs as much.

mod export;

use std::cell::Cell;
use std::future::Future;
use std::time::SystemTime;

use axum::http::Method;
use opentelemetry::context::FutureExt;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SdkTracerProvider};
use tracing::Span;
use tracing::span::EnteredSpan;

use super::request_id::RequestId;
use crate::origin::Origin;
use crate::trainer::TrainerEvent;

/// Every attribute that a span may have.
pub const ATTRIBUTES: [&str; 4] = [METHOD, ROUTE, STATUS, STEP];
/// One of the methods that HTTP defines, or `_OTHER`.
const METHOD: &str = "http.request.method";
/// The route's pattern; never the path, which a client writes.
const ROUTE: &str = "http.route";
const STATUS: &str = "http.response.status_code";
const STEP: &str = "cutlayer.step";

/// Of the steps of a run the first has a span, and each whose number this divides.
const STEPS_A_SPAN: u32 = 100;

const SCOPE: &str = "cutlayer";

/// Exports traces until it is told to finish.
#[derive(Debug)]
pub struct Exporting(SdkTracerProvider);

/// Begins to export the process's traces.
pub fn install(collector: &Origin) -> Exporting {
    let provider = SdkTracerProvider::builder()
        .with_id_generator(Ids::default())
        // Whether a caller records is its business.
        .with_sampler(Sampler::AlwaysOn)
        .with_batch_exporter(export::Exporter::to(url(collector)))
        .build();
    global::set_tracer_provider(provider.clone());
    tracing::info!(collector = url(collector), "traces");
    Exporting(provider)
}

/// Where a collector takes traces.
pub fn url(collector: &Origin) -> String {
    format!("{collector}/v1/traces")
}

impl Exporting {
    /// Sends what has ended and is not sent yet; blocks, for a few seconds at most.
    pub fn finish(self) {
        // The exporter has logged why, if it could not.
        let _ = self.0.shutdown();
    }
}

thread_local! {
    /// The trace id of the next span without a parent that this thread begins.
    static NEXT_TRACE: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Gives the first span of a trace the id of its request.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT_TRACE.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

/// A span and its place in a trace; none where nothing is exported. It ends when it is told to, or
/// with its last clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Context);

/// The span of a request to a route.
pub(crate) fn request(id: RequestId, parent: Option<u64>, method: &Method, route: &str) -> Trace {
    let trace = TraceId::from(id.number());
    let around = parent.map_or_else(Context::new, |span| {
        let (span, state) = (SpanId::from(span), TraceState::default());
        let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state);
        Context::new().with_remote_span_context(context)
    });
    let method = known(method);
    let builder = SpanBuilder::from_name(format!("{method} {route}"))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new(METHOD, method),
            KeyValue::new(ROUTE, route.to_owned()),
        ]);
    NEXT_TRACE.set(Some(trace));
    let begun = begin(builder, &around);
    NEXT_TRACE.set(None);
    Trace(begun)
}

/// A method by its name; a client may make one up.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => "_OTHER",
    }
}

fn begin(builder: SpanBuilder, around: &Context) -> Context {
    let tracer = global::tracer_provider().tracer(SCOPE);
    around.with_span(tracer.build_with_context(builder, around))
}

impl Trace {
    /// The span that this task works in.
    pub(crate) fn here() -> Self {
        Self(Context::current())
    }

    /// Begins a span within this one.
    pub(crate) fn begin(&self, name: &'static str) -> Self {
        Self(begin(SpanBuilder::from_name(name), &self.0))
    }

    /// Does some work in this span; it is then [`Self::here`].
    pub(crate) fn around<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        work.with_context(self.0)
    }

    /// Ends the span of a request that was answered.
    pub(crate) fn answered(&self, status: u16) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new(STATUS, i64::from(status)));
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Ends the span.
    pub(crate) fn end(&self) {
        self.0.span().end();
    }
}

/// What a run at the trainer's thread belongs to: the span of the log at its session, and its own of
/// the trace, which ends with this.
#[derive(Debug)]
pub(crate) struct RunTrace {
    log: Span,
    run: Context,
    /// When the step that is at work began: a run that waits for its client takes several turns.
    step_began: Cell<Option<SystemTime>>,
}

impl RunTrace {
    /// Of a run that this task begins.
    pub(crate) fn here() -> Self {
        Self {
            log: Span::current(),
            run: Trace::here().begin("run").0,
            step_began: Cell::new(None),
        }
    }

    /// Writes the log in the session's span.
    pub(crate) fn entered(&self) -> EnteredSpan {
        self.log.clone().entered()
    }

    /// The run takes a turn.
    pub(crate) fn turn_begins(&self) {
        let began = self.step_began.get().unwrap_or_else(SystemTime::now);
        self.step_began.set(Some(began));
    }

    /// The turn has come to this.
    pub(crate) fn turn_ended(&self, events: &[TrainerEvent]) {
        for event in events {
            let TrainerEvent::Step(report) = event else {
                continue;
            };
            let began = self.step_began.take();
            if report.step != 1 && !report.step.is_multiple_of(STEPS_A_SPAN) {
                continue;
            }
            let step = KeyValue::new(STEP, i64::from(report.step));
            let builder = SpanBuilder::from_name("step")
                .with_start_time(began.unwrap_or_else(SystemTime::now))
                .with_attributes([step]);
            begin(builder, &self.run).span().end();
        }
    }

    /// The run has failed.
    pub(crate) fn failed(&self) {
        self.run.span().set_status(Status::error(""));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_a_client_made_up_is_not_repeated() {
        assert_eq!(known(&Method::DELETE), "DELETE");
        let made_up = Method::from_bytes(b"CANARY").unwrap();
        assert_eq!(known(&made_up), "_OTHER");
    }

    /// Breaks when a trace has another id than the lines of its request.
    #[test]
    fn a_trace_has_the_id_that_was_set_once() {
        let ids = Ids::default();
        NEXT_TRACE.set(Some(TraceId::from(7)));
        assert_eq!(ids.new_trace_id(), TraceId::from(7));
        assert_ne!(ids.new_trace_id(), TraceId::from(7));
        assert_ne!(ids.new_span_id(), ids.new_span_id());
    }

    #[test]
    fn traces_go_to_the_path_of_the_specification() {
        let collector = "http://127.0.0.1:4318".parse().unwrap();
        assert_eq!(url(&collector), "http://127.0.0.1:4318/v1/traces");
    }
}
