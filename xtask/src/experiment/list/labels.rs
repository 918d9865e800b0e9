//! What a server learns of labels that stay at the client.

use std::fmt::Write;

use anyhow::Result;

use super::{Experiment, Report};
use crate::experiment::data::DataSet;
use crate::experiment::figure::{Figure, Point};
use crate::experiment::labels::{failed_controls, strongest_auc};
use crate::experiment::measure::Measure;
use crate::experiment::report::{Measured, cell, markdown, provenance};
use crate::experiment::row::{Row, Setting};

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "labels",
    title: "Labels that stay at the client",
    about: "With `--labels client` no message holds a label. How well does a server tell them all the \
            same, and what does noise on the gradients (`--label-noise`, the number behind `noise` in \
            a row's name) change? AUC of the strongest of six methods, on the gradients that the client \
            sent and on the outputs that the server computes itself, in each epoch; 0.5 is guessing, \
            and the largest of six guesses lies about 0.02 above it. The attacker knows a fifth of the \
            labels. `upload` is the same attack on the activations before the first step: so much the \
            texts say themselves. 2,000 training sentences of SST are enough for this question (an AUC \
            over four fifths of them deviates by chance by 0.015), so that accuracies are lower than \
            those of `curve`, which trains on all. An attacker who adds up the gradients of several \
            epochs is not among the methods.",
    rows,
    report,
};

/// Noise on gradients, without first.
const NOISE: [&str; 4] = ["0", "1", "4", "16"];

const SETTINGS: [Setting; 2] = [(0, "none", "", ""), (0, "suppress", "0.70", "")];

/// Epochs of a training.
const EPOCHS: u32 = 3;

/// What the server sees in each epoch.
const EVIDENCE: [&str; 2] = ["gradients", "outputs"];

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for setting in SETTINGS {
        for noise in NOISE {
            let row = Row::new(DataSet::Sst, setting, &[Measure::Labels(noise)]);
            rows.push(Row {
                name: format!("{}-noise-{noise}", row.name),
                ..row
            });
        }
    }
    rows
}

fn report(measured: &[Measured]) -> Result<Report> {
    let rows: Vec<&Measured> = measured
        .iter()
        .filter(|row| !row.records.is_empty())
        .collect();
    if rows.is_empty() {
        return Ok(Report::default());
    }
    let mut text = format!("## {}\n\n{}\n", DataSet::Sst.title(), table(&rows));
    let mut figures = Vec::new();
    for evidence in EVIDENCE {
        if let Some(svg) = figure(&rows, evidence)? {
            let _ = writeln!(text, "![AUC by epoch, {evidence}](labels-{evidence}.svg)\n");
            figures.push((evidence.to_owned(), svg));
        }
    }
    let _ = write!(text, "### How\n\n{}", provenance(&rows));
    Ok(Report { text, figures })
}

fn table(rows: &[&Measured]) -> String {
    let mut header = ["row", "seeds", "accuracy", "upload"]
        .map(str::to_owned)
        .to_vec();
    for evidence in EVIDENCE {
        header.extend((1..=EPOCHS).map(|epoch| format!("{evidence} {epoch}")));
    }
    header.push("failed controls".to_owned());
    let line = |measured: &&Measured| {
        let auc = |evidence, epoch| measured.estimate(|run| strongest_auc(run, evidence, epoch));
        let mut cells = measured.head();
        cells.push(cell(measured.at("/labels/accuracy")));
        cells.push(cell(auc("activations", 0)));
        for evidence in EVIDENCE {
            cells.extend((1..=EPOCHS).map(|epoch| cell(auc(evidence, epoch))));
        }
        cells.push(failed_controls(measured.runs().values()));
        cells
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    markdown(&header, &lines)
}

/// One line a row: above 0.5 the server learns something.
fn figure(rows: &[&Measured], evidence: &str) -> Result<Option<String>> {
    let mut points = Vec::new();
    for (series, measured) in rows.iter().enumerate() {
        for epoch in 1..=EPOCHS {
            let auc = measured.estimate(|run| strongest_auc(run, evidence, epoch));
            points.extend(auc.map(|y| Point {
                series,
                x: f64::from(epoch),
                y,
            }));
        }
    }
    if points.is_empty() {
        return Ok(None);
    }
    let names = rows.iter().map(|measured| measured.row.short_name());
    let series: Vec<String> = names.map(str::to_owned).collect();
    let title = format!("Labels from {evidence}: {}", DataSet::Sst.title());
    let figure = Figure {
        title: &title,
        x: "epoch",
        y: "AUC of the strongest method (0.5: guessing)",
        series: &series,
        points: &points,
    };
    figure.to_svg().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::experiment::record::tests::record;

    #[test]
    fn every_setting_is_run_under_every_noise() {
        let rows = rows();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), 8);
        assert_eq!(
            (names[0], names[6]),
            ("sst/none-noise-0", "sst/suppress-0.70-noise-4")
        );
        assert_eq!(rows[6].measures, [Measure::Labels("4")]);
        assert_eq!(rows[6].option("protection"), Some("0.70"));
    }

    #[test]
    fn an_epoch_is_a_column_and_a_point() {
        let numbers = json!({ "labels": {
            "accuracy": 0.75,
            "auc": {
                "gradients": { "1": { "norm": 0.5, "hint": 0.875 }, "2": { "hint": 1.0 } },
                "activations": { "0": { "logistic": 0.625 } },
            },
            "failed_controls": [],
        }});
        let measured = Measured {
            row: rows().swap_remove(0),
            records: vec![record("sst/none-noise-0", 1, numbers)],
        };
        let report = report(&[measured]).unwrap();
        let expected =
            "| `none-noise-0` | 1 | 0.750 | 0.625 | 0.875 | 1.000 | – | – | – | – | none |";
        assert!(report.text.contains(expected), "{}", report.text);
        assert_eq!(report.figures.len(), 1); // nothing is known of outputs
        assert_eq!(report.figures[0].0, "gradients");
    }
}
