//! Where the daemon's settings come from: command line, then environment, then the TOML file of
//! `--config`, then the default.
//!
//! The keys of the file are the flags' names with underscores: `--sessions-max` is `sessions_max`.
//! What neither command line nor environment says is put before the command line and parsed with
//! it, so that a value means and is refused the same wherever it stands.

use std::any::TypeId;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Parser};
use toml::{Table, Value};

use crate::args::Args;

/// Flags that only make sense outside of the file.
const NOT_KEYS: [&str; 4] = ["config", "check-config", "help", "version"];

/// The settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The command line or the environment; also a call for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The file system refused.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration {} is not TOML: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that no flag has.
    #[error("{}: there is no setting `{key}`; expected one of: {expected}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// All keys.
        expected: String,
    },
    /// A value of another type.
    #[error("{}: `{key}` must be {expected}; got {actual}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// TOML's name of what it is.
        actual: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("{}: `{key}`: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is expected.
        reason: String,
    },
}

/// Reads command line, environment and file; the first word is the program's name.
///
/// # Errors
///
/// When one of them cannot be read, or they lack something. A call for help is an error of clap's.
pub fn read<I>(words: I) -> Result<Args, ConfigError>
where
    I: IntoIterator<Item = OsString>,
{
    let words: Vec<OsString> = words.into_iter().collect();
    // Errors are the second reading's business: only then everything is there.
    let first = Args::command().ignore_errors(true);
    let Ok(given) = first.try_get_matches_from(&words) else {
        return Ok(Args::try_parse_from(&words)?); // help or version
    };
    let Some(path) = given.get_one::<PathBuf>("config") else {
        return Ok(Args::try_parse_from(&words)?);
    };
    let from_file = flags(path, &parse(path)?, &given)?;
    let (program, rest) = words.split_at(words.len().min(1));
    let all = program.iter().chain(&from_file).chain(rest);
    Ok(Args::try_parse_from(all)?)
}

fn parse(path: &Path) -> Result<Table, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Io {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The file's settings as flags, without those that were given elsewhere.
fn flags(path: &Path, table: &Table, given: &ArgMatches) -> Result<Vec<OsString>, ConfigError> {
    let command = Args::command();
    let settings: Vec<&Arg> = command.get_arguments().filter(|arg| is_key(arg)).collect();
    let mut flags = Vec::new();
    for (key, value) in table {
        let Some(arg) = settings.iter().find(|arg| self::key(arg) == *key) else {
            let keys: Vec<_> = settings.iter().map(|arg| self::key(arg)).collect();
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key: key.clone(),
                expected: keys.join(", "),
            });
        };
        let kind = Kind::of(arg);
        let words = kind.words(arg, value).ok_or_else(|| ConfigError::Type {
            path: path.to_owned(),
            key: key.clone(),
            expected: kind.description(),
            actual: value.type_str(),
        })?;
        check(arg, &words).map_err(|reason| ConfigError::Value {
            path: path.to_owned(),
            key: key.clone(),
            reason,
        })?;
        if !is_given(arg, given) {
            flags.extend(words.into_iter().map(OsString::from));
        }
    }
    Ok(flags)
}

fn is_key(arg: &Arg) -> bool {
    arg.get_long().is_some_and(|long| !NOT_KEYS.contains(&long))
}

fn key(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

/// Whether command line or environment say it, well or not.
fn is_given(arg: &Arg, given: &ArgMatches) -> bool {
    let on_line = given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    on_line || arg.get_env().and_then(std::env::var_os).is_some()
}

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    Text,
    Numbers,
    Texts,
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        let numbers = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
        ];
        let is_number = numbers.iter().any(|number| parsed == *number);
        match (arg.get_action(), is_number) {
            (ArgAction::SetTrue, _) => Self::Switch,
            (ArgAction::Append, true) => Self::Numbers,
            (ArgAction::Append, false) => Self::Texts,
            (_, true) => Self::Number,
            (_, false) => Self::Text,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Switch => "true or false",
            Self::Number => "an integer",
            Self::Text => "a string",
            Self::Numbers => "an array of integers",
            Self::Texts => "an array of strings",
        }
    }

    /// The value as words of a command line; none when it is of another type.
    fn words(self, arg: &Arg, value: &Value) -> Option<Vec<String>> {
        let long = arg.get_long()?;
        let word = |text: &str| format!("--{long}={text}");
        match (self, value) {
            (Self::Switch, Value::Boolean(true)) => Some(vec![format!("--{long}")]),
            (Self::Switch, Value::Boolean(false)) => Some(Vec::new()),
            (Self::Number, Value::Integer(number)) => Some(vec![word(&number.to_string())]),
            (Self::Text, Value::String(text)) => Some(vec![word(text)]),
            (Self::Numbers, Value::Array(values)) => values
                .iter()
                .map(|value| Some(word(&value.as_integer()?.to_string())))
                .collect(),
            (Self::Texts, Value::Array(values)) => values
                .iter()
                .map(|value| Some(word(value.as_str()?)))
                .collect(),
            _ => None,
        }
    }
}

