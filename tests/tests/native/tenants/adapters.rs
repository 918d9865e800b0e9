//! Adapters that are kept, seen, named, taken, brought and asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use server::auth::Scope;
use server::quota::QuotaLimits;
use shared::adapter::archive;
use shared::adapter::peft::{CONFIG_FILE, PeftFiles, TENSORS_FILE};
use shared::protocol::message::{
    BottomTraining, ClientMessage, LabelPlace, RefusalCode, ServerMessage, UseAdapter,
};
use tempfile::TempDir;
use tests::assets::ModelDirectory;
use tests::http::{self, Response};
use tests::{Options, RawClient, TestServer};

use super::{begin, collected, get, json, milestone, only_job_id, request, token};
use crate::samples::{predict, server, server_with};

const MINE: [Scope; 5] = [
    Scope::Train,
    Scope::Predict,
    Scope::Jobs,
    Scope::Adapters,
    Scope::Export,
];

async fn send(
    server: &TestServer,
    method: &str,
    path: &str,
    token: &str,
    kind: &str,
    body: &[u8],
) -> Response {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
    http::send_body(server.addr, method, path, &headers, body)
        .await
        .unwrap()
}

async fn patch(server: &TestServer, path: &str, token: &str, change: &Value) -> Response {
    let body = change.to_string();
    let kind = "application/json";
    send(server, "PATCH", path, token, kind, body.as_bytes()).await
}

async fn import(server: &TestServer, query: &str, token: &str, files: &PeftFiles) -> Response {
    let path = format!("/v1/adapters?{query}");
    let archive = archive::write(files);
    send(server, "POST", &path, token, "application/x-tar", &archive).await
}

