//! `--record`: what was really sent and received, frame by frame, and beside it the private truth, for
//! an audit.
//!
//! Both stay on this machine. The truth is as private as the file itself.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use client_wasm::client::audit::OwnedExample;
use client_wasm::options::{PrivacyOptions, UploadDtype};
use serde::{Deserialize, Serialize};
use shared::protocol::codec::sequence_of;
use shared::protocol::resume::UNCOUNTED;
use shared::text::{TextError, TokenIds};

/// Where the truth lies in the directory.
const TRUTH: &str = "private-truth.json";

/// Ending of the file of a frame that was sent.
const SENT: &str = "frame";

/// Ending of the file of a frame that was received.
const RECEIVED: &str = "received";

/// Written into the truth, for whoever finds it.
const WARNING: &str = "PRIVATE: holds the tokens of every text. Never give it away; delete it when \
                       the audit is done.";

/// Writes every frame to a file of its own; they are counted in both directions together.
#[derive(Debug)]
pub(crate) struct Recorder {
    directory: PathBuf,
    next: u32,
}

impl Recorder {
    /// Prepares a directory that only its owner may read.
    ///
    /// # Errors
    ///
    /// When it holds something already, or cannot be made.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let named = || format!("{} cannot be written", directory.display());
        let mut builder = DirBuilder::new();
        private_directory(builder.recursive(true));
        builder.create(directory).with_context(named)?;
        if fs::read_dir(directory)
            .with_context(named)?
            .next()
            .is_some()
        {
            bail!("{} is not empty", directory.display());
        }
        Ok(Self {
            directory: directory.to_owned(),
            next: 0,
        })
    }

    /// Keeps a frame that is about to be sent.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn keep_sent(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.keep(frame, SENT)
    }

    /// Keeps a frame that has come.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn keep_received(&mut self, frame: &[u8]) -> std::io::Result<()> {
        self.keep(frame, RECEIVED)
    }

    fn keep(&mut self, frame: &[u8], ending: &str) -> std::io::Result<()> {
        let path = self.directory.join(format!("{:06}.{ending}", self.next));
        self.next += 1;
        private_file(&path)?.write_all(frame)
    }
}

/// How a recorded run released, and what.
#[derive(Serialize, Deserialize)]
pub(crate) struct Truth {
    warning: String,
    /// The model's name.
    pub(crate) model_id: String,
    /// Blocks at the client.
    pub(crate) cut: u32,
    /// Which mechanism, with the eta that was used.
    pub(crate) privacy: PrivacyOptions,
    /// How activations were written.
    pub(crate) dtype: UploadDtype,
    examples: Vec<RecordedExample>, // by example id
}

impl std::fmt::Debug for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Truth({} examples)", self.examples.len())
    }
}

/// An example as it is written down.
#[derive(Serialize, Deserialize)]
struct RecordedExample {
    tokens: RecordedTokens,
    sanitized: Option<RecordedTokens>,
    named: Vec<usize>,
    label: u32,
}

/// Tokens as they are written down.
#[derive(Serialize, Deserialize)]
struct RecordedTokens {
    ids: Vec<u32>,
    type_ids: Vec<u8>,
    special: Vec<bool>,
}

impl From<&TokenIds> for RecordedTokens {
    fn from(tokens: &TokenIds) -> Self {
        Self {
            ids: tokens.ids().to_vec(),
            type_ids: tokens.type_ids().to_vec(),
            special: tokens.special().to_vec(),
        }
    }
}

impl RecordedTokens {
    fn private(&self) -> Result<TokenIds, TextError> {
        let (types, special) = (self.type_ids.clone(), self.special.clone());
        TokenIds::new(self.ids.clone(), types, special)
    }
}

impl From<&OwnedExample> for RecordedExample {
    fn from(example: &OwnedExample) -> Self {
        Self {
            tokens: (&example.tokens).into(),
            sanitized: example.sanitized.as_ref().map(RecordedTokens::from),
            named: example.named.clone(),
            label: example.label,
        }
    }
}

impl RecordedExample {
    fn private(&self) -> anyhow::Result<OwnedExample> {
        let sanitized = self.sanitized.as_ref().map(RecordedTokens::private);
        Ok(OwnedExample {
            tokens: self.tokens.private()?,
            sanitized: sanitized.transpose()?,
            named: self.named.clone(),
            label: self.label,
        })
    }
}

/// How a run released: all of a [`Truth`] but its examples.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) model_id: String,
    pub(crate) cut: u32,
    pub(crate) privacy: PrivacyOptions,
    pub(crate) dtype: UploadDtype,
}

