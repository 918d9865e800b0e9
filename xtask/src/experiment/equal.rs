//! Two settings at equal privacy: a row against the line of rows that differ only in level.

use std::collections::BTreeSet;

use crate::experiment::audit;
use crate::experiment::report::{Measured, Run, cell, markdown};
use crate::experiment::statistics::Estimate;

/// The attack under which privacy is equal: the paper's own.
const ATTACK: &str = "eia-nn";

const ACCURACY: &str = "/accuracy/accuracy";

/// Each row with CTI beside its mechanism without, at the row's own EP: seed by seed, on the straight
/// line between the two levels around it; no protection is the line's first point. Empty where no
/// row can be compared.
pub(crate) fn table(rows: &[&Measured]) -> String {
    let header = [
        "row",
        "seeds",
        "EP eia-nn",
        "accuracy",
        "without CTI at this EP",
        "difference",
    ];
    let with_contribution = rows
        .iter()
        .filter(|row| row.row.option("contribution").is_some());
    let lines: Vec<Vec<String>> = with_contribution
        .filter_map(|row| {
            let pairs = pairs(row, rows);
            let of = |number: fn(&Pair) -> f64| {
                let numbers: Vec<f64> = pairs.iter().map(number).collect();
                Estimate::of(&numbers)
            };
            let difference = of(|pair| pair.accuracy - pair.without)?;
            let mut cells = row.head();
            cells[1] = pairs.len().to_string();
            cells.push(cell(of(|pair| pair.privacy)));
            cells.push(cell(of(|pair| pair.accuracy)));
            cells.push(cell(of(|pair| pair.without)));
            cells.push(cell(Some(difference)));
            Some(cells)
        })
        .collect();
    match lines.is_empty() {
        true => String::new(),
        false => markdown(&header.map(str::to_owned), &lines),
    }
}

/// A row under one seed, and what its mechanism without CTI has at its EP.
struct Pair {
    privacy: f64,
    accuracy: f64,
    without: f64,
}

fn pairs(row: &Measured, rows: &[&Measured]) -> Vec<Pair> {
    let runs = row.runs();
    let seeds: BTreeSet<u64> = runs.keys().copied().collect();
    let pair = |seed: u64| {
        let (privacy, accuracy) = point(&runs[&seed])?;
        let mut line: Vec<(f64, f64)> = rows
            .iter()
            .filter(|other| is_on_line(row, other))
            .filter_map(|other| point(other.runs().get(&seed)?))
            .collect();
        line.sort_by(|a, b| a.0.total_cmp(&b.0));
        let without = at(&line, privacy)?;
        Some(Pair {
            privacy,
            accuracy,
            without,
        })
    };
    seeds.into_iter().filter_map(pair).collect()
}

/// EP and accuracy.
fn point(run: &Run) -> Option<(f64, f64)> {
    audit::empirical_privacy(run, ATTACK).zip(run.number(ACCURACY))
}

/// The same mechanism at the same cut without CTI, at whatever level, or none at all.
fn is_on_line(row: &Measured, other: &Measured) -> bool {
    let same = |name| row.row.option(name) == other.row.option(name);
    let without = other.row.option("contribution").is_none();
    without && same("cut") && (same("mechanism") || other.row.option("mechanism") == Some("none"))
}

/// The height of a line at x, between its points; none beside them.
fn at(line: &[(f64, f64)], x: f64) -> Option<f64> {
    line.windows(2).find_map(|ends| {
        let [(x0, y0), (x1, y1)] = [ends[0], ends[1]];
        let within = x0 <= x && x <= x1 && x0 < x1;
        within.then(|| y0 + (x - x0) / (x1 - x0) * (y1 - y0))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::experiment::data::DataSet;
    use crate::experiment::measure::Measure;
    use crate::experiment::record::tests::record;
    use crate::experiment::row::{Row, Setting};

    /// A row whose accuracy and EP under the attack are given for the seeds 1, 2, ...
    fn measured(setting: Setting, numbers: &[(f64, f64)]) -> Measured {
        let row = Row::new(DataSet::Sst, setting, &[Measure::Accuracy]);
        let records = (1..).zip(numbers).map(|(seed, (accuracy, privacy))| {
            let attacks = json!({ "attacks": { ATTACK: { "empirical_privacy": privacy } } });
            let numbers = json!({ "accuracy": { "accuracy": accuracy }, "attacks": attacks });
            record(&row.name, seed, numbers)
        });
        Measured {
            records: records.collect(),
            row,
        }
    }

    #[test]
    fn a_line_is_read_between_its_points_only() {
        let line = [(0.0, 0.9), (0.5, 0.8), (0.75, 0.6)];
        let near = |x: f64, y: f64| (at(&line, x).unwrap() - y).abs() < 1e-12;
        assert!(near(0.25, 0.85) && near(0.5, 0.8) && near(0.7, 0.64));
        assert_eq!((at(&line, 0.8), at(&line[..1], 0.0)), (None, None));
    }

    #[test]
    fn a_row_stands_beside_its_own_line_seed_by_seed() {
        let none = measured((0, "none", "", ""), &[(0.9, 0.0), (0.8, 0.0)]);
        let half = measured((0, "token", "0.50", ""), &[(0.7, 0.5), (0.7, 0.5)]);
        let other = measured((0, "vector", "0.50", ""), &[(0.1, 0.25), (0.1, 0.25)]);
        let with = measured(
            (0, "token", "0.50", "top 0.02"),
            &[(0.85, 0.25), (0.8, 0.25)],
        );
        let found = pairs(&with, &[&none, &half, &other, &with]);
        let without: Vec<f64> = found.iter().map(|pair| pair.without).collect();
        assert!((without[0] - 0.8).abs() < 1e-12 && (without[1] - 0.75).abs() < 1e-12);
        let text = table(&[&none, &half, &other, &with]);
        assert!(
            text.contains("| `token-0.50-top-0.02` | 2 | 0.250"),
            "{text}"
        );
        assert_eq!(table(&[&none, &half]), "");
    }
}
