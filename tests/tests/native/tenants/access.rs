//! Who is let in, and to what.

use server::auth::{Login, Scope, Token};
use server::state::UnixMillis;
use shared::protocol::message::{ClientMessage, RefusalCode, SUBPROTOCOL, ServerMessage};
use tests::http::{self, upgrade_status};
use tests::{Options, RawClient, TestServer, log};

use super::{begin, collected, get, json, milestone, request, token, token_until};
use crate::cli::{cutlayer, file};
use crate::samples::{predict, server, server_with};

fn revoke(server: &TestServer, token: &str) {
    let key = token.parse::<Token>().unwrap().key();
    let store = server.state.blocking();
    store.revoke_token(key, UnixMillis::now()).unwrap();
}

async fn status(server: &TestServer, path: &str) -> u16 {
    http::get(server.addr, path, &[]).await.unwrap().status
}

/// Breaks when a daemon on loopback asks for more than before, or goes on to ask for nothing once
/// somebody has a token.
#[tokio::test]
async fn on_loopback_everyone_is_let_in_until_the_first_token() {
    let server = server().await;
    for path in ["/v1/jobs", "/v1/adapters", "/v1/catalogue"] {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
    let first = token(&server, "a", &[Scope::Jobs]);
    for path in ["/v1/jobs", "/v1/adapters", "/v1/catalogue"] {
        assert_eq!(status(&server, path).await, 401, "{path}");
    }
    let upgrade = [("Sec-WebSocket-Protocol", SUBPROTOCOL)];
    assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 401);
    for path in ["/healthz", "/v1/openapi.json"] {
        assert_eq!(status(&server, path).await, 200, "{path}");
    }
    revoke(&server, &first);
    assert_eq!(status(&server, "/v1/jobs").await, 401);
}

#[tokio::test]
async fn elsewhere_nobody_is_let_in_without_a_token() {
    let server = server_with(Options {
        login: Login::Always,
        ..Options::default()
    })
    .await;
    let refused = http::get(server.addr, "/v1/jobs", &[]).await.unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(json(&refused)["code"], "token_needed");
}

#[tokio::test]
async fn the_command_line_is_let_in_by_its_token() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let token = token(&server, "clinic", &[Scope::Train, Scope::Predict]);
    let rows = file(&directory, "rows.csv", 20);
    let train = ["train", &rows, "--epochs", "1"];
    let refused = cutlayer(&server, &train, "").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("asks for a token"));
    let with_token = [&train[..], &["--token", &token]].concat();
    let trained = cutlayer(&server, &with_token, "").await;
    let errors = String::from_utf8_lossy(&trained.stderr);
    assert_eq!(trained.status.code(), Some(0), "{errors}");
    assert!(!errors.contains(&token));
    let malformed = [&train[..], &["--token", "a b"]].concat();
    assert_eq!(
        cutlayer(&server, &malformed, "").await.status.code(),
        Some(2)
    );
}

/// Breaks when one of them is told from another, or let in.
#[tokio::test]
async fn bad_expired_revoked_and_rotated_tokens_are_refused_alike() {
    let server = server().await;
    let good = token(&server, "a", &[Scope::Jobs, Scope::Train]);
    let expired = token_until(&server, "a", &[Scope::Jobs], Some(UnixMillis(1)));
    let revoked = token(&server, "a", &[Scope::Jobs]);
    revoke(&server, &revoked);
    let mut wrong = good.clone();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    let unknown = format!("ctl_{}", "0".repeat(96));
    let mut bodies = Vec::new();
    for bad in [&expired, &revoked, &wrong, &unknown, "", "ctl_", "x y"] {
        let refused = get(&server, "/v1/jobs", bad).await;
        assert_eq!(refused.status, 401);
        bodies.push(json(&refused));
        let protocols = format!("{SUBPROTOCOL}, cutlayer.token.{bad}");
        let upgrade = [("Sec-WebSocket-Protocol", protocols.as_str())];
        assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 401);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!(get(&server, "/v1/jobs", &good).await.status, 200);
    // Never in an address.
    let path = format!("/v1/jobs?token={good}");
    assert_eq!(status(&server, &path).await, 401);

    let key = good.parse::<Token>().unwrap().key();
    let store = server.state.blocking();
    store
        .rotate_token(key, [0; 32], UnixMillis::now().plus_secs(600))
        .unwrap();
    assert_eq!(get(&server, "/v1/jobs", &good).await.status, 200);
    store.rotate_token(key, [1; 32], UnixMillis(1)).unwrap();
    assert_eq!(get(&server, "/v1/jobs", &good).await.status, 401);
}

