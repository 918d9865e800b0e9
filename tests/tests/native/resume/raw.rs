//! Resumption as it is on the wire: who may, for how long, and what each side is told.

use std::time::Duration;

use client_wasm::server::{AccessToken, Server};
use client_wasm::transport::Transport;
use client_wasm::transport::native::NativeTransport;
use server::auth::{Scope, Scopes};
use server::limits::Timeouts;
use server::state::{TenantName, UnixMillis};
use server::token_command::create;
use shared::protocol::message::{
    Acknowledged, ClientMessage, LabelPlace, RefusalCode, ServerMessage,
};
use shared::protocol::refusal::CLOSE_COMING_BACK;
use shared::protocol::resume::{Received, Resume};
use tests::{Options, RawClient, Received as Came, TestServer};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{LONG, waiting};
use crate::samples::{train, upload};

pub(super) type Token = [u8; 16];

pub(super) async fn long() -> TestServer {
    waiting(LONG, Options::default()).await
}

pub(super) fn resume(session_token: Token, received: u64) -> Resume {
    Resume {
        session_token,
        received,
    }
}

pub(super) async fn welcomed(server: &TestServer) -> (RawClient, Token) {
    let hello = server.hello().await.unwrap();
    let (client, welcome) = RawClient::welcomed(server.addr, hello).await.unwrap();
    (client, welcome.session_token)
}

pub(super) async fn send_upload(client: &mut RawClient, first_id: u32, examples: u32) -> u64 {
    let (upload, payload) = upload(first_id, examples, 3);
    let message = ClientMessage::Upload(upload);
    client.send(&message, &payload).await.unwrap()
}

pub(super) async fn assert_acknowledged(
    client: &mut RawClient,
    sequence: u64,
    examples_stored: u32,
) {
    let acknowledged = Acknowledged {
        sequence,
        examples_stored,
    };
    let expected = ServerMessage::Acknowledged(acknowledged);
    assert_eq!(client.message().await.unwrap(), expected);
}

/// Goes on with a session in a new connection; the server must have processed so much.
pub(super) async fn resumed(server: &TestServer, resume: Resume, processed: u64) -> RawClient {
    let mut client = RawClient::resuming(server.addr, resume).await.unwrap();
    let received = Received {
        received: processed,
    };
    let expected = ServerMessage::Resumed(received);
    assert_eq!(client.message().await.unwrap(), expected);
    client.sequence = processed + 1;
    client
}

pub(super) async fn assert_unknown(server: &TestServer, resume: Resume) {
    let client = RawClient::resuming(server.addr, resume).await.unwrap();
    let end = client.refused_at_the_door().await.unwrap();
    assert_eq!(end, (RefusalCode::UnknownSession, Some(1008)));
}

