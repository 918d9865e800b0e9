//! The few WebDriver commands that a test of the page needs, over the driver's own socket.
//!
//! Source: W3C WebDriver; `goog/cdp` and `se/log` are chromedriver's. It fails on the first error:
//! there are no retries here, waiting is the caller's.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one command: a page that is busy compiling shaders in software answers late.
const COMMAND_SECS_MAX: u64 = 120;

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window.
#[derive(Debug)]
pub struct Session {
    driver: SocketAddr,
    path: String,
}

/// An element of the page.
#[derive(Debug)]
pub struct Element<'s> {
    session: &'s Session,
    path: String,
}

impl Session {
    /// Opens a browser.
    ///
    /// # Errors
    ///
    /// When the driver cannot.
    pub async fn open(driver: SocketAddr, capabilities: Value) -> anyhow::Result<Self> {
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let opened = command(driver, "/session", &body).await?;
        let id = opened["sessionId"].as_str().context("no session id")?;
        Ok(Self {
            driver,
            path: format!("/session/{id}"),
        })
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub async fn goto(&self, address: &str) -> anyhow::Result<()> {
        self.post("/url", json!({ "url": address })).await?;
        Ok(())
    }

    /// Finds the first element of a CSS selector.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn find(&self, css: &str) -> anyhow::Result<Element<'_>> {
        let what = json!({ "using": "css selector", "value": css });
        let found = self.post("/element", what).await?;
        let id = found[ELEMENT].as_str().context("no element id")?;
        Ok(Element {
            session: self,
            path: format!("/element/{id}"),
        })
    }

    /// Runs the body of a JavaScript function in the page.
    ///
    /// # Errors
    ///
    /// When it throws.
    pub async fn script(&self, body: &str) -> anyhow::Result<Value> {
        let call = json!({ "script": body, "args": [] });
        self.post("/execute/sync", call).await
    }

    /// Takes the entries of a log that have come since the last call: `browser` or `performance`.
    ///
    /// # Errors
    ///
    /// When the log was not asked for at the start.
    pub async fn log(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        match self.post("/se/log", json!({ "type": kind })).await? {
            Value::Array(entries) => Ok(entries),
            _ => bail!("the log is no list"),
        }
    }

    /// Draws the whole page as PNG, however long it is.
    ///
    /// # Errors
    ///
    /// When the browser cannot.
    pub async fn screenshot(&self) -> anyhow::Result<Vec<u8>> {
        let metrics = self.devtools("Page.getLayoutMetrics", json!({})).await?;
        let mut clip = metrics["cssContentSize"].clone();
        clip["scale"] = json!(1);
        let whole = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let drawn = self.devtools("Page.captureScreenshot", whole).await?;
        decode_base64(drawn["data"].as_str().context("no picture")?)
    }

    async fn devtools(&self, name: &str, params: Value) -> anyhow::Result<Value> {
        let call = json!({ "cmd": name, "params": params });
        self.post("/goog/cdp/execute", call).await
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let path = format!("{}{path}", self.path);
        command(self.driver, &path, &body).await
    }
}

impl Element<'_> {
    /// Scrolls to it and clicks it.
    ///
    /// # Errors
    ///
    /// When it cannot be clicked.
    pub async fn click(&self) -> anyhow::Result<()> {
        self.post("click", json!({})).await.map(drop)
    }

    /// Empties an input.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub async fn clear(&self) -> anyhow::Result<()> {
        self.post("clear", json!({})).await.map(drop)
    }

    /// Types; into a file input, the path of a file.
    ///
    /// # Errors
    ///
    /// When it takes no keys.
    pub async fn keys(&self, text: &str) -> anyhow::Result<()> {
        self.post("value", json!({ "text": text })).await.map(drop)
    }

    async fn post(&self, what: &str, body: Value) -> anyhow::Result<Value> {
        self.session
            .post(&format!("{}/{what}", self.path), body)
            .await
    }
}

async fn command(driver: SocketAddr, path: &str, body: &Value) -> anyhow::Result<Value> {
    let body = body.to_string();
    let answer = exchange(driver, path, &body);
    let answer = timeout(Duration::from_secs(COMMAND_SECS_MAX), answer)
        .await
        .with_context(|| format!("the driver does not answer {path}"))??;
    let answer: Value = serde_json::from_slice(&answer)?;
    let value = &answer["value"];
    match value["error"].as_str() {
        None => Ok(value.clone()),
        Some(error) => bail!("{path}: {error}: {}", value["message"]),
    }
}

/// One request on a connection of its own, and the body of the answer.
async fn exchange(driver: SocketAddr, path: &str, body: &str) -> anyhow::Result<Vec<u8>> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {driver}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut socket = TcpStream::connect(driver).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        if let Some(body) = whole_body(&answer)? {
            return Ok(body.to_vec());
        }
        ensure!(socket.read_buf(&mut answer).await? > 0, "a cut answer");
    }
}

/// The body of an answer, once all of it is there.
fn whole_body(answer: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let Some(end) = answer.windows(4).position(|end| end == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields
        .find(|(name, _)| *name == "content-length")
        .context("the driver gives no length")?;
    Ok(answer.get(end + 4..end + 4 + length.1.trim().parse::<usize>()?))
}

/// Reads base64 with padding. Source: RFC 4648, section 4.
fn decode_base64(text: &str) -> anyhow::Result<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit);
        bits = ((bits << 6) | value.context("not base64")? as u32) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648, section 10.
    #[test]
    fn base64_is_read() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode_base64(text).unwrap(), bytes.as_bytes());
        }
        assert!(decode_base64("Zm 9v").is_err());
    }

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(whole_body(&answer[..20]).unwrap(), None);
        assert_eq!(whole_body(&answer[..39]).unwrap(), None);
        assert_eq!(whole_body(answer).unwrap(), Some(&b"abc"[..]));
    }
}
