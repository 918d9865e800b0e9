//! Sessions over real sockets: the door, uploads, order, limits, the end.

use std::time::Duration;

use futures_util::StreamExt;
use server::limits::Timeouts;
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    Acknowledged, ClientMessage, Hello, RefusalCode, ServerMessage, Split,
};
use shared::protocol::tensor::ActivationDtype;
use tests::test_server::examples_in;
use tests::{Options, RawClient, Received, TestServer};

use crate::samples::{assert_serves, predict, server, server_with, serves_soon, train, upload};

async fn welcomed(server: &TestServer) -> RawClient {
    RawClient::welcomed(server.addr, server.hello().await.unwrap())
        .await
        .unwrap()
        .0
}

/// Waits until a condition holds; what it waits for is done by another task, at once.
async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never held");
}

#[tokio::test]
async fn hello_is_welcomed() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (_first, welcome) = RawClient::welcomed(server.addr, hello.clone())
        .await
        .unwrap();
    assert_eq!(
        (welcome.protocol_version, welcome.cut, welcome.d_model),
        (1, 1, 32)
    );
    assert_eq!(
        (&welcome.model_id, welcome.bottom_sha256),
        (&hello.model_id, hello.bottom_sha256)
    );
    assert_eq!(
        welcome.limits,
        Limits {
            seq_length_max: 40,
            ..Limits::default()
        }
    );
    let (_second, other) = RawClient::welcomed(server.addr, hello).await.unwrap();
    assert_ne!(welcome.session_token, other.session_token);
}