fn code(response: &Response) -> (u16, String) {
    let code = json(response)["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (response.status, code)
}

fn id(adapter: &Value) -> String {
    adapter["id"].as_str().unwrap().to_owned()
}

async fn adapters(server: &TestServer, token: &str) -> Vec<Value> {
    let page = json(&get(server, "/v1/adapters", token).await);
    page["adapters"].as_array().unwrap().clone()
}

/// What eight examples are answered.
async fn answers(client: &mut RawClient) -> Vec<f32> {
    let (message, payload) = predict(1, 8, 5);
    client.send(&message, &payload).await.unwrap();
    match client.message().await.unwrap() {
        ServerMessage::Prediction(prediction) => prediction.probabilities,
        other => panic!("not a prediction: {other:?}"),
    }
}

/// Trains an adapter, and gives it with what it answers in its own session.
async fn trained(server: &TestServer, token: &str, epochs: u32) -> (Value, Vec<f32>) {
    let before = adapters(server, token).await.len();
    let mut client = collected(server, token).await;
    begin(&mut client, epochs).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    let said = answers(&mut client).await;
    // It is there when the client hears that its run is done.
    let all = adapters(server, token).await;
    assert_eq!(all.len(), before + 1);
    (all[0].clone(), said)
}

/// A session that has asked for an adapter, and the answer.
async fn asking(
    server: &TestServer,
    token: &str,
    adapter: Option<&str>,
) -> (RawClient, ServerMessage) {
    let hello = server.hello_as(token).await.unwrap();
    let mut client = RawClient::connect_as(server.addr, token).await.unwrap();
    client.hello(hello).await.unwrap();
    let answer = ask(&mut client, adapter).await;
    (client, answer)
}

async fn ask(client: &mut RawClient, adapter: Option<&str>) -> ServerMessage {
    let key = |id: &str| u128::from_str_radix(id, 16).unwrap().to_be_bytes();
    let message = ClientMessage::UseAdapter(UseAdapter {
        adapter: adapter.map(key),
    });
    client.send(&message, &[]).await.unwrap();
    client.message().await.unwrap()
}

/// What a kept adapter answers.
async fn answers_of(server: &TestServer, token: &str, adapter: Option<&str>) -> Vec<f32> {
    let (mut client, answer) = asking(server, token, adapter).await;
    assert!(
        matches!(answer, ServerMessage::AdapterInUse(_)),
        "{answer:?}"
    );
    answers(&mut client).await
}

fn refused(answer: &ServerMessage) -> RefusalCode {
    match answer {
        ServerMessage::Refused(refused) => {
            assert!(!refused.closes);
            refused.code
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn assert_close(one: &[f32], other: &[f32]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() < 1e-6, "{one} and {other}");
    }
}

async fn exported(server: &TestServer, id: &str, token: &str) -> PeftFiles {
    let file = async |name: &str| {
        let path = format!("/v1/adapters/{id}/files/{name}");
        let file = get(server, &path, token).await;
        assert_eq!(file.status, 200);
        file.body
    };
    PeftFiles {
        config: file(CONFIG_FILE).await,
        tensors: file(TENSORS_FILE).await,
    }
}

fn directories(data: &Path) -> usize {
    std::fs::read_dir(data.join("adapters")).unwrap().count()
}

async fn server_in(data: &Arc<TempDir>) -> TestServer {
    server_with(Options {
        data: Some(data.clone()),
        ..Options::default()
    })
    .await
}

/// Breaks when a run's adapter is lost with its session, or answers otherwise when it is kept.
#[tokio::test]
async fn a_run_leaves_an_adapter_that_answers_in_another_session() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_in(&data).await;
    let mine = token(&server, "a", &MINE);
    let (adapter, said) = trained(&server, &mine, 3).await;
    let job = only_job_id(&server, &mine).await;
    assert_eq!(adapter["job"], job);
    assert_eq!(adapter["name"], format!("job-{}", &job[..12]));
    assert_eq!(
        (&adapter["cut"], &adapter["n_classes"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(adapter["is_default"], false);
    let accuracy = adapter["metrics"]["accuracy"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&accuracy));
    assert!(adapter["metrics"].get("confusion").is_none());
    let path = format!("/v1/adapters/{}", id(&adapter));
    assert_eq!(json(&get(&server, &path, &mine).await), adapter);
    assert_eq!(directories(data.path()), 1);

    assert_close(
        &answers_of(&server, &mine, Some(&id(&adapter))).await,
        &said,
    );
    // There is no default yet; the session goes on and may ask for another one.
    let (mut client, answer) = asking(&server, &mine, None).await;
    assert_eq!(refused(&answer), RefusalCode::UnknownAdapter);
    let changed = patch(&server, &path, &mine, &json!({ "is_default": true })).await;
    assert_eq!(json(&changed)["is_default"], true);
    let answer = ask(&mut client, None).await;
    assert!(
        matches!(answer, ServerMessage::AdapterInUse(_)),
        "{answer:?}"
    );
    assert_close(&answers(&mut client).await, &said);
}

/// Breaks when what was exported is not what predicts, or an import changes it.
#[tokio::test]
async fn an_adapter_that_is_exported_and_brought_again_answers_the_same() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let (adapter, _) = trained(&server, &mine, 2).await;
    let files = exported(&server, &id(&adapter), &mine).await;
    assert_eq!(adapter["bytes"], files.bytes());
    let brought = import(&server, "cut=1&name=again", &mine, &files).await;
    assert_eq!(brought.status, 201);
    let brought = json(&brought);
    assert_eq!(
        (&brought["name"], &brought["job"]),
        (&json!("again"), &Value::Null)
    );
    assert_eq!(exported(&server, &id(&brought), &mine).await, files);
    let one = answers_of(&server, &mine, Some(&id(&adapter))).await;
    let other = answers_of(&server, &mine, Some(&id(&brought))).await;
    assert_eq!(one, other);
}

/// Breaks when an adapter that had to go from memory is another one when it comes back.
#[tokio::test]
async fn a_budget_that_holds_nothing_changes_no_answer() {
    let server = server_with(Options {
        adapter_memory_max: 0,
        ..Options::default()
    })
    .await;
    let mine = token(&server, "a", &MINE);
    let (first, first_said) = trained(&server, &mine, 1).await;
    let (second, second_said) = trained(&server, &mine, 4).await;
    assert_ne!(first_said, second_said);
    let (first, second) = (id(&first), id(&second));
    let (mut one, _) = asking(&server, &mine, Some(&first)).await;
    let (mut other, _) = asking(&server, &mine, Some(&second)).await;
    for _ in 0..2 {
        assert_close(&answers(&mut one).await, &first_said);
        assert_close(&answers(&mut other).await, &second_said);
    }
}

/// Breaks when an answer tells somebody else's adapter from none.
#[tokio::test]
async fn an_adapter_of_others_is_as_one_that_does_not_exist() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let other = token(&server, "b", &MINE);
    let (adapter, _) = trained(&server, &mine, 1).await;
    let (id, none) = (id(&adapter), "0".repeat(32));
    let path = format!("/v1/adapters/{id}");
    patch(&server, &path, &mine, &json!({ "is_default": true })).await;
    assert_eq!(adapters(&server, &other).await, Vec::<Value>::new());
    let config = format!("/files/{CONFIG_FILE}");
    let change = json!({ "name": "stolen" }).to_string();
    for (method, rest) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", &config)] {
        let mut seen = Vec::new();
        for id in [&id, &none] {
            let path = format!("/v1/adapters/{id}{rest}");
            let kind = "application/json";
            let body = change.as_bytes();
            let body = if method == "PATCH" { body } else { &[] };
            let answer = send(&server, method, &path, &other, kind, body).await;
            seen.push((answer.status, json(&answer)));
        }
        assert_eq!(seen[0], seen[1], "{method} {rest}");
        assert_eq!(seen[0].0, 404);
    }
    for asked in [Some(id.as_str()), Some(none.as_str()), None] {
        let (_client, answer) = asking(&server, &other, asked).await;
        assert_eq!(refused(&answer), RefusalCode::UnknownAdapter);
    }
    assert_eq!(adapters(&server, &mine).await[0]["name"], adapter["name"]);
}

