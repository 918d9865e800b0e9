//! `cargo xtask bench sessions`: many sessions at once beside one session with the same batch in all.

use std::fmt::Write;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::assets;
use crate::experiment::machine::{commit, machine};
use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;

/// Examples a step of each session, and steps: about as long for each. One session of 16 times as many may not have more
/// than a batch holds.
const WORKLOADS: [(u32, u32); 3] = [(2, 24), (8, 8), (16, 4)];

/// Share of one session's examples a second that many sessions should reach together.
const RATIO_MIN: f64 = 0.9;

/// How far an adapter may be from that of its solo run.
const DIFFERENCE_MAX: f64 = 1e-5;

/// Measures, writes `docs/results/sessions.jsonl` and `.md`; fails when a bound is not held.
///
/// # Errors
/// One sentence that says what could not be measured.
pub(super) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let model = workspace.cache.join(assets::DEFAULT_MODEL);
    let mut records = Vec::new();
    for (batch, steps) in WORKLOADS {
        let step = Step::start(format!("16 sessions, batch {batch} each"));
        let measured_at = commit(workspace);
        let mut command = Command::new(workspace.program("bench"));
        command.arg("sessions").arg("--model").arg(&model);
        command.args(["--batch", &batch.to_string(), "--steps", &steps.to_string()]);
        shell::forget_package(&mut command);
        let transcript = shell::run_shown(&mut command)?;
        ensure!(
            transcript.success,
            "the sessions could not be measured: see above."
        );
        let mut lines = transcript.output.lines().rev();
        let record = lines.find_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut record = record.context("the benchmark printed no record: see above.")?;
        record["machine"] = machine();
        record["commit"] = json!(measured_at);
        records.push(record);
        step.done("measured");
    }
    let results = workspace.root.join("docs/results");
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fs::write(results.join("sessions.jsonl"), lines.join("\n") + "\n")?;
    fs::write(results.join("sessions.md"), report(&records)?)?;
    let held = records.iter().all(holds);
    println!("{}", report(&records)?);
    Ok(match held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Whether a record holds both bounds.
fn holds(record: &Value) -> bool {
    let ratio = record["ratio_of_medians"].as_f64();
    let difference = record["largest_difference_of_an_adapter_to_its_solo_run"].as_f64();
    ratio.is_some_and(|ratio| ratio >= RATIO_MIN)
        && difference.is_some_and(|difference| difference <= DIFFERENCE_MAX)
}

fn report(records: &[Value]) -> Result<String> {
    let mut text = format!(
        "# Many sessions at once\n\n\
         16 sessions train at the same time on one daemon, over loopback: how many examples a second \
         is that beside one session whose batch is as large as all of theirs, how much memory does \
         each take, and is its adapter the one that it would have had alone? Medians of rounds in \
         turn; the memory is the most that the process had above what it had before the runs. Bounds: \
         ratio at least {RATIO_MIN}, difference at most {DIFFERENCE_MAX:e}.\n\n\
         Written by `cargo xtask bench sessions` from [sessions.jsonl](sessions.jsonl).\n\n\
         | batch of each | one session, examples/s | 16 sessions, examples/s | ratio | MB a session | \
         MB, one session | largest difference of an adapter | bounds |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for record in records {
        let number = |name: &str| record[name].as_f64().context("a record lacks a number");
        let median = |name: &str| {
            let rates = record[name].as_array().context("a record lacks rates")?;
            let mut rates: Vec<f64> = rates.iter().filter_map(Value::as_f64).collect();
            rates.sort_by(f64::total_cmp);
            rates.get(rates.len() / 2).copied().context("no rate")
        };
        let megabytes = |name| Ok::<_, anyhow::Error>(number(name)? / 1e6);
        writeln!(
            text,
            "| {} | {:.1} | {:.1} | {:.2} | {:.0} | {:.0} | {:.1e} | {} |",
            record["batch_of_each"],
            median("one_session_examples_per_second")?,
            median("many_sessions_examples_per_second")?,
            number("ratio_of_medians")?,
            megabytes("bytes_more_a_session_of_many")?,
            megabytes("bytes_more_with_one_session")?,
            number("largest_difference_of_an_adapter_to_its_solo_run")?,
            match holds(record) {
                true => "held",
                false => "**not held**",
            }
        )?;
    }
    if let Some(record) = records.first() {
        let machine = &record["machine"];
        writeln!(
            text,
            "\nMeasured at `{}` on {} cores, {}; all-MiniLM-L6-v2, cut 1, 64 tokens a text, LoRA rank 4.",
            record["commit"].as_str().unwrap_or("unknown"),
            machine["cores"],
            machine["cpu"].as_str().unwrap_or("unknown"),
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(ratio: f64, difference: f64) -> Value {
        json!({
            "batch_of_each": 2,
            "one_session_examples_per_second": [30.0, 10.0, 20.0],
            "many_sessions_examples_per_second": [18.0],
            "ratio_of_medians": ratio,
            "bytes_more_with_one_session": 2_000_000,
            "bytes_more_a_session_of_many": 1_000_000,
            "largest_difference_of_an_adapter_to_its_solo_run": difference,
            "machine": {"cores": 2, "cpu": "some"},
            "commit": "c",
        })
    }

    /// Breaks when a bound that is not held is called held.
    #[test]
    fn a_record_says_whether_it_holds() {
        assert!(holds(&record(0.9, 0.0)));
        assert!(!holds(&record(0.89, 0.0)) && !holds(&record(1.0, 1e-4)));
        let text = report(&[record(0.8, 0.0)]).unwrap();
        let line = "| 2 | 20.0 | 18.0 | 0.80 | 1 | 2 | 0.0e0 | **not held** |";
        assert!(text.contains(line), "{text}");
    }
}
