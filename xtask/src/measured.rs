//! What a program has measured: the lines of JSON that it prints, and the document that they become.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;
use crate::workspace::Workspace;

/// What a program printed.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Its lines of JSON, as they came.
    pub(crate) lines: Vec<String>,
    /// The same, read.
    pub(crate) records: Vec<Value>,
    /// Everything.
    pub(crate) output: String,
    /// Whether it ended with code 0.
    pub(crate) success: bool,
}

impl Measured {
    /// Runs a program, shows what it prints and reads it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn run(command: &mut Command) -> Result<Self> {
        let transcript = shell::run_shown(command)?;
        let is_object = |line: &&str| line.starts_with('{');
        let lines = transcript.output.lines().filter(is_object);
        let read = |line: &str| {
            let record = serde_json::from_str::<Value>(line).ok()?;
            Some((line.to_owned(), record))
        };
        let (lines, records) = lines.filter_map(read).unzip();
        Ok(Self {
            lines,
            records,
            output: transcript.output,
            success: transcript.success,
        })
    }
}

/// Writes a file of `docs/results`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(workspace: &Workspace, name: &str, text: &str) -> Result<PathBuf> {
    let path = workspace.root.join("docs/results").join(name);
    fs::write(&path, text).with_context(|| format!("Make {} writable.", path.display()))?;
    Ok(path)
}

/// Numbers of one thing at several moments, such as before, at most and after.
pub(crate) fn moments(values: &Value, unit: f64) -> String {
    let values = values.as_array().into_iter().flatten();
    let values: Vec<String> = values
        .map(|value| format!("{:.0}", value.as_f64().unwrap_or_default() / unit))
        .collect();
    values.join(" / ")
}

/// What clients were told, and how many of them; none if nothing.
pub(crate) fn told(record: &Value) -> Option<String> {
    let told = record["told"].as_object().into_iter().flatten();
    let told: Vec<String> = told
        .map(|(said, clients)| format!("{said}: {clients}"))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_json_are_picked_out_of_everything_else() {
        let mut command = Command::new("printf");
        let measured = Measured::run(command.arg("test x ... \n{\"a\":1}\nok\n{ no\n")).unwrap();
        assert_eq!(measured.lines, ["{\"a\":1}"]);
        assert_eq!(measured.records, [json!({ "a": 1 })]);
        assert!(measured.success && measured.output.ends_with("{ no\n"));
    }

    #[test]
    fn what_was_told_is_counted_and_moments_have_a_unit() {
        let record = json!({ "told": { "close 1008": 3, "HTTP 503": 2 } });
        assert_eq!(told(&record).unwrap(), "HTTP 503: 2; close 1008: 3");
        assert_eq!(told(&json!({ "told": {} })), None);
        assert_eq!(moments(&json!([50_000_000, 61_400_000]), 1e6), "50 / 61");
        assert_eq!(moments(&Value::Null, 1.0), "");
    }
}
