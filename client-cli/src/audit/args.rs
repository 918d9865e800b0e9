//! The options of `cutlayer audit`.

use std::path::PathBuf;

use clap::value_parser;
use client_wasm::options::UploadDtype;

use crate::args::{Common, named};

#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Labelled texts: CSV, TSV, JSON or JSONL. The file that is or would be trained on.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) common: Common,

    /// Text that the attacker learns from, in any format that can be read; no label is needed.
    /// Without it the attacker learns from the rows of FILE that are not attacked, and is stronger
    /// than most.
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    pub(crate) public: Option<PathBuf>,

    /// Hugging Face directory of the whole model, which the server has and this client does not:
    /// the attack `mask` needs it.
    #[arg(long, value_name = "DIR", help_heading = "Audit")]
    pub(crate) model: Option<PathBuf>,

    /// Attacks to run, separated by commas; all when not given. `avg`, `side`, `claim` and
    /// `labels` (of a recorded run with labels at the client) are no attacks on single texts.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        help_heading = "Audit"
    )]
    pub(crate) attacks: Vec<String>,

    /// Column with an attribute of the authors that is to be inferred instead of the label. The
    /// attacker knows it of the rows that are not attacked.
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["public", "recorded"],
        help_heading = "Audit"
    )]
    pub(crate) attribute: Option<String>,

    /// Rows that are attacked, drawn at random.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 200,
        value_parser = value_parser!(u32).range(2..),
        help_heading = "Audit"
    )]
    pub(crate) examples: u32,

    /// Runs of each attack, each with noise of its own.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = value_parser!(u32).range(1..=30),
        help_heading = "Audit"
    )]
    pub(crate) seeds: u32,

    /// Observations of each text that the averaging attack takes together.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        value_parser = value_parser!(u32).range(2..=64),
        help_heading = "Audit"
    )]
    pub(crate) observations: u32,

    /// How activations are sent: 4, 2 or 1 byte a number.
    #[arg(
        long,
        default_value = "f16",
        value_parser = named::<UploadDtype>(&["f32", "f16", "int8"]),
        help_heading = "Audit"
    )]
    pub(crate) dtype: UploadDtype,

    /// Attack what `cutlayer train FILE --record DIR` has really sent. Where it trained with `--labels
    /// client`, labels are attacked too, epoch by epoch.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = [
            "mechanism", "protection", "eta", "contribution", "contribution_parameter",
            "label_dependent", "cut", "dtype",
        ],
        help_heading = "Audit"
    )]
    pub(crate) recorded: Option<PathBuf>,

    /// Write the report to this HTML file.
    #[arg(long, value_name = "OUT.html", help_heading = "Audit")]
    pub(crate) report: Option<PathBuf>,

    /// Show texts beside what was recovered of them in the HTML report: it is then as private as
    /// FILE.
    #[arg(long, requires = "report", help_heading = "Audit")]
    pub(crate) show_text: bool,
}
