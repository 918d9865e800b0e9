//! `cargo xtask reproduce`: builds the page twice, in two directories that have nothing in common, and compares.
//!
//! What is committed is built, not what is being edited. Both builds have the same compiler, the same cache of
//! cargo's and the same machine: what is found is what depends on paths, time and chance. It takes two whole builds
//! and is no part of CI.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::assets;
use crate::release::RELEASE;
use crate::shell;
use crate::step::Step;
use crate::wasm;
use crate::workspace::Workspace;

/// Names of different length: a path that is left somewhere then moves everything behind it.
const DIRECTORIES: [&str; 2] = ["a", "another-directory"];

/// Options of `reproduce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where both builds go, some gigabytes; outside of the checkout. The system's temporary directory without it.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Builds twice and says whether both pages are the same, file by file.
///
/// # Errors
/// When a build fails; a difference is said by the exit code.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    assets::fetch(workspace, assets::SAMPLE)?;
    let base = args.dir.clone().unwrap_or_else(env::temp_dir);
    let base = std::path::absolute(&base).context("Name the full path with --dir.")?;
    // Cargo would read the settings of the outer checkout as well.
    ensure!(
        !base.starts_with(&workspace.root),
        "{} is inside the checkout: choose another with --dir.",
        base.display()
    );
    warn_of_edits(workspace);
    let base = base.join(format!("cutlayer-reproduce-{}", std::process::id()));
    let [first, second] = DIRECTORIES.map(|name| base.join(name));
    let first = build(workspace, &first)?;
    let second = build(workspace, &second)?;
    let differing = differing(&parsed(&first)?, &parsed(&second)?);
    for name in &differing {
        println!("differs: {name}");
    }
    println!("{RELEASE}: {}", assets::sha256(&first));
    if differing.is_empty() && first == second {
        // Kept otherwise: somebody will want to look.
        let _ = fs::remove_dir_all(&base);
        println!("Both builds are the same, byte for byte.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("The builds differ; they are in {}.", base.display());
    Ok(ExitCode::FAILURE)
}

fn warn_of_edits(workspace: &Workspace) {
    let mut status = Command::new("git");
    status.current_dir(&workspace.root);
    let edits = shell::capture(status.args(["status", "--porcelain"]));
    if edits.is_ok_and(|edits| !edits.trim().is_empty()) {
        println!("What is not committed is not built.");
    }
}

/// Builds what is committed in a directory of its own and returns its release.
fn build(workspace: &Workspace, directory: &Path) -> Result<Vec<u8>> {
    let step = Step::start(format_args!("checkout in {}", directory.display()));
    let root = directory.join("checkout");
    fs::create_dir_all(directory)
        .with_context(|| format!("Make {} writable.", directory.display()))?;
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet"]);
    shell::run(
        clone.arg(&workspace.root).arg(&root),
        "The checkout could not be cloned: see what git says above.",
    )?;
    step.done("cloned");
    let built = Workspace {
        root,
        cache: workspace.cache.clone(),
        target: directory.join("target"),
    };
    wasm::build(&built)?;
    let release = built.page().join(RELEASE);
    fs::read(&release).with_context(|| format!("{} is missing: run again.", release.display()))
}

fn parsed(document: &[u8]) -> Result<Value> {
    serde_json::from_slice(document).context("The release is not JSON: report it.")
}

/// Names of files that one release has and the other has not, or has otherwise.
fn differing(first: &Value, second: &Value) -> BTreeSet<String> {
    let names = |release: &Value| {
        let files = release["files"].as_object().cloned().unwrap_or_default();
        files.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let all = names(first).into_iter().chain(names(second));
    all.filter(|name| first["files"][name] != second["files"][name])
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// Breaks when a file that only one build has is not told.
    #[test]
    fn what_differs_or_is_missing_is_told() {
        let release = |files: Value| json!({ "files": files });
        let first = release(json!({ "a": 1, "b": 1, "c": 1 }));
        let second = release(json!({ "a": 1, "b": 2, "d": 1 }));
        let expected = ["b", "c", "d"].map(str::to_owned);
        assert_eq!(differing(&first, &second), BTreeSet::from(expected));
        assert!(differing(&first, &first).is_empty());
    }
}
