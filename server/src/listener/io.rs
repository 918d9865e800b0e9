//! One connection: plain or under TLS, counted while it lives, and closed when nothing moves.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use crate::telemetry::metrics::{CONNECTIONS_OPEN, Held};

/// How long nothing may move.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until the first bytes of a request.
    first_bytes: Duration,
    /// Between any two movements: above `Timeouts::silence`, by which a session judges its client
    /// itself.
    idle: Duration,
}

const PATIENCE: Patience = Patience {
    first_bytes: Duration::from_secs(15),
    idle: Duration::from_secs(75),
};

/// What carries the bytes.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Io {
    stream: Stream,
    patience: Patience,
    /// When it ends unless something moves.
    deadline: Instant,
    /// Fires at the deadline that was true when it was set.
    timer: Pin<Box<Sleep>>,
    _slot: OwnedSemaphorePermit,
    _counted: Held,
}

impl Io {
    pub(super) fn new(stream: Stream, slot: OwnedSemaphorePermit) -> Self {
        Self::with_patience(stream, slot, PATIENCE)
    }

    fn with_patience(stream: Stream, slot: OwnedSemaphorePermit, patience: Patience) -> Self {
        let deadline = Instant::now() + patience.first_bytes;
        Self {
            stream,
            patience,
            deadline,
            timer: Box::pin(sleep_until(deadline)),
            _slot: slot,
            _counted: CONNECTIONS_OPEN.hold(),
        }
    }

    /// Takes the stream's word for it, unless nothing has moved for too long.
    fn judge<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.deadline = Instant::now() + self.patience.idle;
            return moved;
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= self.deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let deadline = self.deadline;
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        self.judge(moved, context)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.judge(moved, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Not judged: a flush of nothing is always ready and no movement.
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        self.judge(moved, context)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::limits::Timeouts;

    const SHORT: Patience = Patience {
        first_bytes: Duration::from_millis(50),
        idle: Duration::from_millis(400),
    };

    async fn pair() -> (TcpStream, Io, Arc<Semaphore>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let slots = Arc::new(Semaphore::new(1));
        let slot = slots.clone().try_acquire_owned().unwrap();
        let stream = Stream::Plain(accepted.unwrap().0);
        (
            client.unwrap(),
            Io::with_patience(stream, slot, SHORT),
            slots,
        )
    }

    #[test]
    fn a_session_judges_its_client_before_this_does() {
        assert!(Timeouts::default().silence < PATIENCE.idle);
    }

    /// Breaks when an idle connection holds its slot for ever.
    #[tokio::test]
    async fn a_connection_without_a_word_ends_and_frees_its_slot() {
        let (_client, mut io, slots) = pair().await;
        let started = Instant::now();
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < SHORT.idle);
        assert_eq!(slots.available_permits(), 0);
        drop(io);
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_connection_on_which_something_moved_is_kept_longer() {
        let (mut client, mut io, _slots) = pair().await;
        client.write_all(b"ab").await.unwrap();
        assert_eq!(io.read_u8().await.unwrap(), b'a');
        assert_eq!(io.read_u8().await.unwrap(), b'b');
        let moved = Instant::now();
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(moved.elapsed() > SHORT.idle / 2);
    }

    /// Breaks when a client that takes nothing holds a download for ever.
    #[tokio::test]
    async fn a_client_that_does_not_read_ends_a_write() {
        let (_client, mut io, _slots) = pair().await;
        let error = loop {
            if let Err(error) = io.write_all(&[0; 65536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
