//! `cutlayer-server token`: creates, lists, revokes and rotates tokens in a data directory, whether
//! the daemon runs or not.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use rand::rngs::{SysError, SysRng};

use crate::args::Args;
use crate::auth::{Scope, Scopes, Token};
use crate::backup::BackupArgs;
use crate::config::{self, ConfigError};
use crate::state::{
    SqliteState, StateError, StateStore, TenantName, TokenKey, TokenRecord, UnixMillis, path_in,
};
use crate::verify::VerifyArgs;

/// What the program is asked to do.
#[derive(Debug)]
pub enum Invocation {
    /// Serve: what it does without a subcommand.
    Serve(Box<Args>),
    /// Work on tokens.
    Token(TokenArgs),
    /// Copy the data directory.
    Backup(BackupArgs),
    /// Hold a page against its release.
    Verify(VerifyArgs),
}

impl Invocation {
    /// Reads a command line, and for a daemon also environment and file; the first word is the
    /// program's name.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or they lack something; help and version are errors of
    /// clap's.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, ConfigError> {
        let words: Vec<OsString> = words.into_iter().collect();
        match words.get(1).and_then(|word| word.to_str()) {
            Some("token") => Ok(Self::Token(TokenArgs::try_parse_from(&words[1..])?)),
            Some("backup") => Ok(Self::Backup(BackupArgs::try_parse_from(&words[1..])?)),
            Some("verify") => Ok(Self::Verify(VerifyArgs::try_parse_from(&words[1..])?)),
            _ => Ok(Self::Serve(Box::new(config::read(words)?))),
        }
    }
}

/// Creates, lists, revokes and rotates the tokens of a data directory.
#[derive(Debug, Clone, Parser)]
#[command(name = "cutlayer-server token")]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// Which data directory.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// The daemon's data directory.
    #[arg(
        long,
        env = "CUTLAYER_DATA",
        value_name = "DIR",
        default_value = "cutlayer-data"
    )]
    pub data: PathBuf,
}

