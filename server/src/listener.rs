//! Accepts connections: a bounded number, each with TLS if there is a certificate, none idle for
//! ever.
//!
//! A handshake is taken by a task of its own, so that a slow one holds nobody up. A connection
//! above the bound is told 503 in the clear; under TLS it is closed, since nobody can be told
//! anything before a handshake.

mod io;
pub mod tls;

use std::io as std_io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use io::Io;
use io::Stream;
use tls::Tls;

use crate::telemetry::metrics::{CONNECTIONS_REFUSED, Turned};

/// TLS handshakes at the same time.
const HANDSHAKES_MAX: usize = 128;

/// For a handshake: three round trips of a bad line.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// Refused connections that are still being told so.
const TOLD_MAX: usize = 64;

/// For a refused client to take its answer.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// After a failure of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Content-Type: text/plain\r\nContent-Length: 21\r\nConnection: close\r\n\r\n\
    too many connections\n";

/// A TCP listener with a bound, and with TLS where there is a certificate.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    slots: Arc<Semaphore>,
    handshakes: JoinSet<Option<(Io, SocketAddr)>>,
    refusals: JoinSet<()>,
}

impl Door {
    /// Opens at most `connections_max` connections at a time.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>, connections_max: usize) -> Self {
        Self {
            listener,
            tls,
            slots: Arc::new(Semaphore::new(connections_max)),
            handshakes: JoinSet::new(),
            refusals: JoinSet::new(),
        }
    }

    /// Takes a connection in; none when it has to wait for its handshake, or is refused.
    fn take(&mut self, socket: TcpStream, address: SocketAddr) -> Option<(Io, SocketAddr)> {
        // Small messages answer each other here; a socket that refuses the option still works.
        let _ = socket.set_nodelay(true);
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            self.refuse(socket);
            return None;
        };
        let Some(tls) = &self.tls else {
            return Some((Io::new(Stream::Plain(socket), slot), address));
        };
        if self.handshakes.len() >= HANDSHAKES_MAX {
            CONNECTIONS_REFUSED.count(Turned::HandshakesFull);
            return None;
        }
        let acceptor = tls.acceptor();
        self.handshakes
            .spawn(handshake(acceptor, socket, slot, address));
        None
    }

    fn refuse(&mut self, socket: TcpStream) {
        CONNECTIONS_REFUSED.count(Turned::ConnectionsFull);
        while self.refusals.try_join_next().is_some() {}
        if self.tls.is_none() && self.refusals.len() < TOLD_MAX {
            self.refusals.spawn(tell(socket));
        }
    }
}

impl axum::serve::Listener for Door {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Io, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, address)) => {
                        if let Some(taken) = self.take(socket, address) {
                            return taken;
                        }
                    }
                    // A client that left between two packets is not our failure.
                    Err(error) if is_of_the_client(&error) => {}
                    Err(error) => {
                        tracing::error!(%error, "no connection can be accepted");
                        sleep(PAUSE).await;
                    }
                },
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(taken)) => return taken,
                    _ => CONNECTIONS_REFUSED.count(Turned::Handshake),
                },
            }
        }
    }

    fn local_addr(&self) -> std_io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    slot: OwnedSemaphorePermit,
    address: SocketAddr,
) -> Option<(Io, SocketAddr)> {
    match timeout(HANDSHAKE_PATIENCE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Some((Io::new(Stream::Tls(Box::new(stream)), slot), address)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// Answers 503 and waits, not for long, until the client has seen it: closing with unread bytes
/// would take the answer back.
async fn tell(mut socket: TcpStream) {
    let telling = async {
        socket.write_all(REFUSAL).await?;
        socket.shutdown().await?;
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await? > 0 {}
        std_io::Result::Ok(())
    };
    // A client that does not listen is not told.
    let _ = timeout(REFUSAL_PATIENCE, telling).await;
}

fn is_of_the_client(error: &std_io::Error) -> bool {
    use std_io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::serve::Listener;

    use super::*;

    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }

    #[tokio::test]
    async fn one_connection_too_many_is_told_so_and_the_next_gets_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Door::new(listener, None, 1);
        let address = door.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let (held, _) = door.accept().await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tokio::select! {
            _ = door.accept() => panic!("a second connection was let in"),
            read = second.read_to_string(&mut answer) => { read.unwrap(); }
        }
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("Retry-After: 5\r\n"), "{answer}");
        drop(held);
        let _third = TcpStream::connect(address).await.unwrap();
        door.accept().await;
    }

    #[tokio::test]
    async fn a_client_that_shakes_no_hands_holds_nobody_up() {
        let tls = tls::tests::tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Door::new(listener, Some(tls), 4);
        let address = door.local_addr().unwrap();
        let _silent = TcpStream::connect(address).await.unwrap();
        let mut rude = TcpStream::connect(address).await.unwrap();
        rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let connecting = tls::tests::connect(address);
        let (stream, (mut io, _)) = tokio::join!(connecting, door.accept());
        let mut stream = stream.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        io.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            Some(b"http/1.1".as_slice())
        );
    }
}
