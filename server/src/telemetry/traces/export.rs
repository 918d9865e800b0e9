//! Spans as OTLP/HTTP with JSON.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp> and the messages of
//! opentelemetry-proto 1.x in the JSON that is said there: ids in hexadecimal, 64-bit numbers as
//! text, enums as numbers. By hand, since what generates it from the `.proto` files weighs more than
//! this.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Value as Json, json};

/// Longest time for one request to the collector. What it does not take is lost: traces are not
/// worth memory.
const SEND_MAX: Duration = Duration::from_secs(3);

/// Sends batches of spans; on a thread of the SDK, which may block.
#[derive(Debug)]
pub(super) struct Exporter {
    agent: ureq::Agent,
    url: String,
    /// Whether the last batch was lost, so that the log says it once.
    is_failing: AtomicBool,
}

impl Exporter {
    pub(super) fn to(url: String) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(SEND_MAX));
        Self {
            agent: config.build().into(),
            url,
            is_failing: AtomicBool::new(false),
        }
    }

    fn send(&self, batch: &[SpanData]) -> Result<(), ureq::Error> {
        let body = request(batch).to_string();
        let sent = self.agent.post(&self.url);
        // An answer of 4xx or 5xx is an error.
        sent.content_type("application/json")
            .send(body.as_bytes())?;
        Ok(())
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.send(&batch);
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Ok(()) => {
                if was_failing {
                    tracing::info!("the collector takes traces again");
                }
                Ok(())
            }
            Err(error) => {
                if !was_failing {
                    tracing::warn!(%error, "the collector does not take traces; they are lost");
                }
                Err(OTelSdkError::InternalFailure(error.to_string()))
            }
        }
    }
}

/// An `ExportTraceServiceRequest`.
fn request(batch: &[SpanData]) -> Json {
    let resource = [
        KeyValue::new("service.name", "cutlayer-server"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let spans: Vec<_> = batch.iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes(&resource) },
            "scopeSpans": [{ "scope": { "name": super::SCOPE }, "spans": spans }],
        }],
    })
}

fn span(span: &SpanData) -> Json {
    let mut json = json!({
        "traceId": span.span_context.trace_id().to_string(),
        "spanId": span.span_context.span_id().to_string(),
        "name": span.name,
        "kind": kind(&span.span_kind),
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes(&span.attributes),
        "status": status(&span.status),
    });
    if span.parent_span_id != SpanId::INVALID {
        json["parentSpanId"] = span.parent_span_id.to_string().into();
    }
    json
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(status: &Status) -> Json {
    match status {
        Status::Unset => json!({}),
        Status::Ok => json!({ "code": 1 }),
        Status::Error { .. } => json!({ "code": 2 }),
    }
}

fn nanos(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos()).to_string()
}

fn attributes(attributes: &[KeyValue]) -> Vec<Json> {
    let values = attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            Value::Bool(value) => json!({ "boolValue": value }),
            Value::I64(value) => json!({ "intValue": value.to_string() }),
            Value::F64(value) => json!({ "doubleValue": value }),
            other => json!({ "stringValue": other.as_str() }),
        };
        json!({ "key": attribute.key.as_str(), "value": value })
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, TraceFlags, TraceId, TraceState};

    use super::*;

    fn data(parent: SpanId) -> SpanData {
        let (trace, id) = (TraceId::from(0x0a), SpanId::from(0x0b));
        let state = TraceState::default();
        SpanData {
            span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, state),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "step".into(),
            start_time: UNIX_EPOCH + Duration::from_nanos(5),
            end_time: UNIX_EPOCH + Duration::from_secs(1),
            attributes: vec![
                KeyValue::new("cutlayer.step", 100_i64),
                KeyValue::new("http.route", "/v1/jobs"),
            ],
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::error("not sent"),
            instrumentation_scope: Default::default(),
        }
    }

    /// Breaks when a collector would not understand it.
    #[test]
    fn a_span_has_the_json_of_the_specification() {
        let expected = json!({
            "traceId": "0000000000000000000000000000000a",
            "spanId": "000000000000000b",
            "parentSpanId": "000000000000000c",
            "name": "step",
            "kind": 2,
            "startTimeUnixNano": "5",
            "endTimeUnixNano": "1000000000",
            "attributes": [
                { "key": "cutlayer.step", "value": { "intValue": "100" } },
                { "key": "http.route", "value": { "stringValue": "/v1/jobs" } },
            ],
            "status": { "code": 2 },
        });
        assert_eq!(span(&data(SpanId::from(0x0c))), expected);
        let root = request(&[data(SpanId::INVALID)]);
        let scope = &root["resourceSpans"][0]["scopeSpans"][0];
        assert_eq!(scope["scope"]["name"], "cutlayer");
        assert_eq!(scope["spans"][0].get("parentSpanId"), None);
        let resource = &root["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(resource["value"]["stringValue"], "cutlayer-server");
    }
}