#[tokio::test]
async fn a_token_opens_what_its_scopes_say() {
    let server = server().await;
    let jobs = token(&server, "a", &[Scope::Jobs]);
    let adapters = token(&server, "a", &[Scope::Adapters]);
    let train = token(&server, "a", &[Scope::Train]);
    assert_eq!(get(&server, "/v1/jobs", &jobs).await.status, 200);
    assert_eq!(get(&server, "/v1/adapters", &adapters).await.status, 200);
    for (path, token) in [
        ("/v1/jobs", &adapters),
        ("/v1/adapters", &jobs),
        ("/v1/jobs/0/events", &train),
    ] {
        let refused = get(&server, path, token).await;
        assert_eq!(refused.status, 403, "{path}");
        assert_eq!(json(&refused)["code"], "scope_missing");
    }
    for verb in ["pause", "resume", "cancel"] {
        let path = format!("/v1/jobs/{}/{verb}", "0".repeat(32));
        assert_eq!(request(&server, "POST", &path, &train).await.status, 403);
    }
    assert!(RawClient::connect_as(server.addr, &jobs).await.is_err());
    let protocols = format!("{SUBPROTOCOL}, cutlayer.token.{jobs}");
    let upgrade = [("Sec-WebSocket-Protocol", protocols.as_str())];
    assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 403);
    let bearer = format!("Bearer {train}");
    let upgrade = [
        ("Sec-WebSocket-Protocol", SUBPROTOCOL),
        ("Authorization", bearer.as_str()),
    ];
    assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 101);
    // Two tokens are none.
    let upgrade = [
        ("Sec-WebSocket-Protocol", protocols.as_str()),
        ("Authorization", bearer.as_str()),
    ];
    assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 401);
}

#[tokio::test]
async fn who_may_only_train_does_not_predict() {
    let server = server().await;
    let token = token(&server, "a", &[Scope::Train]);
    let mut client = collected(&server, &token).await;
    begin(&mut client, 1).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    let (message, payload) = predict(1, 2, 5);
    let sequence = client.send(&message, &payload).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.sequence, refused.code),
        (Some(sequence), RefusalCode::Forbidden)
    );
    assert!(!refused.closes && refused.sentence.contains("predict"));
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
}

#[tokio::test]
async fn what_a_token_opened_is_not_for_shared_caches() {
    let server = server().await;
    let token = token(&server, "a", &[Scope::Train]);
    let catalogue = json(&get(&server, "/v1/catalogue", &token).await);
    let path = catalogue["tokenizer"]["path"].as_str().unwrap();
    let file = get(&server, path, &token).await;
    let private = "private, max-age=31536000, immutable";
    assert_eq!(file.header("cache-control"), Some(private));
    assert_eq!(status(&server, path).await, 401);
    let mine = super::token(&server, "a", &[Scope::Jobs]);
    let jobs = get(&server, "/v1/jobs", &mine).await;
    assert_eq!(jobs.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_page_of_another_origin_steers_nothing() {
    let server = server().await;
    let foreign = [("Origin", "http://example.org")];
    for (method, path) in [("GET", "/v1/jobs"), ("POST", "/v1/jobs/0/cancel")] {
        let refused = http::send(server.addr, method, path, &foreign)
            .await
            .unwrap();
        assert_eq!(refused.status, 403, "{method} {path}");
    }
}

/// Breaks when a token, right or wrong, gets into the log at any level.
#[tokio::test]
async fn no_log_line_holds_a_token() {
    let server = server().await;
    let good = token(&server, "a", &[Scope::Jobs, Scope::Train]);
    let bad = format!("ctl_{}", "0123456789abcdef".repeat(6));
    get(&server, "/v1/jobs", &good).await;
    get(&server, "/v1/jobs", &bad).await;
    let mut client = collected(&server, &good).await;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    client.closed().await.unwrap();
    assert!(RawClient::connect_as(server.addr, &bad).await.is_err());
    let logged = log::captured();
    assert!(logged.contains("a session opened"));
    for token in [&good, &bad] {
        // Neither all of it nor its secret alone.
        assert!(!logged.contains(token.as_str()));
        assert!(!logged.contains(&token[36..]));
    }
}
