//! The built program `cutlayer` against a real daemon, on the small random model.

mod adapters;
mod labels;

use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::TestServer;

use crate::samples::{server, server_with};

/// Longest run of the program.
const RUN_MAX: Duration = Duration::from_secs(120);

/// The program of the same build: Cargo names it only to tests of its own package.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("cutlayer{}", std::env::consts::EXE_SUFFIX);
    let program = test.parent().unwrap().parent().unwrap().join(name);
    let help = "build it first: cargo build --release --package client-cli";
    assert!(
        program.is_file(),
        "there is no {}; {help}",
        program.display()
    );
    program
}

/// Runs the program while the daemon runs in this process; `input` is what a person types.
pub(crate) async fn cutlayer(server: &TestServer, arguments: &[&str], input: &str) -> Output {
    let arguments = [arguments, &["--device", "cpu"]].concat();
    ask(server, &arguments, input).await
}

/// As `cutlayer`, for commands that compute nothing here.
async fn ask(server: &TestServer, arguments: &[&str], input: &str) -> Output {
    let address = format!("http://{}", server.addr);
    // Files, because a full pipe would stop the program, and nobody reads while this waits.
    let [mut stdin, stdout, stderr] = [(); 3].map(|()| tempfile::tempfile().unwrap());
    stdin.write_all(input.as_bytes()).unwrap();
    stdin.rewind().unwrap();
    let mut child = Command::new(program())
        .args(arguments)
        .args(["--server", &address])
        .stdin(stdin)
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + RUN_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > give_up {
            child.kill().unwrap();
            panic!("the program hangs");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let [stdout, stderr] = [stdout, stderr].map(|mut file| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    Output {
        status,
        stdout,
        stderr,
    }
}

/// A file of labelled texts in the words of the small model.
pub(crate) fn file(directory: &TempDir, name: &str, rows: usize) -> String {
    let path = directory.path().join(name);
    let row = |n: usize| {
        let (word, label) = [("word7", "no"), ("word9", "yes")][n % 2];
        format!("{word} word{} {word} word{},{label}\n", 20 + n, 60 - n)
    };
    let rows: String = (0..rows).map(row).collect();
    std::fs::write(&path, format!("text,label\n{rows}")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn lines(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let line = |line| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

fn of_type<'l>(lines: &'l [Value], name: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["type"] == name).collect()
}

#[tokio::test]
async fn cli_trains_tests_and_answers_what_is_typed() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 30);
    let test = file(&directory, "test.csv", 8);
    let arguments = [
        "train",
        &train,
        "--json",
        "--epochs",
        "2",
        "--batch-size",
        "4",
        "--validation-share",
        "0.2",
        "--test",
        &test,
        "--interactive",
    ];
    let output = cutlayer(&server, &arguments, "word7 word30\n\nword9\n").await;
    let lines = lines(&output);
    // 24 of 30 train in batches of 4, twice.
    assert_eq!(of_type(&lines, "train_started")[0]["steps_total"], 12);
    assert_eq!(of_type(&lines, "step").len(), 12);
    assert_eq!(of_type(&lines, "validation").len(), 2);
    let evaluation = of_type(&lines, "evaluation")[0];
    assert_eq!(evaluation["examples"], 8);
    let counts = evaluation["confusion"].as_array().unwrap();
    let counts: u64 = counts.iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counts, 8);
    let answers = of_type(&lines, "prediction");
    let typed: Vec<_> = answers.iter().map(|answer| &answer["line"]).collect();
    assert_eq!(typed, [1, 3]); // the empty line between them asks nothing
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_predicts_every_row_of_a_file() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 20);
    let texts = file(&directory, "texts.csv", 5);
    let out = directory.path().join("out.csv");
    let written = out.to_str().unwrap();
    let arguments = [
        "predict", &texts, "--train", &train, "--epochs", "1", "--out", written,
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let csv = std::fs::read_to_string(&out).unwrap();
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0], "line,text,label,probability");
    assert_eq!(rows.len(), 6);
    assert!(rows[1].starts_with("2,word7 word20 word7 word60,"), "{csv}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_previews_without_a_session() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 12);
    let arguments = ["preview", &train, "--rows", "2", "--mechanism", "none"];
    let output = cutlayer(&server, &arguments, "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("# 1\nword7 -> word7\nword20 -> word20\n"),
        "{text}"
    );
    assert!(text.contains("100.0 % unchanged") && !text.contains("# 3"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("WARNING"), "{errors}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_keeps_labels_and_trains_the_bottom() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 30);
    let arguments = [
        "train",
        &train,
        "--json",
        "--epochs",
        "2",
        "--batch-size",
        "4",
        "--validation-share",
        "0.2",
        "--cut",
        "1",
        "--labels",
        "client",
        "--label-noise",
        "1",
        "--bottom",
        "lora",
        "--predict",
        "word7 word30",
    ];
    let lines = lines(&cutlayer(&server, &arguments, "").await);
    assert_eq!(of_type(&lines, "train_started").len(), 1);
    let steps = of_type(&lines, "step");
    assert_eq!(steps.len(), 2 * 6); // 24 examples train, in batches of 4
    assert!(steps.iter().all(|step| step["loss"].is_f64()));
    assert_eq!(of_type(&lines, "validation").len(), 2);
    assert_eq!(of_type(&lines, "prediction").len(), 1);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_says_in_one_sentence_what_the_server_does_not_offer() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 12);
    let output = cutlayer(&server, &["train", &train, "--cut", "9"], "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("not offered"), "{errors}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_audits_what_was_really_sent_and_writes_a_report() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 40);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (record, report) = (path("record"), path("report.html"));
    let arguments = [
        "train",
        &train,
        "--json",
        "--epochs",
        "1",
        "--cut",
        "0",
        "--mechanism",
        "none",
        "--record",
        &record,
    ];
    let output = cutlayer(&server, &arguments, "").await;
    assert_eq!(output.status.code(), Some(0));
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(warned.contains("tokens of every text"), "{warned}");

    let arguments = [
        "audit",
        &train,
        "--recorded",
        &record,
        "--attacks",
        "eia-nn,side",
        "--examples",
        "12",
        "--seeds",
        "2",
        "--report",
        &report,
        "--json",
    ];
    let lines = lines(&cutlayer(&server, &arguments, "").await);
    let audit = of_type(&lines, "audit")[0];
    assert_eq!(audit["recorded"], true);
    assert_eq!(audit["report"]["examples"], 12);
    // Without a mechanism all that was sent can be read, also as f16.
    let attack = &audit["report"]["attacks"][0];
    assert_eq!(attack["id"], "eia-nn");
    assert_eq!(attack["defended"]["top1"]["mean"], 1.0);
    let html = std::fs::read_to_string(&report).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("100.0&nbsp;%"));
    for absent in ["<script", "http://", "https://", "word7", "word9"] {
        assert!(!html.contains(absent), "the report holds {absent}");
    }
    server.stop().await.unwrap();
}