#[tokio::test]
async fn a_hello_that_disagrees_is_told_why_at_the_door() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    type Spoil = fn(&mut Hello);
    let cases: [(Spoil, RefusalCode); 7] = [
        (
            |hello| hello.protocol_version = 2,
            RefusalCode::WrongVersion,
        ),
        (
            |hello| hello.model_id = "other".into(),
            RefusalCode::UnknownModel,
        ),
        (|hello| hello.cut = 3, RefusalCode::UnknownCut),
        (|hello| hello.cut = 2, RefusalCode::WrongBottom),
        (
            |hello| hello.bottom_sha256[0] ^= 1,
            RefusalCode::WrongBottom,
        ),
        (|hello| hello.n_classes = 1, RefusalCode::BadSettings),
        (|hello| hello.adapter.rank = 0, RefusalCode::BadSettings),
    ];
    for (change, expected) in cases {
        let mut changed = hello.clone();
        change(&mut changed);
        let mut client = RawClient::connect(server.addr).await.unwrap();
        client
            .send(&ClientMessage::Hello(changed), &[])
            .await
            .unwrap();
        assert_eq!(
            client.refused_for_good().await.unwrap(),
            (expected, Some(1008))
        );
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn uploads_are_acknowledged_in_order() {
    let server = server().await;
    let mut client = welcomed(&server).await;
    // All four that may be in flight, before the first acknowledgement is read.
    for batch in 0..4 {
        let (upload, payload) = upload(batch * 8, 8, 3);
        client
            .send(&ClientMessage::Upload(upload), &payload)
            .await
            .unwrap();
    }
    for batch in 0..4_u32 {
        let expected = Acknowledged {
            sequence: u64::from(batch) + 2,
            examples_stored: (batch + 1) * 8,
        };
        assert_eq!(
            client.message().await.unwrap(),
            ServerMessage::Acknowledged(expected)
        );
    }
    assert_eq!(server.examples_on_disk().unwrap(), 1);
}

#[tokio::test]
async fn a_batch_that_is_wrong_is_refused_and_nothing_of_it_kept() {
    let server = server().await;
    let mut client = welcomed(&server).await;
    let (good, payload) = upload(0, 2, 3);
    let nan = {
        let mut payload = payload.clone();
        payload[40..44].copy_from_slice(&f32::NAN.to_le_bytes());
        payload
    };
    let changed = |change: fn(&mut shared::protocol::message::Upload)| {
        let mut upload = good.clone();
        change(&mut upload);
        upload
    };
    let cases = [
        (
            changed(|upload| upload.activations.columns = 31),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (
            changed(|upload| upload.activations.rows = 5),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (
            changed(|upload| upload.examples[0].seq_length = 4),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (
            changed(|upload| upload.examples[0].seq_length = 0),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (
            changed(|upload| upload.examples[0].seq_length = 41),
            payload.clone(),
            RefusalCode::LimitExceeded,
        ),
        (
            changed(|upload| upload.activations.dtype = ActivationDtype::F16),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (
            changed(|upload| upload.examples.clear()),
            payload.clone(),
            RefusalCode::WrongShape,
        ),
        (good.clone(), payload[4..].to_vec(), RefusalCode::WrongShape),
        (good.clone(), nan, RefusalCode::NotFinite),
        (
            changed(|upload| upload.examples[1].label = Some(2)),
            payload.clone(),
            RefusalCode::BadLabel,
        ),
        (
            changed(|upload| upload.examples[1].label = None),
            payload.clone(),
            RefusalCode::BadLabel,
        ),
        (
            changed(|upload| upload.examples[1].example_id = 0),
            payload.clone(),
            RefusalCode::DuplicateExample,
        ),
    ];
    for (upload, payload, expected) in cases {
        let sequence = client
            .send(&ClientMessage::Upload(upload), &payload)
            .await
            .unwrap();
        let refused = client.refusal().await.unwrap();
        assert_eq!(
            (refused.sequence, refused.code, refused.closes),
            (Some(sequence), expected, false)
        );
    }
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    let sequence = client
        .send(&ClientMessage::Upload(good.clone()), &payload)
        .await
        .unwrap();
    let expected = Acknowledged {
        sequence,
        examples_stored: 2,
    };
    assert_eq!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(expected)
    );
    client
        .send(&ClientMessage::Upload(good), &payload)
        .await
        .unwrap();
    assert_eq!(
        client.refusal().await.unwrap().code,
        RefusalCode::DuplicateExample
    );
}

#[tokio::test]
async fn the_store_is_bounded() {
    let limits = Limits {
        examples_max: 10,
        store_bytes_max: 8 * 128,
        ..Limits::default()
    };
    let server = server_with(Options {
        limits,
        ..Options::default()
    })
    .await;
    let mut client = welcomed(&server).await;
    // 128 bytes a row: 11 examples are too many, 9 rows too much.
    for (examples, rows) in [(11, 1), (3, 3)] {
        let (upload, payload) = upload(0, examples, rows);
        client
            .send(&ClientMessage::Upload(upload), &payload)
            .await
            .unwrap();
        assert_eq!(
            client.refusal().await.unwrap().code,
            RefusalCode::LimitExceeded
        );
    }
    let (upload, payload) = upload(0, 8, 1);
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(_)
    ));
}

#[tokio::test]
async fn messages_of_later_phases_are_refused_before_there_is_anything() {
    let server = server().await;
    let (batch, payload) = upload(0, 2, 1);
    let (prediction, prediction_payload) = predict(1, 1, 1);
    let steering = || {
        [
            ClientMessage::Pause,
            ClientMessage::Continue,
            ClientMessage::Cancel,
        ]
    };
    let before_hello = [
        (ClientMessage::Upload(batch), payload),
        (ClientMessage::Train(train(1)), vec![]),
        (prediction.clone(), prediction_payload.clone()),
        (ClientMessage::Goodbye, vec![]),
    ];
    let steered = steering().map(|message| (message, vec![]));
    for (message, payload) in before_hello.into_iter().chain(steered) {
        let mut client = RawClient::connect(server.addr).await.unwrap();
        client.send(&message, &payload).await.unwrap();
        let end = client.refused_for_good().await.unwrap();
        assert_eq!(end, (RefusalCode::WrongPhase, Some(1008)), "{message:?}");
    }
    let mut client = welcomed(&server).await;
    let hello = ClientMessage::Hello(server.hello().await.unwrap());
    let collecting = [(hello, vec![]), (prediction, prediction_payload)];
    let steered = steering().map(|message| (message, vec![]));
    for (message, payload) in collecting.into_iter().chain(steered) {
        client.send(&message, &payload).await.unwrap();
        let refused = client.refusal().await.unwrap();
        assert_eq!(
            (refused.code, refused.closes),
            (RefusalCode::WrongPhase, false)
        );
    }
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    assert_eq!(
        client.refusal().await.unwrap().code,
        RefusalCode::BadSettings
    );
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(
        client.receive().await.unwrap(),
        Received::Closed(Some(1000))
    );
}

#[tokio::test]
async fn a_gap_ends_the_session() {
    let server = server().await;
    for sequence in [0, 3, u64::MAX] {
        let mut client = welcomed(&server).await;
        let (upload, payload) = upload(0, 2, 1);
        client.sequence = sequence.min(u64::MAX - 1);
        client
            .send(&ClientMessage::Upload(upload), &payload)
            .await
            .unwrap();
        let end = client.refused_for_good().await.unwrap();
        assert_eq!(end, (RefusalCode::OutOfOrder, Some(1008)));
    }
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let handshake = Duration::from_millis(200);
    let timeouts = Timeouts {
        handshake,
        ..Options::default().timeouts
    };
    let server = server_with(Options {
        timeouts,
        sessions_max: 1,
        ..Options::default()
    })
    .await;
    let mut silent = RawClient::connect(server.addr).await.unwrap();
    assert_eq!(silent.closed().await.unwrap(), Some(1008));
    drop(silent);
    serves_soon(&server).await;
}

#[tokio::test]
async fn a_client_that_is_gone_without_a_word_is_noticed() {
    let timeouts = Timeouts {
        ping: Duration::from_millis(50),
        silence: Duration::from_secs(1),
        ..Options::default().timeouts
    };
    let server = server_with(Options {
        timeouts,
        ..Options::default()
    })
    .await;
    let mut client = welcomed(&server).await;
    let (upload, payload) = upload(0, 2, 1);
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(_)
    ));
    assert_eq!(server.examples_on_disk().unwrap(), 1);
    // The socket stays open, but nobody reads from it, so no ping is answered.
    eventually(|| server.examples_on_disk().unwrap() == 0).await;
    drop(client);
}

#[tokio::test]
async fn a_client_that_answers_pings_is_kept() {
    let timeouts = Timeouts {
        ping: Duration::from_millis(50),
        silence: Duration::from_secs(1),
        ..Options::default().timeouts
    };
    let server = server_with(Options {
        timeouts,
        ..Options::default()
    })
    .await;
    let mut client = welcomed(&server).await;
    // Reading answers pings.
    let nothing = tokio::time::timeout(Duration::from_millis(2500), client.receive()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_ended() {
    let timeouts = Timeouts {
        idle: Duration::from_millis(200),
        ..Options::default().timeouts
    };
    let server = server_with(Options {
        timeouts,
        ..Options::default()
    })
    .await;
    let mut client = welcomed(&server).await;
    assert_eq!(client.closed().await.unwrap(), Some(1001));
}

#[tokio::test]
async fn one_session_too_many_is_told_to_come_back() {
    let server = server_with(Options {
        sessions_max: 2,
        ..Options::default()
    })
    .await;
    let first = welcomed(&server).await;
    let _second = welcomed(&server).await;
    let third = RawClient::connect(server.addr).await.unwrap();
    assert_eq!(
        third.refused_for_good().await.unwrap(),
        (RefusalCode::Busy, Some(1013))
    );
    drop(first);
    serves_soon(&server).await;
}

#[tokio::test]
async fn what_was_stored_is_gone_when_goodbye_is_answered() {
    let server = server().await;
    let mut client = welcomed(&server).await;
    let (upload, payload) = upload(0, 4, 2);
    assert!(
        upload
            .examples
            .iter()
            .any(|example| example.split == Split::Validation)
    );
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    client.message().await.unwrap();
    assert_eq!(server.examples_on_disk().unwrap(), 1);
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
    assert_eq!(server.examples_on_disk().unwrap(), 0);
}

#[tokio::test]
async fn a_close_frame_is_answered() {
    let server = server().await;
    let mut socket = welcomed(&server).await.into_socket();
    socket.close(None).await.unwrap();
    // The library gives the end only after the other side's close frame.
    while let Some(message) = socket.next().await {
        assert!(message.is_ok(), "{message:?}");
    }
}

#[tokio::test]
async fn what_was_stored_is_gone_when_the_connection_is_lost() {
    let server = server().await;
    let mut client = welcomed(&server).await;
    let (upload, payload) = upload(0, 4, 2);
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    client.message().await.unwrap();
    drop(client);
    eventually(|| server.examples_on_disk().unwrap() == 0).await;
}

#[tokio::test]
async fn a_stopping_daemon_tells_its_sessions_and_waits_for_them() {
    let server = server().await;
    let mut stored = welcomed(&server).await;
    let (upload, payload) = upload(0, 4, 2);
    stored
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    stored.message().await.unwrap();
    let mut silent = RawClient::connect(server.addr).await.unwrap();
    let addr = server.addr;
    // The clients read only after the daemon has ended: its close frames were sent before that.
    let data = server.stop().await.unwrap();
    assert_eq!(examples_in(data.path()).unwrap(), 0);
    assert_eq!(stored.closed().await.unwrap(), Some(1012));
    // It had not begun: nothing was cut, another try is all that it takes.
    assert_eq!(silent.closed().await.unwrap(), Some(1013));
    assert!(RawClient::connect(addr).await.is_err());
}
