//! Reads the closing lines of test runners and sums them up.
//!
//! Known are cargo's test runner (wasm-bindgen's prints the same line) and Node's.

use std::fmt;
use std::time::Duration;

use crate::step::seconds;

/// Counts tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Sums the closing lines in the output of `cargo test`.
    pub(crate) fn of_cargo(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            let Some(result) = line.trim_start().strip_prefix("test result: ") else {
                continue;
            };
            // `ok. 5 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s`
            for part in result.split(['.', ';']) {
                let mut words = part.split_whitespace();
                if let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse), words.next())
                {
                    counts.add(number, word);
                }
            }
        }
        counts
    }

    /// Reads the closing lines of `node --test`, in its `spec` or `tap` form.
    pub(crate) fn of_node(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            let Some(result) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) else {
                continue;
            };
            let mut words = result.split_whitespace();
            if let (Some(word), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) {
                counts.add(number, word);
            }
        }
        counts
    }

    fn add(&mut self, number: u64, word: &str) {
        match word {
            "passed" | "pass" => self.passed += number,
            "failed" | "fail" | "cancelled" => self.failed += number,
            "ignored" | "skipped" | "todo" => self.skipped += number,
            _ => {}
        }
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Says how a stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should; the text says what came out.
    Passed(String),
    /// It did not; the sentence says what to do.
    Failed(String),
    /// It could not run here; the sentence says what to install.
    Skipped(String),
}

/// Keeps what the stages of a test run did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    took: Duration,
    counts: Counts,
    outcome: Outcome,
}

impl Report {
    /// Adds a stage that ran no tests of its own.
    pub(crate) fn add(&mut self, name: &'static str, took: Duration, outcome: Outcome) {
        self.add_tests(name, took, outcome, Counts::default());
    }

    /// Adds a stage with what its runner counted.
    ///
    /// A stage that failed without naming a failed test (it did not compile, say) counts as one failure.
    pub(crate) fn add_tests(
        &mut self,
        name: &'static str,
        took: Duration,
        outcome: Outcome,
        mut counts: Counts,
    ) {
        match &outcome {
            Outcome::Failed(_) if counts.failed == 0 => counts.failed = 1,
            Outcome::Skipped(_) if counts.is_empty() => counts.skipped = 1,
            _ => {}
        }
        self.stages.push(Stage {
            name,
            took,
            counts,
            outcome,
        });
    }

    /// Sums all stages.
    pub(crate) fn total(&self) -> Counts {
        self.stages
            .iter()
            .fold(Counts::default(), |sum, stage| Counts {
                passed: sum.passed + stage.counts.passed,
                failed: sum.failed + stage.counts.failed,
                skipped: sum.skipped + stage.counts.skipped,
            })
    }

    /// Whether nothing failed.
    pub(crate) fn is_green(&self) -> bool {
        self.total().failed == 0
    }
}

impl fmt::Display for Report {
    /// One line for each stage, then the sum alone on the last line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Summary")?;
        for stage in &self.stages {
            let counts = match stage.counts.is_empty() {
                true => String::new(),
                false => format!("{}. ", stage.counts),
            };
            let (word, text) = match &stage.outcome {
                Outcome::Passed(text) => ("ok", text),
                Outcome::Failed(text) => ("FAILED", text),
                Outcome::Skipped(text) => ("skipped", text),
            };
            let line = format!(
                "  {:<26} {:>9}  {word}: {counts}{text}",
                stage.name,
                seconds(stage.took)
            );
            writeln!(f, "{}", line.trim_end_matches([' ', ':']))?;
        }
        write!(f, "{}", self.total())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = "running 3 tests\ntest a ... ok\n\n\
        test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s\n\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s\n";

    /// Breaks when a closing line is missed, or `filtered out` is taken for skipped.
    #[test]
    fn cargo_lines_are_summed() {
        let expected = Counts {
            passed: 6,
            failed: 1,
            skipped: 2,
        };
        assert_eq!(Counts::of_cargo(CARGO), expected);
    }

    #[test]
    fn node_lines_are_read_in_both_forms() {
        let expected = Counts {
            passed: 12,
            failed: 1,
            skipped: 2,
        };
        let spec =
            "ℹ tests 15\nℹ suites 0\nℹ pass 12\nℹ fail 1\nℹ cancelled 0\nℹ skipped 2\nℹ todo 0\n";
        assert_eq!(Counts::of_node(spec), expected);
        assert_eq!(Counts::of_node(&spec.replace('ℹ', "#")), expected);
    }

    /// Breaks when a stage that did not compile ends in a green run.
    #[test]
    fn a_failed_stage_without_tests_counts_as_a_failure() {
        let mut report = Report::default();
        report.add("native", Duration::ZERO, Outcome::Failed("Fix it.".into()));
        assert!(!report.is_green());
        assert_eq!(report.total().failed, 1);
    }

    /// Breaks when the last line is not the plain one that a CI service reads.
    #[test]
    fn the_sum_is_alone_on_the_last_line() {
        let mut report = Report::default();
        let counts = Counts::of_cargo("test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured");
        report.add_tests(
            "native",
            Duration::ZERO,
            Outcome::Passed(String::new()),
            counts,
        );
        report.add(
            "torch",
            Duration::ZERO,
            Outcome::Skipped("Make a venv.".into()),
        );
        let text = report.to_string();
        assert_eq!(text.lines().last(), Some("4 passed, 0 failed, 1 skipped"));
        assert!(text.contains("skipped: 0 passed, 0 failed, 1 skipped. Make a venv."));
    }
}
