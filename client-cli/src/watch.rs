//! `cutlayer jobs watch`: a job's events as they happen, until it has ended.
//!
//! The server ends a stream after some minutes, and a connection may be lost; both are opened again
//! behind the last event that was seen. Source: the `text/event-stream` format, HTML Living Standard,
//! section 9.2.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use client_wasm::error::ClientError;
use serde_json::Value;

use crate::api::Api;
use crate::listing;
use crate::output::Output;

/// The exit code for a job that its owner has ended.
const CANCELLED: u8 = 3;

/// How long a server may be away, such as for a restart, before watching ends.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// Between two attempts to reach it.
const AGAIN: Duration = Duration::from_secs(1);

/// Longest line of a stream: a validation of 1,000 classes takes some megabytes.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How a job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Failed,
    Cancelled,
}

impl End {
    /// By the name of a state.
    fn of_state(state: &str) -> Option<Self> {
        match state {
            "done" => Some(Self::Done),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// By an event, if it is the last of its job.
    fn of_event(event: &Value) -> Option<Self> {
        match event["kind"].as_str()? {
            "failed" => Some(Self::Failed),
            "done" if event["data"]["reason"] == "Cancelled" => Some(Self::Cancelled),
            "done" => Some(Self::Done),
            _ => None,
        }
    }

    fn exit_code(self) -> ExitCode {
        match self {
            Self::Done => ExitCode::SUCCESS,
            Self::Failed => ExitCode::FAILURE,
            Self::Cancelled => ExitCode::from(CANCELLED),
        }
    }
}

/// Prints events behind a cursor until the job at `path` has ended.
///
/// # Errors
///
/// When the server refuses, or is away for long.
pub(crate) fn run(api: &Api, path: &str, after: u64, output: &Output) -> anyhow::Result<ExitCode> {
    let path = path.to_owned();
    let mut watcher = Watcher {
        api,
        events: format!("{path}/events"),
        path,
        after,
        reached: None,
    };
    loop {
        match watcher.follow(output) {
            Ok(Some(end)) => return Ok(end.exit_code()),
            Ok(None) => {}
            Err(Broken::Refused(error)) => return Err(error),
            Err(Broken::Away(error)) => match watcher.reached {
                // Whoever was never reached is not waited for.
                Some(reached) if reached.elapsed() < AWAY_MAX => {}
                _ => return Err(error),
            },
        }
        sleep(AGAIN);
    }
}

/// Follows one job over as many streams as it takes.
struct Watcher<'a> {
    api: &'a Api,
    path: String,
    events: String,
    after: u64,
    /// When the server said something last.
    reached: Option<Instant>,
}

/// Why a stream could not be followed.
#[derive(Debug)]
enum Broken {
    /// The server says no: it would again.
    Refused(anyhow::Error),
    /// The connection: it may come back.
    Away(anyhow::Error),
}

impl From<anyhow::Error> for Broken {
    fn from(error: anyhow::Error) -> Self {
        let is_connection = error.downcast_ref::<ureq::Error>().is_some()
            || error.downcast_ref::<std::io::Error>().is_some();
        let is_token = error.downcast_ref::<ClientError>().is_some();
        if is_connection && !is_token {
            Self::Away(error)
        } else {
            Self::Refused(error)
        }
    }
}

impl Watcher<'_> {
    /// Follows one stream to its end. None where it ended before its job did.
    fn follow(&mut self, output: &Output) -> Result<Option<End>, Broken> {
        let mut events = Events::new(self.api.events(&self.events, self.after)?);
        self.reached = Some(Instant::now());
        while let Some(event) = events.next()? {
            self.reached = Some(Instant::now());
            self.after = event["cursor"].as_u64().unwrap_or(self.after);
            output
                .entry(&event, listing::event)
                .map_err(|error| Broken::Refused(error.into()))?;
            if let Some(end) = End::of_event(&event) {
                return Ok(Some(end));
            }
        }
        // Nothing came behind the cursor: perhaps the job had ended before it.
        let job = self.api.get(&self.path)?;
        Ok(job["state"].as_str().and_then(End::of_state))
    }
}

/// The events of a stream.
struct Events<R> {
    lines: BufReader<R>,
}

impl<R: Read> Events<R> {
    fn new(stream: R) -> Self {
        Self {
            lines: BufReader::new(stream),
        }
    }