/// Whether a setting accepts these words, by itself; the reason otherwise.
fn check(arg: &Arg, words: &[String]) -> Result<(), String> {
    if words.is_empty() {
        return Ok(()); // parsing nothing would judge the environment instead
    }
    let alone = Command::new("configuration")
        .no_binary_name(true)
        .arg(arg.clone().required(false));
    match alone.try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let reason: Vec<_> = text
                .lines()
                .take_while(|line| !line.starts_with("For more"))
                .map(|line| line.trim().trim_start_matches("error: "))
                .filter(|line| !line.is_empty())
                .collect();
            Err(reason.join("; "))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::args::DeviceChoice;

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn read_with(file: &NamedTempFile, more: &[&str]) -> Result<Args, ConfigError> {
        let path = file.path().to_str().unwrap();
        let words = [&["cutlayer-server", "--config", path], more].concat();
        read(words.into_iter().map(OsString::from))
    }

    #[test]
    fn every_type_of_setting_comes_from_the_file() {
        let file = file(
            "model = 'm'\nlisten = '[::1]:1'\nallow_remote = true\njson_logs = false\n\
             device = 'cpu'\ncuts = [0, 2]\nsessions_max = 3\nseed = 7\n\
             allow_origin = ['https://a.example', 'https://b.example']\n",
        );
        let args = read_with(&file, &[]).unwrap();
        assert_eq!(args.model, Path::new("m"));
        assert_eq!(args.listen, "[::1]:1".parse().unwrap());
        assert!(args.allow_remote && !args.json_logs);
        assert_eq!(args.device, DeviceChoice::Cpu);
        assert_eq!(args.cuts, [0, 2]);
        assert_eq!((args.sessions_max, args.seed), (3, Some(7)));
        assert_eq!(args.serving.allow_origin.len(), 2);
        assert_eq!(args.serving.connections_max, 512); // said nowhere: the default
    }

    #[test]
    fn the_command_line_is_before_the_file() {
        let file = file("model = 'm'\nsessions_max = 3\ncuts = [1]\nallow_remote = true\n");
        let more = ["--sessions-max", "5", "--cuts", "0,2"];
        let args = read_with(&file, &more).unwrap();
        assert_eq!((args.sessions_max, args.cuts), (5, vec![0, 2]));
        assert!(args.allow_remote);
    }

    #[test]
    fn without_a_file_nothing_changes() {
        let words = ["cutlayer-server", "--model", "m"].map(OsString::from);
        assert_eq!(read(words).unwrap().sessions_max, 16);
        let none = ["cutlayer-server"].map(OsString::from);
        assert!(matches!(read(none), Err(ConfigError::CommandLine(_))));
        let help = ["cutlayer-server", "--help"].map(OsString::from);
        let Err(ConfigError::CommandLine(error)) = read(help) else {
            panic!("help is no setting")
        };
        assert_eq!(error.exit_code(), 0);
    }

    #[test]
    fn an_error_names_file_key_and_what_is_expected() {
        for (text, key, expected) in [
            (
                "model = 'm'\nsession_max = 3",
                "session_max",
                "sessions_max",
            ),
            (
                "model = 'm'\nsessions-max = 3",
                "sessions-max",
                "sessions_max",
            ),
            ("model = 'm'\nconfig = 'other'", "config", "sessions_max"),
            (
                "model = 'm'\nsessions_max = '3'",
                "sessions_max",
                "an integer; got string",
            ),
            ("model = 'm'\nsessions_max = 0", "sessions_max", "1..=65535"),
            ("model = 3", "model", "a string; got integer"),
            (
                "model = 'm'\njson_logs = 'yes'",
                "json_logs",
                "true or false",
            ),
            ("model = 'm'\ncuts = 1", "cuts", "an array of integers"),
            (
                "model = 'm'\ncuts = [1, 'a']",
                "cuts",
                "an array of integers",
            ),
            ("model = 'm'\ndevice = 'tpu'", "device", "auto, cpu, gpu"),
            (
                "model = 'm'\nlisten = 'here'",
                "listen",
                "invalid socket address",
            ),
            (
                "model = 'm'\nallow_origin = ['*']",
                "allow_origin",
                "no path",
            ),
        ] {
            let file = file(text);
            let error = read_with(&file, &[]).unwrap_err().to_string();
            for part in [file.path().to_str().unwrap(), key, expected] {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_toml_is_named() {
        let broken = file("model = ");
        let error = read_with(&broken, &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
        let words = [
            "cutlayer-server",
            "--config",
            "/nowhere/c.toml",
            "--model",
            "m",
        ];
        let error = read(words.map(OsString::from)).unwrap_err().to_string();
        assert!(error.contains("/nowhere/c.toml"), "{error}");
    }

    #[test]
    fn the_example_is_a_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cutlayer.example.toml");
        let words = ["cutlayer-server", "--config", path.to_str().unwrap()];
        read(words.map(OsString::from)).unwrap();
        // Every setting stands there, the others as comments.
        let text = fs::read_to_string(&path).unwrap();
        for arg in Args::command().get_arguments().filter(|arg| is_key(arg)) {
            let (set, comment) = (format!("\n{} = ", key(arg)), format!("\n# {} = ", key(arg)));
            assert!(
                text.contains(&set) || text.contains(&comment),
                "{}",
                key(arg)
            );
        }
    }

    /// Breaks when a commented setting of the example is not one.
    #[test]
    fn the_example_holds_with_everything_in_it_switched_on() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cutlayer.example.toml");
        let text = fs::read_to_string(&path).unwrap();
        let is_setting = |line: &str| {
            let key = line.split(" = ").next().unwrap_or_default();
            line.contains(" = ") && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(|line| is_setting(line))
            .collect();
        let file = file(&lines.join("\n"));
        let args = read_with(&file, &[]).unwrap();
        assert!(args.serving.tls_files().is_some());
    }
}