#[tokio::test]
async fn a_name_is_no_path_and_had_once() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_in(&data).await;
    let mine = token(&server, "a", &MINE);
    let (adapter, _) = trained(&server, &mine, 1).await;
    let id = id(&adapter);
    let path = format!("/v1/adapters/{id}");
    for name in [
        "",
        "../x",
        "a/b",
        "..",
        ".a",
        "a b",
        "default",
        &id,
        &"a".repeat(65),
    ] {
        let answer = patch(&server, &path, &mine, &json!({ "name": name })).await;
        assert_eq!(code(&answer), (400, "bad_name".to_owned()), "{name}");
    }
    for body in [json!({ "title": "x" }), json!(["x"]), json!({ "name": 1 })] {
        let answer = patch(&server, &path, &mine, &body).await;
        assert_eq!(code(&answer), (400, "bad_body".to_owned()), "{body}");
    }
    let renamed = patch(&server, &path, &mine, &json!({ "name": "best.v1" })).await;
    assert_eq!(json(&renamed)["name"], "best.v1");
    let files = exported(&server, &id, &mine).await;
    let taken = import(&server, "cut=1&name=best.v1", &mine, &files).await;
    assert_eq!(code(&taken), (409, "name_taken".to_owned()));
    let path_as_name = "/v1/adapters?cut=1&name=..%2Fx";
    let wrong = request(&server, "POST", path_as_name, &mine).await;
    assert_eq!(code(&wrong), (400, "bad_name".to_owned()));
    // What was refused has left nothing behind.
    assert_eq!(directories(data.path()), 1);
    for name in [
        "..%2F..%2Fstate.sqlite",
        "..%2Fadapter_config.json",
        "README.md",
        "%00",
    ] {
        let path = format!("{path}/files/{name}");
        assert_eq!(get(&server, &path, &mine).await.status, 404, "{name}");
    }
    for id in ["x", "..", "..%2F..%2Flock", &"0".repeat(4000)] {
        let path = format!("/v1/adapters/{id}");
        assert_eq!(get(&server, &path, &mine).await.status, 404, "{id}");
    }
}

/// The adapter that PyTorch's fixture begins with: beside every block from the first.
fn from_python() -> PeftFiles {
    let directory = fixture("bert-shaped");
    PeftFiles {
        config: std::fs::read(directory.join(CONFIG_FILE)).unwrap(),
        tensors: std::fs::read(directory.join(TENSORS_FILE)).unwrap(),
    }
}

fn fixture(model: &str) -> PathBuf {
    let fixtures = tests::assets::repository().join("tests/fixtures/reference");
    fixtures.join(model).join("adapter_init")
}

