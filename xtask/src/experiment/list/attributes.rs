//! What a server learns of the authors besides the task.

use std::fmt::Write;

use anyhow::Result;

use super::{Experiment, Report};
use crate::experiment::audit;
use crate::experiment::data::{ATTRIBUTES, DataSet};
use crate::experiment::figure::{Figure, Point};
use crate::experiment::measure::Measure;
use crate::experiment::report::{Measured, cell, markdown, provenance};
use crate::experiment::row::Row;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "attributes",
    title: "Attributes of the authors: HappyDB",
    about: "The task is whether a happy moment is a social one; gender, marriage, parenthood and \
            country of the author are nobody's business. Does the mechanism hide them while the \
            task still works? The attack (AIA) is trained on about a thousand texts of other \
            authors whose attribute it knows; 0.5 is guessing. AUC of a TF-IDF logistic regression \
            on clear text, with another split: task 0.954, gender 0.669, married 0.727, parenthood \
            0.703, country 0.909.",
    rows,
    report,
};

fn rows() -> Vec<Row> {
    let mut measures = vec![Measure::Accuracy, Measure::Shares];
    measures.extend(ATTRIBUTES.iter().map(|(name, _)| Measure::Attribute(name)));
    let row = |setting| Row::new(DataSet::HappyDb, setting, &measures);
    [
        (0, "none", "", ""),
        (5, "pool", "0.98", ""),
        (0, "token", "0.50", ""),
        (0, "suppress", "0.70", ""),
        (0, "token", "0.75", ""),
        (2, "vector", "0.90", ""),
        (0, "token", "0.75", "top 0.02"),
        (5, "pool", "0.90", ""),
        (5, "none", "", ""),
    ]
    .map(row)
    .to_vec()
}

fn report(measured: &[Measured]) -> Result<Report> {
    let rows: Vec<&Measured> = measured
        .iter()
        .filter(|row| !row.records.is_empty())
        .collect();
    if rows.is_empty() {
        return Ok(Report::default());
    }
    let mut header = ["row", "seeds", "changed", "accuracy"]
        .map(str::to_owned)
        .to_vec();
    header.extend(ATTRIBUTES.iter().map(|(name, _)| format!("AUC {name}")));
    let line = |measured: &&Measured| {
        let mut cells = measured.head();
        cells.push(cell(measured.at("/shares/changed")));
        cells.push(cell(measured.at("/accuracy/accuracy")));
        let auc = |name| measured.estimate(|run| audit::attribute_auc(run, name));
        cells.extend(ATTRIBUTES.iter().map(|(name, _)| cell(auc(name))));
        cells
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    let mut text = format!(
        "## {}\n\n{}\n",
        DataSet::HappyDb.title(),
        markdown(&header, &lines)
    );
    let mut figures = Vec::new();
    if let Some(svg) = figure(&rows)? {
        text.push_str("![Accuracy of the task against AUC of the attack](attributes-auc.svg)\n\n");
        figures.push(("auc".to_owned(), svg));
    }
    let _ = write!(text, "### How\n\n{}", provenance(&rows));
    Ok(Report { text, figures })
}

/// One line an attribute: to the left the attack learns less, above the task works better.
fn figure(rows: &[&Measured]) -> Result<Option<String>> {
    let mut points = Vec::new();
    for (series, (name, _)) in ATTRIBUTES.iter().enumerate() {
        for measured in rows {
            let auc = measured.estimate(|run| audit::attribute_auc(run, name));
            if let Some((x, y)) = auc.zip(measured.at("/accuracy/accuracy")) {
                points.push(Point {
                    series,
                    x: x.mean,
                    y,
                });
            }
        }
    }
    if points.is_empty() {
        return Ok(None);
    }
    let series = ATTRIBUTES.map(|(name, _)| name.to_owned());
    let figure = Figure {
        title: DataSet::HappyDb.title(),
        x: "AUC of attribute inference (0.5: guessing)",
        y: "test accuracy of the task",
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
    fn every_attribute_has_its_column() {
        let attack = |auc: f64| json!({ "attacks": { "attribute": { "auc": auc } } });
        let numbers = json!({
            "accuracy": { "accuracy": 0.75 },
            "gender": attack(0.625),
            "country": attack(0.875),
        });
        let measured = Measured {
            row: rows().swap_remove(0),
            records: vec![record("happydb/none", 1, numbers)],
        };
        let report = report(&[measured]).unwrap();
        let expected = "| `none` | 1 | – | 0.750 | 0.625 | – | – | 0.875 |";
        assert!(report.text.contains(expected), "{}", report.text);
        assert_eq!(report.figures.len(), 1);
    }
}
