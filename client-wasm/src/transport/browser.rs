//! The browser's WebSocket.

use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use futures_channel::oneshot;
use futures_util::StreamExt;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use shared::protocol::message::SUBPROTOCOL;
use shared::protocol::refusal::CLOSE_COMING_BACK;
use shared::protocol::resume::RESUMING_QUERY;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use super::{SESSION_PATH, TraceId, Transport, closed, disconnected};
use crate::artifacts::{CATALOGUE_BYTES_MAX, CATALOGUE_PATH};
use crate::browser::{fetch, sleep};
use crate::cache::Unfetched;
use crate::error::ClientError;
use crate::server::Server;

/// Bytes that may wait in the browser's own queue before `send` holds back.
const BUFFERED_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// How often the browser's queue is looked at while it is full.
const BACKED_UP_MILLIS: i32 = 10;

enum Incoming {
    Frame(Vec<u8>),
    Closed(u16),
}

/// A connection to a server.
pub struct BrowserTransport {
    server: Server,
    socket: WebSocket,
    trace: TraceId,
    inbox: UnboundedReceiver<Incoming>,
    // Called by the browser as long as the socket lives.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
    _on_open: Closure<dyn FnMut()>,
}

impl BrowserTransport {
    /// Connects to the server of an origin.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when nobody answers; `TokenNeeded` and `TurnedAway` when the
    /// server does not let this page ask for anything.
    pub async fn connect(server: &Server) -> Result<Self, ClientError> {
        let trace = TraceId::draw()?;
        Self::open(server, trace, &format!("trace={trace}")).await
    }

    async fn open(server: &Server, trace: TraceId, query: &str) -> Result<Self, ClientError> {
        let refused = |_| disconnected("the browser does not allow this address");
        // A browser sets no headers of a WebSocket.
        let subprotocols = Array::of1(&SUBPROTOCOL.into());
        if let Some(token) = server.token_subprotocol() {
            subprotocols.push(&token.into());
        }
        let url = format!("{}?{query}", server.socket_url(SESSION_PATH));
        let socket = WebSocket::new_with_str_sequence(&url, &subprotocols).map_err(refused)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let (sender, inbox) = unbounded();
        let (opened, open) = oneshot::channel();
        let mut opened = Some(opened);
        let closer = sender.clone();
        let on_message = Closure::new(move |event: MessageEvent| {
            if let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>() {
                // Fails only when the transport is gone, and then nobody waits for it.
                let _ = sender.unbounded_send(Incoming::Frame(Uint8Array::new(&buffer).to_vec()));
            }
        });
        let on_close = Closure::new(move |event: CloseEvent| {
            let _ = closer.unbounded_send(Incoming::Closed(event.code()));
        });
        let on_open = Closure::new(move || {
            if let Some(opened) = opened.take() {
                let _ = opened.send(());
            }
        });
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        let mut transport = Self {
            server: server.clone(),
            socket,
            trace,
            inbox,
            _on_message: on_message,
            _on_close: on_close,
            _on_open: on_open,
        };
        // Either the socket opens, or the first thing that comes is its end.
        match futures_util::future::select(open, transport.inbox.next()).await {
            futures_util::future::Either::Left((Ok(()), _)) => Ok(transport),
            _ => Err(unopened(server).await),
        }
    }
}

/// Why a socket did not open. A browser does not tell; of a request it tells the status, and the
/// catalogue asks for the same token.
async fn unopened(server: &Server) -> ClientError {
    match fetch(server, CATALOGUE_PATH, CATALOGUE_BYTES_MAX).await {
        Err(Unfetched::Status(status)) => ClientError::unopened(status),
        _ => disconnected("the server does not answer"),
    }
}

impl BrowserTransport {
    fn is_open(&self) -> bool {
        self.socket.ready_state() == WebSocket::OPEN
    }
}

impl Transport for BrowserTransport {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        // What a closed socket has not sent stays in its queue for ever.
        while self.is_open() && self.socket.buffered_amount() > BUFFERED_BYTES_MAX {
            sleep(BACKED_UP_MILLIS).await;
        }
        if !self.is_open() {
            return Err(disconnected("closed"));
        }
        self.socket
            .send_with_u8_array(&frame)
            .map_err(|_| disconnected("closed"))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        match self.inbox.next().await {
            Some(Incoming::Frame(frame)) => Ok(frame),
            Some(Incoming::Closed(code)) => Err(closed(code, self.trace)),
            None => Err(disconnected("closed")),
        }
    }

    async fn close(&mut self) {
        let _ = self.socket.close();
    }

    async fn breathe(&mut self) {
        super::breathe().await;
    }

    async fn reopen(&mut self) -> Result<(), ClientError> {
        // A browser leaves no connection without a close frame, and without this code that would
        // end the session, where the server has not noticed yet that the connection is lost.
        let _ = self.socket.close_with_code(CLOSE_COMING_BACK);
        let trace = TraceId::draw()?;
        let query = format!("trace={trace}&{RESUMING_QUERY}");
        *self = Self::open(&self.server, trace, &query).await?;
        Ok(())
    }

    async fn wait(millis: u32) {
        sleep(i32::try_from(millis).unwrap_or(i32::MAX)).await;
    }
}

impl Drop for BrowserTransport {
    fn drop(&mut self) {
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.socket.set_onopen(None);
        let _ = self.socket.close();
    }
}
