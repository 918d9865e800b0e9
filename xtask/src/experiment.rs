//! `cargo xtask experiment NAME`: an experiment from data sets to tables and figures, resumable.
//!
//! | module | what |
//! |---|---|
//! | [`list`] | the experiments: rows and reports |
//! | [`row`], [`measure`], [`work`] | a row; what is measured of it; in which order |
//! | [`data`] | data sets as CSV files in the cache |
//! | [`programs`] | the daemon and the client, as anybody would run them |
//! | [`audit`], [`labels`], [`names`] | what is read out of their output |
//! | [`record`] | finished rows on disk |
//! | [`statistics`], [`report`], [`equal`], [`figure`] | from records to what is read |
//! | [`machine`] | what it was measured on |

mod audit;
mod data;
mod equal;
mod figure;
mod labels;
mod list;
pub(crate) mod machine;
mod measure;
mod names;
mod programs;
mod record;
mod report;
mod row;
mod statistics;
mod work;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use self::data::Folders;
use self::list::{EXPERIMENTS, Experiment};
use self::measure::Measure;
use self::programs::Programs;
use self::record::{Journal, Record};
use self::report::Measured;
use self::row::Row;
use self::work::{Work, works};
use crate::assets;
use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;

/// Seeds of each row when nobody says otherwise: the fewest that give an interval worth reading.
const SEEDS_DEFAULT: u64 = 3;

/// Options of `experiment`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which experiment.
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
    /// Runs each row with the seeds 1 to N; 3 when not given, 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Runs everything on a few rows of each set for one epoch, to see that it works; results go to
    /// the cache, since they mean nothing.
    #[arg(long)]
    quick: bool,
    /// Runs only the row of this name, or those whose names contain it; may be given repeatedly.
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// Runs nothing and writes tables and figures of the rows that are there.
    #[arg(long)]
    report: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    EXPERIMENTS.iter().map(|experiment| experiment.name).into()
}

/// Runs what is not there yet, and writes the report.
///
/// # Errors
/// One sentence that says what is missing. A row that fails does not keep the others from running.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let experiment = EXPERIMENTS
        .iter()
        .find(|experiment| experiment.name == args.name);
    let experiment = experiment.context("There is no such experiment: see --help.")?;
    let directory = match args.quick {
        true => workspace.cache.join("experiments/quick"),
        false => workspace.root.join("docs/results"),
    };
    let mut journal = Journal::open(directory.join(format!("{}.jsonl", experiment.name)))?;
    let mut failed = Vec::new();
    if !args.report {
        failed = run_rows(workspace, experiment, args, &mut journal)?;
    }
    write_report(experiment, args.quick, &journal, &directory)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\nWhat failed, and will be run again next time:");
    for name in &failed {
        println!("  {name}");
    }
    Ok(ExitCode::FAILURE)
}

/// Runs the rows that are not in the journal; returns the names of those that failed.
fn run_rows(
    workspace: &Workspace,
    experiment: &Experiment,
    args: &Args,
    journal: &mut Journal,
) -> Result<Vec<String>> {
    let rows = chosen((experiment.rows)(), &args.only)?;
    let seeds = args
        .seeds
        .unwrap_or(if args.quick { 1 } else { SEEDS_DEFAULT });
    let all = works(&rows, seeds, args.quick);
    let total = all.len();
    let missing: Vec<Work> = all
        .into_iter()
        .filter(|work| !work.is_in(journal))
        .collect();
    println!(
        "==> {}: {} of {total} measures are there",
        experiment.name,
        total - missing.len()
    );
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let folders = Folders::locate(workspace, args.quick);
    prepare_data(&missing, &folders)?;
    assets::fetch(workspace, assets::MEASURED)?;
    build(workspace)?;
    let programs = Programs::new(workspace, &folders.csv)?;
    let mut failed = Vec::new();
    for (at, work) in (1..).zip(&missing) {
        let step = Step::start(format_args!("{} ({at} of {})", work.name(), missing.len()));
        match work.run(workspace, &programs, &folders) {
            Ok(record) => {
                journal.add(record)?;
                step.done("measured");
            }
            Err(error) => {
                step.done(format_args!("FAILED: {error:#}"));
                failed.push(work.name());
            }
        }
    }
    Ok(failed)
}

/// The rows that are asked for: by their whole name, or else by a part of it.
fn chosen(rows: Vec<Row>, only: &[String]) -> Result<Vec<Row>> {
    let mut asked = BTreeSet::new();
    for part in only {
        let whole = rows.iter().any(|row| row.name == *part);
        let is_meant = |row: &&Row| match whole {
            true => row.name == *part,
            false => row.name.contains(part.as_str()),
        };
        asked.extend(rows.iter().filter(is_meant).map(|row| row.name.clone()));
        if rows.iter().filter(is_meant).count() == 0 {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            bail!("No row is named {part}: there are {}.", names.join(", "));
        }
    }
    let is_asked = |row: &Row| only.is_empty() || asked.contains(&row.name);
    Ok(rows.into_iter().filter(is_asked).collect())
}

fn prepare_data(missing: &[Work], folders: &Folders) -> Result<()> {
    let sets: BTreeSet<_> = missing.iter().map(|work| work.row.data).collect();
    for set in sets {
        let step = Step::start(format_args!("data: {}", set.title()));
        set.prepare(folders)?;
        step.done("written to the cache");
    }
    Ok(())
}

