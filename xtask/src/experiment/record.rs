//! What is finished, one JSON object a line: what makes an experiment resumable.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// What one measure of a row gave under one seed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// Its name in the list of rows.
    pub(crate) row: String,
    pub(crate) seed: u64,
    /// The commands that were run, in order. A row whose commands have changed is another row.
    pub(crate) commands: Vec<String>,
    /// The daemon that they spoke to.
    pub(crate) server: String,
    /// The options of privacy and cut, for readers.
    pub(crate) settings: Value,
    /// What was measured, under the name of the measure.
    pub(crate) measured: Map<String, Value>,
    /// Wall time, under the same name.
    pub(crate) seconds: Map<String, Value>,
    pub(crate) commit: String,
    pub(crate) machine: Value,
}

/// The file of an experiment's records.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    records: Vec<Record>,
}

impl Record {
    fn to_json(&self) -> Value {
        json!({
            "row": self.row,
            "seed": self.seed,
            "settings": self.settings,
            "measured": self.measured,
            "seconds": self.seconds,
            "commit": self.commit,
            "machine": self.machine,
            "server": self.server,
            "commands": self.commands,
        })
    }

    /// Reads a line; none when it is not one of ours, as the half line of a run that was cut off.
    fn from_json(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let commands = value["commands"].as_array()?.iter();
        Some(Self {
            row: value["row"].as_str()?.to_owned(),
            seed: value["seed"].as_u64()?,
            commands: commands
                .map(|command| Some(command.as_str()?.to_owned()))
                .collect::<Option<_>>()?,
            server: value["server"].as_str()?.to_owned(),
            settings: value["settings"].clone(),
            measured: value["measured"].as_object()?.clone(),
            seconds: value["seconds"].as_object()?.clone(),
            commit: value["commit"].as_str()?.to_owned(),
            machine: value["machine"].clone(),
        })
    }
}

impl Journal {
    /// Reads what is there; nothing is there before the first row.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let text = match path.exists() {
            true => fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read: make it readable.", path.display()))?,
            false => String::new(),
        };
        let records = text.lines().filter_map(Record::from_json).collect();
        Ok(Self { path, records })
    }

    /// Whether a row has been measured with this seed by these very commands.
    pub(crate) fn holds(&self, row: &str, seed: u64, commands: &[String]) -> bool {
        let same = |record: &Record| {
            record.row == row && record.seed == seed && record.commands == commands
        };
        self.records.iter().any(same)
    }

    /// Adds a finished measure; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn add(&mut self, record: Record) -> Result<()> {
        append(&self.path, &record.to_json()).with_context(|| {
            format!(
                "Make {} writable and see that the disk is not full.",
                self.path.display()
            )
        })?;
        self.records.push(record);
        Ok(())
    }

    /// All records, in the order in which they were made.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

/// Adds a line. One that was cut off before it stays a line of its own.
fn append(path: &Path, value: &Value) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let text = fs::read(path).unwrap_or_default();
    let cut_off = !text.is_empty() && !text.ends_with(b"\n");
    let line = format!("{}{value}\n", if cut_off { "\n" } else { "" });
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line.as_bytes())?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[allow(clippy::needless_pass_by_value)] // callers write it down in place
    pub(crate) fn record(row: &str, seed: u64, measured: Value) -> Record {
        Record {
            row: row.to_owned(),
            seed,
            commands: vec![format!("cutlayer train a.csv --seed {seed}")],
            server: "cutlayer-server --seed 1".to_owned(),
            settings: json!({ "mechanism": "token" }),
            measured: measured.as_object().unwrap().clone(),
            seconds: json!({ "accuracy": 2.5, "attacks": 1.0 })
                .as_object()
                .unwrap()
                .clone(),
            commit: "abc".to_owned(),
            machine: json!({ "cores": 2, "cpu": "a CPU" }),
        }
    }

    fn journal(name: &str) -> (PathBuf, Journal) {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}.jsonl", std::process::id()));
        let _ = fs::remove_file(&path);
        (path.clone(), Journal::open(path).unwrap())
    }

    /// Breaks when a row that is there is run again, or one that has changed is not.
    #[test]
    fn a_row_that_is_there_is_there_after_a_restart() {
        let (path, mut journal) = journal("restart");
        let done = record("sst/none", 1, json!({ "accuracy": { "accuracy": 0.75 } }));
        assert!(!journal.holds("sst/none", 1, &done.commands));
        journal.add(done.clone()).unwrap();
        let journal = Journal::open(path.clone()).unwrap();
        assert_eq!(journal.records(), std::slice::from_ref(&done));
        assert!(journal.holds("sst/none", 1, &done.commands));
        assert!(!journal.holds("sst/none", 2, &done.commands));
        assert!(!journal.holds("sst/token", 1, &done.commands));
        assert!(!journal.holds("sst/none", 1, &["cutlayer train b.csv".to_owned()]));
        fs::remove_file(path).unwrap();
    }

    /// Breaks when a run that was cut off in the middle of a line costs the next row.
    #[test]
    fn half_a_line_is_no_row_and_spoils_none() {
        let (path, _) = journal("half");
        fs::write(&path, "{\"row\": \"sst/none\", \"se").unwrap();
        let mut journal = Journal::open(path.clone()).unwrap();
        assert!(journal.records().is_empty());
        journal.add(record("sst/none", 1, json!({}))).unwrap();
        assert_eq!(Journal::open(path.clone()).unwrap().records().len(), 1);
        fs::remove_file(path).unwrap();
    }
}
