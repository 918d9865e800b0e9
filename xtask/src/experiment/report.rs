//! Records to tables. Pure: what is written where is `experiment.rs`'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use super::record::Record;
use super::row::Row;
use super::statistics::Estimate;

/// A row with what was measured of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) records: Vec<Record>,
}

/// All that was measured of a row under one seed.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Numbers under the names of the measures.
    pub(crate) measured: Map<String, Value>,
    /// Wall time of all of them.
    pub(crate) seconds: f64,
}

/// A column of numbers.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// Where its number stands in a record.
    pub(crate) pointer: String,
}

/// What a cell says when there is no number.
const NOTHING: &str = "–";

impl Run {
    /// A number by its JSON pointer, as `/accuracy/accuracy`.
    pub(crate) fn number(&self, pointer: &str) -> Option<f64> {
        let mut steps = pointer.trim_start_matches('/').splitn(2, '/');
        let measured = self.measured.get(steps.next()?)?;
        match steps.next() {
            Some(rest) => measured.pointer(&format!("/{rest}"))?.as_f64(),
            None => measured.as_f64(),
        }
    }
}

impl Measured {
    /// What was measured, by seed.
    pub(crate) fn runs(&self) -> BTreeMap<u64, Run> {
        let mut runs: BTreeMap<u64, Run> = BTreeMap::new();
        for record in &self.records {
            let run = runs.entry(record.seed).or_default();
            run.measured.extend(record.measured.clone());
            run.seconds += record
                .seconds
                .values()
                .filter_map(Value::as_f64)
                .sum::<f64>();
        }
        runs
    }

    /// The mean over seeds of a number; none when no seed has it.
    pub(crate) fn estimate(&self, number: impl Fn(&Run) -> Option<f64>) -> Option<Estimate> {
        let numbers: Vec<f64> = self.runs().values().filter_map(number).collect();
        Estimate::of(&numbers)
    }

    /// The mean over seeds of the number at a pointer.
    pub(crate) fn at(&self, pointer: &str) -> Option<Estimate> {
        self.estimate(|run| run.number(pointer))
    }

    /// The cells that every table begins with: its name and its number of seeds.
    pub(crate) fn head(&self) -> Vec<String> {
        vec![code(self.row.short_name()), self.runs().len().to_string()]
    }
}

impl Column {
    pub(crate) fn new(title: &str, pointer: &str) -> Self {
        Self {
            title: title.to_owned(),
            pointer: pointer.to_owned(),
        }
    }
}

/// A number for a cell.
pub(crate) fn cell(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(|| NOTHING.to_owned(), |estimate| estimate.to_string())
}

/// A table of rows with columns of numbers.
pub(crate) fn table(measured: &[&Measured], columns: &[Column]) -> String {
    let mut header = vec!["row".to_owned(), "seeds".to_owned()];
    header.extend(columns.iter().map(|column| column.title.clone()));
    let row = |measured: &&Measured| {
        let mut cells = measured.head();
        cells.extend(
            columns
                .iter()
                .map(|column| cell(measured.at(&column.pointer))),
        );
        cells
    };
    let rows: Vec<_> = measured.iter().map(row).collect();
    markdown(&header, &rows)
}

/// Where the numbers of a table come from: machine, commit, time and commands of each row.
pub(crate) fn provenance(measured: &[&Measured]) -> String {
    let header = ["row", "seeds", "seconds a seed", "commit", "machine"].map(str::to_owned);
    let row = |measured: &&Measured| {
        let records = &measured.records;
        let seeds = measured.runs().into_keys().map(|seed| seed.to_string());
        let seconds = measured.estimate(|run| Some(run.seconds));
        vec![
            code(measured.row.short_name()),
            seeds.collect::<Vec<_>>().join(", "),
            seconds.map_or_else(
                || NOTHING.to_owned(),
                |seconds| format!("{:.0}", seconds.mean),
            ),
            joined(records.iter().map(|record| code(&record.commit))),
            joined(records.iter().map(|record| machine(&record.machine))),
        ]
    };
    let rows: Vec<_> = measured.iter().map(row).collect();
    let mut text = markdown(&header, &rows);
    text.push_str("\nCommands, as they were run with the first seed of each row:\n\n```\n");
    for measured in measured {
        let _ = writeln!(text, "# {}", measured.row.name);
        let first = measured.records.iter().map(|record| record.seed).min();
        let of_first = measured
            .records
            .iter()
            .filter(|record| Some(record.seed) == first);
        let server = of_first.clone().map(|record| &record.server).next();
        let commands = of_first.flat_map(|record| &record.commands);
        for command in server.into_iter().chain(commands) {
            let _ = writeln!(text, "{command}");
        }
    }
    text.push_str("```\n");
    text
}

/// A table in Markdown.
pub(crate) fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header);
    text.push_str(&format!("|{}\n", "---|".repeat(header.len())));
    text.extend(rows.iter().map(|row| line(row)));
    text
}

pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The different ones, in order.
fn joined(texts: impl Iterator<Item = String>) -> String {
    texts
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(", ")
}

fn machine(machine: &Value) -> String {
    let cores = machine["cores"].as_u64().unwrap_or(0);
    format!(
        "{cores} cores, {}",
        machine["cpu"].as_str().unwrap_or("unknown")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::data::DataSet;
    use super::super::record::tests::record;
    use super::*;

    fn measured(accuracies: &[f64]) -> Measured {
        let record = |(seed, accuracy): (u64, &f64)| {
            record(
                "sst/none",
                seed,
                json!({ "accuracy": { "accuracy": accuracy } }),
            )
        };
        Measured {
            row: Row::new(DataSet::Sst, (0, "none", "", ""), &[]),
            records: (1..).zip(accuracies).map(record).collect(),
        }
    }

    #[test]
    fn a_cell_is_the_mean_over_seeds_or_a_dash() {
        let columns = [
            Column::new("accuracy", "/accuracy/accuracy"),
            Column::new("changed", "/shares/changed"),
        ];
        let text = table(&[&measured(&[0.70, 0.74])], &columns);
        let expected = "| row | seeds | accuracy | changed |\n|---|---|---|---|\n\
                        | `none` | 2 | 0.720 ± 0.254 | – |\n";
        assert_eq!(text, expected);
    }

    /// Breaks when the measures of one seed are taken for several seeds.
    #[test]
    fn what_was_measured_under_one_seed_belongs_together() {
        let mut measured = measured(&[0.75]);
        let shares = record("sst/none", 1, json!({ "shares": { "changed": 0.5 } }));
        measured.records.push(shares);
        let runs = measured.runs();
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[&1].number("/accuracy/accuracy"), Some(0.75));
        assert_eq!(runs[&1].number("/shares/changed"), Some(0.5));
        assert_eq!(runs[&1].number("/shares/other"), None);
        assert!((runs[&1].seconds - 7.0).abs() < 1e-12); // 3.5 each
    }

    #[test]
    fn every_row_says_where_it_comes_from() {
        let text = provenance(&[&measured(&[0.70, 0.74])]);
        assert!(
            text.contains("| `none` | 1, 2 | 4 | `abc` | 2 cores, a CPU |"),
            "{text}"
        );
        assert!(
            text.contains("--seed 1\ncutlayer train a.csv --seed 1\n```"),
            "{text}"
        );
    }
}
