//! `cutlayer jobs`, `cutlayer adapters` and `cutlayer predict --adapter`.

use std::process::Output;

use serde_json::Value;
use shared::protocol::message::{ClientMessage, ServerMessage};
use tests::{RawClient, TestServer};

use super::{ask, cutlayer, file, lines};
use crate::samples::{server, train, upload};

#[track_caller]
fn fails(output: &Output, words: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(words), "{errors}");
}

/// What a list prints as JSON.
async fn listed(server: &TestServer, what: &str) -> Vec<Value> {
    lines(&ask(server, &[what, "list", "--json"], "").await)
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Breaks when an adapter that the server keeps does not answer what it answered when it was trained,
/// by way of its files too.
#[tokio::test]
async fn cli_predicts_with_an_adapter_that_the_server_keeps() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 30);
    let texts = file(&directory, "texts.csv", 6);
    let at = |name: &str| directory.path().join(name);
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    let (side, first, second) = (path("side.json"), path("first.csv"), path("second.csv"));
    let arguments = [
        "train",
        &train,
        "--epochs",
        "2",
        "--cut",
        "1",
        "--seq-length-max",
        "8",
        "--mechanism",
        "none",
        "--client-side",
        &side,
        "--predict-file",
        &texts,
        "--out",
        &first,
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let adapters = listed(&server, "adapters").await;
    assert_eq!(adapters.len(), 1);
    let name = adapters[0]["name"].as_str().unwrap().to_owned();

    let with = ["predict", &texts, "--client-side", &side, "--out", &second];
    let output = cutlayer(&server, &[&with[..], &["--adapter", &name]].concat(), "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert_eq!(read(&at("second.csv")), read(&at("first.csv")));

    // Out, in again under another name, made the default, and asked by that.
    let out = path("exported");
    let output = ask(&server, &["adapters", "export", &name, "--out", &out], "").await;
    assert_eq!(output.status.code(), Some(0));
    fails(
        &ask(&server, &["adapters", "export", &name, "--out", &out], "").await,
        "is there already",
    );
    let import = [
        "adapters", "import", &out, "--cut", "1", "--name", "again", "--json",
    ];
    assert_eq!(lines(&ask(&server, &import, "").await)[0]["name"], "again");
    let output = ask(&server, &["adapters", "default", "again"], "").await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("default     true"));
    let output = cutlayer(
        &server,
        &[&with[..], &["--adapter", "default"]].concat(),
        "",
    )
    .await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(read(&at("second.csv")), read(&at("first.csv")));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_says_what_it_does_not_know_of_an_adapter() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 20);
    let texts = file(&directory, "texts.csv", 3);
    let output = cutlayer(&server, &["train", &train, "--epochs", "1"], "").await;
    assert_eq!(output.status.code(), Some(0));
    let id = listed(&server, "adapters").await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let arguments = [
        "predict",
        &texts,
        "--adapter",
        &id,
        "--mechanism",
        "none",
        "--json",
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("classes are numbered"), "{errors}");
    let lines = lines(&output);
    let answers = lines.iter().filter(|line| line["type"] == "prediction");
    let labels: Vec<_> = answers
        .map(|line| line["label"].as_str().unwrap())
        .collect();
    assert_eq!(labels.len(), 3);
    assert!(labels.iter().all(|label| label.starts_with("class ")));
    // A mechanism that has to see rows to train on cannot do without.
    let ranked = ["predict", &texts, "--adapter", &id, "--mechanism", "drop"];
    fails(&cutlayer(&server, &ranked, "").await, "rows to train on");
    let unknown = ["predict", &texts, "--adapter", "no-such"];
    fails(&cutlayer(&server, &unknown, "").await, "no adapter named");
    let unset = ["predict", &texts, "--adapter", "default"];
    fails(&cutlayer(&server, &unset, "").await, "no default adapter");
    let kept_nowhere = path_of(&directory, "side.json");
    let labels_here = [
        "train",
        &train,
        "--labels",
        "client",
        "--client-side",
        &kept_nowhere,
    ];
    fails(
        &cutlayer(&server, &labels_here, "").await,
        "the server keeps none",
    );
    server.stop().await.unwrap();
}

fn path_of(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn cli_shows_watches_and_deletes_jobs() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 20);
    let output = ask(&server, &["jobs", "list"], "").await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "none\n");
    let output = cutlayer(&server, &["train", &train, "--epochs", "1"], "").await;
    assert_eq!(output.status.code(), Some(0));
    let jobs = listed(&server, "jobs").await;
    assert_eq!((jobs.len(), &jobs[0]["state"]), (1, &"done".into()));
    let id = jobs[0]["id"].as_str().unwrap();
    let output = ask(&server, &["jobs", "list"], "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("job ") && text.contains(id), "{text}");
    let output = ask(&server, &["jobs", "show", id], "").await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("state       done"));

    let watched = lines(&ask(&server, &["jobs", "watch", id, "--json"], "").await);
    assert_eq!(watched[0]["kind"], "queued");
    assert_eq!(watched.last().unwrap()["kind"], "done");
    let last = watched.last().unwrap()["cursor"]
        .as_u64()
        .unwrap()
        .to_string();
    // Behind the end there is nothing, and the end is told all the same.
    let output = ask(&server, &["jobs", "watch", id, "--after", &last], "").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());

    let out = path_of(&directory, "of-job");
    let output = ask(&server, &["jobs", "export", id, "--out", &out], "").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(
        directory
            .path()
            .join("of-job/adapter_model.safetensors")
            .is_file()
    );
    fails(
        &ask(&server, &["jobs", "pause", id], "").await,
        "wrong_state",
    );
    let output = ask(&server, &["jobs", "delete", id], "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("and 1 adapters"), "{text}");
    fails(
        &ask(&server, &["jobs", "show", id], "").await,
        "unknown_job",
    );
    assert_eq!(listed(&server, "adapters").await.len(), 0);
    server.stop().await.unwrap();
}

/// Breaks when a watcher does not follow, or takes a cancelled job for a done one.
#[tokio::test]
async fn cli_watches_a_job_that_is_held_and_cancelled() {
    let server = server().await;
    let hello = server.hello().await.unwrap();
    let (mut client, _) = RawClient::welcomed(server.addr, hello).await.unwrap();
    let (upload, payload) = upload(0, 32, 5);
    client
        .send(&ClientMessage::Upload(upload), &payload)
        .await
        .unwrap();
    client
        .send(&ClientMessage::Train(train(1000)), &[])
        .await
        .unwrap();
    let reader = tokio::spawn(async move {
        loop {
            if let ServerMessage::TrainDone(_) = client.message().await.unwrap() {
                return client;
            }
        }
    });
    let mut jobs = Vec::new();
    for _ in 0..200 {
        jobs = listed(&server, "jobs").await;
        if jobs.first().is_some_and(|job| job["state"] == "running") {
            break;
        }
    }
    let id = jobs[0]["id"].as_str().unwrap();
    let steering = async {
        for verb in ["pause", "resume", "cancel"] {
            let output = ask(&server, &["jobs", verb, id], "").await;
            assert_eq!(output.status.code(), Some(0), "{verb}");
        }
    };
    let arguments = ["jobs", "watch", id, "--json"];
    let (output, ()) = tokio::join!(ask(&server, &arguments, ""), steering);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    for kind in ["started", "paused", "continued", "done"] {
        assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
    drop(reader.await.unwrap());
    server.stop().await.unwrap();
}
