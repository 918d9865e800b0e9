//! Jobs that are written down, seen and steered.

use std::sync::Arc;

use server::auth::Scope;
use server::state::{
    Agreed, ExampleCounts, FailureClass, JobEvent, JobKey, NewJob, RunSeed, SqliteState,
    StateStore, TenantName, UnixMillis, path_in,
};
use shared::protocol::message::{
    AdapterSettings, BottomTraining, ClientMessage, DoneReason, LabelPlace, RefusalCode,
    ServerMessage,
};
use tests::assets::ModelDirectory;
use tests::http::{self, Response};
use tests::{Options, TestServer};

use super::{
    begin, collected, collected_with, eventually, get, json, milestone, only_job, only_job_id,
    request, token,
};
use crate::samples::{server, server_with, train};

const MINE: [Scope; 2] = [Scope::Train, Scope::Jobs];

fn kinds(events: &serde_json::Value) -> Vec<&str> {
    let events = events["events"].as_array().unwrap().iter();
    events
        .map(|event| event["kind"].as_str().unwrap())
        .collect()
}

/// The names of all events of a job that has ended, page by page.
async fn all_kinds(server: &TestServer, path: &str, token: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let page = json(&get(server, &format!("{path}?after={next}&limit=200"), token).await);
        let found = kinds(&page);
        if found.is_empty() {
            return all;
        }
        all.extend(found.into_iter().map(str::to_owned));
        next = page["next"].as_u64().unwrap();
    }
}

/// A job of a tenant that has run to its end, and its client.
async fn finished(server: &TestServer, token: &str) -> (tests::RawClient, String) {
    let mut client = collected(server, token).await;
    begin(&mut client, 3).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    let id = only_job_id(server, token).await;
    (client, id)
}

/// Breaks when a session's run leaves another trace than what its client saw.
#[tokio::test]
async fn a_run_is_written_down_from_its_beginning_to_its_end() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let (client, id) = finished(&server, &mine).await;
    let path = format!("/v1/jobs/{id}");
    let job = json(&get(&server, &path, &mine).await);
    assert_eq!(job, only_job(&server, &mine).await);
    assert_eq!(job["state"], "done");
    assert_eq!(job["agreed"]["cut"], 1);
    assert_eq!(job["agreed"]["labels"], "Server");
    assert_eq!(job["agreed"]["settings"]["epochs"], 3);
    // 32 examples of 5 rows, 32 numbers of 4 bytes each.
    assert_eq!(
        job["examples"],
        serde_json::json!({ "train": 16, "validation": 16, "bytes": 32 * 5 * 32 * 4 })
    );
    let (created, ended) = (&job["created_millis"], &job["ended_millis"]);
    assert!(created.as_i64().unwrap() <= ended.as_i64().unwrap());

    let events = json(&get(&server, &format!("{path}/events"), &mine).await);
    let kinds = kinds(&events);
    assert_eq!(kinds[..2], ["queued", "started"]);
    assert_eq!(*kinds.last().unwrap(), "done");
    let of = |kind| kinds.iter().filter(|&&one| one == kind).count();
    // 16 training examples in batches of 4, three times.
    assert_eq!((of("step"), of("validation")), (12, 3));
    assert_eq!(events["events"][1]["data"]["steps_total"], 12);
    assert_eq!(events["next"], 18);
    assert_eq!(events["state"], "done");
    // The session's end changes nothing about a job that has ended.
    drop(client);
    let after = json(&get(&server, &format!("{path}/events?after=17"), &mine).await);
    assert_eq!(after["events"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_come_page_by_page_and_as_a_stream() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let (_client, id) = finished(&server, &mine).await;
    let path = format!("/v1/jobs/{id}/events");
    let mut cursors = Vec::new();
    let mut next = 0;
    loop {
        let page = json(&get(&server, &format!("{path}?after={next}&limit=5"), &mine).await);
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 5);
        if events.is_empty() {
            break;
        }
        cursors.extend(events.iter().map(|event| event["cursor"].as_u64().unwrap()));
        next = page["next"].as_u64().unwrap();
    }
    assert_eq!(cursors, (1..=18).collect::<Vec<_>>());
    for wrong in ["after=-1", "after=x", "limit=x"] {
        let refused = get(&server, &format!("{path}?{wrong}"), &mine).await;
        assert_eq!(
            (refused.status, &json(&refused)["code"]),
            (400, &"bad_query".into())
        );
    }

    let bearer = format!("Bearer {mine}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Accept", "text/event-stream"),
        ("Last-Event-ID", "16"),
    ];
    // It ends by itself: the job has.
    let stream = http::get(server.addr, &path, &headers).await.unwrap();
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let text = String::from_utf8(stream.body).unwrap();
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert_eq!(ids, ["17", "18"]);
    assert!(text.contains("event: done"));
}

