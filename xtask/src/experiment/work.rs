//! What is run, recorded and resumed as a whole.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Map, Value};

use super::data::Folders;
use super::machine;
use super::measure::Measure;
use super::programs::Programs;
use super::record::{Journal, Record};
use super::row::Row;
use crate::workspace::Workspace;

/// One measure of a row under one seed.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) row: Row,
    measure: Measure,
    seed: u64,
    /// Without the program's name.
    commands: Vec<String>,
}

/// Everything with the first seed, then everything with the second, and what takes long after what
/// does not: a run that is cut off has something of as many rows as it can.
pub(crate) fn works(rows: &[Row], seeds: u64, quick: bool) -> Vec<Work> {
    let measures = rows
        .iter()
        .flat_map(|row| row.measures.iter().map(move |measure| (row, *measure)));
    let mut measures: Vec<(&Row, Measure)> = measures.collect();
    measures.sort_by_key(|(_, measure)| measure.stage()); // keeps the order of the rows
    let of_seed = |seed| {
        measures
            .iter()
            .map(move |(row, measure)| Work::new(row, *measure, seed, quick))
    };
    (1..=seeds).flat_map(of_seed).collect()
}

impl Work {
    pub(crate) fn new(row: &Row, measure: Measure, seed: u64, quick: bool) -> Self {
        Self {
            row: row.clone(),
            measure,
            seed,
            commands: measure.commands(row, seed, quick),
        }
    }

    pub(crate) fn name(&self) -> String {
        format!(
            "{}, {}, seed {}",
            self.row.name,
            self.measure.key(),
            self.seed
        )
    }

    /// The commands as they are recorded.
    pub(crate) fn recorded(&self) -> Vec<String> {
        self.commands
            .iter()
            .map(|command| format!("cutlayer {command}"))
            .collect()
    }

    pub(crate) fn is_in(&self, journal: &Journal) -> bool {
        journal.holds(&self.row.name, self.seed, &self.recorded())
    }

    pub(crate) fn run(
        &self,
        workspace: &Workspace,
        programs: &Programs,
        folders: &Folders,
    ) -> Result<Record> {
        let started = Instant::now();
        let commit = machine::commit(workspace);
        let server = programs.serve(self.row.option("cut").unwrap_or("0"), self.seed)?;
        let numbers = self
            .measure
            .run(&self.commands, programs, &server, folders)?;
        let seconds = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        let under = |value| Map::from_iter([(self.measure.key().to_owned(), value)]);
        Ok(Record {
            row: self.row.name.clone(),
            seed: self.seed,
            commands: self.recorded(),
            server: server.command.clone(),
            settings: self.row.settings(),
            measured: under(numbers),
            seconds: under(Value::from(seconds)),
            commit,
            machine: machine::machine(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::EXPERIMENTS;
    use super::*;

    /// Breaks when an interrupted run has one row three times instead of three rows once.
    #[test]
    fn every_row_is_run_once_before_any_is_run_twice_and_what_takes_long_comes_last() {
        let rows = (EXPERIMENTS[0].rows)();
        let order: Vec<String> = works(&rows[..2], 2, false).iter().map(Work::name).collect();
        let expected = [
            "sst/none, accuracy, seed 1",
            "sst/none, shares, seed 1",
            "sst/none, attacks, seed 1",
            "sst/token-0.75, accuracy, seed 1",
            "sst/token-0.75, shares, seed 1",
            "sst/token-0.75, attacks, seed 1",
            "sst/none, trained_attacks, seed 1",
            "sst/token-0.75, trained_attacks, seed 1",
            "sst/none, accuracy, seed 2",
        ];
        assert_eq!(order[..9], expected);
        assert_eq!(order.len(), 16);
    }
}
