//! The command line. Names and defaults are those of the page.

mod privacy;
pub(crate) mod remote;
mod training;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use client_wasm::file::ChosenColumns;
use client_wasm::options::{
    BottomPrecision, ConnectOptions, DeviceChoice, PrivacyOptions, SEQ_LENGTH_DEFAULT,
};
use client_wasm::server::Server;
use serde::de::DeserializeOwned;

pub(crate) use training::Training;

use crate::audit::args::AuditArgs;
use crate::client_side::ClientSide;
use privacy::Privacy;
use remote::{AdaptersArgs, JobsArgs, Remote};

/// Fine-tunes a language model of a server on text that stays on this machine.
///
/// The bottom of the model runs here, words are privatized here, and only activations and labels are sent, with
/// `--labels client` not even those. What that hides and what it does not: `cutlayer preview FILE`, and
/// docs/threat-model.md.
#[derive(Debug, Parser)]
#[command(name = "cutlayer", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a classifier on a file of labelled texts, and try it.
    Train(Box<TrainArgs>),
    /// Classify the texts of a file: with a classifier that is trained first, or with one that the server keeps.
    ///
    /// `--train FILE` trains and classifies in one run. `--adapter` asks an adapter that the server keeps. The server does
    /// not know what its classes are called, nor how your texts are to be protected: `cutlayer train --client-side FILE`
    /// writes that down on this machine, and `--client-side FILE` reads it here.
    Predict(Box<PredictArgs>),
    /// Show texts beside what the server would see of them. Sends nothing of the file.
    Preview(Box<PreviewArgs>),
    /// Attack what would be sent, and report what was recovered. Sends nothing of the file.
    ///
    /// The attacker knows the model's lower part, the mechanism and its parameters, and public text. What it recovers
    /// stays on this machine.
    Audit(Box<AuditArgs>),
    /// See, hold, continue, end and delete jobs of the server.
    Jobs(JobsArgs),
    /// See, name, take and bring adapters that the server keeps.
    Adapters(AdaptersArgs),
}

impl Command {
    /// What the commands that run the bottom here understand.
    fn common(&self) -> Option<&Common> {
        match self {
            Self::Train(args) => Some(&args.common),
            Self::Predict(args) => Some(&args.common),
            Self::Preview(args) => Some(&args.common),
            Self::Audit(args) => Some(&args.common),
            Self::Jobs(_) | Self::Adapters(_) => None,
        }
    }

    /// Which server.
    pub(crate) fn remote(&self) -> &Remote {
        match self {
            Self::Train(args) => &args.common.remote,
            Self::Predict(args) => &args.common.remote,
            Self::Preview(args) => &args.common.remote,
            Self::Audit(args) => &args.common.remote,
            Self::Jobs(args) => &args.remote,
            Self::Adapters(args) => &args.remote,
        }
    }

    fn training(&self) -> Option<&Training> {
        match self {
            Self::Train(args) => Some(&args.training),
            Self::Predict(args) => Some(&args.training),
            Self::Preview(_) | Self::Audit(_) | Self::Jobs(_) | Self::Adapters(_) => None,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArgs {
    /// Labelled texts: CSV, TSV, JSON or JSONL.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    pub(crate) training: Training,

    /// Classify a second labelled file after training and print how much of it is right.
    #[arg(long, value_name = "FILE", help_heading = "After training")]
    pub(crate) test: Option<PathBuf>,

    /// Classify these texts after training; the two texts of a pair are separated by a tab.
    #[arg(long, value_name = "TEXT", num_args = 1.., help_heading = "After training")]
    pub(crate) predict: Vec<String>,

    /// Classify the texts of a file after training; a label column is not needed.
    #[arg(long, value_name = "FILE", help_heading = "After training")]
    pub(crate) predict_file: Option<PathBuf>,

    /// Write the predictions of --predict-file to this CSV file instead of standard output.
    #[arg(
        long,
        value_name = "FILE",
        requires = "predict_file",
        help_heading = "After training"
    )]
    pub(crate) out: Option<PathBuf>,

    /// Classify what is typed after training, one text a line, until the input ends.
    #[arg(long, help_heading = "After training")]
    pub(crate) interactive: bool,

    /// Write down what stays here of the classifier, for `cutlayer predict --adapter`: names of the classes, protection,
    /// cut and length of texts. As private as your labels.
    #[arg(long, value_name = "FILE", help_heading = "After training")]
    pub(crate) client_side: Option<PathBuf>,

    /// Keep what is sent and received in this directory, and beside it the PRIVATE truth, for `cutlayer audit --recorded`.
    #[arg(long, value_name = "DIR", help_heading = "Audit")]
    pub(crate) record: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PredictArgs {
    /// Texts to classify; a label column is not needed.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Labelled texts to train on first.
    #[arg(
        long,
        value_name = "TRAINFILE",
        required_unless_present = "adapter",
        conflicts_with = "adapter"
    )]
    pub(crate) train: Option<PathBuf>,