#[tokio::test]
async fn a_stream_says_what_happens_while_it_happens() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let mut client = collected(&server, &mine).await;
    begin(&mut client, 1000).await;
    let id = only_job_id(&server, &mine).await;
    let (addr, bearer) = (server.addr, format!("Bearer {mine}"));
    let path = format!("/v1/jobs/{id}/events");
    let stream = tokio::spawn(async move {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "text/event-stream"),
        ];
        http::get(addr, &path, &headers).await.unwrap()
    });
    let cancel = format!("/v1/jobs/{id}/cancel");
    assert_eq!(request(&server, "POST", &cancel, &mine).await.status, 202);
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
    let text = String::from_utf8(stream.await.unwrap().body).unwrap();
    assert!(text.contains("event: started") && text.contains("event: done"));
}

/// Breaks when a job is held or ended from outside and its session does not follow.
#[tokio::test]
async fn a_job_is_steered_from_outside_its_session() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let mut client = collected(&server, &mine).await;
    begin(&mut client, 1000).await;
    let path = format!("/v1/jobs/{}", only_job_id(&server, &mine).await);
    let post = async |verb: &str| {
        let path = format!("{path}/{verb}");
        request(&server, "POST", &path, &mine).await.status
    };
    assert_eq!(post("pause").await, 202);
    assert_eq!(milestone(&mut client).await, ServerMessage::Paused);
    eventually(&server, &path, &mine, |job| job["state"] == "paused").await;
    let refused = request(&server, "DELETE", &path, &mine).await;
    assert_eq!(
        (refused.status, &json(&refused)["code"]),
        (409, &"wrong_state".into())
    );
    // Its own client may go on with what somebody else held, and the other way round.
    client.send(&ClientMessage::Continue, &[]).await.unwrap();
    assert_eq!(milestone(&mut client).await, ServerMessage::Continued);
    client.send(&ClientMessage::Pause, &[]).await.unwrap();
    assert_eq!(milestone(&mut client).await, ServerMessage::Paused);
    assert_eq!(post("resume").await, 202);
    assert_eq!(milestone(&mut client).await, ServerMessage::Continued);
    assert_eq!(post("cancel").await, 202);
    let ServerMessage::TrainDone(done) = milestone(&mut client).await else {
        panic!("not done")
    };
    assert_eq!(done.reason, DoneReason::Cancelled);
    assert_eq!(
        json(&get(&server, &path, &mine).await)["state"],
        "cancelled"
    );
    assert_eq!(post("pause").await, 409);
    let milestones: Vec<_> = all_kinds(&server, &format!("{path}/events"), &mine)
        .await
        .into_iter()
        .filter(|kind| !matches!(kind.as_str(), "step" | "validation"))
        .collect();
    let expected = [
        "queued",
        "started",
        "paused",
        "continued",
        "paused",
        "continued",
        "done",
    ];
    assert_eq!(milestones, expected);

    let deleted = request(&server, "DELETE", &path, &mine).await;
    assert_eq!(deleted.status, 200);
    assert!(json(&deleted)["events"].as_u64().unwrap() >= 7);
    assert_eq!(get(&server, &path, &mine).await.status, 404);
}

/// Breaks when an answer tells somebody else's job from none.
#[tokio::test]
async fn a_job_of_others_is_as_one_that_does_not_exist() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let other = token(&server, "b", &MINE);
    let (_client, id) = finished(&server, &mine).await;
    let page = json(&get(&server, "/v1/jobs", &other).await);
    assert_eq!(page["jobs"], serde_json::json!([]));
    let none = "0".repeat(32);
    let seen = |response: &Response| (response.status, json(response));
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ] {
        let path = format!("/v1/jobs/{id}{rest}");
        let theirs = seen(&request(&server, method, &path, &other).await);
        let path = format!("/v1/jobs/{none}{rest}");
        let nobodys = seen(&request(&server, method, &path, &other).await);
        assert_eq!(theirs, nobodys, "{method} {rest}");
        assert_eq!(theirs.0, 404);
    }
    for name in ["x", "..%2F..%2Fstate.sqlite", "%00", &"0".repeat(4000)] {
        let path = format!("/v1/jobs/{name}");
        assert_eq!(get(&server, &path, &mine).await.status, 404, "{name}");
    }
    // Nothing of it was touched.
    assert_eq!(only_job(&server, &mine).await["state"], "done");
}

