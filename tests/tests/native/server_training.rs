//! A whole run over a real socket with the real trainer, on the small random model.

use shared::protocol::message::{ClientMessage, DoneReason, RefusalCode, ServerMessage, TrainDone};
use tests::{Options, RawClient, Received, TestServer};

use crate::samples::{predict, server, server_with, train, upload};

/// A client with 32 examples stored, 16 of each split.
async fn collected(server: &TestServer) -> RawClient {
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (upload, payload) = upload(0, 32, 5);
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Acknowledged(_)
    ));
    client
}

/// Passes over steps and validations.
async fn milestone(client: &mut RawClient) -> ServerMessage {
    loop {
        match client.message().await.unwrap() {
            ServerMessage::Step(_) | ServerMessage::Validation(_) => {}
            other => return other,
        }
    }
}

async fn assert_refuses(client: &mut RawClient, message: ClientMessage, payload: &[u8]) {
    let sequence = client.send(&message, payload).await.unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(
        (refused.sequence, refused.code),
        (Some(sequence), RefusalCode::WrongPhase)
    );
    assert!(!refused.closes);
}

#[tokio::test]
async fn a_run_reports_every_step_and_ends_with_an_adapter_that_predicts() {
    let server = server().await;
    let mut client = collected(&server).await;
    client
        .send(&ClientMessage::Train(train(3)), &[])
        .await
        .unwrap();
    // 16 training examples in batches of 4, three times.
    let started = ServerMessage::TrainStarted { steps_total: 12 };
    assert_eq!(client.message().await.unwrap(), started);
    let (mut steps, mut validations) = (0, 0);
    let done = loop {
        match client.message().await.unwrap() {
            ServerMessage::Step(report) => {
                steps += 1;
                assert_eq!((report.step, report.epoch), (steps, (steps - 1) / 4 + 1));
                assert!(report.loss.unwrap().is_finite() && report.learning_rate >= 0.0);
            }
            ServerMessage::Validation(report) => {
                validations += 1;
                assert_eq!(report.confusion.iter().sum::<u32>(), 16);
                assert_eq!(report.confusion.len(), 4);
            }
            ServerMessage::TrainDone(done) => break done,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((steps, validations), (12, 3));
    assert_eq!((done.steps, done.reason), (12, DoneReason::Finished));
    for request_id in [7, 8] {
        let (message, payload) = predict(request_id, 6, 5);
        client.send(&message, &payload).await.unwrap();
        let ServerMessage::Prediction(prediction) = client.message().await.unwrap() else {
            panic!("no prediction")
        };
        assert_eq!(
            (prediction.request_id, prediction.probabilities.len()),
            (request_id, 12)
        );
        for pair in prediction.probabilities.chunks(2) {
            assert!((pair.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{pair:?}");
        }
    }
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(
        client.receive().await.unwrap(),
        Received::Closed(Some(1000))
    );
    assert_eq!(server.examples_on_disk().unwrap(), 0);
}

#[tokio::test]
async fn a_run_is_held_continued_and_cancelled_and_says_no_to_everything_else() {
    let server = server().await;
    let mut client = collected(&server).await;
    let hello = ClientMessage::Hello(server.hello().await.unwrap());
    let (more, more_payload) = upload(100, 2, 5);
    let more = ClientMessage::Upload(more);
    let (prediction, prediction_payload) = predict(1, 1, 5);
    client
        .send(&ClientMessage::Train(train(1000)), &[])
        .await
        .unwrap();
    assert_eq!(
        milestone(&mut client).await,
        ServerMessage::TrainStarted { steps_total: 4000 }
    );

    assert_refuses(&mut client, hello.clone(), &[]).await;
    assert_refuses(&mut client, more.clone(), &more_payload).await;
    assert_refuses(&mut client, ClientMessage::Train(train(1)), &[]).await;
    assert_refuses(&mut client, ClientMessage::Continue, &[]).await;
    assert_refuses(&mut client, prediction.clone(), &prediction_payload).await;

    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    assert_eq!(milestone(&mut client).await, ServerMessage::Paused);
    assert_refuses(&mut client, hello.clone(), &[]).await;
    assert_refuses(&mut client, more.clone(), &more_payload).await;
    assert_refuses(&mut client, ClientMessage::Train(train(1)), &[]).await;
    assert_refuses(&mut client, ClientMessage::Pause, &[]).await;
    assert_refuses(&mut client, prediction.clone(), &prediction_payload).await;

    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    assert_eq!(milestone(&mut client).await, ServerMessage::Continued);
    // At least one step, so that there is an adapter to keep.
    while !matches!(
        client.message().await.unwrap(),
        ServerMessage::Validation(_)
    ) {}
    client.send(&ClientMessage::Cancel, &[]).await.unwrap();
    let ServerMessage::TrainDone(TrainDone { reason, steps, .. }) = milestone(&mut client).await
    else {
        panic!("the run did not end")
    };
    assert_eq!(reason, DoneReason::Cancelled);
    assert!((1..4000).contains(&steps), "{steps}");

    assert_refuses(&mut client, hello, &[]).await;
    assert_refuses(&mut client, more, &more_payload).await;
    for message in [
        ClientMessage::Pause,
        ClientMessage::Continue,
        ClientMessage::Cancel,
    ] {
        assert_refuses(&mut client, message, &[]).await;
    }
    client.send(&prediction, &prediction_payload).await.unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::Prediction(_)
    ));
    // Another run on the same examples: nothing is uploaded twice.
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    assert_eq!(
        milestone(&mut client).await,
        ServerMessage::TrainStarted { steps_total: 4 }
    );
    assert!(matches!(
        milestone(&mut client).await,
        ServerMessage::TrainDone(_)
    ));
}

#[tokio::test]
async fn a_daemon_stops_while_a_run_goes_on() {
    let server = server().await;
    let mut client = collected(&server).await;
    client
        .send(&ClientMessage::Train(train(1000)), &[])
        .await
        .unwrap();
    assert!(matches!(
        client.message().await.unwrap(),
        ServerMessage::TrainStarted { .. }
    ));
    let data = server.stop().await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1012));
    // The next start goes on with them.
    assert_eq!(tests::test_server::examples_in(data.path()).unwrap(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_holds_nobody_up() {
    let server = server_with(Options {
        sessions_max: 2,
        ..Options::default()
    })
    .await;
    let mut hello = server.hello().await.unwrap();
    // A confusion matrix of 1,000 classes takes 4 MB: soon no buffer between the two takes another.
    hello.n_classes = 1000;
    let (mut deaf, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (batch, payload) = upload(0, 32, 5);
    deaf.send(&ClientMessage::Upload(batch), &payload)
        .await
        .unwrap();
    deaf.send(&ClientMessage::Train(train(1000)), &[])
        .await
        .unwrap();
    let mut client = collected(&server).await;
    client
        .send(&ClientMessage::Train(train(20)), &[])
        .await
        .unwrap();
    assert!(matches!(
        milestone(&mut client).await,
        ServerMessage::TrainStarted { .. }
    ));
    assert!(matches!(
        milestone(&mut client).await,
        ServerMessage::TrainDone(_)
    ));
    // Its session is over and another has room; its run needs nobody who reads.
    let hello = server.hello().await.unwrap();
    for _ in 0..3000 {
        let next = RawClient::welcomed(server.addr, hello.clone()).await;
        if next.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the client that does not read is still there");
}
