//! What can be measured of a row, with which commands, and where its numbers stand in the output.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::data::{self, DataSet, Folders, PRESIDIO_TEXTS, PRESIDIO_VALUES, SST_SHORT};
use super::programs::{Programs, Server};
use super::row::Row;
use super::{audit, labels, names};

/// Something to measure of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Trains, then classifies the test file.
    Accuracy,
    /// The shares of tokens that stay, change a little, change or vanish.
    Shares,
    /// What attacks on the tokens recover.
    Attacks,
    /// What attackers recover who train for it.
    TrainedAttacks,
    /// What is recovered of an attribute of the authors.
    Attribute(&'static str),
    /// The shares of names, numbers and addresses that are still there.
    Names,
    /// Accuracy with the labels at the client under this noise, and what the run told of them.
    Labels(&'static str),
}

impl Measure {
    /// Its key in a record.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Shares => "shares",
            Self::Attacks => "attacks",
            Self::TrainedAttacks => "trained_attacks",
            Self::Attribute(attribute) => attribute,
            Self::Names => "names",
            Self::Labels(_) => "labels",
        }
    }

    /// Measures of a later stage wait until all rows have those of an earlier one.
    pub(crate) fn stage(self) -> u32 {
        match self {
            Self::TrainedAttacks => 1, // longer than all others of a row together
            _ => 0,
        }
    }

    /// The arguments of `cutlayer`, one string a start.
    pub(crate) fn commands(self, row: &Row, seed: u64, quick: bool) -> Vec<String> {
        let (train, test) = (row.data.train(), row.data.test());
        let common = common(row.data, seed);
        let options = &row.options;
        match self {
            Self::Accuracy => {
                let training = training(quick);
                vec![format!(
                    "train {train} --test {test} {common} {training} {options}"
                )]
            }
            Self::Shares => vec![format!("preview {train} --rows 0 {common} {options}")],
            Self::Attacks => {
                vec![format!(
                    "{} {common} {options}",
                    audit::direct(row.data, quick)
                )]
            }
            Self::TrainedAttacks => {
                vec![format!(
                    "{} {common} {options}",
                    audit::trained(row.data, quick)
                )]
            }
            Self::Attribute(name) => {
                vec![format!(
                    "{} {common} {options}",
                    audit::attribute(name, quick)
                )]
            }
            Self::Names => {
                let rows = "--rows 1000000"; // all
                let clear = "--cut 0 --mechanism none";
                vec![
                    format!("preview {PRESIDIO_VALUES} {rows} {common} {clear}"),
                    format!("preview {PRESIDIO_TEXTS} {rows} {common} {options}"),
                ]
            }
            Self::Labels(noise) => {
                let training = training(quick);
                let kept = format!("--labels client --label-noise {noise} --record {RECORD}");
                // Cut and privacy are in the recording.
                let attack = "--attacks labels --examples 20 --seeds 1";
                vec![
                    format!("train {SST_SHORT} --test {test} {common} {training} {options} {kept}"),
                    format!("audit {SST_SHORT} --recorded {RECORD} {attack} {common}"),
                ]
            }
        }
    }

    /// Runs its commands and takes the numbers out of what they print.
    ///
    /// # Errors
    /// When a program fails or does not print what it should.
    pub(crate) fn run(
        self,
        commands: &[String],
        programs: &Programs,
        server: &Server,
        folders: &Folders,
    ) -> Result<Value> {
        forget_recording(folders)?;
        let outputs = commands
            .iter()
            .map(|command| programs.client(server, command));
        let outputs = outputs.collect::<Result<Vec<_>>>();
        forget_recording(folders)?;
        let outputs = outputs?;
        let no_output = "A measure has no command: report it.";
        let lines = outputs.last().context(no_output)?;
        match self {
            Self::Accuracy => accuracy(lines),
            Self::Shares => shares(lines),
            Self::Attacks | Self::TrainedAttacks | Self::Attribute(_) => audit::results(lines),
            Self::Names => {
                let values = outputs.first().context(no_output)?;
                names::survivors(values, lines, &data::spans(folders)?)
            }
            Self::Labels(_) => {
                let trained = accuracy(outputs.first().context(no_output)?)?;
                labels::results(trained, lines)
            }
        }
    }
}

/// Where a run is recorded, in the folder of the CSV files.
const RECORD: &str = "recorded";

/// Removes the recording of a run that is over, or was cut off: it holds the texts' tokens, and no run
/// is recorded over another.
fn forget_recording(folders: &Folders) -> Result<()> {
    let directory = folders.csv.join(RECORD);
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&directory)
        .with_context(|| format!("{} cannot be removed: remove it.", directory.display()))
}

/// What every start of `cutlayer` is given.
fn common(data: DataSet, seed: u64) -> String {
    let columns = match data.has_pairs() {
        true => "--text-column text1 --pair-column text2",
        false => "--text-column text",
    };
    let length = data.seq_length_max();
    format!(
        "{columns} --label-column label --precision f32 --seq-length-max {length} --device cpu \
         --seed {seed} --json"
    )
}