/// Breaks when a run waits for a client that does not come back, or keeps what it had.
#[tokio::test]
async fn a_run_that_needs_its_client_has_failed_when_it_went_away() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let mut client = collected_with(&server, &mine, LabelPlace::Client).await;
    begin(&mut client, 1000).await;
    assert_eq!(server.examples_on_disk().unwrap(), 1);
    let path = format!("/v1/jobs/{}", only_job_id(&server, &mine).await);
    drop(client);
    let job = eventually(&server, &path, &mine, |job| job["state"] == "failed").await;
    assert_eq!(job["failure"], "client_lost");
    for _ in 0..200 {
        if server.examples_on_disk().unwrap() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("its examples are still there");
}

/// Breaks when a log with a hole in it goes on.
#[tokio::test]
async fn a_run_whose_log_cannot_go_on_is_ended() {
    let server = server().await;
    let mine = token(&server, "a", &MINE);
    let mut client = collected(&server, &mine).await;
    begin(&mut client, 1000).await;
    let id = only_job_id(&server, &mine).await;
    let key: JobKey = id.parse().unwrap();
    // Somebody ends the record behind the daemon's back; nothing can be written behind that.
    let ended = [JobEvent::Failed(FailureClass::Trainer)];
    let store = server.state.blocking();
    store.append(key, &ended, UnixMillis::now()).unwrap();
    let refused = client.refusal().await.unwrap();
    assert_eq!(refused.code, RefusalCode::Internal);
    assert!(!refused.closes);
    // The examples are still there.
    begin(&mut client, 1).await;
    let done = milestone(&mut client).await;
    assert!(matches!(done, ServerMessage::TrainDone(_)));
}

/// Breaks when a daemon does not begin in an empty directory, or does not find again what it wrote.
#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let options = Options {
        data: Some(data.clone()),
        ..Options::default()
    };
    let server = server_with(options.clone()).await;
    assert!(path_in(data.path()).is_file());
    let mine = token(&server, "a", &MINE);
    let (client, id) = finished(&server, &mine).await;
    drop(client);
    server.stop().await.unwrap();
    // The last request's task may hold the directory a moment longer.
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    let mut again = None;
    for _ in 0..200 {
        match TestServer::start_with(&model.path(), options.clone()).await {
            Ok(server) => {
                again = Some(server);
                break;
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(25)).await,
        }
    }
    let server = again.unwrap();
    let job = only_job(&server, &mine).await;
    assert_eq!((&job["id"], &job["state"]), (&id.into(), &"done".into()));
    let path = format!("/v1/jobs/{}/events", job["id"].as_str().unwrap());
    assert_eq!(all_kinds(&server, &path, &mine).await.len(), 18);
    assert_eq!(
        http::get(server.addr, "/v1/jobs", &[])
            .await
            .unwrap()
            .status,
        401
    );
}

#[tokio::test]
async fn what_a_dead_process_left_open_has_failed() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let key = JobKey([7; 16]);
    {
        let state = SqliteState::open(&path_in(data.path())).unwrap();
        let job = NewJob {
            key,
            tenant: state.tenant(&TenantName::local()).unwrap(),
            agreed: Agreed {
                cut: 1,
                n_classes: 2,
                adapter: AdapterSettings {
                    rank: 4,
                    alpha: 8.0,
                    dropout: 0.0,
                    targets: vec![],
                },
                settings: train(1),
                labels: LabelPlace::Server,
                bottom: BottomTraining::Frozen,
                bottom_sha256: "00".repeat(32),
            },
            examples: ExampleCounts::default(),
            seed: RunSeed([1; 32]),
        };
        state.create_job(&job, UnixMillis(1)).unwrap();
        let started = JobEvent::Started { steps_total: 4 };
        state.append(key, &[started], UnixMillis(2)).unwrap();
    }
    let server = server_with(Options {
        data: Some(data),
        ..Options::default()
    })
    .await;
    let path = format!("/v1/jobs/{key}");
    let found = http::get(server.addr, &path, &[]).await.unwrap();
    assert_eq!(json(&found)["state"], "failed");
    assert_eq!(json(&found)["failure"], "interrupted");
}

/// Holds the description against the daemon itself: a method is answered where it is described, and
/// nowhere else.
#[tokio::test]
async fn every_method_of_every_route_is_described() {
    let server = server().await;
    let response = http::get(server.addr, "/v1/openapi.json", &[])
        .await
        .unwrap();
    let description = json(&response);
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 15);
    assert!(paths.contains_key("/v1/adapters/{id}/files/{name}"));
    for (path, methods) in paths {
        let asked = path
            .replace("{id}", &"0".repeat(32))
            .replace("{name}", "bottom-1-f16.safetensors");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            // The door of the WebSocket answers every method by itself.
            if path == "/v1/session" {
                continue;
            }
            let status = http::send(server.addr, method, &asked, &[])
                .await
                .unwrap()
                .status;
            let is_described = methods.get(method.to_lowercase()).is_some();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
}
