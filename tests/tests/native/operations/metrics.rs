//! Metrics, fetched over HTTP after a real session.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use server::telemetry::exporter;
use server::telemetry::metrics::{self, Closed, StatusClass, Turned};
use shared::protocol::message::{ClientMessage, RefusalCode, ServerMessage};
use tests::http::{get, upgrade_status};
use tests::{Options, RawClient};
use tokio::net::TcpListener;

use crate::samples::{predict, server_with, train, upload};

/// Lines of one metric: labels as they are written, and the value.
type Samples = BTreeMap<String, Vec<(String, f64)>>;

fn samples(text: &str) -> Samples {
    let mut samples = Samples::new();
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap().to_owned();
        let sample = (labels, value.parse().unwrap());
        samples.entry(name.to_owned()).or_default().push(sample);
    }
    samples
}

fn words<L: Closed>() -> BTreeSet<String> {
    L::ALL.iter().map(|value| value.word().to_owned()).collect()
}

/// Every label and the values that it may have.
fn allowed() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut allowed = BTreeMap::from([
        (Turned::LABEL, words::<Turned>()),
        (StatusClass::LABEL, words::<StatusClass>()),
        (RefusalCode::LABEL, words::<RefusalCode>()),
    ]);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    allowed.insert("version", BTreeSet::from([version]));
    let bounds = metrics::all().flat_map(|metric| metric.buckets);
    let mut bounds: BTreeSet<String> = bounds.map(f64::to_string).collect();
    bounds.insert("+Inf".to_owned());
    allowed.insert("le", bounds);
    allowed
}

/// A session with a run, a prediction and a refusal.
async fn session(server: &tests::TestServer) {
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (batch, payload) = upload(0, 32, 5);
    client
        .send(&ClientMessage::Upload(batch), &payload)
        .await
        .unwrap();
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    let refused = loop {
        if let ServerMessage::Refused(refused) = client.message().await.unwrap() {
            break refused;
        }
    };
    assert_eq!(refused.code, RefusalCode::WrongPhase);
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    while !matches!(client.message().await.unwrap(), ServerMessage::TrainDone(_)) {}
    let (message, payload) = predict(1, 2, 5);
    client.send(&message, &payload).await.unwrap();
    while !matches!(
        client.message().await.unwrap(),
        ServerMessage::Prediction(_)
    ) {}
}

#[tokio::test]
async fn a_scrape_after_a_session_has_every_metric_and_no_unbounded_label() {
    let exporter = exporter::install().unwrap();
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("kept"), [0; 1234]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _serving = tokio::spawn(exporter::serve(listener, exporter, data.path().to_owned()));
    let server = server_with(Options {
        checkpoint_every: Duration::ZERO,
        ..Options::default()
    })
    .await;
    server.ready().await.unwrap();
    session(&server).await;
    let foreign = [
        ("Sec-WebSocket-Protocol", "cutlayer.v1"),
        ("Origin", "https://canary.example"),
    ];
    upgrade_status(server.addr, &foreign).await.unwrap();

    let response = get(address, "/metrics", &[]).await.unwrap();
    assert_eq!(response.status, 200);
    assert!(
        response
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = String::from_utf8(response.body).unwrap();
    let samples = samples(&text);

    // A histogram appears with its first value, and this run asks its client nothing.
    for metric in metrics::all().filter(|metric| metric.name != "cutlayer_client_wait_seconds") {
        let suffixes = ["", "_count"].map(|suffix| format!("{}{suffix}", metric.name));
        let is_there = suffixes.iter().any(|name| samples.contains_key(name));
        assert!(is_there, "{} is missing in\n{text}", metric.name);
        let help = format!("# HELP {} {}", metric.name, metric.help);
        assert!(text.lines().any(|line| line == help), "{help}");
    }

    let allowed = allowed();
    for (name, lines) in &samples {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        assert!(metrics::all().any(|metric| metric.name == base), "{name}");
        for (labels, _) in lines.iter().filter(|(labels, _)| !labels.is_empty()) {
            for label in labels.split(',') {
                let (key, value) = label.split_once('=').unwrap();
                let value = value.trim_matches('"');
                assert!(allowed[key].contains(value), "{name}: {label}");
            }
        }
    }
    assert!(!text.contains("canary") && !text.contains("bert-shaped"));

    let value = |name: &str, labels: &str| {
        let lines = samples.get(name).into_iter().flatten();
        let found = lines
            .filter(|(own, _)| own == labels)
            .map(|(_, value)| *value);
        found.sum::<f64>()
    };
    assert!(value("cutlayer_sessions_opened_total", "") >= 1.0);
    assert!(value("cutlayer_frames_received_total", "") >= 5.0);
    assert!(value("cutlayer_received_bytes_total", "") > 32.0 * 5.0 * 32.0 * 4.0);
    assert!(value("cutlayer_refusals_total", "code=\"wrong_phase\"") >= 1.0);
    assert!(value("cutlayer_connections_refused_total", "reason=\"origin\"") >= 1.0);
    // Four steps of four examples with five rows each.
    assert!(value("cutlayer_forward_seconds_count", "") >= 4.0);
    assert!(value("cutlayer_backward_seconds_count", "") >= 4.0);
    assert!(value("cutlayer_optimizer_seconds_count", "") >= 4.0);
    assert!(value("cutlayer_batch_tokens_sum", "") >= 80.0);
    assert_eq!(value("cutlayer_store_bytes", ""), 1234.0);
    assert!(value("process_start_time_seconds", "") > 1.0e9);
    let other = get(address, "/v1/catalogue", &[]).await.unwrap();
    assert_eq!(other.status, 404);
}
