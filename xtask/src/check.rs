//! `cargo xtask check`: what CI holds, cheapest first, then the tests.
//!
//! The walls between the rooms are tidy tests in the `tests` package, so they run with the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::report::{Outcome, Report};
use crate::shell;
use crate::step::Step;
use crate::test;
use crate::toolchain::WasmToolchain;
use crate::types;
use crate::wasm;
use crate::workspace::{PACKAGES, Workspace};

/// The spelling checker and the version that `--install` brings.
const TYPOS: Tool = Tool {
    name: "typos",
    package: "typos-cli",
    version: "1.52.0",
};

/// The checker of licences, advisories and banned crates.
const DENY: Tool = Tool {
    name: "cargo-deny",
    package: "cargo-deny",
    version: "0.20.2",
};

/// Options of `check`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Installs typos, cargo-deny and TypeScript's compiler into the cache when they are missing.
    #[arg(long)]
    install: bool,
    /// Leaves out the tests that need a wasm build, a browser or a GPU driver.
    #[arg(long)]
    quick: bool,
}

/// A program that is not part of Rust.
pub(crate) struct Tool {
    /// The program.
    pub(crate) name: &'static str,
    /// What `cargo install` calls it.
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    /// Finds the tool in the cache or on the search path.
    pub(crate) fn find(&self, workspace: &Workspace) -> Option<PathBuf> {
        let cached = workspace.tools().join("bin").join(self.name);
        match cached.is_file() {
            true => Some(cached),
            false => shell::find(self.name),
        }
    }
}

/// Runs every check, then the tests, and fails when one of them failed.
///
/// # Errors
/// Never for a failed check, which the exit code says.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    check(&mut report, "formatting", || {
        shell::run(
            workspace.cargo("fmt").args(["--all", "--check"]),
            "Formatting differs, or rustfmt is missing: run `cargo fmt --all`, or first `rustup component add rustfmt`.",
        )
    });
    check_with(&mut report, workspace, args, &TYPOS, |typos| {
        shell::run(
            Command::new(typos).current_dir(&workspace.root),
            "Words are misspelt: run `typos --write-changes`, or allow them in typos.toml.",
        )
    });
    check_with(&mut report, workspace, args, &DENY, |deny| {
        shell::run(
            deny_command(workspace, deny).args(["bans", "licenses", "sources"]),
            "A dependency breaks a rule of deny.toml: replace it, or write down there why it may stay.",
        )
    });
    if let Some(deny) = DENY.find(workspace) {
        advisories(&mut report, workspace, &deny);
    }
    check_types(&mut report, workspace, args);
    check(&mut report, "clippy", || clippy(workspace));
    check(&mut report, "clippy for wasm", || clippy_wasm(workspace));
    check(&mut report, "doc links", || {
        shell::run(
            workspace
                .cargo("doc")
                .env("RUSTDOCFLAGS", "-D warnings")
                .args(["--release", "--no-deps"])
                .args(PACKAGES),
            "A link in the docs is broken: fix it.",
        )
    });
    let tests = test::run(workspace, &test::Args { quick: args.quick })?;
    println!("\nChecks before the tests:\n{report}");
    Ok(match report.is_green() {
        true => tests,
        false => ExitCode::FAILURE,
    })
}

fn deny_command(workspace: &Workspace, deny: &Path) -> Command {
    let mut command = Command::new(deny);
    // Rules, not duplicates: those are only worth a look when a dependency changes.
    command.current_dir(&workspace.root).args([
        "--log-level",
        "error",
        "check",
        "--hide-inclusion-graph",
    ]);
    command
}

/// Asks for known vulnerabilities; their data base is fetched anew, which needs a network.
fn advisories(report: &mut Report, workspace: &Workspace, deny: &Path) {
    const NAME: &str = "advisories";
    let step = Step::start(NAME);
    let outcome = match shell::run_shown(deny_command(workspace, deny).arg("advisories")) {
        Ok(transcript) if transcript.success => Outcome::Passed(String::new()),
        Ok(transcript) if transcript.output.contains("failed to fetch advisory database") => {
            Outcome::Skipped("The advisory database cannot be reached: run again with a network.".to_owned())
        }
        _ => Outcome::Failed(
            "A dependency has a known weakness: update it, or write in deny.toml why it does not matter here."
                .to_owned(),
        ),
    };
    let took = step.done("asked");
    report.add(NAME, took, outcome);
}

fn clippy(workspace: &Workspace) -> Result<()> {
    shell::run(
        workspace
            .cargo("clippy")
            .args(["--release", "--all-targets"])
            .args(PACKAGES)
            .args(["--", "-D", "warnings"]),
        "Clippy complains: fix what it says above.",
    )
}

/// Runs clippy on the browser client with a configuration of its own: what panics or is absent in a tab.
fn clippy_wasm(workspace: &Workspace) -> Result<()> {
    let toolchain = WasmToolchain::ensure(workspace)?;
    if !toolchain.has_clippy() {
        return Err(anyhow!(
            "Debian's rustc-web has no clippy: run `rustup target add wasm32-unknown-unknown`."
        ));
    }
    shell::run(
        toolchain
            .cargo(workspace, "clippy")
            .env("CLIPPY_CONF_DIR", workspace.root.join("xtask/clippy-wasm"))
            .args(["--package", "client-wasm", "--lib", "--tests"])
            .args(["--", "-D", "warnings"]),
        "Clippy complains about the browser client: fix what it says above.",
    )
}

fn check(report: &mut Report, name: &'static str, work: impl FnOnce() -> Result<()>) {
    let step = Step::start(name);
    match work() {
        Ok(()) => {
            let took = step.done("ok");
            report.add(name, took, Outcome::Passed(String::new()));
        }
        Err(error) => {
            let took = step.done(format_args!("FAILED: {error}"));
            report.add(name, took, Outcome::Failed(error.to_string()));
        }
    }
}

/// Runs a check with a tool that is not part of Rust, where the tool is there or may be installed.
fn check_with(
    report: &mut Report,
    workspace: &Workspace,
    args: &Args,
    tool: &Tool,
    work: impl FnOnce(&Path) -> Result<()>,
) {
    if tool.find(workspace).is_none() && args.install {
        check(report, tool.package, || {
            wasm::install(workspace, tool.package, tool.version)
        });
    }
    match tool.find(workspace) {
        Some(path) => check(report, tool.name, || work(&path)),
        None => {
            let reason = format!(
                "Run `cargo install {} --version {}`, or this command with --install.",
                tool.package, tool.version
            );
            skip(report, tool.name, reason);
        }
    }
}

/// Checks types where TypeScript's compiler is there or may be installed.
fn check_types(report: &mut Report, workspace: &Workspace, args: &Args) {
    const NAME: &str = "types of JavaScript";
    if types::compiler(workspace).is_none() && args.install {
        check(report, "typescript", || types::install(workspace));
    }
    match types::compiler(workspace) {
        Some(compiler) => check(report, NAME, || types::check(workspace, &compiler)),
        None => skip(report, NAME, types::remedy()),
    }
}

fn skip(report: &mut Report, name: &'static str, reason: String) {
    println!("==> {name}\n    skipped: {reason}");
    report.add(name, Duration::ZERO, Outcome::Skipped(reason));
}
