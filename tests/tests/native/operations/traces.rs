//! One trace from the upgrade to a step at the trainer's thread, as a collector receives it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use server::telemetry::traces::ATTRIBUTES;
use shared::protocol::message::{ClientMessage, ServerMessage};
use shared::protocol::resume::{Received, Resume};
use tests::RawClient;
use tests::http::get;

use tests::daemon::Daemon;

use crate::samples::trained;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Takes what is sent to it over HTTP, until the test's process ends.
struct Collector {
    addr: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let received = spans.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let batch = take(socket.unwrap());
                received.lock().unwrap().extend(batch);
            }
        });
        Self { addr, spans }
    }

    fn spans(&self) -> Vec<Value> {
        self.spans.lock().unwrap().clone()
    }
}

/// The spans of one request, which is answered.
fn take(mut socket: TcpStream) -> Vec<Value> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        request.extend(byte);
    }
    let head = String::from_utf8(request).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/json\r\n"),
        "{head}"
    );
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    socket.write_all(answer.as_bytes()).unwrap();
    let request: Value = serde_json::from_slice(&body).unwrap();
    let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    spans.as_array().unwrap().clone()
}

async fn run(daemon: &Daemon) {
    let catalogue = get(daemon.addr, "/v1/catalogue", &[]).await.unwrap();
    let catalogue: Value = serde_json::from_slice(&catalogue.body).unwrap();
    let hello = tests::test_server::hello(&catalogue).unwrap();
    let mut client = RawClient::connect_traced(daemon.addr, TRACE).await.unwrap();
    client.hello(hello).await.unwrap();
    trained(&mut client).await;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
}

/// Breaks when a part of a session cannot be found by the id that its client names.
#[tokio::test]
async fn a_collector_receives_one_trace_from_the_upgrade_to_a_step() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.addr);
    let mut daemon = Daemon::start(&["--otlp-endpoint", &endpoint])
        .await
        .unwrap();
    run(&daemon).await;
    let path = "/v1/jobs/canary-of-the-path?canary-of-the-query";
    let parent = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    get(daemon.addr, path, &[("traceparent", parent)])
        .await
        .unwrap();
    get(daemon.addr, "/healthz", &[]).await.unwrap();
    daemon.stop().await.unwrap();

    let spans = collector.spans();
    let found = |name: &str| {
        let mut found = spans.iter().filter(|span| span["name"] == name);
        let first = found.next();
        first.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let names = ["GET /v1/session", "session", "run", "step"];
    let mut above: Option<&Value> = None;
    for name in names {
        let span = found(name);
        assert_eq!(span["traceId"], TRACE, "{name}");
        assert_eq!(span.get("parentSpanId"), above, "{name}");
        let time = |at: &str| span[at].as_str().unwrap().parse::<u64>().unwrap();
        assert!(
            time("startTimeUnixNano") <= time("endTimeUnixNano"),
            "{name}"
        );
        above = Some(&span["spanId"]);
    }
    // A caller that records has the request below its own span.
    let of_a_caller = found("GET /v1/jobs/{id}");
    assert_eq!(of_a_caller["traceId"], parent[3..35]);
    assert_eq!(of_a_caller["parentSpanId"], parent[36..52]);
    // Closed lists: nothing that a client wrote, and no checks of health.
    let attributes = spans
        .iter()
        .flat_map(|span| span["attributes"].as_array().unwrap());
    for attribute in attributes {
        let key = attribute["key"].as_str().unwrap();
        assert!(ATTRIBUTES.contains(&key), "{key}");
    }
    let said = serde_json::to_string(&spans).unwrap();
    assert!(
        !said.contains("canary") && !said.contains("healthz"),
        "{said}"
    );
    // The log's lines have the trace's id, of session and trainer alike.
    let log = daemon.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_trace = lines.filter(|line| line["span"]["request_id"] == TRACE);
    assert!(of_trace.count() >= 2, "{log}");
}

/// Breaks when a session's span or its lines are those of another upgrade than its first.
#[tokio::test]
async fn a_session_that_goes_on_stays_in_the_trace_that_it_began_in() {
    let collector = Collector::start();
    let endpoint = format!("http://{}", collector.addr);
    let mut daemon = Daemon::start(&["--otlp-endpoint", &endpoint])
        .await
        .unwrap();
    let catalogue = get(daemon.addr, "/v1/catalogue", &[]).await.unwrap();
    let catalogue: Value = serde_json::from_slice(&catalogue.body).unwrap();
    let hello = tests::test_server::hello(&catalogue).unwrap();
    let mut client = RawClient::connect_traced(daemon.addr, TRACE).await.unwrap();
    let session_token = client.hello(hello).await.unwrap().session_token;
    drop(client);
    let resume = Resume {
        session_token,
        received: 1,
    };
    let mut client = RawClient::resuming(daemon.addr, resume).await.unwrap();
    let resumed = ServerMessage::Resumed(Received { received: 1 });
    assert_eq!(client.message().await.unwrap(), resumed);
    client.sequence = 2;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
    daemon.stop().await.unwrap();

    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
    assert_eq!((named("GET /v1/session"), named("session")), (2, 1));
    let session = spans.iter().find(|span| span["name"] == "session").unwrap();
    assert_eq!(session["traceId"], TRACE);
    let log = daemon.log();
    let id_of = |words: &str| {
        let line = log.lines().find(|line| line.contains(words));
        let line: Value = serde_json::from_str(line.unwrap()).unwrap();
        line["span"]["request_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(id_of("a session goes on in another connection"), TRACE);
    assert_ne!(id_of("a connection goes on with a session"), TRACE);
}

/// Breaks when a daemon needs its collector.
#[tokio::test]
async fn a_collector_that_is_not_there_holds_nobody_up() {
    // Bound and given back: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{nobody}");
    let mut daemon = Daemon::start(&["--otlp-endpoint", &endpoint])
        .await
        .unwrap();
    run(&daemon).await;
    daemon.stop().await.unwrap();
    assert!(daemon.log().contains("the collector does not take traces"));
}
