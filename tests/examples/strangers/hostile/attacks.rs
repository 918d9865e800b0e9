//! What strangers do. Each attack ends by itself and says what its clients were told, and how often.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use shared::protocol::message::{ClientMessage, ExampleHeader, ServerMessage, Split, Upload};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};
use tests::http::{get, raw};
use tests::test_server::hello;
use tests::{RawClient, Received};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

/// What the clients of an attack were told, and how many of them.
pub(crate) type Told = BTreeMap<String, usize>;

type Running = Pin<Box<dyn Future<Output = Told> + Send>>;

/// One attack.
pub(crate) struct Attack {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// What happens, for people.
    pub(crate) what: &'static str,
    /// Runs it to its end.
    pub(crate) run: fn(SocketAddr) -> Running,
}

/// All of them; the first is none, to compare with.
pub(crate) const ATTACKS: [Attack; 9] = [
    Attack {
        name: "nothing",
        what: "nobody does anything for five seconds",
        run: |_| Box::pin(nothing()),
    },
    Attack {
        name: "idle connections",
        what: "10,000 connections that say nothing, held as long as they are let",
        run: |server| Box::pin(many(10_000, server, idle)),
    },
    Attack {
        name: "slow headers",
        what: "400 connections that send a byte of a request every second, for ten seconds",
        run: |server| Box::pin(many(400, server, slow)),
    },
    Attack {
        name: "noise",
        what: "2,000 sessions that begin with 4 kB that are no frame",
        run: |server| Box::pin(many(2_000, server, noise)),
    },
    Attack {
        name: "claims",
        what: "100 sessions with 90 uploads each of 4 bytes that claim 16 GB",
        run: |server| Box::pin(many(100, server, claims)),
    },
    Attack {
        name: "too large",
        what: "64 messages of 17 MiB, where 16 MiB are allowed",
        run: |server| Box::pin(many(64, server, |server| large(server, 17 << 20))),
    },
    Attack {
        name: "as large as allowed",
        what: "64 messages of 16 MiB of zeros",
        run: |server| Box::pin(many(64, server, |server| large(server, 16 << 20))),
    },
    Attack {
        name: "requests",
        what: "32 connections with 1,000 requests each, sent at once, with a token that nobody has",
        run: |server| Box::pin(many(32, server, requests)),
    },
    Attack {
        name: "deaf",
        what: "100 sessions that send wrong messages and never read",
        run: |server| Box::pin(many(100, server, deaf)),
    },
];

async fn nothing() -> Told {
    sleep(Duration::from_secs(5)).await;
    Told::new()
}

/// So many clients at the same time; counts what they were told.
async fn many<F>(clients: usize, server: SocketAddr, client: fn(SocketAddr) -> F) -> Told
where
    F: Future<Output = anyhow::Result<String>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(client(server));
    }
    let mut told = Told::new();
    while let Some(ended) = running.join_next().await {
        // Why the system did not let it go on is the system's word, such as "connection reset".
        let said = match ended {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => error.root_cause().to_string(),
            Err(_) => "failed".to_owned(),
        };
        *told.entry(said).or_default() += 1;
    }
    told
}

async fn idle(server: SocketAddr) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(server).await?;
    let mut answer = String::new();
    match timeout(Duration::from_secs(5), socket.read_to_string(&mut answer)).await {
        Ok(read) => {
            read?;
            Ok(status(&answer))
        }
        // Let in, or still in the queue of the operating system: the daemon's open files tell.
        Err(_) => Ok("no word in five seconds".to_owned()),
    }
}

async fn slow(server: SocketAddr) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(server).await?;
    for byte in b"GET / HTTP" {
        socket.write_all(&[*byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok("let in".to_owned())
}

async fn noise(server: SocketAddr) -> anyhow::Result<String> {
    let mut client = RawClient::connect(server).await?;
    client.send_bytes(vec![0xff; 4096]).await?;
    Ok(end(&mut client).await)
}

async fn claims(server: SocketAddr) -> anyhow::Result<String> {
    let catalogue = get(server, "/v1/catalogue", &[]).await?;
    let hello = hello(&serde_json::from_slice(&catalogue.body)?)?;
    let mut client = RawClient::connect(server).await?;
    if client.hello(hello).await.is_err() {
        return Ok(end(&mut client).await);
    }
    let header = |example_id| ExampleHeader {
        example_id,
        split: Split::Train,
        label: Some(0),
        seq_length: 40,
    };
    let upload = ClientMessage::Upload(Upload {
        examples: (0..256).map(header).collect(),
        activations: TensorDescriptor {
            dtype: ActivationDtype::F32,
            rows: u32::MAX,
            columns: 1,
        },
    });
    for _ in 0..90 {
        client.send(&upload, &[0; 4]).await?;
        let refused = client.refusal().await?;
        anyhow::ensure!(!refused.closes, "closed with {:?}", refused.code);
    }
    Ok("90 times WrongShape".to_owned())
}

async fn large(server: SocketAddr, bytes: usize) -> anyhow::Result<String> {
    let client = RawClient::connect(server).await?;
    let (mut sink, mut stream) = client.into_socket().split();
    let sending = async {
        // The server may stop reading.
        let _ = sink.send(Message::Binary(vec![0; bytes].into())).await;
    };
    let reading = async {
        let mut said = "no close frame".to_owned();
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(Some(close)) = message {
                said = format!("close {}", u16::from(close.code));
            }
        }
        said
    };
    let both = async { tokio::join!(sending, reading) };
    let ((), said) = timeout(Duration::from_secs(60), both).await?;
    Ok(said)
}

async fn requests(server: SocketAddr) -> anyhow::Result<String> {
    const MANY: usize = 1_000;
    let request = |connection: &str| {
        format!(
            "GET /v1/jobs HTTP/1.1\r\nHost: {server}\r\nConnection: {connection}\r\n\
             Authorization: Bearer ctl_{}\r\n\r\n",
            "0".repeat(96)
        )
    };
    let all = request("keep-alive").repeat(MANY - 1) + &request("close");
    let answers = raw(server, all.as_bytes()).await?;
    let refused = answers.matches("HTTP/1.1 401 ").count();
    Ok(format!("{refused} times HTTP 401"))
}

async fn deaf(server: SocketAddr) -> anyhow::Result<String> {
    let mut client = RawClient::connect(server).await?;
    for _ in 0..1_000_000 {
        if client.send(&ClientMessage::Goodbye, &[]).await.is_err() {
            return Ok("let go".to_owned());
        }
    }
    Ok("still listened to".to_owned())
}

/// The last refusal and the close code of a session.
async fn end(client: &mut RawClient) -> String {
    let mut said = String::new();
    loop {
        match client.receive().await {
            Ok(Received::Message(ServerMessage::Refused(refused))) => {
                said = format!("{:?}, ", refused.code);
            }
            Ok(Received::Message(_)) => {}
            Ok(Received::Closed(Some(code))) => return format!("{said}close {code}"),
            Ok(Received::Closed(None)) | Err(_) => return format!("{said}no close frame"),
        }
    }
}

/// The status of an answer.
fn status(answer: &str) -> String {
    match answer.split(' ').nth(1) {
        Some(status) => format!("HTTP {status}"),
        None => "closed".to_owned(),
    }
}
