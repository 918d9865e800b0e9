//! How much one tenant may have.

use server::auth::Scope;
use server::quota::QuotaLimits;
use shared::protocol::message::{ClientMessage, RefusalCode, SUBPROTOCOL, ServerMessage};
use tests::http::upgrade_status;
use tests::{Options, RawClient, TestServer};

use super::{begin, collected, milestone, only_job_id, request, token};
use crate::samples::{server_with, train, upload};

async fn limited(quotas: QuotaLimits) -> TestServer {
    server_with(Options {
        quotas,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn sessions_of_one_tenant_are_not_counted_for_others() {
    let server = limited(QuotaLimits {
        sessions_max: 1,
        ..QuotaLimits::default()
    })
    .await;
    let mine = token(&server, "a", &[Scope::Train]);
    let other = token(&server, "b", &[Scope::Train]);
    let held = RawClient::connect_as(server.addr, &mine).await.unwrap();
    let protocols = format!("{SUBPROTOCOL}, cutlayer.token.{mine}");
    let upgrade = [("Sec-WebSocket-Protocol", protocols.as_str())];
    assert_eq!(upgrade_status(server.addr, &upgrade).await.unwrap(), 429);
    let theirs = RawClient::connect_as(server.addr, &other).await;
    assert!(theirs.is_ok());
    drop(held);
    for _ in 0..200 {
        if upgrade_status(server.addr, &upgrade).await.unwrap() == 101 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("a session that ended still counts");
}

#[tokio::test]
async fn bytes_above_the_quota_are_refused_and_the_session_goes_on() {
    // 32 examples of 5 rows, 32 numbers of 4 bytes each, and not one byte more.
    let server = limited(QuotaLimits {
        store_bytes_max: 32 * 5 * 32 * 4,
        ..QuotaLimits::default()
    })
    .await;
    let mine = token(&server, "a", &[Scope::Train]);
    let mut client = collected(&server, &mine).await;
    let (more, payload) = upload(100, 1, 5);
    client
        .send(&ClientMessage::Upload(more), &payload)
        .await
        .unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(refused.code, RefusalCode::LimitExceeded);
    assert!(!refused.closes && refused.sentence.contains("20480"));
    begin(&mut client, 1).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
}

/// Breaks when whoever leaves its runs behind may have as many as it likes.
#[tokio::test]
async fn a_run_whose_client_has_left_counts() {
    let server = limited(QuotaLimits {
        queued_jobs_max: 1,
        // As much as one client stores.
        store_bytes_max: 32 * 5 * 32 * 4,
        ..QuotaLimits::default()
    })
    .await;
    let scopes = [Scope::Train, Scope::Jobs];
    let mine = token(&server, "a", &scopes);
    let mut client = collected(&server, &mine).await;
    begin(&mut client, 1000).await;
    drop(client);
    let hello = server.hello_as(&mine).await.unwrap();
    let mut next = RawClient::connect_as(server.addr, &mine).await.unwrap();
    next.hello(hello).await.unwrap();
    let (more, payload) = upload(100, 8, 1);
    let more = ClientMessage::Upload(more);
    next.send(&more, &payload).await.unwrap();
    let refused = next.refusal().await.unwrap();
    assert_eq!(refused.code, RefusalCode::LimitExceeded);
    // Another tenant is not concerned.
    let other = token(&server, "b", &scopes);
    let mut theirs = collected(&server, &other).await;
    begin(&mut theirs, 1).await;

    let cancel = format!("/v1/jobs/{}/cancel", only_job_id(&server, &mine).await);
    assert_eq!(request(&server, "POST", &cancel, &mine).await.status, 202);
    for _ in 0..200 {
        next.send(&more, &payload).await.unwrap();
        if let ServerMessage::Acknowledged(_) = next.message().await.unwrap() {
            begin(&mut next, 1000).await;
            let mut third = RawClient::connect_as(server.addr, &mine).await.unwrap();
            let hello = server.hello_as(&mine).await.unwrap();
            third.hello(hello).await.unwrap();
            third.send(&more, &payload).await.unwrap();
            third.message().await.unwrap();
            let message = ClientMessage::Train(train(1));
            third.send(&message, &[]).await.unwrap();
            let refused = third.refusal().await.unwrap();
            assert_eq!(refused.code, RefusalCode::LimitExceeded);
            assert!(refused.sentence.contains("queue"));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("what a run has let go of still counts");
}

#[tokio::test]
async fn steps_of_an_hour_are_counted() {
    let server = limited(QuotaLimits {
        steps_per_hour_max: 4,
        ..QuotaLimits::default()
    })
    .await;
    let mine = token(&server, "a", &[Scope::Train]);
    let mut client = collected(&server, &mine).await;
    // Four steps: as many as there are.
    begin(&mut client, 1).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    let message = ClientMessage::Train(train(1));
    client.send(&message, &[]).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(refused.code, RefusalCode::LimitExceeded);
    assert!(refused.sentence.contains("seconds"));
}