/// Breaks when the words that a mechanism keeps, which are words of the file, are printed.
#[tokio::test]
async fn cli_does_not_print_the_words_that_matter() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 40);
    let arguments = [
        "train",
        &train,
        "--json",
        "--epochs",
        "1",
        "--mechanism",
        "drop",
        "--protection",
        "0.2",
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let lines = lines(&output);
    let privacy = of_type(&lines, "privacy")[0];
    assert_eq!(privacy["mechanism"], "drop");
    assert_eq!(privacy["contributing"].as_array().map(Vec::len), Some(0));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(!printed.contains("word7") && !printed.contains("word9"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cli_audits_a_file_and_shows_texts_only_when_asked() {
    let (server, directory) = (server().await, tempfile::tempdir().unwrap());
    let train = file(&directory, "train.csv", 40);
    let report = directory.path().join("report.html");
    let report = report.to_str().unwrap();
    let arguments = [
        "audit",
        &train,
        "--cut",
        "0",
        "--mechanism",
        "vector",
        "--eta",
        "100",
        "--attacks",
        "eia-nn,eia-bayes,claim",
        "--examples",
        "10",
        "--seeds",
        "1",
        "--report",
        report,
        "--show-text",
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("private text"), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("eia-bayes") && text.contains("Empirical privacy"),
        "{text}"
    );
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("word7") && html.contains("as private as the file"));
    let unknown = cutlayer(&server, &["audit", &train, "--attacks", "no-such"], "").await;
    assert_eq!(unknown.status.code(), Some(1));
    server.stop().await.unwrap();
}

/// Loss of the first step under a seed at both sides: it depends on noise, order and the adapter.
async fn first_loss(directory: &TempDir, seed: u64) -> f64 {
    let server = server_with(tests::Options {
        seed: Some(seed),
        ..Default::default()
    })
    .await;
    let train = file(directory, "train.csv", 20);
    let number = seed.to_string();
    let arguments = [
        "train", &train, "--json", "--epochs", "1", "--seed", &number,
    ];
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("never for private text"), "{errors}");
    let lines = lines(&output);
    server.stop().await.unwrap();
    of_type(&lines, "step")[0]["loss"].as_f64().unwrap()
}

/// Breaks when an experiment cannot be repeated: when some draw is still the system's.
#[tokio::test]
async fn cli_repeats_a_seeded_run() {
    let directory = tempfile::tempdir().unwrap();
    let losses = [7, 7, 8].map(|seed| first_loss(&directory, seed));
    let [first, again, other] = losses;
    let (first, again, other) = (first.await, again.await, other.await);
    assert!((first - again).abs() < 1e-5, "{first} and {again}");
    assert!((first - other).abs() > 1e-5, "{first} and {other}");
}
