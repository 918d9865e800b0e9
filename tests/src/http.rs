//! Requests over a real socket, as they are written: no redirects, no caches, no decompression.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, after removal of the transfer's chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// A header that occurs once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Sends a `GET` with these headers. `Host` is the server's address unless it is given.
///
/// # Errors
///
/// When the socket fails or the answer is not HTTP.
pub async fn get(
    server: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response> {
    send(server, "GET", path, headers).await
}

/// Sends a request without a body by any method, as `get` does.
///
/// # Errors
///
/// As for `get`.
pub async fn send(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response> {
    send_body(server, method, path, headers, &[]).await
}

/// Sends a request with a body; an empty one is none.
///
/// # Errors
///
/// As for `get`.
pub async fn send_body(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> anyhow::Result<Response> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request += &format!("Host: {server}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    let mut socket = TcpStream::connect(server).await?;
    socket.write_all(request.as_bytes()).await?;
    socket.write_all(body).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    parse(&answer)
}

/// Sends bytes as they are and reads until the connection ends, however it ends. What came back is
/// text, or nothing where a reset was faster.
///
/// # Errors
///
/// When the server cannot be reached, or goes on listening without an answer.
pub async fn raw(server: SocketAddr, bytes: &[u8]) -> anyhow::Result<String> {
    let (mut read, mut write) = TcpStream::connect(server).await?.into_split();
    let mut answer = Vec::new();
    let sending = async {
        // A server that has seen enough does not take the rest.
        let _ = write.write_all(bytes).await;
    };
    let reading = async {
        let _ = read.read_to_end(&mut answer).await;
    };
    let both = async { tokio::join!(sending, reading) };
    timeout(PATIENCE, both)
        .await
        .context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Sends a WebSocket upgrade with these headers and gives the answer's status.
///
/// # Errors
///
/// When the socket fails or the answer is not HTTP.
pub async fn upgrade_status(server: SocketAddr, headers: &[(&str, &str)]) -> anyhow::Result<u16> {
    let mut request = format!(
        "GET /v1/session HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut socket = TcpStream::connect(server).await?;
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut answer).await? == 0 {
            bail!("the connection ended within the headers");
        }
    }
    status(&String::from_utf8_lossy(&answer))
}

fn status(head: &str) -> anyhow::Result<u16> {
    let code = head.split(' ').nth(1).context("no status line")?;
    Ok(code.parse()?)
}

fn parse(answer: &[u8]) -> anyhow::Result<Response> {
    let end = answer
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .context("no end of headers")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let split = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    };
    let headers: Vec<_> = head.lines().skip(1).filter_map(split).collect();
    let mut response = Response {
        status: status(head)?,
        headers,
        body: answer[end + 4..].to_vec(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = unchunk(&response.body)?;
    }
    Ok(response)
}

fn unchunk(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest
            .windows(2)
            .position(|end| end == b"\r\n")
            .context("no chunk size")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end])?, 16)?;
        let chunk = rest
            .get(end + 2..end + 2 + size)
            .context("a chunk was cut")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).context("a chunk was cut")?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        let answer =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let response = parse(answer).unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, &b"abcd"[..])
        );
        assert!(unchunk(b"9\r\nabc").is_err());
    }
}
