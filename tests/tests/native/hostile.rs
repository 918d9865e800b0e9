//! A hostile client over a real socket: whatever it sends, the daemon refuses, says nothing it
//! should not, and goes on.

mod floods;
mod shapes;

use futures_util::{SinkExt, StreamExt};
use shared::protocol::codec::{decode_server, encode_client};
use shared::protocol::limits::Limits;
use shared::protocol::message::{ClientMessage, RefusalCode, ServerMessage};
use tests::{Options, RawClient, log};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::samples::{assert_serves, f32_bytes, server, server_with, serves_soon, upload};

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection() {
    let server = server().await;
    let hello =
        encode_client(1, &ClientMessage::Hello(server.hello().await.unwrap()), &[]).unwrap();
    let cut = hello[..hello.len() - 1].to_vec();
    let mut version = hello.clone();
    version[2] = 9;
    let mut claim = hello.clone();
    claim[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    for (frame, expected) in [
        (vec![], RefusalCode::MalformedFrame),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            RefusalCode::MalformedFrame,
        ),
        (vec![0xff; 4096], RefusalCode::MalformedFrame),
        (cut, RefusalCode::MalformedFrame),
        (version, RefusalCode::WrongVersion),
        (claim, RefusalCode::LimitExceeded),
    ] {
        let mut client = RawClient::connect(server.addr).await.unwrap();
        client.send_bytes(frame).await.unwrap();
        assert_eq!(
            client.refused_for_good().await.unwrap(),
            (expected, Some(1008))
        );
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn text_is_not_a_message() {
    let server = server().await;
    let mut client = RawClient::connect(server.addr).await.unwrap();
    client.send_text("{\"hello\": true}").await.unwrap();
    let end = client.refused_for_good().await.unwrap();
    assert_eq!(end, (RefusalCode::MalformedFrame, Some(1008)));
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_not_read() {
    let limits = Limits {
        frame_bytes_max: 128 * 1024,
        ..Limits::default()
    };
    let server = server_with(Options {
        limits,
        ..Options::default()
    })
    .await;
    for bytes in [128 * 1024 + 1, 4 * 1024 * 1024] {
        let hello = server.hello().await.unwrap();
        let (client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
        let (mut sink, mut stream) = client.into_socket().split();
        // The server stops reading: whoever sends must listen at the same time.
        tokio::spawn(async move { sink.send(Message::Binary(vec![0_u8; bytes].into())).await });
        let refusal = stream.next().await.unwrap().unwrap().into_data();
        let frame = decode_server(&refusal, &Limits::default()).unwrap();
        let ServerMessage::Refused(refused) = frame.message else {
            panic!("{frame:?}")
        };
        assert_eq!(
            (refused.code, refused.closes),
            (RefusalCode::LimitExceeded, true)
        );
        let Message::Close(Some(close)) = stream.next().await.unwrap().unwrap() else {
            panic!("no close frame")
        };
        assert_eq!(u16::from(close.code), 1009);
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_frame_of_exactly_the_limit_is_read() {
    let limits = Limits {
        frame_bytes_max: 128 * 1024,
        ..Limits::default()
    };
    let server = server_with(Options {
        limits,
        ..Options::default()
    })
    .await;
    let mut client = RawClient::connect(server.addr).await.unwrap();
    client.send_bytes(vec![0; 128 * 1024]).await.unwrap();
    // It is judged, not cut off.
    let end = client.refused_for_good().await.unwrap();
    assert_eq!(end, (RefusalCode::MalformedFrame, Some(1008)));
}

#[tokio::test]
async fn a_client_that_is_always_wrong_is_sent_away() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    for _ in 1..server::limits::REFUSALS_MAX {
        client.send(&ClientMessage::Pause, &[]).await.unwrap();
        assert!(!client.refusal().await.unwrap().closes);
    }
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    let end = client.refused_for_good().await.unwrap();
    assert_eq!(end, (RefusalCode::WrongPhase, Some(1008)));
}

#[tokio::test]
async fn connections_that_break_off_leave_nothing_behind() {
    let server = server_with(Options {
        sessions_max: 4,
        ..Options::default()
    })
    .await;
    for _ in 0..20 {
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        socket
            .write_all(b"GET /v1/session HTTP/1.1\r\nHost: ")
            .await
            .unwrap();
    }
    for _ in 0..20 {
        // Some of these are turned away: the slots of those before are given back a little later.
        let Ok(mut client) = RawClient::connect(server.addr).await else {
            continue;
        };
        let hello = encode_client(1, &ClientMessage::Hello(server.hello().await.unwrap()), &[]);
        // It may have been turned away in the meantime.
        let _ = client.send_bytes(hello.unwrap()[..20].to_vec()).await;
    }
    serves_soon(&server).await;
    assert_eq!(server.examples_on_disk().unwrap(), 0);
}

/// Strings that no log line and no refusal may hold. Each is sent as what its comment says.
const CANARIES: [&str; 6] = [
    // A label.
    "4242913",
    // An example id.
    "1987654321",
    // An activation, in decimal and as the bytes of its f32.
    "12345.678",
    "b6e64046",
    // A model's name.
    "canaryname",
    // A text message, and a query.
    "canarytext",
];

#[tokio::test]
async fn neither_log_nor_refusals_repeat_what_the_client_sent() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let mut refusals = Vec::new();

    let mut named = hello.clone();
    named.model_id = "canaryname".into();
    let mut client = RawClient::connect(server.addr).await.unwrap();
    client
        .send(&ClientMessage::Hello(named), &[])
        .await
        .unwrap();
    refusals.push(client.refusal().await.unwrap());

    let mut client = RawClient::connect(server.addr).await.unwrap();
    client.send_text("canarytext").await.unwrap();
    refusals.push(client.refusal().await.unwrap());
    tests::http::get(server.addr, "/v1/catalogue?q=canarytext", &[])
        .await
        .unwrap();

    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (mut batch, _) = upload(1_987_654_321, 1, 3);
    let values = [12_345.678; 96];
    // The bytes are those of the constant above.
    assert_eq!(12_345.678_f32.to_le_bytes(), [0xb6, 0xe6, 0x40, 0x46]);
    client
        .send(&ClientMessage::Upload(batch.clone()), &f32_bytes(&values))
        .await
        .unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(_)
    ));
    client
        .send(&ClientMessage::Upload(batch.clone()), &f32_bytes(&values))
        .await
        .unwrap();
    refusals.push(client.refusal().await.unwrap());
    batch.examples[0].example_id += 1;
    batch.examples[0].label = Some(4_242_913);
    client
        .send(&ClientMessage::Upload(batch.clone()), &f32_bytes(&values))
        .await
        .unwrap();
    refusals.push(client.refusal().await.unwrap());
    batch.examples[0].label = Some(0);
    let mut broken = values;
    broken[5] = f32::INFINITY;
    client
        .send(&ClientMessage::Upload(batch), &f32_bytes(&broken))
        .await
        .unwrap();
    refusals.push(client.refusal().await.unwrap());
    drop(client);
    server.stop().await.unwrap();

    let codes: Vec<_> = refusals.iter().map(|refused| refused.code).collect();
    let expected = [
        RefusalCode::UnknownModel,
        RefusalCode::MalformedFrame,
        RefusalCode::DuplicateExample,
        RefusalCode::BadLabel,
        RefusalCode::NotFinite,
    ];
    assert_eq!(codes, expected);
    let log = log::captured();
    // It was listening, at the finest level: this line is written at debug, for each of these
    // refusals.
    assert!(log.contains("refused a message") && log.contains("NotFinite"));
    for canary in CANARIES {
        assert!(!log.contains(canary), "{canary} is in the log");
        assert!(
            refusals
                .iter()
                .all(|refused| !refused.sentence.contains(canary)),
            "{canary}"
        );
    }
}