#[tokio::test]
async fn what_is_no_adapter_of_this_model_is_refused() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_in(&data).await;
    let mine = token(&server, "a", &MINE);
    let files = from_python();
    let mut not_finite = files.clone();
    let end = not_finite.tensors.len();
    not_finite.tensors[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let other_model = PeftFiles {
        config: files.config.clone(),
        tensors: std::fs::read(fixture("minilm").join(TENSORS_FILE)).unwrap(),
    };
    let config = String::from_utf8(files.config.clone()).unwrap();
    let scaled = PeftFiles {
        config: config
            .replace("\"use_rslora\": false", "\"use_rslora\": true")
            .into_bytes(),
        ..files.clone()
    };
    assert_ne!(scaled, files);
    let nothing = PeftFiles {
        config: b"{}".to_vec(),
        tensors: b"private words".to_vec(),
    };
    for (what, files) in [
        ("not finite", &not_finite),
        ("another model's", &other_model),
        ("scaled otherwise", &scaled),
        ("nothing", &nothing),
    ] {
        let answer = import(&server, "cut=0", &mine, files).await;
        assert_eq!(code(&answer), (422, "not_an_adapter".to_owned()), "{what}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("private"));
    }
    let below = import(&server, "cut=1", &mine, &files).await;
    assert_eq!(code(&below), (422, "not_an_adapter".to_owned()));
    assert!(
        json(&below)["sentence"]
            .as_str()
            .unwrap()
            .contains("below cut 1")
    );
    let nowhere = import(&server, "cut=99", &mine, &files).await;
    assert_eq!(code(&nowhere), (422, "unknown_cut".to_owned()));
    // Refused before a body is read, so there is none.
    let unsaid = request(&server, "POST", "/v1/adapters?name=x", &mine).await;
    assert_eq!(code(&unsaid), (400, "bad_query".to_owned()));
    let kind = "application/x-tar";
    let garbage = send(
        &server,
        "POST",
        "/v1/adapters?cut=0",
        &mine,
        kind,
        &[b'x'; 2048],
    )
    .await;
    assert_eq!(code(&garbage), (422, "not_an_adapter".to_owned()));
    assert_eq!(directories(data.path()), 0);
    let fits = import(&server, "cut=0", &mine, &files).await;
    assert_eq!(fits.status, 201);
    assert_eq!(json(&fits)["name"], format!("adapter-{}", id(&json(&fits))));
}

#[tokio::test]
async fn an_archive_that_is_too_large_is_refused_by_its_claim() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let bearer = format!("Bearer {mine}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Length", "999999999999"),
    ];
    let path = "/v1/adapters?cut=0";
    let answer = http::send(server.addr, "POST", path, &headers)
        .await
        .unwrap();
    assert_eq!(code(&answer), (413, "too_large".to_owned()));
}

/// Breaks when something of a deleted adapter stays, or answers.
#[tokio::test]
async fn a_deleted_adapter_is_gone() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_in(&data).await;
    let mine = token(&server, "a", &MINE);
    let (adapter, _) = trained(&server, &mine, 1).await;
    let id = id(&adapter);
    let (mut client, _) = asking(&server, &mine, Some(&id)).await;
    answers(&mut client).await;
    let path = format!("/v1/adapters/{id}");
    let deleted = request(&server, "DELETE", &path, &mine).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(json(&deleted)["files"], 2);
    assert_eq!(json(&deleted)["adapter"]["id"], id);
    assert_eq!(directories(data.path()), 0);
    let (message, payload) = predict(2, 8, 5);
    client.send(&message, &payload).await.unwrap();
    let answer = client.message().await.unwrap();
    assert_eq!(refused(&answer), RefusalCode::UnknownAdapter);
    assert_eq!(request(&server, "DELETE", &path, &mine).await.status, 404);

    // With a job its adapter goes.
    let (adapter, _) = trained(&server, &mine, 1).await;
    assert_eq!(directories(data.path()), 1);
    let job = format!("/v1/jobs/{}", adapter["job"].as_str().unwrap());
    let deleted = request(&server, "DELETE", &job, &mine).await;
    assert_eq!(json(&deleted)["adapters"], 1);
    assert_eq!(directories(data.path()), 0);
    assert_eq!(adapters(&server, &mine).await, Vec::<Value>::new());
}

