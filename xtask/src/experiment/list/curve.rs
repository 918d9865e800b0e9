//! Utility against privacy: accuracy and what attacks recover, over mechanism, level, cut and
//! contribution.

use std::fmt::Write;

use anyhow::Result;

use super::{Experiment, Report};
use crate::experiment::audit;
use crate::experiment::data::DataSet;
use crate::experiment::equal;
use crate::experiment::figure::{Figure, Point};
use crate::experiment::measure::Measure;
use crate::experiment::report::{Column, Measured, Run, cell, markdown, provenance};
use crate::experiment::row::{Row, Setting};
use crate::experiment::statistics::Estimate;

pub(super) const EXPERIMENT: Experiment = Experiment {
    name: "curve",
    title: "Accuracy against empirical privacy",
    about: "How much accuracy does a mechanism cost, and what do attacks still recover? Empirical \
            privacy (EP) is the share of tokens that an attack does not get right; that of a row \
            is the EP of the strongest attack that tried every text, whichever it was. Attacks \
            that are trained (`mask`, `bag`) take long and are run on the first \
            rows of each set only: the EP of the others may be too high. EP of rows \
            that keep places counts tokens in place, that of `drop` and `pool` anywhere in the \
            text; `EP anywhere` counts so for all, and guessing frequent words alone leaves 0.7 \
            of it. `named` is the share of names and numbers that the strongest attack recovers; `changed` is the share of tokens \
            that the mechanism does not pass on as they are. Where a control failed, the numbers \
            of that attack do not count.",
    rows,
    report,
};

const MEASURES: [Measure; 3] = [Measure::Accuracy, Measure::Shares, Measure::Attacks];

/// Rows of a list, from its beginning, that are attacked with training too.
const TRAINED_ON: [usize; 2] = [5, 3];

/// Contribution that leaves the top 2 % of the vocabulary as it is.
const TOP: &str = "top 0.02";

/// Rows on SST, by what an interrupted run should have.
const SST: &[Setting] = &[
    (0, "none", "", ""),
    (0, "token", "0.75", ""),
    (5, "pool", "0.98", ""),
    (4, "pool", "0.90", ""),
    (2, "pool", "0.90", ""),
    (0, "token", "0.50", ""),
    (0, "token", "0.60", ""),
    (0, "token", "0.50", TOP),
    (0, "token", "0.60", TOP),
    (0, "token", "0.75", TOP),
    (3, "pool", "0.67", ""),
    (4, "none", "", ""),
    (0, "suppress", "0.75", ""),
    (0, "drop", "0.75", ""),
    (3, "vector", "0.50", ""),
    (4, "pool", "0.75", ""),
    (2, "pool", "0.67", ""),
    (2, "vector", "0.20", ""),
    (0, "exponential", "0.50", ""),
    (3, "vector", "0.90", ""),
    (0, "suppress", "0.85", ""),
    (0, "drop", "0.85", ""),
    (5, "pool", "0.75", ""),
    (0, "token", "0.60", "floor"),
    (0, "token", "0.60", "sigmoid"),
    (0, "token", "0.40", ""),
    (0, "token", "0.40", TOP),
    (0, "suppress", "0.60", ""),
    (0, "drop", "0.60", ""),
    (0, "exponential", "0.75", ""),
    (2, "vector", "0.90", ""),
    (4, "vector", "0.90", TOP),
    (4, "suppress", "0.75", ""),
];

/// Rows on Financial PhraseBank: what SST's say, said of other text and of three classes.
const PHRASEBANK: &[Setting] = &[
    (0, "none", "", ""),
    (0, "token", "0.75", ""),
    (5, "pool", "0.98", ""),
    (0, "token", "0.50", ""),
    (0, "token", "0.60", ""),
    (0, "token", "0.50", TOP),
    (0, "token", "0.60", TOP),
    (0, "token", "0.75", TOP),
    (4, "pool", "0.90", ""),
    (0, "suppress", "0.75", ""),
    (0, "drop", "0.75", ""),
];

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let lists = [(DataSet::Sst, SST), (DataSet::PhraseBank, PHRASEBANK)];
    for ((data, list), trained_on) in lists.into_iter().zip(TRAINED_ON) {
        for (at, setting) in list.iter().enumerate() {
            let mut row = Row::new(data, *setting, &MEASURES);
            if at < trained_on {
                row.measures.push(Measure::TrainedAttacks);
            }
            rows.push(row);
        }
    }
    rows
}

fn report(measured: &[Measured]) -> Result<Report> {
    let mut report = Report::default();
    for data in [DataSet::Sst, DataSet::PhraseBank] {
        let rows: Vec<&Measured> = measured
            .iter()
            .filter(|measured| measured.row.data == data && !measured.records.is_empty())
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(report.text, "## {}\n\n{}\n", data.title(), table(&rows));
        let equal = equal::table(&rows);
        if !equal.is_empty() {
            let _ = write!(
                report.text,
                "### CTI at equal privacy\n\nEach row with CTI beside its mechanism without, at the \
                 row's EP under the nearest-neighbour attack: seed by seed, on the straight line between \
                 the two levels around it.\n\n{equal}\n"
            );
        }
        for (name, x, pointer) in [
            ("strongest", "EP of the strongest attack", None),
            (
                "eia-table",
                "EP of the nearest row of the embedding table",
                Some("eia-table"),
            ),
        ] {
            let Some(svg) = figure(&rows, data, x, pointer)? else {
                continue;
            };
            let end = format!("{}-{name}", data.name());
            let _ = writeln!(report.text, "![Accuracy against {x}](curve-{end}.svg)\n");
            report.figures.push((end, svg));
        }
        let _ = write!(report.text, "### How\n\n{}\n", provenance(&rows));
    }
    Ok(report)
}