/// As in the reference runs, but that a twentieth of the rows validates: the server takes no run
/// without, and the adapter of the best epoch is kept.
fn training(quick: bool) -> String {
    let epochs = if quick { 1 } else { 3 };
    format!(
        "--epochs {epochs} --batch-size 32 --learning-rate 0.001 --rank 8 --alpha 16 \
         --validation-share 0.05"
    )
}

fn accuracy(lines: &[Value]) -> Result<Value> {
    let evaluation =
        line(lines, "evaluation").context("`cutlayer train` printed no evaluation.")?;
    let privacy = line(lines, "privacy").unwrap_or(&Value::Null);
    let sent = line(lines, "progress").map(|line| line["bytes_sent"].clone());
    Ok(json!({
        "accuracy": evaluation["accuracy"],
        "macro_f1": evaluation["macro_f1"],
        "examples": evaluation["examples"],
        "eta": privacy["eta"],
        "level": privacy["protection"],
        "bytes_sent": sent,
    }))
}

fn shares(lines: &[Value]) -> Result<Value> {
    let preview = line(lines, "preview").context("`cutlayer preview` printed no shares.")?;
    let shares = preview["shares"]
        .as_object()
        .context("The preview's shares are no object.")?;
    let unchanged = preview["shares"]["unchanged"].as_f64();
    let unchanged = unchanged.context("The preview says nothing of unchanged tokens.")?;
    let mut shares = shares.clone();
    shares.insert("changed".to_owned(), json!(1.0 - unchanged));
    shares.insert("tokens".to_owned(), preview["tokens_counted"].clone());
    Ok(Value::Object(shares))
}

/// The last line of a type.
pub(super) fn line<'l>(lines: &'l [Value], kind: &str) -> Option<&'l Value> {
    lines.iter().rev().find(|line| line["type"] == kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(lines: &[&str]) -> Vec<Value> {
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn training_is_that_of_the_reference() {
        let row = Row::new(DataSet::Sst, (0, "none", "", ""), &[]);
        let command = &Measure::Accuracy.commands(&row, 3, false)[0];
        let expected = "train sst-train.csv --test sst-test.csv --text-column text \
            --label-column label --precision f32 --seq-length-max 48 --device cpu --seed 3 --json \
            --epochs 3 --batch-size 32 --learning-rate 0.001 --rank 8 --alpha 16 \
            --validation-share 0.05 --cut 0 --mechanism none";
        assert_eq!(command, expected);
        let pairs = Row::new(DataSet::Mrpc, (0, "none", "", ""), &[]);
        let command = &Measure::Accuracy.commands(&pairs, 1, true)[0];
        assert!(command.contains("--text-column text1 --pair-column text2 --label-column label"));
        assert!(command.contains("--epochs 1"));
    }

    /// Breaks when the audit attacks another run than the one that was just trained, or when options
    /// are given that a recording fixes.
    #[test]
    fn labels_are_attacked_in_the_run_that_was_recorded() {
        let row = Row::new(DataSet::Sst, (0, "none", "", ""), &[]);
        let commands = Measure::Labels("4").commands(&row, 2, false);
        assert!(commands[0].starts_with("train sst-short.csv --test sst-test.csv"));
        assert!(commands[0].ends_with("--labels client --label-noise 4 --record recorded"));
        assert!(
            commands[1].starts_with("audit sst-short.csv --recorded recorded --attacks labels")
        );
        assert!(commands[1].contains("--seed 2") && !commands[1].contains("--mechanism"));
    }

    #[test]
    fn the_test_file_counts_and_not_a_validation() {
        let lines = parsed(&[
            r#"{"type":"privacy","eta":75.5,"protection":0.5}"#,
            r#"{"type":"progress","bytes_sent":7}"#,
            r#"{"type":"progress","bytes_sent":9}"#,
            r#"{"type":"validation","accuracy":0.99}"#,
            r#"{"type":"evaluation","accuracy":0.75,"macro_f1":0.7,"examples":4}"#,
        ]);
        let numbers = accuracy(&lines).unwrap();
        assert_eq!(numbers["accuracy"], 0.75);
        assert_eq!(
            (&numbers["eta"], &numbers["bytes_sent"]),
            (&json!(75.5), &json!(9))
        );
        assert!(accuracy(&lines[..4]).is_err());
    }

    #[test]
    fn what_is_not_unchanged_is_changed() {
        let lines = parsed(&[
            r#"{"type":"preview","shares":{"unchanged":0.25,"far":0.75},"tokens_counted":8}"#,
        ]);
        let numbers = shares(&lines).unwrap();
        assert_eq!(
            (&numbers["changed"], &numbers["tokens"]),
            (&json!(0.75), &json!(8))
        );
        assert!(shares(&[]).is_err());
    }
}
