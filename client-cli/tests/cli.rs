//! The built program: what it prints and how it ends when there is no server.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn cutlayer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cutlayer"))
        .args(arguments)
        .env_remove("CUTLAYER_SERVER")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file of twelve labelled texts.
fn labelled(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let row = |n: usize| format!("the {n}th line of a text,{}\n", ["no", "yes"][n % 2]);
    let rows: String = (0..12).map(row).collect();
    fs::write(&path, format!("text,label\n{rows}")).unwrap();
    path
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// One sentence on standard error, and 1.
#[track_caller]
fn assert_fails(output: &Output, words: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(
        said.starts_with("cutlayer: ") && said.contains(words),
        "{said}"
    );
    assert!(
        !said.contains("panicked") && !said.contains("Error {"),
        "{said}"
    );
}

#[test]
fn every_command_shows_the_options_of_privacy() {
    for command in ["train", "predict", "preview", "audit"] {
        let output = cutlayer(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("--protection") && help.contains("[default: token]"));
        assert!(help.contains("never with private text"), "{help}");
        let output = cutlayer(&[command, "-h"]);
        let short = String::from_utf8(output.stdout).unwrap();
        assert!(
            short.contains("--protection") && !short.contains("--seed "),
            "{short}"
        );
    }
}

#[test]
fn predict_says_what_the_server_does_not_know() {
    let output = cutlayer(&["predict", "--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(
        help.contains("not know what its classes are called"),
        "{help}"
    );
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["train", "a.csv", "--no-such-option"][..],
        &["train", "a.csv", "--eta", "3", "--protection", "0.5"],
        &[
            "train",
            "a.csv",
            "--mechanism",
            "none",
            "--protection",
            "0.5",
        ],
        &["train", "a.csv", "--batch-size", "0"],
        &["predict", "a.csv"],
        &[],
    ] {
        assert_eq!(cutlayer(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_one_sentence() {
    assert_fails(
        &cutlayer(&["train", "no-such.csv"]),
        "no-such.csv cannot be read",
    );
    let train = labelled("missing.csv");
    let train = train.to_str().unwrap();
    for option in ["--test", "--predict-file"] {
        let output = cutlayer(&["train", train, option, "no-such.csv"]);
        assert_fails(&output, "no-such.csv cannot be read");
    }
}

#[test]
fn a_file_of_one_class_fails_before_a_server_is_asked() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-class.csv");
    let rows = "some words of text,yes\n".repeat(12);
    fs::write(&path, format!("text,label\n{rows}")).unwrap();
    let output = cutlayer(&["train", path.to_str().unwrap(), "--server", &nobody()]);
    assert_fails(&output, "one value only");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.csv");
    let file = fs::File::create(&path).unwrap();
    file.set_len(300 * 1024 * 1024).unwrap(); // sparse: takes no room
    let output = cutlayer(&["preview", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    assert_fails(&output, "300 MB");
}

#[test]
fn an_answer_that_cannot_be_written_is_noticed_before_training() {
    let train = labelled("unwritable.csv");
    let train = train.to_str().unwrap();
    let output = cutlayer(&["predict", train, "--train", train, "--out", "no-such/a.csv"]);
    assert_fails(&output, "no directory no-such");
}

#[test]
fn no_server_is_one_sentence() {
    let train = labelled("alone.csv");
    let train = train.to_str().unwrap();
    let output = cutlayer(&["preview", train, "--server", &nobody()]);
    assert_fails(&output, "could not be fetched from the server");
}

#[test]
fn with_json_a_failure_is_an_object_too() {
    let train = labelled("json.csv");
    let train = train.to_str().unwrap();
    let output = cutlayer(&["train", train, "--json", "--server", &nobody()]);
    assert_fails(&output, "could not be fetched from the server");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(
        lines
            .lines()
            .all(|line| line.starts_with('{') && line.ends_with('}'))
    );
    let last = lines.lines().last().unwrap();
    assert!(
        last.starts_with(r#"{"type":"error","name":"Fetch","#),
        "{last}"
    );
}