/// The table of a data set; an attack that was run on any row has a column.
fn table(rows: &[&Measured]) -> String {
    let fixed = [
        Column::new("changed", "/shares/changed"),
        Column::new("accuracy", "/accuracy/accuracy"),
    ];
    let runs: Vec<Run> = rows
        .iter()
        .flat_map(|row| row.runs().into_values())
        .collect();
    let attacks = audit::names(runs.iter());
    let mut header = vec!["row".to_owned(), "seeds".to_owned()];
    header.extend(fixed.iter().map(|column| column.title.clone()));
    let ours = [
        "EP",
        "strongest attack",
        "EP anywhere",
        "named",
        "failed controls",
    ];
    header.extend(ours.map(str::to_owned));
    header.extend(attacks.iter().map(|attack| format!("EP {attack}")));
    let row = |measured: &&Measured| {
        let runs = measured.runs();
        let mut cells = measured.head();
        cells.extend(
            fixed
                .iter()
                .map(|column| cell(measured.at(&column.pointer))),
        );
        cells.push(cell(privacy(measured, None)));
        cells.push(audit::strongest_names(runs.values()));
        cells.push(cell(measured.estimate(audit::privacy_anywhere)));
        cells.push(cell(measured.estimate(audit::named_recovered)));
        cells.push(audit::failed_controls(runs.values()));
        cells.extend(
            attacks
                .iter()
                .map(|attack| cell(privacy(measured, Some(attack)))),
        );
        cells
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    markdown(&header, &rows)
}

/// Empirical privacy against one attack, or against each seed's strongest. A mean over seeds that
/// were attacked differently would be none, so that only the most attacked ones count.
fn privacy(measured: &Measured, attack: Option<&str>) -> Option<Estimate> {
    let most = measured.runs().values().map(audit::audit_count).max()?;
    measured.estimate(|run| match attack {
        Some(attack) => audit::empirical_privacy(run, attack),
        None if audit::audit_count(run) == most => audit::strongest(run).map(|(_, ep)| ep),
        None => None,
    })
}

fn figure(
    rows: &[&Measured],
    data: DataSet,
    x: &str,
    attack: Option<&str>,
) -> Result<Option<String>> {
    let mut series: Vec<String> = Vec::new();
    let mut points = Vec::new();
    for measured in rows {
        let both = privacy(measured, attack).zip(measured.at("/accuracy/accuracy"));
        let Some((x, y)) = both else {
            continue;
        };
        let name = line(&measured.row);
        let at = series.iter().position(|known| *known == name);
        let at = at.unwrap_or_else(|| {
            series.push(name);
            series.len() - 1
        });
        points.push(Point {
            series: at,
            x: x.mean,
            y,
        });
    }
    if points.is_empty() {
        return Ok(None);
    }
    let figure = Figure {
        title: data.title(),
        x,
        y: "test accuracy",
        series: &series,
        points: &points,
    };
    figure.to_svg().map(Some)
}

/// The line of the figure that a row is on: its settings without the level.
fn line(row: &Row) -> String {
    let mut name = row.option("mechanism").unwrap_or_default().to_owned();
    if let Some(contribution) = row.option("contribution") {
        name.push_str(&format!(" + {contribution}"));
    }
    match row.option("cut") {
        Some("0") | None => name,
        Some(cut) => format!("{name}, cut {cut}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::experiment::record::tests::record;

    #[test]
    fn the_level_moves_a_point_along_its_line() {
        let rows = rows();
        let of = |name: &str| line(rows.iter().find(|row| row.name == name).unwrap());
        assert_eq!(of("sst/token-0.50"), of("sst/token-0.75"));
        assert_eq!(of("sst/token-0.50-top-0.02"), "token + top");
        assert_eq!(of("sst/vector-0.90-cut-3"), "vector, cut 3");
    }

    #[test]
    fn the_first_rows_are_attacked_with_training() {
        let trained = |row: &Row| row.measures.contains(&Measure::TrainedAttacks);
        let rows = rows();
        assert_eq!(rows.iter().filter(|row| trained(row)).count(), 5 + 3);
        assert!(trained(&rows[0]) && trained(&rows[SST.len()]));
    }

    /// Breaks when the EP of a row is not that of the attack that recovers most.
    #[test]
    fn a_row_is_as_private_as_its_strongest_attack_says() {
        let attacks = json!({
            "strongest": "eia-learned", "empirical_privacy": 0.25, "failed_controls": [],
            "attacks": {
                "eia-table": { "empirical_privacy": 0.9, "named": 0.0 },
                "eia-learned": {
                    "empirical_privacy": 0.25, "named": 0.5, "bag_recall": 0.875,
                },
            },
        });
        let measured = json!({ "accuracy": { "accuracy": 0.75 }, "attacks": attacks });
        let rows = [Measured {
            row: rows()
                .into_iter()
                .find(|row| row.name == "sst/token-0.50")
                .unwrap(),
            records: vec![record("sst/token-0.50", 1, measured)],
        }];
        let report = report(&rows).unwrap();
        let expected = "| `token-0.50` | 1 | – | 0.750 | 0.250 | `eia-learned` | 0.125 | 0.500 | none \
                        | 0.250 | 0.900 |";
        assert!(report.text.contains(expected), "{}", report.text);
        let names: Vec<_> = report
            .figures
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["sst-strongest", "sst-eia-table"]);
    }
}
