//! Holds the JavaScript of the page and of the package against its types, where TypeScript's compiler is there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;
use crate::step::Step;
use crate::system;
use crate::workspace::Workspace;

/// The version that `--install` brings.
const VERSION: &str = "5.9.3";

/// What is checked.
const PROJECTS: [&str; 2] = ["web/jsconfig.json", "package/tsconfig.json"];

/// Finds the compiler in the cache or on the search path.
pub(crate) fn compiler(workspace: &Workspace) -> Option<PathBuf> {
    let cached = workspace.tools().join("node_modules/.bin/tsc");
    match cached.is_file() {
        true => Some(cached),
        false => shell::find("tsc"),
    }
}

/// Installs the compiler into the cache.
///
/// # Errors
/// One sentence with the command that a person can run.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let npm = system::npm(workspace)?;
    let step = Step::start("npm install typescript");
    shell::run_logged(
        Command::new(npm)
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(workspace.tools())
            .arg(format!("typescript@{VERSION}")),
        &workspace.log("install-typescript"),
        &remedy(),
    )?;
    step.done("installed");
    Ok(())
}

/// What to do where it is missing.
pub(crate) fn remedy() -> String {
    format!("Run `npm install --global typescript@{VERSION}`, or this command with --install.")
}

/// Checks all of it.
///
/// # Errors
/// When a type does not fit.
pub(crate) fn check(workspace: &Workspace, compiler: &Path) -> Result<()> {
    PROJECTS.into_iter().try_for_each(|project| {
        shell::run(
            Command::new(compiler)
                .current_dir(&workspace.root)
                .args(["--project", project]),
            "A type does not fit: fix what tsc says above.",
        )
    })
}