/// Both programs, as the tests build them.
fn build(workspace: &Workspace) -> Result<()> {
    let step = Step::start("programs: cargo build --release (15 to 20 minutes the first time)");
    shell::run(
        workspace
            .cargo_build_program("cutlayer-server")
            .args(["--bin", "cutlayer"]),
        "The programs did not build: fix what the compiler says above and run again.",
    )?;
    step.done("built");
    Ok(())
}

/// Writes the tables and figures of the records that belong to today's rows.
fn write_report(
    experiment: &Experiment,
    quick: bool,
    journal: &Journal,
    directory: &Path,
) -> Result<()> {
    let step = Step::start(format_args!("report: {}.md", experiment.name));
    let measured = current((experiment.rows)(), journal, quick);
    let (name, report) = (experiment.name, (experiment.report)(&measured)?);
    for (end, svg) in &report.figures {
        assets::write_whole(&figure_path(directory, name, end), svg.as_bytes())?;
    }
    let text = page(experiment, quick, &measured, &report.text);
    assets::write_whole(&directory.join(format!("{name}.md")), text.as_bytes())?;
    step.done(format_args!("in {}", directory.display()));
    Ok(())
}

fn figure_path(directory: &Path, name: &str, end: &str) -> PathBuf {
    directory.join(format!("{name}-{end}.svg"))
}

/// Each row with its records: those whose commands are the row's of today.
fn current(rows: Vec<Row>, journal: &Journal, quick: bool) -> Vec<Measured> {
    let of = |row: Row| {
        let is_of_today = |record: &&Record| {
            let of_measure =
                |measure: &Measure| Work::new(&row, *measure, record.seed, quick).recorded();
            record.row == row.name
                && row
                    .measures
                    .iter()
                    .map(of_measure)
                    .any(|commands| commands == record.commands)
        };
        let records = journal
            .records()
            .iter()
            .filter(is_of_today)
            .cloned()
            .collect();
        Measured { row, records }
    };
    rows.into_iter().map(of).collect()
}

/// The report around an experiment's tables.
fn page(experiment: &Experiment, quick: bool, measured: &[Measured], body: &str) -> String {
    let Experiment {
        name, title, about, ..
    } = experiment;
    let quick = match quick {
        true => "**A quick run on a few rows: its numbers mean nothing.**\n\n",
        false => "",
    };
    let missing: Vec<String> = measured
        .iter()
        .filter(|measured| measured.records.is_empty())
        .map(|measured| report::code(&measured.row.name))
        .collect();
    let missing = match missing.is_empty() {
        true => String::new(),
        false => format!("\nNot run yet: {}.\n", missing.join(", ")),
    };
    format!(
        "# {title}\n\n{quick}{about}\n\nWritten by `cargo xtask experiment {name}` from \
         [{name}.jsonl]({name}.jsonl); [README.md](README.md) says how to repeat it. A number is \
         the mean over the seeds, with the half width of its 95 % interval (Student's t) where \
         there are two seeds or more.\n\n{body}{missing}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::record::tests::record;
    use super::*;

    fn rows() -> Vec<Row> {
        (list::EXPERIMENTS[0].rows)()
    }

    #[test]
    fn rows_are_picked_by_their_name_or_a_part_of_it() {
        let names = |part: &str| -> Vec<String> {
            let rows = chosen(rows(), &[part.to_owned()]).unwrap();
            rows.into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names("sst/none"), ["sst/none"]);
        assert_eq!(names("none-cut"), ["sst/none-cut-4"]);
        assert_eq!(
            names("/none"),
            ["sst/none", "sst/none-cut-4", "phrasebank/none"]
        );
        assert_eq!(chosen(rows(), &[]).unwrap().len(), rows().len());
        let error = chosen(rows(), &["no-such".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no-such") && error.contains("sst/token-0.50"),
            "{error}"
        );
    }

    /// Breaks when a row that is there is run again, or a quick row counts as a real one.
    #[test]
    fn a_row_that_is_there_is_not_run_again() {
        let path = std::env::temp_dir().join(format!("xtask-resume-{}.jsonl", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut journal = Journal::open(path.clone()).unwrap();
        let rows = rows();
        let work = |row: usize, measure, seed, quick| Work::new(&rows[row], measure, seed, quick);
        let done = work(0, Measure::Accuracy, 1, false);
        assert!(!done.is_in(&journal));
        let numbers = json!({ "accuracy": { "accuracy": 0.5 } });
        let record = Record {
            commands: done.recorded(),
            ..record(&rows[0].name, 1, numbers)
        };
        journal.add(record).unwrap();
        let journal = Journal::open(path.clone()).unwrap();
        assert!(done.is_in(&journal));
        for other in [
            work(0, Measure::Attacks, 1, false),
            work(0, Measure::Accuracy, 2, false),
            work(1, Measure::Accuracy, 1, false),
            work(0, Measure::Accuracy, 1, true),
        ] {
            assert!(!other.is_in(&journal), "{}", other.name());
        }
        let left = works(&rows, 1, false)
            .into_iter()
            .filter(|work| !work.is_in(&journal))
            .count();
        assert_eq!(left, works(&rows, 1, false).len() - 1);
        let measured = current(rows, &journal, false);
        assert_eq!(measured[0].records.len(), 1);
        assert!(
            measured[1..]
                .iter()
                .all(|measured| measured.records.is_empty())
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_report_names_what_is_missing() {
        let measured = [Measured {
            row: rows().swap_remove(0),
            records: Vec::new(),
        }];
        let text = page(EXPERIMENTS[0], false, &measured, "");
        assert!(text.contains("Not run yet: `sst/none`."), "{text}");
        assert!(text.contains("cargo xtask experiment curve") && !text.contains("quick"));
    }
}