#[tokio::test]
async fn every_route_of_adapters_needs_its_scope() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let (adapter, _) = trained(&server, &mine, 1).await;
    let path = format!("/v1/adapters/{}", id(&adapter));
    let file = format!("{path}/files/{CONFIG_FILE}");
    let without_export = token(
        &server,
        "a",
        &[Scope::Train, Scope::Predict, Scope::Adapters],
    );
    let only_export = token(&server, "a", &[Scope::Export]);
    for (method, path) in [
        ("GET", "/v1/adapters"),
        ("POST", "/v1/adapters?cut=1"),
        ("GET", path.as_str()),
        ("PATCH", path.as_str()),
        ("DELETE", path.as_str()),
    ] {
        let answer = request(&server, method, path, &only_export).await;
        assert_eq!(
            code(&answer),
            (403, "scope_missing".to_owned()),
            "{method} {path}"
        );
    }
    let answer = get(&server, &file, &without_export).await;
    assert_eq!(code(&answer), (403, "scope_missing".to_owned()));
    assert_eq!(get(&server, &file, &only_export).await.status, 200);
    let no_predict = token(&server, "a", &[Scope::Train]);
    let (_client, answer) = asking(&server, &no_predict, Some(&id(&adapter))).await;
    assert_eq!(refused(&answer), RefusalCode::Forbidden);
}

#[tokio::test]
async fn an_adapter_answers_only_what_it_was_made_for() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let (adapter, _) = trained(&server, &mine, 1).await;
    let id = id(&adapter);
    let agreed = server.hello_as(&mine).await.unwrap();
    let mut three = agreed.clone();
    three.n_classes = 3;
    let mut client_head = agreed.clone();
    client_head.labels = LabelPlace::Client;
    let mut bottom = agreed;
    bottom.bottom = BottomTraining::Lora;
    for hello in [three, client_head, bottom] {
        let mut client = RawClient::connect_as(server.addr, &mine).await.unwrap();
        client.hello(hello).await.unwrap();
        let answer = ask(&mut client, Some(&id)).await;
        assert_eq!(refused(&answer), RefusalCode::BadSettings);
    }
}

#[tokio::test]
async fn a_tenant_keeps_no_more_than_it_may() {
    let server = server_with(Options {
        quotas: QuotaLimits {
            adapter_bytes_max: from_python().bytes(),
            ..QuotaLimits::default()
        },
        ..Options::default()
    })
    .await;
    let mine = token(&server, "a", &MINE);
    let mut kept = 0;
    for _ in 0..3 {
        let answer = import(&server, "cut=0", &mine, &from_python()).await;
        match answer.status {
            201 => kept += 1,
            _ => assert_eq!(code(&answer), (429, "quota_exceeded".to_owned())),
        }
    }
    assert_eq!(kept, 1);
    // A run whose adapter has no room ends as any other and answers in its session.
    let mut client = collected(&server, &mine).await;
    begin(&mut client, 1).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    assert_eq!(answers(&mut client).await.len(), 16);
    assert_eq!(adapters(&server, &mine).await.len(), 1);
}

/// Breaks when an interruption leaves files for ever, or a restart forgets an adapter.
#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_and_nothing_else() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_in(&data).await;
    let mine = token(&server, "a", &MINE);
    let (adapter, said) = trained(&server, &mine, 2).await;
    server.stop().await.unwrap();
    let left = data.path().join("adapters").join("ab".repeat(16));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("adapter_config.json.partial"), b"{").unwrap();
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    let mut again = None;
    // The last request's task may hold the directory a moment longer.
    for _ in 0..200 {
        let options = Options {
            data: Some(data.clone()),
            ..Options::default()
        };
        match TestServer::start_with(&model.path(), options).await {
            Ok(server) => {
                again = Some(server);
                break;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
        }
    }
    let server = again.unwrap();
    server.ready().await.unwrap();
    assert_close(
        &answers_of(&server, &mine, Some(&id(&adapter))).await,
        &said,
    );
    assert!(!left.exists());
    assert_eq!(directories(data.path()), 1);
}
