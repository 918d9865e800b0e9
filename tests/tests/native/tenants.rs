//! Tenants, tokens and the jobs that are written down, over real HTTP and WebSockets.

mod access;
mod adapters;
mod jobs;
mod quotas;

use serde_json::Value;
use server::auth::{Scope, Scopes};
use server::state::UnixMillis;
use server::token_command::create;
use shared::protocol::message::{ClientMessage, Hello, LabelPlace, ServerMessage};
use tests::http::{self, Response};
use tests::{RawClient, TestServer};

use crate::samples::{train, upload};

/// Creates a token as the command line does.
fn token(server: &TestServer, tenant: &str, scopes: &[Scope]) -> String {
    token_until(server, tenant, scopes, None)
}

fn token_until(
    server: &TestServer,
    tenant: &str,
    scopes: &[Scope],
    expires: Option<UnixMillis>,
) -> String {
    let (name, scopes) = (tenant.parse().unwrap(), Scopes::of(scopes));
    let store = server.state.blocking();
    let token = create(store, name, scopes, expires, UnixMillis::now()).unwrap();
    token.reveal()
}

async fn request(server: &TestServer, method: &str, path: &str, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    http::send(server.addr, method, path, &[("Authorization", &bearer)])
        .await
        .unwrap()
}

async fn get(server: &TestServer, path: &str, token: &str) -> Response {
    request(server, "GET", path, token).await
}

fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

/// Asks until an answer is as it should be: what happens to a job is written a little after it was
/// asked for.
async fn eventually(
    server: &TestServer,
    path: &str,
    token: &str,
    is_as_it_should: impl Fn(&Value) -> bool,
) -> Value {
    for _ in 0..200 {
        let found = json(&get(server, path, token).await);
        if is_as_it_should(&found) {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{path} did not become what it should");
}

/// A client of a tenant with 32 examples stored, 16 of each split.
async fn collected(server: &TestServer, token: &str) -> RawClient {
    collected_with(server, token, LabelPlace::Server).await
}

/// As `collected`, with labels where they are.
async fn collected_with(server: &TestServer, token: &str, labels: LabelPlace) -> RawClient {
    let hello = Hello {
        labels,
        ..server.hello_as(token).await.unwrap()
    };
    let mut client = RawClient::connect_as(server.addr, token).await.unwrap();
    client.hello(hello).await.unwrap();
    let (mut upload, payload) = upload(0, 32, 5);
    if labels == LabelPlace::Client {
        for example in &mut upload.examples {
            example.label = None;
        }
    }
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    let answer = client.message().await.unwrap();
    assert!(matches!(answer, ServerMessage::Acknowledged(_)));
    client
}

/// Begins a run of so many epochs.
async fn begin(client: &mut RawClient, epochs: u32) {
    let message = ClientMessage::Train(train(epochs));
    client.send(&message, &[]).await.unwrap();
    let answer = client.message().await.unwrap();
    assert!(matches!(answer, ServerMessage::TrainStarted { .. }));
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

/// The tenant's only job.
async fn only_job(server: &TestServer, token: &str) -> Value {
    let page = json(&get(server, "/v1/jobs", token).await);
    let jobs = page["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1, "{page}");
    jobs[0].clone()
}

async fn only_job_id(server: &TestServer, token: &str) -> String {
    let job = only_job(server, token).await;
    job["id"].as_str().unwrap().to_owned()
}
