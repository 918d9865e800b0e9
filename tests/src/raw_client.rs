//! A client without good manners: it sends what it is told to, and shows what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use shared::protocol::codec::{decode_server, encode_client};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    ClientMessage, Hello, RefusalCode, Refused, SUBPROTOCOL, ServerMessage, TOKEN_SUBPROTOCOL,
    Welcome,
};
use shared::protocol::resume::{RESUMING_QUERY, Resume, UNCOUNTED};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Longer than anything should take, shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came from the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A message.
    Message(ServerMessage),
    /// The close frame, or `None` when the connection ended without one.
    Closed(Option<u16>),
}

/// One WebSocket to a server.
#[derive(Debug)]
pub struct RawClient {
    socket: WebSocketStream<TcpStream>,
    /// Of the next message; tests may set it.
    pub sequence: u64,
    /// What came behind the last message.
    pub payload: Vec<u8>,
    server_sequence: u64,
}

impl RawClient {
    /// Opens a WebSocket as the native client does.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub async fn connect(server: SocketAddr) -> anyhow::Result<Self> {
        Self::connect_with(server, "/v1/session", SUBPROTOCOL).await
    }

    /// Opens a WebSocket as one that goes on with a session; a token lets it in where one is
    /// needed.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub async fn connect_again(server: SocketAddr, token: Option<&str>) -> anyhow::Result<Self> {
        let token = token.map(|token| format!(", {TOKEN_SUBPROTOCOL}{token}"));
        let protocols = format!("{SUBPROTOCOL}{}", token.unwrap_or_default());
        Self::connect_with(server, &format!("/v1/session?{RESUMING_QUERY}"), &protocols).await
    }

    /// Asks for a session in a connection of its own; what the client has received from it, and how
    /// many messages it has sent, is known to the test.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub async fn resuming(server: SocketAddr, resume: Resume) -> anyhow::Result<Self> {
        let mut client = Self::connect_again(server, None).await?;
        client.resume(resume).await?;
        Ok(client)
    }

    /// Asks for a session.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn resume(&mut self, resume: Resume) -> anyhow::Result<()> {
        let message = ClientMessage::Resume(resume);
        self.send_bytes(encode_client(UNCOUNTED, &message, &[])?)
            .await?;
        self.server_sequence = resume.received + 1;
        Ok(())
    }

    /// Opens a WebSocket as a browser does, which names its trace in the query.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub async fn connect_traced(server: SocketAddr, trace: &str) -> anyhow::Result<Self> {
        let path = format!("/v1/session?trace={trace}");
        Self::connect_with(server, &path, SUBPROTOCOL).await
    }

    /// Opens a WebSocket as a browser does that has a token.
    ///
    /// # Errors
    ///
    /// When the server does not let it in.
    pub async fn connect_as(server: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let protocols = format!("{SUBPROTOCOL}, {TOKEN_SUBPROTOCOL}{token}");
        Self::connect_with(server, "/v1/session", &protocols).await
    }

    async fn connect_with(server: SocketAddr, path: &str, protocols: &str) -> anyhow::Result<Self> {
        let mut request = format!("ws://{server}{path}").into_client_request()?;
        let protocol = HeaderValue::from_str(protocols)?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        let stream = TcpStream::connect(server).await?;
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        ensure!(
            chosen.is_some_and(|chosen| chosen == SUBPROTOCOL),
            "the server chose {chosen:?}"
        );
        Ok(Self {
            socket,
            sequence: 1,
            payload: Vec::new(),
            server_sequence: 1,
        })
    }

    /// Opens a WebSocket and is welcomed.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn welcomed(server: SocketAddr, hello: Hello) -> anyhow::Result<(Self, Welcome)> {
        let mut client = Self::connect(server).await?;
        let welcome = client.hello(hello).await?;
        Ok((client, welcome))
    }

    /// Says hello and is welcomed.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn hello(&mut self, hello: Hello) -> anyhow::Result<Welcome> {
        self.send(&ClientMessage::Hello(hello), &[]).await?;
        match self.receive().await? {
            Received::Message(ServerMessage::Welcome(welcome)) => Ok(welcome),
            other => bail!("expected Welcome; got {other:?}"),
        }
    }

    /// Sends a message with the next sequence number, and returns that number.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn send(&mut self, message: &ClientMessage, payload: &[u8]) -> anyhow::Result<u64> {
        let sequence = self.sequence;
        self.send_bytes(encode_client(sequence, message, payload)?)
            .await?;
        self.sequence += 1;
        Ok(sequence)
    }

    /// Sends bytes as a frame, whatever they are.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn send_bytes(&mut self, frame: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Binary(frame.into())).await?)
    }

    /// Sends a text message, which the protocol does not have.
    ///
    /// # Errors
    ///
    /// When the socket fails.
    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Waits for the next message or the end. Holds the server's numbering to its word.
    ///
    /// # Errors
    ///
    /// When nothing comes in time, or something that is no frame.
    pub async fn receive(&mut self) -> anyhow::Result<Received> {
        loop {
            let next = timeout(PATIENCE, self.socket.next())
                .await
                .context("nothing came")?;
            let bytes = match next {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    return Ok(Received::Closed(frame.map(|frame| frame.code.into())));
                }
                Some(Ok(other)) => bail!("a server sends binary messages; got {other:?}"),
                Some(Err(_)) | None => return Ok(Received::Closed(None)),
            };
            let frame = decode_server(&bytes, &Limits::default())?;
            if frame.sequence == UNCOUNTED {
                match frame.message {
                    // Nothing is sent again here unless a test says so.
                    ServerMessage::Received(_) => continue,
                    message => return Ok(Received::Message(message)),
                }
            }
            let expected = self.server_sequence;
            ensure!(
                frame.sequence == expected,
                "expected message {expected}; got {frame:?}"
            );
            self.server_sequence += 1;
            self.payload = frame.payload.to_vec();
            return Ok(Received::Message(frame.message));
        }
    }

    /// Waits for a message.
    ///
    /// # Errors
    ///
    /// When the connection ends instead.
    pub async fn message(&mut self) -> anyhow::Result<ServerMessage> {
        match self.receive().await? {
            Received::Message(message) => Ok(message),
            Received::Closed(code) => bail!("expected a message; the server closed with {code:?}"),
        }
    }

    /// Waits for a refusal, passing over the reports of a run.
    ///
    /// # Errors
    ///
    /// When something else comes.
    pub async fn refusal(&mut self) -> anyhow::Result<Refused> {
        loop {
            match self.message().await? {
                ServerMessage::Refused(refused) => return Ok(refused),
                ServerMessage::Step(_) | ServerMessage::Validation(_) => {}
                other => bail!("expected a refusal; got {other:?}"),
            }
        }
    }

    /// Waits for a refusal that ends the connection, and for that end.
    ///
    /// # Errors
    ///
    /// When the refusal does not close, or something else comes.
    pub async fn refused_for_good(mut self) -> anyhow::Result<(RefusalCode, Option<u16>)> {
        let refused = self.refusal().await?;
        ensure!(refused.closes, "{refused:?} does not close");
        match self.receive().await? {
            Received::Closed(code) => Ok((refused.code, code)),
            other => bail!("expected the end; got {other:?}"),
        }
    }

    /// As `refused_for_good`, for a connection that got no session: the server counts from 1 there.
    ///
    /// # Errors
    ///
    /// As for that.
    pub async fn refused_at_the_door(mut self) -> anyhow::Result<(RefusalCode, Option<u16>)> {
        self.server_sequence = 1;
        self.refused_for_good().await
    }

    /// Waits for the end of the connection, passing over messages.
    ///
    /// # Errors
    ///
    /// When it does not come in time.
    pub async fn closed(&mut self) -> anyhow::Result<Option<u16>> {
        loop {
            if let Received::Closed(code) = self.receive().await? {
                return Ok(code);
            }
        }
    }

    /// Splits the socket, for a client that sends and listens at the same time.
    pub fn into_socket(self) -> WebSocketStream<TcpStream> {
        self.socket
    }
}