    /// The next event; none at the end. Comments keep a connection alive and say nothing, and an id
    /// and a name stand in the data, too.
    fn next(&mut self) -> anyhow::Result<Option<Value>> {
        let mut data = String::new();
        loop {
            let mut line = String::new();
            let read = self
                .lines
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_line(&mut line);
            if read.context("the stream of events broke off")? == 0 {
                return Ok(None); // an event that is not complete is sent again
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(part) = line.strip_prefix("data:") {
                data += part.strip_prefix(' ').unwrap_or(part);
            } else if line.is_empty() && !data.is_empty() {
                let event = serde_json::from_str(&data);
                return Ok(Some(event.context("the server sent what is no event")?));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use serde_json::json;

    use super::*;

    fn events(stream: &str) -> Vec<Value> {
        let mut events = Events::new(stream.as_bytes());
        std::iter::from_fn(|| events.next().unwrap()).collect()
    }

    #[test]
    fn events_are_read_as_the_server_writes_them() {
        let stream = "id: 1\nevent: queued\ndata: {\"cursor\":1}\n\n:\n\nid: 2\r\nevent: step\r\n\
                      data: {\"cursor\":\r\ndata: 2}\r\n\r\n";
        assert_eq!(
            events(stream),
            [json!({ "cursor": 1 }), json!({ "cursor": 2 })]
        );
    }

    #[test]
    fn an_event_that_was_cut_off_is_none() {
        assert_eq!(
            events("data: {\"cursor\":1}\n\ndata: {\"cursor\":2}\n").len(),
            1
        );
        let mut broken = Events::new(&b"data: {\n\n"[..]);
        assert!(broken.next().is_err());
    }

    #[test]
    fn the_end_is_told_by_the_last_event() {
        let event = |kind: &str, reason: &str| {
            End::of_event(&json!({ "kind": kind, "data": { "reason": reason } }))
        };
        assert_eq!(event("done", "Finished"), Some(End::Done));
        assert_eq!(event("done", "StoppedEarly"), Some(End::Done));
        assert_eq!(event("done", "Cancelled"), Some(End::Cancelled));
        assert_eq!(event("failed", ""), Some(End::Failed));
        assert_eq!(event("validation", ""), None);
        assert_eq!(End::of_state("cancelled"), Some(End::Cancelled));
        assert_eq!(End::of_state("running"), None);
    }

    /// A server that answers one request a connection, each with the next answer, and gives the
    /// requests.
    fn server(answers: Vec<&'static str>) -> (Api, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answering = thread::spawn(move || {
            let answer = |answer: &str| {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    socket.read_exact(&mut byte).unwrap();
                    request.extend(byte);
                }
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                socket
                    .write_all(format!("{head}{answer}").as_bytes())
                    .unwrap();
                String::from_utf8(request).unwrap().to_lowercase()
            };
            answers.into_iter().map(answer).collect()
        });
        (Api::new(address.as_str().into()), answering)
    }

    /// Breaks when a stream that ends is taken for the end of its job, or is read from its beginning
    /// again.
    #[test]
    fn a_stream_that_ends_is_opened_again_behind_what_was_seen() {
        let (api, answering) = server(vec![
            "id: 7\ndata: {\"cursor\":7,\"kind\":\"step\"}\n\ndata: {\"cursor\":8",
            "{\"state\":\"running\"}",
            "id: 8\ndata: {\"cursor\":8,\"kind\":\"failed\"}\n\n",
        ]);
        let mut watcher = Watcher {
            api: &api,
            path: "/v1/jobs/x".to_owned(),
            events: "/v1/jobs/x/events".to_owned(),
            after: 3,
            reached: None,
        };
        let output = Output::new(true);
        assert!(matches!(watcher.follow(&output), Ok(None)));
        assert!(matches!(watcher.follow(&output), Ok(Some(End::Failed))));
        let requests = answering.join().unwrap();
        let asked = |at: usize, what: &str| assert!(requests[at].contains(what), "{requests:?}");
        asked(0, "get /v1/jobs/x/events http/1.1");
        asked(0, "last-event-id: 3");
        asked(1, "get /v1/jobs/x http/1.1");
        asked(2, "last-event-id: 7");
    }

    #[test]
    fn a_server_that_was_never_there_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let api = Api::new(address.as_str().into());
        let begun = Instant::now();
        assert!(run(&api, "/v1/jobs/x", 0, &Output::new(true)).is_err());
        assert!(begun.elapsed() < AWAY_MAX);
    }
}