/// Begins a run that has asked its client for something.
pub(super) async fn asked(server: &TestServer) -> (RawClient, Token) {
    let mut hello = server.hello().await.unwrap();
    hello.labels = LabelPlace::Client;
    let (mut client, welcome) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (mut batch, payload) = upload(0, 32, 3);
    for example in &mut batch.examples {
        example.label = None;
    }
    client
        .send(&ClientMessage::Upload(batch), &payload)
        .await
        .unwrap();
    assert_acknowledged(&mut client, 2, 32).await;
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    loop {
        match client.receive().await.unwrap() {
            Came::Message(ServerMessage::Pooled(_)) => break,
            Came::Message(ServerMessage::TrainStarted { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    (client, welcome.session_token)
}

/// Waits until so many sessions have data on disk.
async fn stored(server: &TestServer, sessions: usize) {
    for _ in 0..500 {
        if server.examples_on_disk().unwrap() == sessions {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never held");
}

#[tokio::test]
async fn what_was_processed_and_not_confirmed_is_neither_lost_nor_done_again() {
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    stored(&server, 1).await; // and nobody has read the acknowledgement
    drop(client);
    let mut client = resumed(&server, resume(token, 1), 2).await;
    assert_acknowledged(&mut client, 2, 8).await;
    // The upload once more, as by a client that does not know: no effect and no answer.
    client.sequence = 2;
    send_upload(&mut client, 0, 8).await;
    let sequence = send_upload(&mut client, 8, 8).await;
    assert_eq!(sequence, 3);
    assert_acknowledged(&mut client, 3, 16).await;
    // Nothing is sent a third time to whom has it.
    drop(client);
    let mut client = resumed(&server, resume(token, 3), 3).await;
    send_upload(&mut client, 16, 8).await;
    assert_acknowledged(&mut client, 4, 24).await;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    assert_unknown(&server, resume(token, 4)).await;
}

#[tokio::test]
async fn a_run_goes_on_while_its_client_is_away() {
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 32).await;
    assert_acknowledged(&mut client, 2, 32).await;
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    let started = client.message().await.unwrap();
    assert!(matches!(started, ServerMessage::TrainStarted { .. }));
    drop(client);
    let mut client = resumed(&server, resume(token, 3), 3).await;
    let mut steps = Vec::new();
    loop {
        match client.message().await.unwrap() {
            ServerMessage::Step(report) => steps.push(report.step),
            ServerMessage::Validation(_) => {}
            ServerMessage::TrainDone(done) => {
                assert_eq!(done.steps, 4);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(steps, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_token_of_another_tenant_is_one_that_nobody_has() {
    let server = long().await;
    let token = |tenant: &str| {
        let (name, scopes) = (tenant.parse().unwrap(), Scopes::of(&[Scope::Train]));
        let store = server.state.blocking();
        let token = create(store, name, scopes, None, UnixMillis::now()).unwrap();
        token.reveal()
    };
    let (mine, theirs) = (token("a"), token("b"));
    let hello = server.hello_as(&mine).await.unwrap();
    let mut client = RawClient::connect_as(server.addr, &mine).await.unwrap();
    let session = client.hello(hello).await.unwrap().session_token;
    drop(client);
    let mut near = session;
    near[15] ^= 1;
    for (who, what) in [(&theirs, session), (&mine, near), (&theirs, [0; 16])] {
        let mut client = RawClient::connect_again(server.addr, Some(who))
            .await
            .unwrap();
        client.resume(resume(what, 1)).await.unwrap();
        let end = client.refused_at_the_door().await.unwrap();
        assert_eq!(end, (RefusalCode::UnknownSession, Some(1008)));
    }
    let mut client = RawClient::connect_again(server.addr, Some(&mine))
        .await
        .unwrap();
    client.resume(resume(session, 1)).await.unwrap();
    let answer = client.message().await.unwrap();
    assert_eq!(answer, ServerMessage::Resumed(Received { received: 1 }));
}

/// Breaks when the client's library asks a server again and again that will not let it in.
#[tokio::test]
async fn a_client_whose_token_was_revoked_meanwhile_is_told_so_at_once() {
    let server = long().await;
    let scopes = Scopes::of(&[Scope::Train]);
    let store = server.state.blocking();
    let token = create(store, TenantName::local(), scopes, None, UnixMillis::now()).unwrap();
    let access = AccessToken::new(&token.reveal()).unwrap();
    let address = Server::from(&format!("http://{}", server.addr)).with_token(Some(access));
    let mut transport = NativeTransport::connect(&address).await.unwrap();
    store.revoke_token(token.key(), UnixMillis::now()).unwrap();
    for _ in 0..2 {
        let refused = transport.reopen().await.unwrap_err();
        assert_eq!(refused.name(), "TokenNeeded");
    }
    // Nothing is there that could be asked again.
    let elsewhere = format!("http://{}/nowhere", server.addr);
    let refused = NativeTransport::connect(&elsewhere).await.unwrap_err();
    assert_eq!(refused.name(), "TurnedAway");
}

#[tokio::test]
async fn a_session_that_nobody_comes_back_to_is_let_go() {
    let window = Duration::from_millis(300);
    let server = waiting(window, Options::default()).await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    assert_acknowledged(&mut client, 2, 8).await;
    drop(client);
    stored(&server, 0).await;
    assert_unknown(&server, resume(token, 2)).await;
}

#[tokio::test]
async fn without_a_window_a_session_ends_with_its_connection() {
    let server = waiting(Duration::ZERO, Options::default()).await;
    let (client, token) = welcomed(&server).await;
    assert_unknown(&server, resume(token, 1)).await; // also while it is there
    drop(client);
}

#[tokio::test]
async fn a_close_frame_is_no_lost_connection() {
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    assert_acknowledged(&mut client, 2, 8).await;
    client.into_socket().close(None).await.unwrap();
    stored(&server, 0).await;
    assert_unknown(&server, resume(token, 2)).await;
}

/// A browser cannot leave a connection without a word; with this one it comes back.
#[tokio::test]
async fn a_client_that_says_that_it_comes_back_is_waited_for() {
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    assert_acknowledged(&mut client, 2, 8).await;
    let frame = CloseFrame {
        code: CLOSE_COMING_BACK.into(),
        reason: Utf8Bytes::default(),
    };
    client.into_socket().close(Some(frame)).await.unwrap();
    let mut client = resumed(&server, resume(token, 2), 2).await;
    send_upload(&mut client, 8, 8).await;
    assert_acknowledged(&mut client, 3, 16).await;
}

#[tokio::test]
async fn a_session_is_taken_over_from_a_connection_that_is_still_open() {
    // As many sessions as there may be: the one that goes on needs no further place.
    let server = waiting(
        LONG,
        Options {
            sessions_max: 1,
            ..Options::default()
        },
    )
    .await;
    let (mut first, token) = welcomed(&server).await;
    send_upload(&mut first, 0, 8).await;
    assert_acknowledged(&mut first, 2, 8).await;
    let mut second = resumed(&server, resume(token, 2), 2).await;
    assert_eq!(first.closed().await.unwrap(), Some(1001));
    send_upload(&mut second, 8, 8).await;
    assert_acknowledged(&mut second, 3, 16).await;
    // Who says that it resumes and does not, needs a place like everybody.
    let mut third = RawClient::connect_again(server.addr, None).await.unwrap();
    let hello = ClientMessage::Hello(server.hello().await.unwrap());
    third.send(&hello, &[]).await.unwrap();
    let end = third.refused_for_good().await.unwrap();
    assert_eq!(end, (RefusalCode::Busy, Some(1013)));
}

#[tokio::test]
async fn a_client_that_claims_what_it_was_never_sent_is_sent_away() {
    let server = long().await;
    let (mut client, token) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    assert_acknowledged(&mut client, 2, 8).await;
    drop(client);
    let client = RawClient::resuming(server.addr, resume(token, 99))
        .await
        .unwrap();
    let end = client.refused_at_the_door().await.unwrap();
    assert_eq!(end, (RefusalCode::OutOfOrder, Some(1008)));
    // The session has ended with it.
    stored(&server, 0).await;
    assert_unknown(&server, resume(token, 2)).await;
}

#[tokio::test]
async fn nothing_but_the_first_message_resumes() {
    let server = long().await;
    let (_other, token) = welcomed(&server).await;
    let (mut client, _) = welcomed(&server).await;
    client.resume(resume(token, 1)).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::WrongPhase, false)
    );
    send_upload(&mut client, 0, 8).await;
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(_)
    ));
}

#[tokio::test]
async fn a_daemon_that_stops_lets_waiting_sessions_go() {
    let server = long().await;
    let (mut client, _) = welcomed(&server).await;
    send_upload(&mut client, 0, 8).await;
    assert_acknowledged(&mut client, 2, 8).await;
    drop(client);
    let data = server.stop().await.unwrap();
    assert_eq!(tests::test_server::examples_in(data.path()).unwrap(), 0);
}

/// Breaks when a client gets more time for an answer by losing its connection.
#[tokio::test]
async fn a_run_waits_no_longer_for_an_answer_because_its_client_is_away() {
    let timeouts = Timeouts {
        answer: Duration::from_millis(400),
        ..Options::default().timeouts
    };
    let options = Options {
        timeouts,
        ..Options::default()
    };
    let server = waiting(LONG, options).await;
    let (client, token) = asked(&server).await;
    drop(client);
    stored(&server, 0).await;
    assert_unknown(&server, resume(token, 4)).await;
}
