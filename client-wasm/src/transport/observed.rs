//! A transport that tells of everything that it is given to send.
//!
//! It stands next to the socket, below everything that makes, keeps or repeats frames: what it
//! tells is what the socket was handed, once for each time. What the socket adds itself is not
//! told: headers, masks, pings, close frames.

use std::rc::Rc;

use super::Transport;
use crate::error::ClientError;
use crate::outgoing::Outgoing;

/// Who is told.
pub type Watch = Rc<dyn Fn(&Outgoing)>;

/// A watched transport.
pub struct Observed<T> {
    inner: T,
    watch: Watch,
}

impl<T: Transport> Observed<T> {
    /// Opens a connection. The request for it is told before it is known whether anybody answers.
    ///
    /// # Errors
    ///
    /// As `connect`.
    pub async fn connect<F: Future<Output = Result<T, ClientError>>>(
        watch: Watch,
        connect: impl FnOnce() -> F,
    ) -> Result<Self, ClientError> {
        watch(&Outgoing::connection());
        let inner = connect().await?;
        Ok(Self { inner, watch })
    }
}

impl<T: Transport> Transport for Observed<T> {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        let sent = Outgoing::of(&frame);
        self.inner.send(frame).await?;
        (self.watch)(&sent);
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        self.inner.receive().await
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }

    async fn breathe(&mut self) {
        self.inner.breathe().await;
    }

    async fn reopen(&mut self) -> Result<(), ClientError> {
        (self.watch)(&Outgoing::connection());
        self.inner.reopen().await
    }

    async fn wait(millis: u32) {
        T::wait(millis).await;
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))] // the runtime of these tests is native
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::RefCell;

    use shared::protocol::codec::encode_client;
    use shared::protocol::message::ClientMessage;

    use super::*;
    use crate::transport::memory::{MemoryTransport, dialled, pair};

    type Told = Rc<RefCell<Vec<Outgoing>>>;

    async fn observed(transport: MemoryTransport) -> (Observed<MemoryTransport>, Told) {
        let told = Told::default();
        let kept = Rc::clone(&told);
        let watch: Watch = Rc::new(move |sent| kept.borrow_mut().push(sent.clone()));
        let observed = Observed::connect(watch, || async { Ok(transport) }).await;
        (observed.ok().unwrap(), told)
    }

    fn pause() -> Vec<u8> {
        encode_client(1, &ClientMessage::Pause, &[]).unwrap()
    }

    #[tokio::test]
    async fn what_arrives_is_what_is_told() {
        let (mine, mut theirs) = pair();
        let (mut observed, told) = observed(mine).await;
        let frames = [pause(), b"no frame".to_vec(), pause()];
        let mut arrived = vec![Outgoing::connection()];
        for frame in frames {
            observed.send(frame).await.unwrap();
            arrived.push(Outgoing::of(&theirs.receive().await.unwrap()));
        }
        assert_eq!(*told.borrow(), arrived);
        let names: Vec<_> = arrived.iter().map(|sent| sent.message).collect();
        assert_eq!(names, ["Connection", "Pause", "Unreadable", "Pause"]);
    }

    #[tokio::test]
    async fn what_a_lost_connection_did_not_take_has_not_left() {
        let (mine, _lines) = dialled();
        let (mut observed, told) = observed(mine.cut_after(0)).await;
        assert!(observed.send(pause()).await.is_err());
        observed.reopen().await.unwrap();
        observed.send(pause()).await.unwrap();
        let names: Vec<_> = told.borrow().iter().map(|sent| sent.message).collect();
        assert_eq!(names, ["Connection", "Connection", "Pause"]);
    }
}
