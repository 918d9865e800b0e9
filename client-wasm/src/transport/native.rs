//! A WebSocket by tokio-tungstenite.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use shared::protocol::limits::Limits;
use shared::protocol::message::SUBPROTOCOL;
use shared::protocol::resume::RESUMING_QUERY;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{SESSION_PATH, TraceId, Transport, closed, disconnected};
use crate::error::ClientError;
use crate::server::Server;

/// A connection to a server.
#[derive(Debug)]
pub struct NativeTransport {
    server: Server,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    trace: TraceId,
}

impl NativeTransport {
    /// Opens a session at a server.
    ///
    /// # Errors
    ///
    /// `ClientError::Disconnected` when nobody answers, or not in this protocol; `TokenNeeded` and
    /// `TurnedAway` when the server lets nobody in so.
    pub async fn connect(server: impl Into<Server>) -> Result<Self, ClientError> {
        Self::open(server.into(), SESSION_PATH).await
    }

    /// Connects to a server again, to go on with a session there.
    ///
    /// # Errors
    ///
    /// As for `connect`.
    pub async fn reconnect(server: &Server) -> Result<Self, ClientError> {
        let path = format!("{SESSION_PATH}?{RESUMING_QUERY}");
        Self::open(server.clone(), &path).await
    }

    /// Where it is connected to.
    pub fn server(&self) -> &Server {
        &self.server
    }

    async fn open(server: Server, path: &str) -> Result<Self, ClientError> {
        let lost = |error: &dyn std::fmt::Display| disconnected(error.to_string());
        let mut request = server
            .socket_url(path)
            .into_client_request()
            .map_err(|e| lost(&e))?;
        let trace = TraceId::draw()?;
        let parent = HeaderValue::from_str(&trace.traceparent()).map_err(|e| lost(&e))?;
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", subprotocol);
        headers.insert("traceparent", parent);
        if let Some(authorization) = server.authorization() {
            let mut value = HeaderValue::from_str(&authorization).map_err(|e| lost(&e))?;
            value.set_sensitive(true);
            headers.insert("authorization", value);
        }
        let bytes_max = Limits::default().frame_bytes_max as usize;
        let config = WebSocketConfig::default()
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        let (socket, _) = connect_async_with_config(request, Some(config), true)
            .await
            .map_err(unopened)?;
        Ok(Self {
            server,
            socket,
            trace,
        })
    }
}

/// Why no connection was opened.
fn unopened(error: tungstenite::Error) -> ClientError {
    match error {
        tungstenite::Error::Http(answer) => ClientError::unopened(answer.status().as_u16()),
        error => disconnected(error.to_string()),
    }
}

impl Transport for NativeTransport {
    async fn send(&mut self, frame: Vec<u8>) -> Result<(), ClientError> {
        let message = Message::Binary(frame.into());
        self.socket
            .send(message)
            .await
            .map_err(|error| disconnected(error.to_string()))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(frame))) => return Ok(frame.into()),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(1005, |frame| u16::from(frame.code));
                    return Err(closed(code, self.trace));
                }
                Some(Ok(_)) => {} // ping and pong are answered below us
                Some(Err(error)) => return Err(disconnected(error.to_string())),
                None => return Err(disconnected("closed")),
            }
        }
    }

    async fn close(&mut self) {
        // Whether the other side hears it or not, this side is done.
        let _ = self.socket.close(None).await;
    }

    async fn breathe(&mut self) {
        super::breathe().await;
    }

    async fn reopen(&mut self) -> Result<(), ClientError> {
        *self = Self::reconnect(&self.server).await?;
        Ok(())
    }

    async fn wait(millis: u32) {
        tokio::time::sleep(Duration::from_millis(u64::from(millis))).await;
    }
}
