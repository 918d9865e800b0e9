//! The experiments, each a list of rows in the order of their importance, and its report.

mod attributes;
mod curve;
mod labels;
mod mrpc;
mod names;

use anyhow::Result;

use super::report::Measured;
use super::row::Row;

/// An experiment.
#[derive(Debug)]
pub(crate) struct Experiment {
    /// What is typed, and how its files begin.
    pub(crate) name: &'static str,
    /// The heading of its report.
    pub(crate) title: &'static str,
    /// What is asked, and how to read the answer.
    pub(crate) about: &'static str,
    /// Its rows, the most important first.
    pub(crate) rows: fn() -> Vec<Row>,
    /// Its tables and figures.
    pub(crate) report: fn(&[Measured]) -> Result<Report>,
}

/// The body of a report.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    /// Markdown.
    pub(crate) text: String,
    /// SVG by the end of the file's name.
    pub(crate) figures: Vec<(String, String)>,
}

/// All of them.
pub(crate) const EXPERIMENTS: &[&Experiment] = &[
    &curve::EXPERIMENT,
    &attributes::EXPERIMENT,
    &names::EXPERIMENT,
    &labels::EXPERIMENT,
    &mrpc::EXPERIMENT,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    /// Breaks when two rows share a name, and so one would count as done because of the other.
    #[test]
    fn every_row_has_a_name_of_its_own_and_something_to_measure() {
        for experiment in EXPERIMENTS {
            let rows = (experiment.rows)();
            let names: BTreeSet<_> = rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names.len(), rows.len(), "{}", experiment.name);
            for row in &rows {
                assert!(!row.measures.is_empty(), "{}", row.name);
                assert!(row.option("cut").is_some() && row.option("mechanism").is_some());
                let keys: BTreeSet<_> = row.measures.iter().map(|measure| measure.key()).collect();
                assert_eq!(keys.len(), row.measures.len(), "{}", row.name);
            }
        }
    }

    /// Breaks when an interrupted run has numbers but nothing to hold them against.
    #[test]
    fn the_first_row_is_the_undefended_one() {
        for experiment in EXPERIMENTS {
            let rows = (experiment.rows)();
            assert_eq!(
                rows[0].option("mechanism"),
                Some("none"),
                "{}",
                experiment.name
            );
        }
    }

    #[test]
    fn a_report_without_any_row_is_no_error() {
        for experiment in EXPERIMENTS {
            let measured: Vec<_> = (experiment.rows)()
                .into_iter()
                .map(|row| Measured {
                    row,
                    records: Vec::new(),
                })
                .collect();
            assert!((experiment.report)(&measured).unwrap().figures.is_empty());
        }
    }
}