    /// An adapter that the server keeps, by id or name, or `default`; see `cutlayer adapters list`.
    #[arg(long, value_name = "ADAPTER")]
    pub(crate) adapter: Option<String>,

    /// What stayed here of the classifier when it was trained. Without it classes have numbers instead of names, and the
    /// protection is the one of this command line.
    #[arg(long, value_name = "FILE", conflicts_with = "train")]
    pub(crate) client_side: Option<PathBuf>,

    /// Write the predictions to this CSV file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    pub(crate) training: Training,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PreviewArgs {
    /// Labelled texts: CSV, TSV, JSON or JSONL.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// How many texts to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rows: usize,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// What all commands understand.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    #[command(flatten)]
    pub(crate) remote: Remote,

    /// What the bottom of the model runs on; `auto` takes a GPU where there is one.
    #[arg(long, default_value = "auto", value_parser = named::<DeviceChoice>(&["auto", "cpu", "gpu"]))]
    device: DeviceChoice,

    /// Blocks of the model that run here; the fewest that the server offers when not given.
    #[arg(long, value_name = "N")]
    cut: Option<u32>,

    /// How the bottom's weights are fetched; f16 is half the download, int8 a quarter.
    #[arg(
        long,
        default_value = "f16",
        value_parser = named::<BottomPrecision>(&["f16", "f32", "int8"]),
    )]
    precision: BottomPrecision,

    /// Longest text in tokens; longer ones are cut off.
    #[arg(
        long,
        value_name = "N",
        default_value_t = SEQ_LENGTH_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    seq_length_max: u32,

    /// Column that holds the text, by name or position; found when not given.
    #[arg(long, value_name = "NAME", help_heading = "Columns")]
    text_column: Option<String>,

    /// Column that holds the second text of a pair.
    #[arg(long, value_name = "NAME", help_heading = "Columns")]
    pair_column: Option<String>,

    /// Column that holds the label; found when not given.
    #[arg(long, value_name = "NAME", help_heading = "Columns")]
    label_column: Option<String>,

    #[command(flatten)]
    pub(crate) privacy: Privacy,

    /// For experiments: makes the noise predictable; never with private text.
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Experiments"
    )]
    pub(crate) seed: Option<u64>,
}

impl Common {
    pub(crate) fn connect(&self) -> ConnectOptions {
        ConnectOptions {
            device: self.device,
            cut: self.cut,
            precision: self.precision,
            seq_length_max: self.seq_length_max,
        }
    }

    /// The same with what stayed here of a classifier.
    pub(crate) fn as_trained(&self, side: &ClientSide) -> Self {
        Self {
            seq_length_max: side.seq_length_max,
            ..self.as_recorded(side.cut, &side.privacy)
        }
    }

    /// Blocks that run here, where it was said.
    pub(crate) fn cut(&self) -> Option<u32> {
        self.cut
    }

    /// The same with the cut of an adapter.
    pub(crate) fn with_cut(&self, cut: u32) -> Self {
        Self {
            cut: Some(cut),
            ..self.clone()
        }
    }

    /// The same with cut and privacy of a recorded run.
    pub(crate) fn as_recorded(&self, cut: u32, privacy: &PrivacyOptions) -> Self {
        Self {
            cut: Some(cut),
            privacy: privacy.into(),
            ..self.clone()
        }
    }

    pub(crate) fn server(&self) -> Server {
        self.remote.server()
    }

    pub(crate) fn columns(&self) -> ChosenColumns {
        ChosenColumns {
            text: self.text_column.clone(),
            pair: self.pair_column.clone(),
            label: self.label_column.clone(),
        }
    }
}

impl Args {
    /// Finds what is wrong with the options together, before anything is read or fetched.
    ///
    /// # Errors
    ///
    /// A usage error, which ends the program with 2.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        let usage = |kind, sentence: String| Self::command().error(kind, sentence);
        let Some(common) = self.command.common() else {
            return Ok(());
        };
        if let Err(sentence) = common.privacy.check() {
            return Err(usage(ErrorKind::ArgumentConflict, sentence));
        }
        let training = self.command.training();
        if let Some(sentence) = training.and_then(|training| training.conflict(common)) {
            return Err(usage(ErrorKind::ArgumentConflict, sentence.to_owned()));
        }
        match training.map_or(Ok(()), Training::check) {
            Ok(()) => Ok(()),
            Err(sentence) => Err(usage(ErrorKind::ValueValidation, sentence)),
        }
    }
}

