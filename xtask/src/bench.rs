//! `cargo xtask bench`: measurements on this machine, in one run. `step` is a training step beside PyTorch + peft:
//! both sides print one JSON object a line; this file runs them and compares.

mod sessions;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::assets;
use crate::shell;
use crate::step::Step;
use crate::system;
use crate::workspace::Workspace;

/// How many times PyTorch's time a step may take; issue 2 sets it.
const RATIO_MAX: f64 = 2.0;

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// One training step: forward, backward and optimizer, LoRA r 8, batch 32, length 64, on the CPU.
    Step {
        /// Options for both sides, after `--`: `--batch 32 --length 64 --rank 8 --steps 10 --threads 2`.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// 16 sessions that train at the same time on one daemon, beside one session with the same batch in all.
    Sessions,
}

/// Holds one side's medians.
#[derive(Debug, Clone, PartialEq)]
struct Measured {
    /// Who, and with which variant.
    label: String,
    is_peer: bool,
    step_millis: f64,
    forward_millis: Option<f64>,
}

/// Measures one thing and prints its table; fails when a limit is not held.
///
/// # Errors
/// One sentence that says what to install when a side cannot run.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    assets::fetch(workspace, assets::MEASURED)?;
    let step = Step::start("bench: cargo build --release");
    shell::run(
        &mut workspace.cargo_build_program("bench"),
        "The benchmark did not build: fix what the compiler says above and run again.",
    )?;
    step.done("built");
    match &args.what {
        What::Step { options } => beside_torch(workspace, options),
        What::Sessions => sessions::run(workspace),
    }
}

/// Runs both sides and prints the table; fails when the limit is not held.
fn beside_torch(workspace: &Workspace, options: &[String]) -> Result<ExitCode> {
    let python = system::python_with_torch(workspace)?;
    let model = workspace.cache.join(assets::DEFAULT_MODEL);
    let mut ours = Command::new(workspace.program("bench"));
    ours.arg("step").arg("--model").arg(&model).args(options);
    let mut peer = Command::new(python);
    peer.arg(workspace.root.join("bench/peers/step.py"))
        .arg("--model")
        .arg(&model)
        .args(options);
    let mut measured = measure("Cutlayer", &mut ours)?;
    measured.extend(measure("PyTorch + peft", &mut peer)?);
    let ratio = print_table(&measured)?;
    Ok(match ratio <= RATIO_MAX {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn measure(side: &str, command: &mut Command) -> Result<Vec<Measured>> {
    let step = Step::start(side);
    shell::forget_package(command);
    let transcript = shell::run_shown(command)?;
    step.done("measured");
    ensure!(
        transcript.success,
        "{side} could not be measured: see what it says above."
    );
    Ok(transcript.output.lines().filter_map(parse).collect())
}

/// Reads a record; lines that are none are for the person who reads along.
fn parse(line: &str) -> Option<Measured> {
    let record: Value = serde_json::from_str(line).ok()?;
    let peer = record["peer"].as_str().filter(|peer| *peer != "cutlayer");
    let variant = ["attention", "variant", "device"]
        .iter()
        .find_map(|key| record[key].as_str());
    let who = peer.unwrap_or("cutlayer");
    Some(Measured {
        label: variant.map_or_else(|| who.to_owned(), |variant| format!("{who} ({variant})")),
        is_peer: peer.is_some(),
        step_millis: record["step_millis_median"].as_f64()?,
        forward_millis: record["forward_millis_median"].as_f64(),
    })
}

/// Prints each side against the fastest peer and returns the ratio of our fastest.
fn print_table(measured: &[Measured]) -> Result<f64> {
    let fastest = |is_peer: bool| {
        measured
            .iter()
            .filter(|side| side.is_peer == is_peer)
            .map(|side| side.step_millis)
            .min_by(f64::total_cmp)
    };
    let peer = fastest(true).context("The peer printed no record: see what it says above.")?;
    let ours = fastest(false).context("Cutlayer printed no record: see what it says above.")?;
    println!(
        "\n{:<32} {:>10} {:>12} {:>8}",
        "", "step ms", "forward ms", "ratio"
    );
    for side in measured {
        let forward = side
            .forward_millis
            .map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}"));
        println!(
            "{:<32} {:>10.1} {forward:>12} {:>8.2}",
            side.label,
            side.step_millis,
            side.step_millis / peer
        );
    }
    let ratio = ours / peer;
    let word = match ratio <= RATIO_MAX {
        true => "held",
        false => "NOT held",
    };
    println!("A step takes {ratio:.2} times the fastest peer's; limit {RATIO_MAX:.2}: {word}.");
    Ok(ratio)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PEER: &str = r#"{"peer": "pytorch+peft", "attention": "eager", "step_millis_median": 500.0, "forward_millis_median": 200.0}"#;
    const OURS: &str = r#"{"peer": "cutlayer", "device": "cpu", "step_millis_median": 750.0}"#;

    /// Breaks when our own record is compared with itself.
    #[test]
    fn the_ratio_is_to_the_fastest_peer() {
        let measured: Vec<_> = [OURS, "loading", PEER]
            .into_iter()
            .filter_map(parse)
            .collect();
        assert_eq!(measured.len(), 2);
        assert_eq!(measured[0].label, "cutlayer (cpu)");
        assert!((print_table(&measured).unwrap() - 1.5).abs() < 1e-12);
    }

    #[test]
    fn a_missing_side_is_said() {
        let ours = [parse(OURS).unwrap()];
        assert!(print_table(&ours).unwrap_err().to_string().contains("peer"));
    }
}
