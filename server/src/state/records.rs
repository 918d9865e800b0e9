//! What is kept, as types.

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use serde::{Deserialize, Serialize};
use shared::protocol::message::{AdapterSettings, BottomTraining, LabelPlace, TrainSettings};

use super::events::FailureClass;
use super::transition::JobState;
use crate::auth::Scopes;
use crate::hex::{hex, unhex};

/// Milliseconds since 1970, as the system's clock had them when the record was written. Nothing is
/// ordered by it alone: a clock may jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time now; 1970 where the clock is set before it.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }

    /// A time some seconds later.
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        let millis = i64::try_from(secs.saturating_mul(1000)).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// A text is not a name of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 32 hexadecimal digits.
    #[error("an id is 32 hexadecimal digits")]
    Key,
    /// Not a tenant's name.
    #[error("a tenant's name is 1 to 64 of a-z, 0-9, '-' and '_'")]
    Tenant,
    /// Not an adapter's name.
    #[error(
        "an adapter's name is 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.', begins with a letter or \
         digit, and is neither 'default' nor an id"
    )]
    Adapter,
}

/// A random 128-bit name.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Draws a new one.
            ///
            /// # Errors
            ///
            /// When the generator has no randomness.
            pub fn draw<R: TryRng>(rng: &mut R) -> Result<Self, R::Error> {
                let mut bytes = [0; 16];
                rng.try_fill_bytes(&mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                unhex(text).map(Self).ok_or(NameError::Key)
            }
        }
    };
}

key! {
    /// Names a job in the state, for ever; `trainer::JobId` is its number while it runs.
    JobKey
}
key! {
    /// Names a token. It is no secret: the token's secret is.
    TokenKey
}
key! {
    /// Names an adapter.
    AdapterKey
}

/// A tenant's number; it is never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TenantId(pub i64);

/// A tenant's name, for the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantName(String);

impl TenantName {
    /// The tenant that everyone is while there is no token.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::Tenant)
        }
    }
}

/// A token as it is kept: without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its name.
    pub key: TokenKey,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: TenantName,
    /// Of the secret.
    pub secret_sha256: [u8; 32],
    /// Of the secret before the last rotation, and until when it is accepted.
    pub previous: Option<([u8; 32], UnixMillis)>,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was created.
    pub created: UnixMillis,
    /// From when on it is refused.
    pub expires: Option<UnixMillis>,
    /// Since when it is refused.
    pub revoked: Option<UnixMillis>,
}

/// What client and server agreed on for a job, as the protocol's types.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agreed {
    /// Blocks that the client runs.
    pub cut: u32,
    /// Classes of the task.
    pub n_classes: u32,
    /// The adapter to train.
    pub adapter: AdapterSettings,
    /// How to train it.
    pub settings: TrainSettings,
    /// Where the labels are.
    pub labels: LabelPlace,
    /// Whether the client trains an adapter, too.
    pub bottom: BottomTraining,
    /// sha256 of the client's bottom in hexadecimal: the model that the examples are for. Empty in
    /// records of earlier versions.
    #[serde(default)]
    pub bottom_sha256: String,
}

/// How much a job has to train on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExampleCounts {
    /// Examples that train.
    pub train: u32,
    /// Examples that measure.
    pub validation: u32,
    /// Bytes of their activations.
    pub bytes: u64,
}

/// A job that is to be created.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its name.
    pub key: JobKey,
    /// Whose it is.
    pub tenant: TenantId,
    /// What was agreed.
    pub agreed: Agreed,
    /// What there is to train on.
    pub examples: ExampleCounts,
    /// Fixes everything that is random in its run.
    pub seed: RunSeed,
}

/// Fixes everything that is random in a run: the adapter's start, the order of batches, dropout. A
/// run that begins again with it is the same run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunSeed(pub [u8; 32]);

impl fmt::Debug for RunSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunSeed")
    }
}

/// A job that has not ended, for a daemon that takes it up again.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJob {
    /// Whose it is.
    pub tenant: TenantId,
    /// The job.
    pub record: JobRecord,
    /// Of its run; none for a job that an earlier version created.
    pub seed: Option<RunSeed>,
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// Its name.
    pub key: JobKey,
    /// Where it stands.
    pub state: JobState,
    /// When it was created.
    pub created: UnixMillis,
    /// When it began to run.
    pub started: Option<UnixMillis>,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// What was agreed.
    pub agreed: Agreed,
    /// What there is to train on.
    pub examples: ExampleCounts,
    /// Why it failed.
    pub failure: Option<FailureClass>,
}

