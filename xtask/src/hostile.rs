//! `cargo xtask hostile`: what strangers cost the daemon in memory and its other clients in time.
//!
//! The attacks are those of `strangers hostile`, an example of `tests`; here its figures become a document.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::experiment::machine;
use crate::measured::{self, Measured, moments, told};
use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;

/// Runs the attacks and writes `docs/results/hostile.md`.
///
/// # Errors
/// When the daemon did not survive them, or a client with manners was not served meanwhile.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let program = workspace.build_example("strangers")?;
    let step = Step::start("hostile clients against the built daemon");
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).arg("hostile");
    shell::forget_package(&mut command);
    let measured_on = machine::sentence(workspace);
    let measured = Measured::run(&mut command)?;
    ensure!(
        measured.success,
        "The daemon did not survive, or was not built: see what it says above."
    );
    let records = measured.records;
    let document = document(&measured_on, &records)?;
    let path = measured::write(workspace, "hostile.md", &document)?;
    step.done(format_args!("{} written", path.display()));
    let served = records.iter().all(|record| record["bystander"].is_null());
    Ok(match served {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn document(head: &str, records: &[Value]) -> Result<String> {
    let attacks: Vec<&Value> = records
        .iter()
        .filter(|record| record["attack"].is_string())
        .collect();
    ensure!(
        !attacks.is_empty(),
        "Nothing was measured: see what it says above."
    );
    let mut text = format!(
        "# Strangers\n\n\
         Written by `cargo xtask hostile`; {head}. The built daemon with its defaults, the model `bert-shaped`; all\n\
         clients on the same machine, so that what they cost the processor is in these times too.\n\n\
         Memory is the resident set before, at most (looked at ten times a second) and three seconds after; files are\n\
         open files and sockets. *Wait* is how long a client with manners waited for the acknowledgement of a small\n\
         upload meanwhile, fsync included.\n\n\
         | attack | seconds | memory MB | files | wait ms: median | 99 % | most | uploads |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for record in &attacks {
        let requests = &record["requests"];
        let millis = |key: &str| {
            requests[key]
                .as_f64()
                .map_or("-".to_owned(), |it| format!("{it:.1}"))
        };
        text += &format!(
            "| {} | {:.1} | {} | {} | {} | {} | {} | {} |\n",
            record["attack"].as_str().unwrap_or_default(),
            record["seconds"].as_f64().unwrap_or_default(),
            moments(&record["rss_bytes"], 1e6),
            moments(&record["files"], 1.0),
            millis("median"),
            millis("p99"),
            millis("most"),
            requests["count"],
        );
    }
    text += "\nWhat the clients were told, and how many of them:\n\n";
    for record in &attacks {
        let told = told(record).unwrap_or_else(|| "nothing".to_owned());
        let text_of = |key: &str| record[key].as_str().unwrap_or_default();
        text += &format!(
            "- **{}** ({}): {told}.\n",
            text_of("attack"),
            text_of("what")
        );
        if let Some(error) = record["bystander"].as_str() {
            text += &format!("  The client with manners was not served: {error}.\n");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_attack_is_a_row_and_a_line() {
        let record = json!({
            "attack": "noise", "what": "bytes", "seconds": 1.5, "told": { "close 1008": 3 },
            "rss_bytes": [50_000_000, 61_400_000, 50_600_000], "files": [20, 31, 20],
            "requests": { "count": 7, "median": 1.0, "p99": 2.0, "most": 3.5 }, "bystander": null
        });
        let text = document("commit x", &[record, json!({ "ended": 0 })]).unwrap();
        let row = "| noise | 1.5 | 50 / 61 / 51 | 20 / 31 / 20 | 1.0 | 2.0 | 3.5 | 7 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("- **noise** (bytes): close 1008: 3."),
            "{text}"
        );
        assert!(document("commit x", &[]).is_err());
    }
}
