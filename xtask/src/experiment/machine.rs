//! What a number was measured on: the machine and the commit.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::workspace::Workspace;

/// Names the machine: how many cores, and which.
pub(crate) fn machine() -> Value {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    json!({ "cores": cores, "cpu": cpu() })
}

/// As a document says it: commit, cores, processor. To be asked for before what is measured runs: the checkout may have
/// another commit when it ends.
pub(crate) fn sentence(workspace: &Workspace) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("commit {}; {cores} cores of {}", commit(workspace), cpu())
}

fn cpu() -> String {
    let linux = fs::read_to_string("/proc/cpuinfo").ok();
    linux
        .and_then(|text| model_name(&text).map(str::to_owned))
        .or_else(|| said_by("sysctl", &["-n", "machdep.cpu.brand_string"]))
        .unwrap_or_else(|| format!("unknown {}", std::env::consts::ARCH))
}

/// The first model name of `/proc/cpuinfo`.
fn model_name(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

/// The commit that is checked out, with `+` where code differs from it.
///
/// Results are not code: each row that is added to them would otherwise mark the next one.
pub(crate) fn commit(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| {
        let root = workspace.root.to_string_lossy().into_owned();
        said_by("git", &[&["-C", root.as_str()], arguments].concat())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let code = ["status", "--porcelain", "--", ".", ":(exclude)docs"];
    match git(&code) {
        Some(_) => format!("{commit}+"),
        None => commit,
    }
}

/// What a program prints, if it prints anything.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_name_is_what_stands_behind_the_colon() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu\n";
        assert_eq!(model_name(text), Some("Some CPU @ 2.00GHz"));
        assert_eq!(model_name("Hardware : board\n"), None);
    }
}