/// Parses one of `names` to the value that has this name on the page.
pub(crate) fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &[&'static str],
) -> impl TypedValueParser<Value = T> {
    let value = |name: String| serde_json::from_value(serde_json::Value::String(name));
    PossibleValuesParser::new(names.to_vec()).try_map(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use client_wasm::options::{
        Bottom, ClassWeights, ContributionOptions, LabelsAt, ReadingName, Targets, TrainOptions,
        UploadDtype,
    };

    use super::*;

    fn parse(words: &str) -> Result<Args, clap::Error> {
        let args = Args::try_parse_from(words.split(' '))?;
        args.check().map(|()| args)
    }

    fn kind(words: &str) -> ErrorKind {
        parse(words).unwrap_err().kind()
    }

    #[test]
    fn clap_finds_no_fault_in_the_definition() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained() {
        let args = Args::command();
        let commands = args.get_subcommands();
        for command in commands.flat_map(|one| [one].into_iter().chain(one.get_subcommands())) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
        }
    }

    #[test]
    fn defaults_are_those_of_the_page() {
        let args = parse("cutlayer train a.csv").unwrap();
        assert_eq!(
            args.command.training().unwrap().options(),
            TrainOptions::default()
        );
        let common = args.command.common().unwrap();
        let page = ConnectOptions {
            seq_length_max: SEQ_LENGTH_DEFAULT,
            ..ConnectOptions::default()
        };
        assert_eq!(common.connect(), page);
        assert_eq!(common.privacy.options(), PrivacyOptions::default());
        assert_eq!(common.columns(), ChosenColumns::default());
        assert_eq!(common.seed, None); // the system's randomness
    }

    #[test]
    fn every_name_means_something() {
        let words = "cutlayer train a.csv --device gpu --precision f32 --mechanism vector \
                     --eta 33.5 --contribution top --contribution-parameter 0.02 --class-weights balanced --dtype int8";
        let args = parse(words).unwrap();
        let common = args.command.common().unwrap();
        assert_eq!(common.connect().device, DeviceChoice::Gpu);
        assert_eq!(common.connect().precision, BottomPrecision::F32);
        let privacy = PrivacyOptions {
            mechanism: "vector".to_owned(),
            protection: None,
            eta: Some(33.5),
            contribution: ContributionOptions {
                reading: ReadingName::Top,
                parameter: Some(0.02),
                label_dependent: false,
            },
        };
        assert_eq!(common.privacy.options(), privacy);
        let options = args.command.training().unwrap().options();
        assert_eq!(options.class_weights, ClassWeights::Balanced);
        assert_eq!(options.dtype, UploadDtype::Int8);
        let words = "cutlayer train a.csv --labels client --label-noise 2.5 --bottom lora --cut 1 --targets all";
        let options = parse(words).unwrap();
        let options = options.command.training().unwrap().options();
        assert_eq!(options.labels, LabelsAt::Client);
        assert_eq!(options.bottom, Bottom::Lora);
        assert_eq!(options.label_noise, 2.5);
        assert_eq!(options.targets, Targets::All);
    }

    #[test]
    fn what_cannot_be_is_a_usage_error() {
        let train = |more: &str| kind(&format!("cutlayer train a.csv {more}"));
        assert_eq!(
            train("--eta 3 --protection 0.5"),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(
            train("--mechanism none --eta 3"),
            ErrorKind::ArgumentConflict
        );
        for conflict in [
            "--mechanism suppress --contribution top",
            "--label-dependent",
            "--contribution-parameter 0.5",
            "--label-noise 1",
            "--bottom lora --cut 0",
        ] {
            assert_eq!(train(conflict), ErrorKind::ArgumentConflict, "{conflict}");
        }
        for wrong in [
            "--labels client --label-noise -1",
            "--labels client --label-noise nan",
            "--protection 1",
            "--eta 0",
            "--server 127.0.0.1:8420",
            "--validation-share 0.95",
            "--batch-size 0",
            "--rank 0",
            "--dropout 1.5",
            "--learning-rate nan",
        ] {
            assert_eq!(train(wrong), ErrorKind::ValueValidation, "{wrong}");
        }
        assert_eq!(train("--device tpu"), ErrorKind::InvalidValue);
        assert_eq!(train("--out b.csv"), ErrorKind::MissingRequiredArgument);
        assert_eq!(
            kind("cutlayer predict a.csv"),
            ErrorKind::MissingRequiredArgument
        );
        for both in ["--adapter x", "--client-side s.json"] {
            let words = format!("cutlayer predict a.csv --train b.csv {both}");
            assert_eq!(kind(&words), ErrorKind::ArgumentConflict, "{both}");
        }
        assert_eq!(
            kind("cutlayer adapters import d"),
            ErrorKind::MissingRequiredArgument
        );
    }

    /// Breaks when an option is understood before the word of a list only, or behind it only.
    #[test]
    fn a_server_may_be_named_anywhere() {
        for words in [
            "cutlayer jobs --server http://h:1 --json list",
            "cutlayer jobs list --json --server http://h:1/",
            "cutlayer adapters --json rename a b --server http://h:1",
            "cutlayer adapters import d --cut 1 --server http://h:1 --json",
        ] {
            let args = parse(words).unwrap();
            let remote = args.command.remote();
            assert_eq!(remote.server().url("/x"), "http://h:1/x", "{words}");
            assert!(remote.json, "{words}");
        }
    }
}
