//! A socket that is read all the time. The server drops a client that does not answer its pings for a minute, and
//! they are only answered while somebody reads: between two texts that a person types, nobody would.

use crate::record::Recorder;
use client_wasm::error::ClientError;
use client_wasm::server::Server;
use client_wasm::transport::Transport;
use client_wasm::transport::native::NativeTransport;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// Frames that wait between the socket and the client, in each direction. Further ones wait in the socket.
const FRAMES_WAITING_MAX: usize = 4;

/// A connection to a server that stays alive while it is not used.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Server,
    outgoing: Option<Sender<Vec<u8>>>,
    incoming: Receiver<Result<Vec<u8>, ClientError>>,
    pump: JoinHandle<()>,
    recorder: Option<Recorder>,
}

impl Connection {
    /// Opens a session at a server; a recorder keeps every frame.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when nobody answers, or not in this protocol.
    pub(crate) async fn open(
        server: &Server,
        recorder: Option<Recorder>,
    ) -> Result<Self, ClientError> {
        let mut connection = Self::over(NativeTransport::connect(server).await?);
        connection.recorder = recorder;
        Ok(connection)
    }

    /// Reads a socket from now on.
    fn over(socket: NativeTransport) -> Self {
        let (outgoing, to_socket) = channel(FRAMES_WAITING_MAX);
        let (from_socket, incoming) = channel(FRAMES_WAITING_MAX);
        let server = socket.server().clone();
        let pump = tokio::spawn(pump(socket, to_socket, from_socket));
        Self {
            server,
            outgoing: Some(outgoing),
            incoming,
            pump,
            recorder: None,
        }
    }
}

/// Carries frames both ways until one side ends. Never waits for the client to take a frame while it has one to send.
async fn pump(
    mut socket: NativeTransport,
    mut outgoing: Receiver<Vec<u8>>,
    incoming: Sender<Result<Vec<u8>, ClientError>>,
) {
    loop {
        // A place first, then a frame: dropping this at either point loses nothing.
        let next = async {
            let place = incoming.reserve().await.ok()?;
            Some((place, socket.receive().await))
        };
        tokio::select! {
            frame = outgoing.recv() => {
                let Some(frame) = frame else { break };
                if let Err(error) = socket.send(frame).await {
                    // Nobody is left to tell when this fails.
                    let _ = incoming.send(Err(error)).await;
                    return;
                }
            }
            received = next => {
                let Some((place, frame)) = received else { break };
                let ended = frame.is_err();
                place.send(frame);
                if ended {
                    return;
                }
            }
        }
    }
    socket.close().await;
}

fn closed() -> ClientError {
    let reason = "closed".to_owned();
    ClientError::Disconnected { reason, code: None }
}

/// A frame that cannot be kept is not sent, nor used: the record would not be what travelled.
#[allow(clippy::needless_pass_by_value)] // the shape that map_err wants
fn not_recorded(error: std::io::Error) -> ClientError {
    ClientError::Option {
        name: "--record",
        problem: format!("what travels could not be written down: {error}"),
    }
}

impl Transport for Connection {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.keep_sent(&frame).map_err(not_recorded)?;
        }
        let outgoing = self.outgoing.as_ref().ok_or_else(closed)?;
        if outgoing.send(frame).await.is_ok() {
            return Ok(());
        }
        // The reason is behind the frames that came before it, and those answer nothing any more.
        while let Some(received) = self.incoming.recv().await {
            received?;
        }
        Err(closed())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        let frame = self
            .incoming
            .recv()
            .await
            .unwrap_or_else(|| Err(closed()))?;
        if let Some(recorder) = &mut self.recorder {
            recorder.keep_received(&frame).map_err(not_recorded)?;
        }
        Ok(frame)
    }

    async fn close(&mut self) {
        self.outgoing = None;
        // Whatever still arrives, this side is done; a full channel must not hold the pump up.
        self.incoming.close();
        // A pump that failed has closed as well.
        let _ = (&mut self.pump).await;
    }

    async fn breathe(&mut self) {
        tokio::task::yield_now().await;
    }

    async fn reopen(&mut self) -> Result<(), ClientError> {
        let socket = NativeTransport::reconnect(&self.server).await?;
        // Without a close frame, which would end the session, not only the connection.
        self.pump.abort();
        let recorder = self.recorder.take();
        *self = Self::over(socket);
        self.recorder = recorder;
        Ok(())
    }

    async fn wait(millis: u32) {
        NativeTransport::wait(millis).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_who_listens_is_an_error_and_no_wait() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = Connection::open(&Server::from(&format!("http://{address}")), None)
            .await
            .unwrap_err();
        assert_eq!(error.name(), "Disconnected");
    }
}
