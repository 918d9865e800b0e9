//! Sentence pairs, end to end.

use anyhow::Result;

use super::{Experiment, Report};
use crate::experiment::data::DataSet;
use crate::experiment::measure::Measure;
use crate::experiment::report::{Column, Measured, provenance, table};
use crate::experiment::row::Row;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "mrpc",
    title: "Sentence pairs: MRPC",
    about: "Do pairs of texts work from the file to the answer? Two thirds of the test pairs are \
            paraphrases: an accuracy of 0.665 is that of always saying so.",
    rows,
    report,
};

fn rows() -> Vec<Row> {
    let measures = [Measure::Accuracy, Measure::Shares];
    let row = |setting| Row::new(DataSet::Mrpc, setting, &measures);
    [(0, "none", "", ""), (0, "token", "0.30", "")]
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
    let columns = [
        Column::new("changed", "/shares/changed"),
        Column::new("accuracy", "/accuracy/accuracy"),
        Column::new("macro-F1", "/accuracy/macro_f1"),
    ];
    let text = format!(
        "## {}\n\n{}\n### How\n\n{}",
        DataSet::Mrpc.title(),
        table(&rows, &columns),
        provenance(&rows)
    );
    Ok(Report {
        text,
        figures: Vec::new(),
    })
}
