//! `cargo xtask faults`: what the daemon has to survive, at full size.
//!
//! The faults are ignored tests, `tests/tests/native/faults`: each prints a line of JSON and then holds its figures to
//! what is promised. Here they become a document; nothing in it is written by hand but what a column means.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::experiment::machine;
use crate::measured::{self, Measured, moments, told};
use crate::shell;
use crate::step::Step;
use crate::system;
use crate::workspace::{PACKAGES, Workspace};

/// The tests of this command, by their names.
const TESTS: &str = "faults::";

/// Those that need a small disk.
const FULL_DISK: &str = "faults::full_disk";

/// Runs every fault and writes `docs/results/faults.md`; fails when one of them did not end as promised.
///
/// # Errors
/// When nothing could be built or measured.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let step = Step::start("cargo build --release --bin cutlayer-server");
    shell::run(
        &mut workspace.cargo_build_program("cutlayer-server"),
        "It did not build: fix what the compiler says above and run again.",
    )?;
    step.done("built");
    let step = Step::start("faults");
    let mut command = workspace.cargo("test");
    command
        .args(["--release", "--test", "native"])
        .args(PACKAGES)
        // One at a time: each measures what the daemon uses.
        .args(["--", "--ignored", "--nocapture", "--test-threads=1", TESTS]);
    let mut left_out = Vec::new();
    if let Err(error) = system::small_disks() {
        command.args(["--skip", FULL_DISK]);
        left_out.push(format!("disk full: {error}"));
    }
    let measured_on = machine::sentence(workspace);
    let measured = Measured::run(&mut command)?;
    left_out.extend(failed(&measured.output));
    let document = document(&measured_on, &measured.records, &left_out)?;
    let path = measured::write(workspace, "faults.md", &document)?;
    step.done(format_args!("{} written", path.display()));
    let is_clean = |record: &Value| record["is_clean"] == true;
    Ok(
        match measured.success && measured.records.iter().all(is_clean) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}

/// The tests that the runner lists as failed.
fn failed(output: &str) -> Vec<String> {
    let listed = output.lines().filter_map(|line| line.strip_prefix("    "));
    let listed = listed.filter(|name| name.starts_with(TESTS) && !name.contains(' '));
    listed
        .map(|name| format!("`{name}` failed: see what it says"))
        .collect()
}

fn document(head: &str, records: &[Value], left_out: &[String]) -> Result<String> {
    ensure!(
        !records.is_empty(),
        "Nothing was measured: see what it says above."
    );
    let mut text = format!(
        "# Faults\n\n\
         Written by `cargo xtask faults`; {head}. The model is `bert-shaped`, everything is on one machine. Network\n\
         faults meet the daemon in the process of the tests, all others the built daemon.\n\n\
         *Lost* are examples that the daemon had acknowledged and a run did not have. *Twice* are optimizer steps that\n\
         were taken on top of themselves: steps that went with a killed process and are taken again behind its\n\
         checkpoint are none. *Difference* is the largest of any number of the final adapter to that of the same run\n\
         undisturbed; where a part of the adapter is at the client, of any loss and any probability that it answers with.\n\
         Memory is the daemon's resident set, files are its open files and sockets: before / at most / after.\n\n\
         | fault | struck | lost | twice | difference | memory MB | files |\n|---|---|---|---|---|---|---|\n"
    );
    for record in records {
        let difference = match record["difference"].as_f64() {
            None => "not the same shapes".to_owned(),
            Some(0.0) => "0".to_owned(),
            Some(difference) => format!("{difference:.1e}"),
        };
        text += &format!(
            "| {} | {} | {} | {} | {difference} | {} | {} |\n",
            record["fault"].as_str().unwrap_or_default(),
            record["struck"],
            record["lost"],
            record["twice"],
            moments(&record["used"]["rss_bytes"], 1e6),
            moments(&record["used"]["files"], 1.0),
        );
    }
    text += "\nWhat happened, and what clients were told:\n\n";
    for record in records {
        let text_of = |key: &str| record[key].as_str().unwrap_or_default();
        let promised = match record["is_clean"] == true {
            true => "",
            false => " **This is not what is promised.**",
        };
        let told = told(record).map_or(String::new(), |told| format!(" {told}."));
        text += &format!(
            "- **{}**: {}.{told}{promised}\n",
            text_of("fault"),
            text_of("what")
        );
    }
    if !left_out.is_empty() {
        text += "\nNot in these figures:\n\n";
        for reason in left_out {
            text += &format!("- {reason}\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn record() -> Value {
        json!({
            "fault": "idle", "what": "many", "struck": 9, "lost": 0, "twice": 0, "difference": 0.0,
            "used": { "rss_bytes": [50_000_000, 61_400_000, 50_600_000], "files": [20, 31, 20] },
            "told": { "HTTP 503": 3 }, "is_clean": true
        })
    }

    #[test]
    fn a_fault_is_a_row_and_a_line() {
        let text = document("commit x", &[record()], &[]).unwrap();
        let row = "| idle | 9 | 0 | 0 | 0 | 50 / 61 / 51 | 20 / 31 / 20 |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("- **idle**: many. HTTP 503: 3.\n"), "{text}");
        assert!(!text.contains("Not in these figures"), "{text}");
        assert!(document("commit x", &[], &[]).is_err());
    }

    /// Breaks when a figure that is not as promised looks like one that is.
    #[test]
    fn what_is_not_promised_and_what_failed_is_said() {
        let mut broken = record();
        broken["difference"] = Value::Null;
        broken["is_clean"] = false.into();
        let output = "test faults::idle::x ... FAILED\n\nfailures:\n    faults::idle::x\n";
        let text = document("commit x", &[broken], &failed(output)).unwrap();
        assert!(text.contains("not the same shapes"), "{text}");
        assert!(text.contains("not what is promised"), "{text}");
        assert!(text.contains("- `faults::idle::x` failed"), "{text}");
    }
}
