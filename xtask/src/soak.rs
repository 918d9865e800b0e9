//! `cargo xtask soak`: the built daemon for hours under mixed traffic, and what it used.
//!
//! The traffic is that of `strangers soak`, an example of `tests`, which prints a sample every ten seconds. They are kept in
//! `docs/results/soak.jsonl`; from them come the document and the figure.

mod plot;

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::experiment::machine;
use crate::measured::{self, Measured};
use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;
use plot::{Panel, panels};

/// Options of `soak`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// For how long; parts of an hour are allowed.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    hours: f64,
}

/// What is drawn and fitted: key of a sample, name, unit, and how many make one.
const SERIES: [(&str, &str, f64); 4] = [
    ("rss_bytes", "resident memory, MB", 1e6),
    ("files", "open files and sockets", 1.0),
    ("data_bytes", "data directory, MB", 1e6),
    ("sessions_on_disk", "sessions with data on disk", 1.0),
];

/// Runs the soak and writes `docs/results/soak.md`; fails when the daemon did not end as it should.
///
/// # Errors
/// When the daemon did not survive, or nothing was sampled.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let seconds = args.hours * 3600.0;
    ensure!(
        (1.0..=86_400.0).contains(&seconds),
        "A soak takes a second to a day: give --hours between 0.001 and 24."
    );
    let program = workspace.build_example("strangers")?;
    let step = Step::start(format_args!("soak for {seconds:.0} s"));
    let mut command = Command::new(program);
    command
        .current_dir(&workspace.root)
        .args(["soak", &format!("{seconds:.0}")]);
    shell::forget_package(&mut command);
    let measured_on = machine::sentence(workspace);
    let Measured {
        lines,
        records,
        success,
        ..
    } = Measured::run(&mut command)?;
    ensure!(
        success,
        "The daemon did not survive, or was not built: see what it says above."
    );
    let head = format!("`cargo xtask soak --hours {}`; {measured_on}", args.hours);
    let document = document(&head, &records)?;
    let drawn: Vec<Panel> = SERIES
        .map(|(key, name, unit)| Panel {
            name,
            points: points(&records, key, unit),
        })
        .into();
    for (name, text) in [
        ("soak.jsonl", lines.join("\n") + "\n"),
        (
            "soak.svg",
            panels("The daemon under mixed traffic", &drawn)?,
        ),
        ("soak.md", document),
    ] {
        measured::write(workspace, name, &text)?;
    }
    step.done("docs/results/soak.md written");
    let ended = records.last().is_some_and(|last| last["ended"] == 0);
    Ok(match ended {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A value of every sample against hours.
fn points(records: &[Value], key: &str, unit: f64) -> Vec<(f64, f64)> {
    let point = |record: &Value| {
        let hours = record["seconds"].as_f64()? / 3600.0;
        Some((hours, record[key].as_f64()? / unit))
    };
    records.iter().filter_map(point).collect()
}

/// Least squares: how much a value grows in an hour; nothing where time does not pass.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let variance: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let covariance: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    (variance > 0.0).then(|| covariance / variance)
}

fn document(head: &str, records: &[Value]) -> Result<String> {
    let samples: Vec<&Value> = records
        .iter()
        .filter(|record| record["seconds"].is_u64())
        .collect();
    let (Some(last), Some(end)) = (samples.last(), records.last()) else {
        anyhow::bail!("Nothing was sampled: see what it says above.");
    };
    let mut text = format!(
        "# Soak\n\n\
         Written by {head}. The built daemon (`tests/examples/strangers/soak.rs` has its arguments) and the model `bert-shaped`; three clients that train\n\
         and predict, two that are lost while their run goes on, two programs that ask about jobs and remove old\n\
         ones, two clients that do everything wrong (`soak/clients.rs` beside it). A sample every ten seconds.\n\n\
         ![memory, files, data and sessions over time](soak.svg)\n\n\
         | | first | most | last | an hour, second half |\n|---|---|---|---|---|\n"
    );
    for (key, name, unit) in SERIES {
        let points = points(records, key, unit);
        let values = || points.iter().map(|point| point.1);
        let most = values().fold(f64::MIN, f64::max);
        let growth = slope(&points[points.len() / 2..]);
        let growth = growth.map_or("-".to_owned(), |growth| format!("{growth:+.2}"));
        let (first, last) = (
            values().next().unwrap_or(0.0),
            values().next_back().unwrap_or(0.0),
        );
        text += &format!("| {name} | {first:.1} | {most:.1} | {last:.1} | {growth} |\n");
    }
    let done = last["done"].as_object().into_iter().flatten();
    let done: Vec<String> = done
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    text += &format!(
        "\nIn {} s: {}. Failed are a client's rounds that ended otherwise than they should, those among \
         them that found no place for a session. The last sample is taken ten seconds after the last client had gone. The daemon ended\n\
         with code {} on SIGTERM; its log has {} warnings and {} errors.\n",
        last["seconds"],
        done.join(", "),
        end["ended"],
        end["warnings"],
        end["errors"],
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn record(seconds: u64, rss_bytes: u64) -> Value {
        json!({
            "seconds": seconds, "rss_bytes": rss_bytes, "files": 20, "data_bytes": 5_000_000,
            "sessions_on_disk": 3, "done": { "trained": seconds / 10 }
        })
    }

    #[test]
    fn a_line_has_its_slope_and_a_moment_has_none() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some(2.0));
        assert_eq!(slope(&[(1.0, 1.0), (1.0, 3.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    /// Breaks when growth is read from the first half, where everything is allocated.
    #[test]
    fn growth_is_that_of_the_second_half() {
        let mut records = vec![record(0, 10_000_000), record(1800, 90_000_000)];
        records.extend([record(3600, 100_000_000), record(7200, 101_000_000)]);
        records.push(json!({ "ended": 0, "warnings": 1, "errors": 0 }));
        let text = document("`x`", &records).unwrap();
        assert!(
            text.contains("| resident memory, MB | 10.0 | 101.0 | 101.0 | +1.00 |"),
            "{text}"
        );
        assert!(text.contains("In 7200 s: trained 720."), "{text}");
        assert!(document("`x`", &[]).is_err());
    }
}
