//! The built program `cutlayer-server`: where its settings come from, and what `--check-config`
//! says. What it does with sockets and signals is in `tests/tests/native/operations`.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn model() -> TempDir {
    let model = tempfile::Builder::new().prefix("m").tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/reference/bert-shaped/model");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(fixture.join(file), model.path().join(file)).unwrap();
    }
    fs::write(model.path().join("tokenizer.json"), "{}").unwrap();
    model
}

fn config(model: &TempDir, more: &str) -> PathBuf {
    let path = model.path().join("cutlayer.toml");
    let text = format!("model = '{}'\n{more}", model.path().display());
    fs::write(&path, text).unwrap();
    path
}

/// Runs `--check-config` with nothing in the environment but what is given.
fn check(config: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cutlayer-server"))
        .env_clear()
        .env("CUTLAYER_CONFIG", config)
        .envs(environment.iter().copied())
        .args(["--check-config"])
        .args(arguments)
        .current_dir(config.parent().unwrap())
        .output()
        .unwrap()
}

#[track_caller]
fn sessions(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let line = text
        .lines()
        .find(|line| line.starts_with("sessions "))
        .unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

/// Breaks when the order is not command line, environment, file, default.
#[test]
fn the_command_line_is_before_the_environment_before_the_file_before_the_default() {
    let model = model();
    let bare = config(&model, "");
    assert_eq!(sessions(&check(&bare, &[], &[])), "16");
    let file = config(&model, "sessions_max = 3\n");
    assert_eq!(sessions(&check(&file, &[], &[])), "3");
    let environment = [("CUTLAYER_SESSIONS_MAX", "4")];
    assert_eq!(sessions(&check(&file, &environment, &[])), "4");
    let line = ["--sessions-max", "5"];
    assert_eq!(sessions(&check(&file, &environment, &line)), "5");
    assert_eq!(sessions(&check(&file, &[], &line)), "5");
}

/// Breaks when a value of the environment that makes no sense is passed over for the file's.
#[test]
fn a_wrong_environment_is_an_error_whatever_the_file_says() {
    let model = model();
    let file = config(&model, "device = 'cpu'\nsessions_max = 3\n");
    let output = check(&file, &[("CUTLAYER_DEVICE", "tpu")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tpu"));
}

#[test]
fn a_switch_of_the_file_can_be_turned_off_in_the_environment() {
    let model = model();
    let file = config(&model, "allow_remote = true\nlisten = '0.0.0.0:8420'\n");
    assert_eq!(sessions(&check(&file, &[], &[])), "16");
    let output = check(&file, &[("CUTLAYER_ALLOW_REMOTE", "false")], &[]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("--allow-remote"), "{errors}");
}

#[test]
fn a_wrong_configuration_exits_1_and_names_file_and_key() {
    let model = model();
    let file = config(&model, "session_max = 3\n");
    let output = check(&file, &[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [file.to_str().unwrap(), "session_max", "sessions_max"] {
        assert!(errors.contains(part), "{errors}");
    }
}

/// Breaks when a check takes the data directory, or the address, from a running daemon.
#[test]
fn a_check_writes_nothing() {
    let model = model();
    let file = config(&model, "listen = '127.0.0.1:1'\n"); // not to be bound by everybody
    sessions(&check(&file, &[], &[]));
    let mut names: Vec<_> = fs::read_dir(model.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "config.json",
        "cutlayer.toml",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(names, expected);
}
