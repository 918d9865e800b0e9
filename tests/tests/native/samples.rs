//! Servers for tests, and what every test wants to know of one.

use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::TestServer;
use tests::assets::ModelDirectory;
pub use tests::traffic::{D_MODEL, f32_bytes, predict, tensor, train, upload};

/// A daemon for the model `bert-shaped`.
pub async fn server() -> TestServer {
    server_with(tests::Options::default()).await
}

pub async fn server_with(options: tests::Options) -> TestServer {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    TestServer::start_with(&model.path(), options)
        .await
        .unwrap()
}

/// Uploads a few examples, trains on them and waits for the end.
pub async fn trained(client: &mut tests::RawClient) {
    let (batch, payload) = upload(0, 8, 3);
    client
        .send(&ClientMessage::Upload(batch), &payload)
        .await
        .unwrap();
    client
        .send(&ClientMessage::Train(train(1)), &[])
        .await
        .unwrap();
    while !matches!(client.message().await.unwrap(), ServerMessage::TrainDone(_)) {}
}

/// Holds that the daemon still takes new sessions.
pub async fn assert_serves(server: &TestServer) {
    let hello = server.hello().await.unwrap();
    let (mut client, _) = tests::RawClient::welcomed(server.addr, hello)
        .await
        .unwrap();
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    assert_eq!(client.closed().await.unwrap(), Some(1000));
}

/// Waits until the daemon takes new sessions: a session that ends gives its slot back a little after
/// its client has seen the end.
pub async fn serves_soon(server: &TestServer) {
    let hello = server.hello().await.unwrap();
    for _ in 0..200 {
        if tests::RawClient::welcomed(server.addr, hello.clone())
            .await
            .is_ok()
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the daemon takes no session");
}
