//! The server's HTTP API: docs/tenants.md and `/v1/openapi.json`.

use std::io::{self, Read};
use std::time::Duration;

use anyhow::{Context, bail};
use client_wasm::error::ClientError;
use client_wasm::server::Server;
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// Longest answer that is read: the tensors of a large adapter.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How long nothing may come before a server counts as gone. Its streams say something every 15
/// seconds.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a server may take to take a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Entries of a page of a list: as many as the server gives.
const PAGE: u32 = 200;

/// A refusal as the server sends it.
#[derive(serde::Deserialize)]
struct Refusal {
    code: String,
    sentence: String,
}

/// Asks a server.
#[derive(Debug)]
pub(crate) struct Api {
    server: Server,
    agent: Agent,
}

impl Api {
    pub(crate) fn new(server: Server) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false) // the body says why
            .max_redirects(0) // a token is for this server only
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .build();
        Self {
            server,
            agent: config.into(),
        }
    }

    /// What is at a path.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or refuses.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        json(self.asked(self.agent.get(self.server.url(path))).call())
    }

    /// The bytes at a path.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        read(self.asked(self.agent.get(self.server.url(path))).call())
    }

    /// Deletes what is at a path, and says what went.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        json(self.asked(self.agent.delete(self.server.url(path))).call())
    }

    /// Asks for something to be done that takes no body.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn post(&self, path: &str) -> anyhow::Result<()> {
        let request = self.asked(self.agent.post(self.server.url(path)));
        read(request.send_empty()).map(drop)
    }

    /// Sends an archive.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn post_archive(&self, path: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let request = self.asked(self.agent.post(self.server.url(path)));
        let request = request
            .content_type("application/x-tar")
            .header("expect", "100-continue"); // a refusal comes before the bytes go
        json(request.send(bytes))
    }

    /// Changes what is at a path.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> anyhow::Result<Value> {
        let request = self.asked(self.agent.patch(self.server.url(path)));
        let request = request.content_type("application/json");
        json(request.send(change.to_string()))
    }

    /// Opens a job's stream of events behind a cursor.
    ///
    /// # Errors
    ///
    /// As for `get`.
    pub(crate) fn events(&self, path: &str, after: u64) -> anyhow::Result<impl Read> {
        let request = self.asked(self.agent.get(self.server.url(path)));
        let request = request
            .header("accept", "text/event-stream")
            .header("last-event-id", after.to_string());
        Ok(accepted(request.call())?.into_body().into_reader())
    }

    /// Every entry of a list, page by page, at most `limit`.
    ///
    /// # Errors
    ///
    /// As for `get`, and when an answer is no page of a list.
    pub(crate) fn list(
        &self,
        name: &'static str,
        limit: Option<u32>,
    ) -> anyhow::Result<Vec<Value>> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("/v1/{name}?limit={PAGE}{after}"))?;
            let entries = page[name].as_array().context(NOT_AN_ANSWER)?;
            found.extend(entries.iter().cloned());
            match page["next"].as_str() {
                Some(next) if !entries.is_empty() && found.len() < limit => {
                    after = format!("&after={}", escaped(next));
                }
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn asked<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match self.server.authorization() {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }
}

type Answer = Result<Response<Body>, ureq::Error>;

const NOT_AN_ANSWER: &str = "the server's answer is not one of this version";

fn json(answer: Answer) -> anyhow::Result<Value> {
    serde_json::from_slice(&read(answer)?).context(NOT_AN_ANSWER)
}

fn read(answer: Answer) -> anyhow::Result<Vec<u8>> {
    let mut answer = accepted(answer)?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_vec().context("the server's answer broke off")
}

/// An answer that is no refusal.
fn accepted(answer: Answer) -> anyhow::Result<Response<Body>> {
    let mut answer = answer.context("the server cannot be reached")?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err(ClientError::TokenNeeded.into());
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(64 * 1024)
        .read_to_vec();
    let said = match serde_json::from_slice(&body.unwrap_or_default()) {
        Ok(Refusal { code, sentence }) => format!("the server refused: {sentence} ({code})"),
        Err(_) => format!("the server answered {}", status.as_u16()),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, said).into()); // it passes
    }
    bail!(said)
}

/// A text as a part of an address. Source: RFC 3986, section 2.3.
pub(crate) fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_writes_stays_one_part_of_an_address() {
        assert_eq!(escaped("job-1.A_~"), "job-1.A_~");
        assert_eq!(escaped("../x?a=b&c"), "..%2Fx%3Fa%3Db%26c");
        assert_eq!(escaped("é %"), "%C3%A9%20%25");
    }
}
