//! Where reports go: results to standard output, what happens meanwhile to standard error, or all of it as JSON lines.
//!
//! A text of the owner is printed by `preview`, and by predictions into CSV; nothing else here holds one.

use std::io::{self, IsTerminal, Write};

use client_wasm::client::{Answer, Evaluation, PrivacyReport};
use client_wasm::error::ClientError;
use client_wasm::events::{Event, LoadingStage};
use client_wasm::file::{BadRowSummary, FileReport, LabelSummary};
use client_wasm::preview::Preview;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

use crate::tables;

/// A result, as `--json` prints it; the events of a client stand beside it in the same form.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    /// What was read; without its texts.
    File {
        format: &'a str,
        rows: usize,
        text_column: &'a str,
        pair_column: Option<&'a str>,
        label_column: Option<&'a str>,
        labels: &'a [LabelSummary],
        bad_rows: &'a [BadRowSummary],
        bad_rows_total: usize,
    },
    /// How the texts are protected.
    Privacy(&'a PrivacyReport),
    /// Texts beside what the server would see.
    Preview(&'a Preview),
    /// The best validation of a run.
    Result {
        labels: &'a [String],
        accuracy: f32,
        macro_f1: f32,
        confusion: &'a [u32],
        bytes_sent: u64,
        bytes_received: u64,
    },
    /// The answers for a second labelled file.
    Evaluation {
        labels: &'a [String],
        #[serde(flatten)]
        evaluation: &'a Evaluation,
    },
    /// The answer for one text: `line` is that of the file, or counts the texts that were typed or given.
    Prediction {
        line: u32,
        #[serde(flatten)]
        answer: &'a Answer,
    },
    /// What an audit found.
    Audit(&'a Value),
    /// Why the program failed.
    Error { name: &'a str, sentence: String },
}

impl<'a> Line<'a> {
    pub(crate) fn file(report: &'a FileReport) -> Self {
        Self::File {
            format: &report.format,
            rows: report.rows,
            text_column: &report.text_column,
            pair_column: report.pair_column.as_deref(),
            label_column: report.label_column.as_deref(),
            labels: &report.labels,
            bad_rows: &report.bad_rows,
            bad_rows_total: report.bad_rows_total,
        }
    }
}

/// Prints for people or for programs.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    bar: ProgressBar,
    validations: u32,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            bar: ProgressBar::hidden(),
            validations: 0,
        }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints what a client reports while it works. A reader that has gone is noticed when the result is printed.
    pub(crate) fn event(&mut self, event: &Event) {
        if self.json {
            let _ = self.json_line(event);
            return;
        }
        match event {
            Event::Loading {
                stage,
                bytes,
                bytes_total,
            } => self.loading(*stage, *bytes, *bytes_total),
            Event::Device { name, notice, .. } => {
                self.note(&format!("The bottom of the model runs on: {name}"));
                if let Some(notice) = notice {
                    self.note(notice);
                }
            }
            Event::Progress {
                done,
                total,
                bytes_sent,
                ..
            } => {
                self.counting("Privatizing and sending texts", *total);
                self.bar.set_position(u64::from(*done));
                self.bar.set_message(HumanBytes(*bytes_sent).to_string());
                if done == total {
                    let sent = HumanBytes(*bytes_sent);
                    self.note(&format!(
                        "Sent the activations of {total} texts once ({sent})."
                    ));
                }
            }
            Event::Reading { done, total } => {
                let share = f64::from(*done) / f64::from((*total).max(1));
                self.working("Attacking texts", share);
            }
            Event::TrainStarted { steps_total } => self.counting("Training", *steps_total),
            Event::Step {
                step, epoch, loss, ..
            } => {
                self.bar.set_position(u64::from(*step));
                self.bar
                    .set_message(format!("epoch {epoch}, loss {loss:.4}"));
            }
            Event::Validation {
                step,
                loss,
                accuracy,
                macro_f1,
                best,
                ..
            } => {
                let row = tables::validation_row(*step, *loss, *accuracy, *macro_f1, *best);
                let header = (self.validations == 0).then_some(tables::VALIDATION_HEADER);
                self.validations += 1;
                let _ = self.text(&format!("{}{row}", header.unwrap_or_default()));
            }
            Event::Reconnecting {
                attempt,
                attempts_max,
            } => self.note(&format!(
                "The connection was lost; trying again ({attempt} of {attempts_max})."
            )),
            Event::Reconnected => self.note("Connected again; nothing was lost."),
            Event::Paused => self.note("The run is held."),
            Event::Continued => self.note("The run goes on."),
            Event::TrainDone {
                steps,
                best_step,
                reason,
            } => {
                self.clear();
                self.note(&tables::done_sentence(*steps, *best_step, reason));
            }
        }
    }

    /// Prints a result.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if self.json {
            return self.json_line(line);
        }
        match line {
            Line::File { .. } => {
                self.note(&tables::file_summary(line));
                Ok(())
            }
            Line::Privacy(report) => {
                // A mechanism that hides nothing has been warned of already.
                if report.protection.is_some() {
                    self.note(&report.sentence);
                }
                Ok(())
            }
            Line::Preview(preview) => {
                let coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                self.text(&tables::preview(preview, coloured))
            }
            Line::Result {
                labels,
                accuracy,
                macro_f1,
                confusion,
                ..
            } => self.text(&format!(
                "\nValidation: accuracy {:.1} %, macro-F1 {macro_f1:.3}\n{}",
                100.0 * accuracy,
                tables::confusion(labels, confusion)
            )),
            Line::Evaluation { labels, evaluation } => self.text(&format!(
                "\nTest file: accuracy {:.1} %, macro-F1 {:.3} ({} texts, {} rows left out)\n{}",
                100.0 * evaluation.accuracy,
                evaluation.macro_f1,
                evaluation.examples,
                evaluation.bad_rows_total,
                tables::confusion(labels, &evaluation.confusion)
            )),
            Line::Prediction { answer, .. } => self.text(&tables::answer(answer)),
            Line::Audit(_) => Ok(()),     // people are given a table
            Line::Error { .. } => Ok(()), // standard error has the sentence
        }
    }

    /// Prints one thing that a server says.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn entry(&self, entry: &Value, shown: fn(&Value) -> String) -> io::Result<()> {
        if self.json {
            return self.json_line(entry);
        }
        self.text(&shown(entry))
    }

    /// Prints a list that a server gives.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn entries(
        &self,
        entries: &[Value],
        shown: fn(&[Value]) -> String,
    ) -> io::Result<()> {
        if self.json {
            return entries.iter().try_for_each(|entry| self.json_line(entry));
        }
        self.text(&shown(entries))
    }

    /// Prints text to standard output, above a bar if there is one.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    /// Prints a sentence about what happens; a program that reads JSON is told by events.
    pub(crate) fn note(&self, sentence: &str) {
        if !self.json {
            self.warning(sentence);
        }
    }

    /// Prints a sentence that nobody must miss.
    pub(crate) fn warning(&self, sentence: &str) {
        self.bar.suspend(|| eprintln!("{sentence}"));
    }

    /// Begins a bar that counts to `total`, unless it is there already.
    pub(crate) fn counting(&mut self, what: &'static str, total: u32) {
        let style = "{prefix} {wide_bar} {pos}/{len} {msg} ({eta})";
        self.bar(what, u64::from(total), style);
    }

    /// Shows what is worked on, and its share that is done.
    pub(crate) fn working(&mut self, what: &str, share: f64) {
        const PARTS: u64 = 1_000;
        self.bar(what, PARTS, "{prefix} {wide_bar} {percent} % ({eta})");
        self.bar
            .set_position((PARTS as f64 * share.clamp(0.0, 1.0)) as u64);
    }

    /// Moves the bar.
    pub(crate) fn advance(&self, by: usize) {
        self.bar.inc(by as u64);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    /// Prints why the program fails, in one sentence.
    pub(crate) fn failure(&mut self, error: &anyhow::Error) {
        self.clear();
        let sentence = format!("{error:#}");
        if self.json {
            let name = error
                .downcast_ref::<ClientError>()
                .map_or("Failed", ClientError::name);
            let sentence = sentence.clone();
            // Standard error has it too.
            let _ = self.json_line(&Line::Error { name, sentence });
        }
        eprintln!("cutlayer: {sentence}");
    }

    fn loading(&mut self, stage: LoadingStage, bytes: u64, bytes_total: u64) {
        let what = match stage {
            LoadingStage::Catalogue => "Asking the server what it offers",
            LoadingStage::Device => "Opening the device",
            LoadingStage::Bottom => "Fetching the bottom of the model",
            LoadingStage::Tokenizer => "Fetching the tokenizer",
            LoadingStage::Warmup => "First pass over the model",
        };
        let style = match bytes_total {
            0 => "{prefix} {spinner}",
            _ => "{prefix} {wide_bar} {bytes}/{total_bytes}",
        };
        self.bar(what, bytes_total, style);
        self.bar.set_position(bytes);
    }

    /// indicatif draws on standard error, and only where that is a terminal.
    fn bar(&mut self, what: &str, length: u64, style: &'static str) {
        if self.json || self.bar.prefix() == what {
            return;
        }
        self.clear();
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| {
            // A template that does not parse is no reason to stop the work.
            ProgressStyle::default_bar()
        });
        let bar = ProgressBar::new(length).with_style(style);
        self.bar = bar.with_prefix(what.to_owned());
        self.bar.tick();
    }

    fn json_line(&self, line: &impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}
