//! A proxy in front of the daemon that keeps every byte that the browser sends.
//!
//! It changes nothing and understands nothing: `traffic` reads what was kept.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of the daemon's side that are kept a connection: the head of its first answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What passed through one connection.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Everything that the browser sent.
    pub from_browser: Vec<u8>,
    /// The beginning of what the daemon answered.
    pub answer: Vec<u8>,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens; the page is opened here.
    pub addr: SocketAddr,
    connections: Connections,
    _stop: DropGuard,
}

type Connections = Arc<Mutex<Vec<Connection>>>;

impl Recorder {
    /// Starts a proxy in front of a daemon.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start(daemon: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let connections = Connections::default();
        let stop = CancellationToken::new();
        let accept = accept(listener, daemon, Arc::clone(&connections), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Ok(Self {
            addr,
            connections,
            _stop: stop.drop_guard(),
        })
    }

    /// What has passed so far, in the order in which the connections were opened.
    pub fn connections(&self) -> Vec<Connection> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn accept(
    listener: TcpListener,
    daemon: SocketAddr,
    connections: Connections,
    stop: CancellationToken,
) {
    while let Ok((browser, _)) = listener.accept().await {
        let place = on_record(&connections, |all| {
            all.push(Connection::default());
            all.len() - 1
        });
        let pass = pass(browser, daemon, Arc::clone(&connections), place);
        tokio::spawn(stop.clone().run_until_cancelled_owned(pass));
    }
}

/// Joins one connection to the daemon until both sides have ended.
async fn pass(browser: TcpStream, daemon: SocketAddr, connections: Connections, place: usize) {
    // A daemon that is not there is a closed connection, as it would be without the proxy.
    let Ok(daemon) = TcpStream::connect(daemon).await else {
        return;
    };
    for socket in [&browser, &daemon] {
        // A socket that refuses the option still works.
        let _ = socket.set_nodelay(true);
    }
    let (from_browser, to_browser) = browser.into_split();
    let (from_daemon, to_daemon) = daemon.into_split();
    let up = copy(from_browser, to_daemon, |bytes| {
        on_record(&connections, |all| {
            all[place].from_browser.extend_from_slice(bytes);
        });
    });
    let down = copy(from_daemon, to_browser, |bytes| {
        on_record(&connections, |all| {
            let answer = &mut all[place].answer;
            let room = ANSWER_BYTES_MAX.saturating_sub(answer.len());
            answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    });
    tokio::join!(up, down);
}

/// Copies until either side ends. Bytes are kept before they are passed on: what the daemon has, is
/// on record.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut keep: impl FnMut(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                keep(&buffer[..length]);
                if to.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown().await;
}

fn on_record<T>(connections: &Connections, change: impl FnOnce(&mut Vec<Connection>) -> T) -> T {
    let mut all = connections.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Breaks when the proxy changes or loses a byte in either direction.
    #[tokio::test]
    async fn both_sides_get_what_was_sent_and_the_browsers_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let recorder = Recorder::start(listener.local_addr().unwrap())
            .await
            .unwrap();
        let question: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut browser = TcpStream::connect(recorder.addr).await.unwrap();
        let (mut daemon, _) = listener.accept().await.unwrap();
        let send = async {
            browser.write_all(&question).await.unwrap();
            browser.shutdown().await.unwrap();
            let mut answer = Vec::new();
            browser.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = async {
            let mut heard = Vec::new();
            daemon.read_to_end(&mut heard).await.unwrap();
            daemon.write_all(b"the answer").await.unwrap();
            drop(daemon);
            heard
        };
        let (answer, heard) = tokio::join!(send, answer);
        assert_eq!(heard, question);
        assert_eq!(answer, b"the answer");
        let connections = recorder.connections();
        assert_eq!(connections.len(), 1);
        assert_eq!(connections[0].from_browser, question);
        assert_eq!(connections[0].answer, b"the answer");
    }
}
