//! A proxy that looks into HTTP: it counts the bytes of every answer, and loses connections in the
//! middle of chosen ones.
//!
//! Each request gets a connection of its own to the daemon, so that an answer ends where its
//! connection does. A WebSocket passes as it is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Download {
    /// The path of the request, without its query.
    pub path: String,
    /// The first byte that was asked for by a range.
    pub from: Option<u64>,
    /// HTTP's status.
    pub status: u16,
    /// Bytes of the body that were passed on, as they are on the wire.
    pub body_bytes: u64,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct DownloadProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    record: Arc<Mutex<Record>>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Record {
    downloads: Vec<Arc<Mutex<Download>>>,
    cut_path: String,
    cuts: VecDeque<u64>,
}

impl DownloadProxy {
    /// Starts a proxy in front of a daemon.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start(daemon: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let record = Arc::<Mutex<Record>>::default();
        let stop = CancellationToken::new();
        let accept = accept(listener, daemon, Arc::clone(&record), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Ok(Self {
            addr,
            record,
            _stop: stop.drop_guard(),
        })
    }

    /// The answers since the last call, in the order of their requests.
    pub fn take(&self) -> Vec<Download> {
        let taken = std::mem::take(&mut lock(&self.record).downloads);
        taken.iter().map(|one| lock(one).clone()).collect()
    }

    /// Loses the next answers for paths that contain `path`, each after so many bytes of its body.
    pub fn cut(&self, path: &str, after_bytes: impl IntoIterator<Item = u64>) {
        let mut record = lock(&self.record);
        path.clone_into(&mut record.cut_path);
        record.cuts = after_bytes.into_iter().collect();
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        lock(&self.record).cuts.clear();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(
    listener: TcpListener,
    daemon: SocketAddr,
    record: Arc<Mutex<Record>>,
    stop: CancellationToken,
) {
    while let Ok((browser, _)) = listener.accept().await {
        let record = Arc::clone(&record);
        let pass = async move {
            // A connection that fails on either side is a closed one for the other.
            let _ = pass(browser, daemon, &record).await;
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(pass));
    }
}

async fn pass(
    mut browser: TcpStream,
    daemon: SocketAddr,
    record: &Mutex<Record>,
) -> io::Result<()> {
    let Some((head, rest)) = head(&mut browser).await? else {
        return Ok(()); // a browser opens connections that it does not use
    };
    let mut daemon = TcpStream::connect(daemon).await?;
    if field(&head, "upgrade").is_some() {
        daemon.write_all(head.as_bytes()).await?;
        daemon.write_all(&rest).await?;
        copy_bidirectional(&mut browser, &mut daemon).await?;
        return Ok(());
    }
    daemon.write_all(alone(&head).as_bytes()).await?;
    let path = path(&head);
    let download = Arc::new(Mutex::new(Download {
        path: path.clone(),
        from: field(&head, "range").and_then(first_byte),
        ..Download::default()
    }));
    let cut = {
        let mut record = lock(record);
        record.downloads.push(Arc::clone(&download));
        let is_cut = path.contains(&record.cut_path);
        if is_cut {
            record.cuts.pop_front()
        } else {
            None
        }
    };
    let Some((head, mut body)) = self::head(&mut daemon).await? else {
        return Ok(());
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    lock(&download).status = status.unwrap_or_default();
    browser.write_all(head.as_bytes()).await?;
    let mut left = cut.unwrap_or(u64::MAX);
    loop {
        body.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        lock(&download).body_bytes += body.len() as u64;
        browser.write_all(&body).await?;
        left -= body.len() as u64;
        body.clear();
        if left == 0 || daemon.read_buf(&mut body).await? == 0 {
            return browser.shutdown().await;
        }
    }
}

/// Reads until the end of a message's head; what came behind it is the second part. None where the
/// connection ends before.
async fn head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), rest)));
        }
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// The same request, after which the daemon ends the connection.
fn alone(head: &str) -> String {
    let is_kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let lines = head.trim_end().split("\r\n").filter(is_kept);
    let lines: Vec<_> = lines.chain(["Connection: close", "\r\n"]).collect();
    lines.join("\r\n")
}

fn path(head: &str) -> String {
    let target = head.split(' ').nth(1).unwrap_or_default();
    target.split('?').next().unwrap_or_default().to_owned()
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.trim())
}

fn first_byte(range: &str) -> Option<u64> {
    range
        .strip_prefix("bytes=")?
        .split('-')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Answers every request with ten bytes, or those from the third on, and ends the connection.
    async fn daemon() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (request, _) = head(&mut socket).await.unwrap().unwrap();
                assert_eq!(field(&request, "connection"), Some("close"));
                let body = match field(&request, "range") {
                    None => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
                    Some(_) => "HTTP/1.1 206 Partial\r\nContent-Length: 7\r\n\r\n3456789",
                };
                socket.write_all(body.as_bytes()).await.unwrap();
            }
        });
        addr
    }

    async fn ask(proxy: &DownloadProxy, path: &str, more: &str) -> String {
        let mut socket = TcpStream::connect(proxy.addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nConnection: keep-alive\r\n{more}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
    }

    /// Breaks when a cut loses another answer, or more or less than it says.
    #[tokio::test]
    async fn an_answer_is_cut_where_it_was_asked_to_be_and_counted() {
        let proxy = DownloadProxy::start(daemon().await).await.unwrap();
        proxy.cut("model", [3, 0]);
        assert_eq!(ask(&proxy, "/page", "").await, "0123456789");
        assert_eq!(ask(&proxy, "/model?v=1", "").await, "012");
        let range = "Range: bytes=3-\r\n";
        assert_eq!(ask(&proxy, "/model?v=1", range).await, "");
        assert_eq!(ask(&proxy, "/model?v=1", range).await, "3456789");
        let seen: Vec<_> = proxy
            .take()
            .into_iter()
            .map(|one| (one.path, one.from, one.status, one.body_bytes))
            .collect();
        let model = || "/model".to_owned();
        assert_eq!(
            seen,
            [
                ("/page".to_owned(), None, 200, 10),
                (model(), None, 200, 3),
                (model(), Some(3), 206, 0),
                (model(), Some(3), 206, 7),
            ]
        );
        assert!(proxy.take().is_empty());
    }
}