/// Writes the truth beside the frames.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_truth(
    directory: &Path,
    release: Release,
    examples: &[OwnedExample],
) -> anyhow::Result<()> {
    let truth = Truth {
        warning: WARNING.to_owned(),
        model_id: release.model_id,
        cut: release.cut,
        privacy: release.privacy,
        dtype: release.dtype,
        examples: examples.iter().map(RecordedExample::from).collect(),
    };
    let path = directory.join(TRUTH);
    let named = || format!("{} cannot be written", path.display());
    let mut file = private_file(&path).with_context(named)?;
    serde_json::to_writer(&mut file, &truth).with_context(named)
}

/// A recorded run.
pub(crate) struct Recording {
    /// How it released.
    pub(crate) truth: Truth,
    /// What, by example id.
    pub(crate) examples: Vec<OwnedExample>,
    /// The client's frames, in their order.
    pub(crate) sent: Vec<Vec<u8>>,
    /// The server's frames, in their order.
    pub(crate) received: Vec<Vec<u8>>,
}

/// Reads a recorded run.
///
/// # Errors
///
/// When something is missing or damaged.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Recording> {
    let path = directory.join(TRUTH);
    let bytes = fs::read(&path).with_context(|| {
        let path = path.display();
        format!("{path} cannot be read: was the run recorded to its end?")
    })?;
    let truth: Truth = serde_json::from_slice(&bytes)
        .map_err(|_| anyhow::anyhow!("{} is damaged", path.display()))?;
    let examples = truth.examples.iter().map(RecordedExample::private);
    let examples = examples.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Recording {
        truth,
        examples,
        sent: once(frames(directory, SENT)?),
        received: once(frames(directory, RECEIVED)?),
    })
}

/// Frames without those that went over the wire again after a lost connection: whoever listens has
/// their numbers already.
fn once(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut last = UNCOUNTED;
    frames.retain(|frame| match sequence_of(frame) {
        None | Some(UNCOUNTED) => true,
        Some(sequence) => {
            let is_new = sequence > last;
            last = last.max(sequence);
            is_new
        }
    });
    frames
}

fn frames(directory: &Path, wanted: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == wanted) {
            paths.push(path);
        }
    }
    paths.sort();
    let frames: Result<Vec<_>, _> = paths.iter().map(fs::read).collect();
    Ok(frames?)
}

/// A new file that only its owner may read.
///
/// # Errors
///
/// When it is there already, or cannot be made.
pub(crate) fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn private_directory(builder: &mut DirBuilder) {
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
    #[cfg(not(unix))]
    let _ = builder;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::protocol::codec::encode_client;
    use shared::protocol::message::ClientMessage;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let own = format!("cutlayer-record-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(own);
        let _ = fs::remove_dir_all(&path); // of an earlier run
        path
    }

    /// Breaks when an audit counts an example twice whose upload was sent again.
    #[test]
    fn what_was_sent_again_is_read_once() {
        let frame = |sequence| encode_client(sequence, &ClientMessage::Pause, &[]).unwrap();
        let frames = [1, 2, 3, 0, 2, 3, 4].map(frame);
        let [one, two, three, uncounted, _, _, four] = frames.clone();
        let expected = [one, two, three, uncounted, four];
        assert_eq!(once(frames.to_vec()), expected);
    }

    #[test]
    fn a_recorded_run_is_read_back_and_private() {
        let path = directory("run");
        let mut recorder = Recorder::new(&path).unwrap();
        recorder.keep_sent(&[1, 2]).unwrap();
        recorder.keep_received(&[4]).unwrap();
        recorder.keep_sent(&[3]).unwrap();
        let tokens = TokenIds::new(vec![5, 6], vec![0, 0], vec![true, false]).unwrap();
        let example = OwnedExample {
            sanitized: Some(tokens.keeping(&[0]).unwrap()), // also where words are left out
            tokens,
            named: vec![1],
            label: 3,
        };
        let release = Release {
            model_id: "m".to_owned(),
            cut: 1,
            privacy: PrivacyOptions {
                eta: Some(70.0),
                ..PrivacyOptions::default()
            },
            dtype: UploadDtype::F16,
        };
        write_truth(&path, release, std::slice::from_ref(&example)).unwrap();
        let run = read(&path).unwrap();
        assert_eq!((run.truth.cut, run.truth.privacy.eta), (1, Some(70.0)));
        assert_eq!(run.examples, [example]);
        assert_eq!(run.sent, [vec![1, 2], vec![3]]);
        assert_eq!(run.received, [vec![4]]);
        #[cfg(unix)]
        for entry in fs::read_dir(&path).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // Nothing is recorded over something else.
        assert!(Recorder::new(&path).is_err());
        fs::remove_dir_all(&path).unwrap();
    }
}
