//! Names, numbers and addresses that are still there after the mechanism.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::Result;

use super::{Experiment, Report};
use crate::experiment::audit;
use crate::experiment::data::DataSet;
use crate::experiment::measure::Measure;
use crate::experiment::names::ALL;
use crate::experiment::report::{Measured, cell, code, markdown, provenance};
use crate::experiment::row::Row;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "names",
    title: "Names, numbers and addresses that survive",
    about: "Of the spans that say who or where somebody is, which share can still be read word for \
            word in what the server would see? A span survives when all of its tokens do, in their \
            order. Words are ranked by a made-up task (does the text name a person?), which is \
            the worst case for contribution and for suppression: names are what matters for it. \
            Texts of one template are never on both sides: half of the templates is looked at, the \
            other half is the attackers' text. What they recover of names and numbers is in the \
            second table, which the audit finds by itself (capitals and digits), not by the spans.",
    rows,
    report,
};

fn rows() -> Vec<Row> {
    let row = |setting| {
        Row::new(
            DataSet::Presidio,
            setting,
            &[Measure::Names, Measure::Attacks],
        )
    };
    [
        (0, "none", "", ""),
        (0, "token", "0.50", ""),
        (0, "token", "0.75", ""),
        (0, "suppress", "0.70", ""),
        (0, "drop", "0.70", ""),
        (0, "exponential", "0.75", ""),
        (0, "token", "0.75", "top 0.02"),
        (0, "token", "0.40", ""),
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
    let mut header = vec!["type".to_owned(), "spans".to_owned()];
    header.extend(rows.iter().map(|measured| code(measured.row.short_name())));
    let line = |entity: &String| {
        let share = |measured: &&Measured| cell(measured.at(&format!("/names/{entity}/share")));
        // The number of spans is that of the data: the first row has it like any other.
        let spans = rows[0].at(&format!("/names/{entity}/spans"));
        let spans = spans.map_or_else(String::new, |spans| format!("{:.0}", spans.mean));
        let mut cells = vec![code(entity), spans];
        cells.extend(rows.iter().map(share));
        cells
    };
    let lines: Vec<_> = entities(&rows).iter().map(line).collect();
    let mut text = format!("## {}\n\n", DataSet::Presidio.title());
    let _ = writeln!(text, "Share of the spans of a type that survive.\n");
    let _ = writeln!(text, "{}", markdown(&header, &lines));
    let _ = writeln!(text, "What attacks recover.\n\n{}", attacked(&rows));
    let _ = write!(text, "### How\n\n{}", provenance(&rows));
    Ok(Report {
        text,
        figures: Vec::new(),
    })
}

/// What the strongest attack makes of the texts.
fn attacked(rows: &[&Measured]) -> String {
    let header = [
        "row",
        "seeds",
        "EP",
        "strongest attack",
        "named recovered",
        "failed controls",
    ];
    let line = |measured: &&Measured| {
        let runs = measured.runs();
        let mut cells = measured.head();
        let privacy = measured.estimate(|run| audit::strongest(run).map(|(_, ep)| ep));
        cells.push(cell(privacy));
        cells.push(audit::strongest_names(runs.values()));
        cells.push(cell(measured.estimate(audit::named_recovered)));
        cells.push(audit::failed_controls(runs.values()));
        cells
    };
    let lines: Vec<_> = rows.iter().map(line).collect();
    markdown(&header.map(str::to_owned), &lines)
}

/// The types that were counted, all together first.
fn entities(rows: &[&Measured]) -> Vec<String> {
    let records = rows.iter().flat_map(|measured| &measured.records);
    let counted = records.filter_map(|record| record.measured.get("names")?.as_object());
    let found: BTreeSet<&String> = counted.flat_map(|names| names.keys()).collect();
    let mut entities = vec![ALL.to_owned()];
    entities.extend(found.into_iter().filter(|name| *name != ALL).cloned());
    entities
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::experiment::record::tests::record;

    #[test]
    fn types_are_rows_and_mechanisms_columns() {
        let names = json!({ "names": {
            "ALL": { "spans": 4, "survived": 1, "share": 0.25 },
            "PERSON": { "spans": 2, "survived": 1, "share": 0.5 },
        }});
        let measured = Measured {
            row: rows().swap_remove(1),
            records: vec![record("presidio/token-0.50", 1, names)],
        };
        let text = report(&[measured]).unwrap().text;
        assert!(text.contains("| type | spans | `token-0.50` |"), "{text}");
        assert!(
            text.contains("| `ALL` | 4 | 0.250 |\n| `PERSON` | 2 | 0.500 |"),
            "{text}"
        );
    }
}