impl JobRecord {
    /// Its place in the list of jobs.
    pub fn place(&self) -> JobPlace {
        JobPlace {
            created: self.created,
            key: self.key,
        }
    }
}

/// A place in the list of jobs, which is ordered by creation and, within a millisecond, by name. It
/// stays a place when the job is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPlace {
    /// When the job was created.
    pub created: UnixMillis,
    /// Its name.
    pub key: JobKey,
}

/// An adapter's name for people, unique among its tenant's. It is never a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AdapterName(String);

impl AdapterName {
    /// The name of an adapter that nobody has named.
    pub fn of_key(key: AdapterKey) -> Self {
        Self(format!("adapter-{key}"))
    }

    /// The name that a job's adapter begins with.
    pub fn of_job(job: JobKey) -> Self {
        Self(format!("job-{}", &job.to_string()[..12]))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AdapterName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        // Whoever names an adapter may also write its key, or the word for the default.
        let is_taken = name == "default" || name.parse::<AdapterKey>().is_ok();
        if begins && name.len() <= 64 && name.bytes().all(allowed) && !is_taken {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::Adapter)
        }
    }
}

/// What an adapter was made for; it says nothing anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterFit {
    /// The model's name in the catalogue.
    pub model_id: String,
    /// Blocks that the client runs.
    pub cut: u32,
    /// Classes of the task.
    pub n_classes: u32,
}

/// What is changed of an adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterChange {
    /// Another name.
    pub name: Option<AdapterName>,
    /// Whether it is the tenant's default for its model and cut; another one then ceases to be.
    pub is_default: Option<bool>,
}

/// An adapter: what is said about it; its files are not in the state.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterRecord {
    /// Its name in the state.
    pub key: AdapterKey,
    /// The job that trained it; none for one that was brought.
    pub job: Option<JobKey>,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name for people.
    pub name: AdapterName,
    /// What it was made for.
    pub fit: AdapterFit,
    /// Whether it is the tenant's default for its model and cut.
    pub is_default: bool,
    /// When it was kept.
    pub created: UnixMillis,
    /// What a validation said of it, JSON.
    pub metrics: serde_json::Value,
    /// Size of its files.
    pub bytes: u64,
}

/// What went with a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Events.
    pub events: u64,
    /// Adapters, whose files are still there.
    pub adapters: Vec<AdapterKey>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let text = "000102030405060708090a0b0c0d0eff";
        let key: JobKey = text.parse().unwrap();
        assert_eq!((key.0[1], key.0[15]), (1, 255));
        assert_eq!(key.to_string(), text);
        for wrong in [
            &text[1..],
            &text.to_uppercase(),
            "g00102030405060708090a0b0c0d0eff",
            "../../../../../../../etc/passwd0",
        ] {
            assert_eq!(wrong.parse::<JobKey>(), Err(NameError::Key), "{wrong}");
        }
    }

    #[test]
    fn a_tenants_name_is_plain() {
        assert!("a-1_b".parse::<TenantName>().is_ok());
        for wrong in ["", "A", "a b", "a/b", "a\n", "é", &"a".repeat(65)] {
            assert_eq!(
                wrong.parse::<TenantName>(),
                Err(NameError::Tenant),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_adapters_name_is_no_path_and_no_key() {
        for name in ["a", "job-01.v2", "A_9", &"a".repeat(64)] {
            assert_eq!(name.parse::<AdapterName>().unwrap().as_str(), name);
        }
        for wrong in [
            "",
            ".",
            "..",
            "../a",
            ".hidden",
            "-a",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "é",
            "default",
            "000102030405060708090a0b0c0d0eff",
            &"a".repeat(65),
        ] {
            assert_eq!(
                wrong.parse::<AdapterName>(),
                Err(NameError::Adapter),
                "{wrong}"
            );
        }
        let key = JobKey([0xab; 16]);
        let names = [
            AdapterName::of_job(key),
            AdapterName::of_key(AdapterKey([1; 16])),
        ];
        assert_eq!(names[0].as_str(), "job-abababababab");
        for name in names {
            assert_eq!(name.as_str().parse(), Ok(name));
        }
    }

    #[test]
    fn seconds_do_not_overflow_a_time() {
        assert_eq!(UnixMillis(5).plus_secs(2), UnixMillis(2005));
        assert_eq!(UnixMillis(5).plus_secs(u64::MAX), UnixMillis(i64::MAX));
    }
}