/// What to do with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Creates a token and prints it: it is shown once, and cannot be shown again.
    Create {
        /// Whose it is: a-z, 0-9, '-' and '_'. A tenant begins with its first token.
        #[arg(long, value_name = "NAME")]
        tenant: TenantName,
        /// What it allows, such as train,predict: train, predict, jobs, adapters, export, admin.
        #[arg(
            long,
            value_name = "LIST",
            value_delimiter = ',',
            default_value = "train,predict,jobs,adapters"
        )]
        scopes: Vec<Scope>,
        /// Days after which it is refused; never without it.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        expires_days: Option<u32>,
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Lists tokens, without their secrets.
    List {
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Refuses a token from now on.
    Revoke {
        /// The token's name, as in the list.
        id: TokenKey,
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
    /// Gives a token another secret and prints it; the one before is accepted for a while.
    Rotate {
        /// The token's name, as in the list.
        id: TokenKey,
        /// Hours that the secret before is accepted.
        #[arg(long, value_name = "N", default_value_t = 24)]
        overlap_hours: u32,
        /// Where.
        #[command(flatten)]
        data: DataArgs,
    },
}

/// Tokens could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum TokenCommandError {
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Randomness(#[from] SysError),
    /// The answer could not be written.
    #[error("the answer cannot be written: {0}")]
    Io(#[from] io::Error),
}

const DAY_SECS: u64 = 24 * 60 * 60;

impl TokenArgs {
    /// Does it, and writes what there is to say to `out`. Blocks.
    ///
    /// # Errors
    ///
    /// When the state cannot be read or written, or knows no such token.
    pub fn run(self, out: &mut impl Write, now: UnixMillis) -> Result<(), TokenCommandError> {
        match self.command {
            TokenCommand::Create {
                tenant,
                scopes,
                expires_days,
                data,
            } => {
                let store = open(&data.data)?;
                let expires = expires_days.map(|days| now.plus_secs(u64::from(days) * DAY_SECS));
                let token = create(&store, tenant, Scopes::of(&scopes), expires, now)?;
                writeln!(out, "{}", token.reveal())?;
            }
            TokenCommand::List { data } => list(&open(&data.data)?.tokens()?, out, now)?,
            TokenCommand::Revoke { id, data } => open(&data.data)?.revoke_token(id, now)?,
            TokenCommand::Rotate {
                id,
                overlap_hours,
                data,
            } => {
                let token = Token::of(id, &mut SysRng)?;
                let overlap_until = now.plus_secs(u64::from(overlap_hours) * 60 * 60);
                let store = open(&data.data)?;
                store.rotate_token(id, token.secret_sha256(), overlap_until)?;
                writeln!(out, "{}", token.reveal())?;
            }
        }
        Ok(())
    }
}

fn open(data: &Path) -> Result<SqliteState, StateError> {
    SqliteState::open(&path_in(data))
}

/// Creates a token of a tenant, which is created where needed.
///
/// # Errors
///
/// When the state cannot be written, or the system has no randomness.
pub fn create(
    store: &dyn StateStore,
    tenant_name: TenantName,
    scopes: Scopes,
    expires: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<Token, TokenCommandError> {
    let token = Token::draw(&mut SysRng)?;
    store.add_token(&TokenRecord {
        key: token.key(),
        tenant: store.tenant(&tenant_name)?,
        tenant_name,
        secret_sha256: token.secret_sha256(),
        previous: None,
        scopes,
        created: now,
        expires,
        revoked: None,
    })?;
    Ok(token)
}

fn list(tokens: &[TokenRecord], out: &mut impl Write, now: UnixMillis) -> io::Result<()> {
    writeln!(out, "id\ttenant\tscopes\tcreated\tstate")?;
    for token in tokens {
        let (key, tenant, scopes) = (token.key, token.tenant_name.as_str(), token.scopes);
        let created = days_between(token.created, now);
        let state = standing(token, now);
        writeln!(
            out,
            "{key}\t{tenant}\t{scopes}\t{created} days ago\t{state}"
        )?;
    }
    Ok(())
}

fn standing(token: &TokenRecord, now: UnixMillis) -> String {
    match token.expires {
        _ if token.revoked.is_some() => "revoked".to_owned(),
        Some(expires) if now >= expires => "expired".to_owned(),
        Some(expires) => format!("expires in {} days", days_between(now, expires)),
        None => "active".to_owned(),
    }
}

fn days_between(from: UnixMillis, to: UnixMillis) -> i64 {
    to.0.saturating_sub(from.0) / (DAY_SECS as i64 * 1000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Invocation, ConfigError> {
        let words = ["cutlayer-server"].iter().chain(arguments);
        Invocation::read(words.map(OsString::from))
    }

    fn run(data: &Path, arguments: &[&str], now: UnixMillis) -> Result<String, TokenCommandError> {
        let data = data.to_str().unwrap();
        let line = [&["token"], arguments, &["--data", data]].concat();
        let Invocation::Token(args) = parse(&line).unwrap() else {
            panic!("not about tokens")
        };
        let mut out = Vec::new();
        args.run(&mut out, now)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Breaks when a command line that served does not any more.
    #[test]
    fn without_a_subcommand_it_serves() {
        let Invocation::Serve(args) = parse(&["--model", "m", "--cuts", "0,1"]).unwrap() else {
            panic!("does not serve")
        };
        assert_eq!(args.model, PathBuf::from("m"));
        assert_eq!(args.cuts, [0, 1]);
        TokenArgs::command().debug_assert();
    }

    #[test]
    fn a_list_needs_no_model() {
        assert!(matches!(
            parse(&["token", "list"]),
            Ok(Invocation::Token(_))
        ));
        assert!(parse(&["token"]).is_err());
        assert!(parse(&["token", "create"]).is_err());
        assert!(parse(&["token", "create", "--tenant", "A B"]).is_err());
        assert!(parse(&["token", "create", "--tenant", "a", "--scopes", "root"]).is_err());
        assert!(parse(&["token", "revoke", "7"]).is_err());
    }

    #[test]
    fn a_token_is_shown_once_and_its_secret_is_in_no_list() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let now = UnixMillis(0);
        let arguments = ["create", "--tenant", "a", "--expires-days", "2"];
        let shown = run(data, &arguments, now).unwrap();
        let token: Token = shown.trim_end().parse().unwrap();
        let id = token.key().to_string();
        let list = run(data, &["list"], now).unwrap();
        assert_eq!(list.lines().count(), 2);
        assert!(list.contains(&format!("{id}\ta\ttrain,predict,jobs,adapters\t0 days ago")));
        assert!(list.contains("expires in 2 days"));
        assert!(!list.contains(&shown[36..68]));
        let later = UnixMillis(3 * 24 * 60 * 60 * 1000);
        assert!(run(data, &["list"], later).unwrap().contains("expired"));

        let rotated = run(data, &["rotate", &id], now).unwrap();
        assert_ne!(rotated, shown);
        assert_eq!(rotated[..36], shown[..36]);
        run(data, &["revoke", &id], now).unwrap();
        assert!(run(data, &["list"], now).unwrap().contains("revoked"));
        assert!(matches!(
            run(data, &["rotate", &id], now),
            Err(TokenCommandError::State(StateError::UnknownToken))
        ));
    }

    /// Breaks when a database holds what would let its reader in.
    #[test]
    fn no_secret_is_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let shown = run(
            directory.path(),
            &["create", "--tenant", "a"],
            UnixMillis(0),
        )
        .unwrap();
        let secret = &shown.trim_end()[36..];
        let bytes: [u8; 32] = crate::hex::unhex(secret).unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let file = std::fs::read(entry.unwrap().path()).unwrap();
            let holds = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
            assert!(!holds(&bytes) && !holds(secret.as_bytes()));
        }
    }
}
