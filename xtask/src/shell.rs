//! Runs other programs: shown, logged, captured, or shown and captured at once.
//!
//! No shell is involved; arguments go to the program as they are.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// How many lines of a log are shown when the logged program fails.
const LOG_TAIL_LINES: usize = 30;

/// Holds what a program printed while it was shown, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// Standard output and standard error, as they were shown.
    pub(crate) output: String,
    /// Whether the program ended with code 0.
    pub(crate) success: bool,
}

/// Runs a program whose output a person should see.
///
/// # Errors
/// The `remedy`, with what happened as its cause, when the program cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command, remedy: &str) -> Result<()> {
    let name = name_of(command);
    let status = command
        .status()
        .with_context(|| format!("{name} could not be started"))
        .context(remedy.to_owned())?;
    if !status.success() {
        return Err(anyhow!("{name} ended with {status}").context(remedy.to_owned()));
    }
    Ok(())
}

/// Runs a noisy program with its output in a log, whose end is shown only on failure.
///
/// # Errors
/// The `remedy`, with what happened as its cause.
pub(crate) fn run_logged(command: &mut Command, log: &Path, remedy: &str) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("Make {} writable.", parent.display()))?;
    }
    let file = File::create(log).with_context(|| format!("Make {} writable.", log.display()))?;
    let errors = file
        .try_clone()
        .with_context(|| format!("Make {} writable.", log.display()))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);
    let outcome = run(command, remedy);
    if outcome.is_err() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..] {
            println!("    | {line}");
        }
        println!("    | (all of it: {})", log.display());
    }
    outcome
}

/// Runs a program for its standard output.
///
/// # Errors
/// When it cannot be started or does not succeed; its standard error is shown.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let name = name_of(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        bail!("{name} ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program runs and succeeds; everything it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a program, shows what it prints line by line and keeps it.
///
/// Both outputs share one pipe, so that a test's name and its complaint stay in order.
///
/// # Errors
/// When the program cannot be started or its output cannot be read.
pub(crate) fn run_shown(command: &mut Command) -> Result<Transcript> {
    let name = name_of(command);
    let (pipe, writer) = io::pipe().context("no pipe for a child's output")?;
    let second = writer.try_clone().context("no pipe for a child's output")?;
    let spawned = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .spawn()
        .with_context(|| format!("{name} could not be started"));
    // The command keeps its ends of the pipe, and with them open the output would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned?;
    let mut output = String::new();
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Bytes, not text: a test may print what is not UTF-8.
        let read = reader
            .read_until(b'\n', &mut line)
            .with_context(|| format!("the output of {name} could not be read"))?;
        if read == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        print!("{text}");
        output.push_str(&text);
    }
    let status = child
        .wait()
        .with_context(|| format!("{name} could not be waited for"))?;
    Ok(Transcript {
        output,
        success: status.success(),
    })
}

/// Finds a program on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(&file))
        .find(|path| path.is_file())
}

/// Removes from a command what `cargo run` exported about this package.
pub(crate) fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_about_package) {
            command.env_remove(name);
        }
    }
}

fn is_about_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || variable.starts_with("CARGO_MANIFEST_")
        || matches!(
            variable,
            "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR"
        )
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program()).file_name().map_or_else(
        || "the program".to_owned(),
        |name| format!("`{}`", name.to_string_lossy()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Breaks when a failed program is taken for a success or loses its remedy.
    #[test]
    fn a_failure_ends_with_the_remedy() {
        let error = run(&mut Command::new("false"), "Install it.").unwrap_err();
        assert_eq!(error.to_string(), "Install it.");
        assert_eq!(error.chain().count(), 2);
        let error = run(&mut Command::new("no-such-program-here"), "Install it.").unwrap_err();
        assert_eq!(error.to_string(), "Install it.");
    }

    #[test]
    fn shown_output_is_kept() {
        let transcript = run_shown(Command::new("printf").arg("one\ntwo\n")).unwrap();
        assert_eq!(transcript.output, "one\ntwo\n");
        assert!(transcript.success);
    }

    /// Breaks when a setting that belongs to the user is dropped with cargo's own variables.
    #[test]
    fn only_the_variables_of_the_package_are_forgotten() {
        assert!(is_about_package("CARGO_PKG_NAME"));
        assert!(is_about_package("CARGO_MANIFEST_DIR"));
        assert!(!is_about_package("CARGO_TARGET_DIR"));
        assert!(!is_about_package("CARGO_HOME"));
    }
}
