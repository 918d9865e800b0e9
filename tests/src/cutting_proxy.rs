//! A proxy in front of the daemon that does to WebSocket messages what networks do, and what they
//! should not: it cuts a connection at a message, in the middle of one, sends one twice, or two in
//! the wrong order.
//!
//! It passes bytes on as they are and looks only for where a WebSocket frame begins and ends (RFC
//! 6455, section 5.2), so what arrives has been written by the client or the daemon. Connections
//! other than sessions pass untouched.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the daemon.
    ToClient,
}

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before it.
    Cut,
    /// The connection ends in the middle of it.
    Half,
    /// It is sent twice.
    Twice,
    /// It is sent after the one that follows it, if one follows without it.
    Late,
}

/// How long a late message waits for the one that follows it: a peer that awaits an answer to it
/// sends no other.
const FOLLOWS: Duration = Duration::from_secs(1);

/// One fault of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbance {
    /// Whose messages are counted.
    pub direction: Direction,
    /// What is done.
    pub fault: Fault,
    /// To which message of the connection in this direction, from 1.
    pub at: usize,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct CuttingProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    daemon: SocketAddr,
    /// Of the sessions' connections to come, in reverse.
    disturbances: Mutex<Vec<Option<Disturbance>>>,
    sessions: AtomicUsize,
    met: AtomicUsize,
    disturbed: AtomicUsize,
}

impl Shared {
    fn next_disturbance(&self) -> Option<Disturbance> {
        let mut left = self
            .disturbances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        left.pop().flatten()
    }
}

impl CuttingProxy {
    /// Starts a proxy in front of a daemon. The n-th disturbance is for the n-th connection of a
    /// session; those after them pass untouched.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start(
        daemon: SocketAddr,
        disturbances: impl IntoIterator<Item = Option<Disturbance>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let mut disturbances: Vec<_> = disturbances.into_iter().collect();
        disturbances.reverse();
        let shared = Arc::new(Shared {
            daemon,
            disturbances: Mutex::new(disturbances),
            sessions: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
            disturbed: AtomicUsize::new(0),
        });
        let stop = CancellationToken::new();
        let accept = accept(listener, Arc::clone(&shared), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept));
        Ok(Self {
            addr,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Connections of sessions that were opened.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// Messages that came and were to be disturbed. Not each of them can be: behind some none
    /// follows that it could come after.
    pub fn met(&self) -> usize {
        self.shared.met.load(Ordering::SeqCst)
    }

    /// Disturbances that have happened.
    pub fn disturbed(&self) -> usize {
        self.shared.disturbed.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Ok((client, _)) = listener.accept().await {
        let pass = pass(client, Arc::clone(&shared));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            // A connection that fails on one side ends on both, as it would without the proxy.
            let _ = pass.await;
        }));
    }
}

/// Joins one connection to the daemon until either side ends or it is cut.
async fn pass(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let daemon = TcpStream::connect(shared.daemon).await?;
    for socket in [&client, &daemon] {
        socket.set_nodelay(true)?;
    }
    let (from_client, mut to_client) = client.into_split();
    let (from_daemon, mut to_daemon) = daemon.into_split();
    let mut from_client = Frames::new(from_client);
    let mut from_daemon = Frames::new(from_daemon);
    let asked = from_client.head().await?;
    to_daemon.write_all(&asked).await?;
    if !asked.starts_with(b"GET /v1/session") {
        tokio::select! {
            copied = from_client.copy(&mut to_daemon) => copied?,
            copied = from_daemon.copy(&mut to_client) => copied?,
        }
        return Ok(());
    }
    let answered = from_daemon.head().await?;
    to_client.write_all(&answered).await?;
    shared.sessions.fetch_add(1, Ordering::SeqCst);
    let mine = shared.next_disturbance();
    let of = |direction| mine.filter(|mine| mine.direction == direction);
    let (up, down) = (of(Direction::ToServer), of(Direction::ToClient));
    // The end of one direction is the end of both: what the other one holds is lost.
    tokio::select! {
        ended = from_client.carry(&mut to_daemon, up, &shared) => ended,
        ended = from_daemon.carry(&mut to_client, down, &shared) => ended,
    }
}

/// One direction of a connection: bytes that were read and not passed on.
struct Frames<R> {
    from: R,
    read: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    fn new(from: R) -> Self {
        let read = Vec::new();
        Self { from, read }
    }

    /// Reads more.
    ///
    /// # Errors
    ///
    /// Also when there is no more.
    async fn more(&mut self) -> io::Result<()> {
        match self.from.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The head of a request or an answer, with its empty line.
    async fn head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let end = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                return Ok(self.read.drain(..end + 4).collect());
            }
            self.more().await?;
        }
    }

    /// Passes everything on.
    async fn copy(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        loop {
            to.write_all(&self.read).await?;
            self.read.clear();
            self.more().await?;
        }
    }

    /// The bytes of the next frame.
    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = frame_length(&self.read).filter(|all| *all <= self.read.len()) {
                return Ok(self.read.drain(..length).collect());
            }
            self.more().await?;
        }
    }

    /// Passes frames on and disturbs one of them.
    async fn carry(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        disturbance: Option<Disturbance>,
        shared: &Shared,
    ) -> io::Result<()> {
        let mut messages = 0;
        loop {
            let frame = self.frame().await?;
            messages += usize::from(is_message(&frame));
            let fault = disturbance
                .filter(|it| is_message(&frame) && it.at == messages)
                .map(|it| it.fault);
            let Some(fault) = fault else {
                to.write_all(&frame).await?;
                continue;
            };
            shared.met.fetch_add(1, Ordering::SeqCst);
            let happened = || shared.disturbed.fetch_add(1, Ordering::SeqCst);
            match fault {
                Fault::Cut => {
                    happened();
                    return Ok(());
                }
                Fault::Half => {
                    happened();
                    to.write_all(&frame[..frame.len() / 2]).await?;
                    return to.flush().await;
                }
                Fault::Twice => {
                    happened();
                    to.write_all(&frame).await?;
                    to.write_all(&frame).await?;
                }
                Fault::Late => {
                    while let Ok(next) = timeout(FOLLOWS, self.frame()).await {
                        let next = next?;
                        to.write_all(&next).await?;
                        if is_message(&next) {
                            messages += 1;
                            happened();
                            break;
                        }
                    }
                    to.write_all(&frame).await?;
                }
            }
        }
    }
}

/// Whether a frame is a message. Pings, pongs and closes are none.
fn is_message(frame: &[u8]) -> bool {
    frame[0] & 0x0f <= 2
}

/// Bytes of the frame that begins here; none while that cannot be told.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let second = *bytes.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (head, payload) = match second & 0x7f {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(),
        ),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            (10, usize::try_from(length).ok()?)
        }
        short => (2, usize::from(short)),
    };
    Some(head + mask + payload)
}

#[cfg(test)]
mod tests {
    use super::frame_length;

    #[test]
    fn a_frame_ends_where_its_head_says() {
        assert_eq!(frame_length(&[0x82]), None);
        assert_eq!(frame_length(&[0x82, 5]), Some(7)); // from the daemon
        assert_eq!(frame_length(&[0x82, 0x85]), Some(11)); // masked
        assert_eq!(frame_length(&[0x82, 0xfe, 1]), None);
        assert_eq!(frame_length(&[0x82, 0xfe, 1, 0]), Some(4 + 4 + 256));
        let long = [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(frame_length(&long), Some(10 + 65536));
    }
}
