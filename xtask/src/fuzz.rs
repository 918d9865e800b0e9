//! `cargo xtask fuzz`: the fuzz targets, one after the other, and the table of what they did.
//!
//! New inputs go to the cache. `--minimize` brings those that reach more code into the corpus, which is committed and
//! which a native test reads without nightly and libFuzzer.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::check::Tool;
use crate::experiment::machine;
use crate::shell;
use crate::step::Step;
use crate::wasm;
use crate::workspace::Workspace;

const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    package: "cargo-fuzz",
    version: "0.13.2",
};

/// Longest input that comes into the corpus.
const CORPUS_BYTES_MAX: &str = "-max_len=2048";

/// Columns of the table, after the target.
const COLUMNS: [&str; 7] = [
    "executions",
    "seconds",
    "edges",
    "features",
    "inputs",
    "crashes",
    "commit",
];

/// Options of `fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Targets; all of them where none is named.
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u32,
    /// Brings what earlier runs found into the corpus instead of running.
    #[arg(long)]
    minimize: bool,
}

/// What libFuzzer printed at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    seconds: u64,
    edges: u64,
    features: u64,
    inputs: u64,
}

/// Runs targets and writes `docs/results/fuzz.md`; fails when one of them found something.
///
/// # Errors
/// One sentence that says what to install or which target does not exist.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let all = targets(&workspace.root)?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        bail!(
            "There is no target {unknown}: name some of {}.",
            all.join(", ")
        );
    }
    let chosen = match args.targets.is_empty() {
        true => &all,
        false => &args.targets,
    };
    ensure!(
        shell::succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])),
        "Fuzzing needs a nightly compiler: run `rustup toolchain install nightly`."
    );
    if FUZZ.find(workspace).is_none() {
        let step = Step::start("cargo-fuzz");
        wasm::install(workspace, FUZZ.package, FUZZ.version)?;
        step.done("installed");
    }
    let mut found = false;
    for target in chosen {
        if args.minimize {
            minimize(workspace, target)?;
        } else {
            found |= fuzz(workspace, target, args.seconds)?;
        }
    }
    Ok(match found {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// The names of the files in `fuzz/targets`.
fn targets(root: &Path) -> Result<Vec<String>> {
    let directory = root.join("fuzz/targets");
    let entries = fs::read_dir(&directory).with_context(|| {
        format!(
            "There is no {}: run it inside a checkout.",
            directory.display()
        )
    })?;
    let names = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_stem()?.to_str()?.to_owned();
        path.extension()
            .is_some_and(|extension| extension == "rs")
            .then_some(name)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// Prepares `cargo fuzz run` of a target on what was found earlier, and on more directories.
fn cargo_fuzz(workspace: &Workspace, target: &str, directories: &[PathBuf]) -> Command {
    let mut command = Command::new("rustup");
    shell::forget_package(&mut command);
    let tools = workspace.tools().join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([tools].into_iter().chain(env::split_paths(&path)));
    command
        .current_dir(&workspace.root)
        // Of the toolchain that runs this.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env("PATH", path.unwrap_or_default())
        .env("CARGO_TARGET_DIR", workspace.target.join("fuzz"))
        .args([
            "run",
            "nightly",
            "cargo",
            "fuzz",
            "run",
            "--fuzz-dir",
            "fuzz",
        ])
        // There is no `unsafe` here for a sanitizer to watch, and it takes half of the speed.
        .args(["--sanitizer", "none", target])
        .args(directories)
        .args(["--", "-rss_limit_mb=2048", "-timeout=10"]);
    command
}

fn found(workspace: &Workspace, target: &str) -> Result<PathBuf> {
    let found = workspace.cache.join("fuzz").join(target);
    fs::create_dir_all(&found).with_context(|| format!("Make {} writable.", found.display()))?;
    Ok(found)
}

fn corpus(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.root.join("fuzz/corpus").join(target)
}

/// Runs one target; whether it found something.
fn fuzz(workspace: &Workspace, target: &str, seconds: u32) -> Result<bool> {
    let step = Step::start(format_args!("fuzz {target} for {seconds} s"));
    let directories = [found(workspace, target)?, corpus(workspace, target)];
    let mut command = cargo_fuzz(workspace, target, &directories);
    command.args([
        format!("-max_total_time={seconds}"),
        "-print_final_stats=1".to_owned(),
    ]);
    let transcript = shell::run_shown(&mut command)?;
    let figures = figures(&transcript.output);
    let found = !transcript.success;
    ensure!(
        !found || transcript.output.contains("Test unit written to"),
        "The target did not run: see what cargo says above."
    );
    write_row(workspace, target, &figures, found)?;
    step.done(match found {
        true => "FOUND something: the input is in fuzz/artifacts",
        false => "nothing found",
    });
    Ok(found)
}

/// Reads libFuzzer's last line of progress and its final statistics.
fn figures(output: &str) -> Figures {
    let progress = output
        .lines()
        .rev()
        .find(|line| line.starts_with('#') && line.contains("cov: "));
    let after = |name: &str| {
        let (_, rest) = progress?.split_once(name)?;
        let digits = rest
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next()?;
        digits.parse().ok()
    };
    let done = output.lines().find_map(|line| line.strip_prefix("Done "));
    let done: Vec<&str> = done.unwrap_or_default().split_whitespace().collect();
    // `Done 123 runs in 601 second(s)`
    let number = |at: usize| done.get(at).and_then(|word| word.parse().ok()).unwrap_or(0);
    Figures {
        executions: number(0),
        seconds: number(3),
        edges: after("cov: ").unwrap_or(0),
        features: after("ft: ").unwrap_or(0),
        inputs: after("corp: ").unwrap_or(0),
    }
}

/// Adds to the corpus what reaches code that nothing of it reaches.
fn minimize(workspace: &Workspace, target: &str) -> Result<()> {
    let step = Step::start(format_args!("minimize {target}"));
    let corpus = corpus(workspace, target);
    let directories = [corpus.clone(), found(workspace, target)?];
    let mut command = cargo_fuzz(workspace, target, &directories);
    command.args(["-merge=1", CORPUS_BYTES_MAX]);
    shell::run_logged(
        &mut command,
        &workspace.log(&format!("fuzz-minimize-{target}")),
        "The corpus could not be minimized: see the log.",
    )?;
    let files = fs::read_dir(&corpus).map_or(0, Iterator::count);
    step.done(format_args!("{files} inputs in {}", corpus.display()));
    Ok(())
}

/// Replaces the row of a target in the document, and keeps those of the others.
fn write_row(workspace: &Workspace, target: &str, figures: &Figures, found: bool) -> Result<()> {
    let path = workspace.root.join("docs/results/fuzz.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let crashes = u8::from(found);
    let commit = machine::commit(workspace);
    let Figures {
        executions,
        seconds,
        edges,
        features,
        inputs,
    } = figures;
    let row = format!(
        "| `{target}` | {executions} | {seconds} | {edges} | {features} | {inputs} | {crashes} | {commit} |"
    );
    fs::write(&path, document(&before, target, row))
        .with_context(|| format!("Make {} writable.", path.display()))
}

/// The document with one row more, or another.
fn document(before: &str, target: &str, row: String) -> String {
    let row_of = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
    let mut rows: BTreeMap<String, String> = before
        .lines()
        .filter_map(|line| Some((row_of(line)?, line.to_owned())))
        .collect();
    rows.insert(target.to_owned(), row);
    let rows: Vec<String> = rows.into_values().collect();
    let machine = machine::machine();
    format!(
        "# Fuzzing\n\n\
         Written by `cargo xtask fuzz`, which runs each target of `fuzz/targets` with libFuzzer, 2048 MB and 10 s an\n\
         input at most. What must hold is said in `tests/src/decoders/mod.rs`. Edges, features and inputs are\n\
         libFuzzer's `cov`, `ft` and `corp` at the end of a run. {} cores of {}.\n\n\
         | target | {} |\n|---|{}\n{}\n",
        machine["cores"],
        machine["cpu"].as_str().unwrap_or("unknown"),
        COLUMNS.join(" | "),
        "---|".repeat(COLUMNS.len()),
        rows.join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "#2\tINITED cov: 9 ft: 10 corp: 1/1b exec/s: 0 rss: 30Mb\n\
        #4096\tDONE   cov: 812 ft: 2210 corp: 301/24Kb lim: 4096 exec/s: 68 rss: 101Mb\n\
        Done 4096 runs in 60 second(s)\n\
        stat::number_of_executed_units: 4096\n";

    #[test]
    fn the_last_line_of_progress_is_the_one_that_counts() {
        let expected = Figures {
            executions: 4096,
            seconds: 60,
            edges: 812,
            features: 2210,
            inputs: 301,
        };
        assert_eq!(figures(OUTPUT), expected);
        assert_eq!(figures("error: no such target"), Figures::default());
    }

    /// Breaks when a run of one target takes the others' rows away.
    #[test]
    fn a_row_replaces_that_of_its_target_only() {
        let first = document("", "tensor", "| `tensor` | 1 |".to_owned());
        let second = document(&first, "model", "| `model` | 2 |".to_owned());
        let third = document(&second, "tensor", "| `tensor` | 3 |".to_owned());
        assert!(
            third.contains("| `model` | 2 |\n| `tensor` | 3 |\n"),
            "{third}"
        );
        assert!(!third.contains("| `tensor` | 1 |"));
    }
}
