//! What an audit works on: the attacked rows, what the attacker learns from, and recorded traffic.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use client_wasm::client::Client;
use client_wasm::client::audit::{OwnedExample, draw};
use client_wasm::options::UploadDtype;
use shared::audit::recorded::uploaded;
use shared::audit::run::Outcome;
use shared::audit::{Guesses, Released};
use shared::model::TopModel;
use shared::text::TokenIds;

use super::args::AuditArgs;
use super::document::Shown;
use crate::args::Common;
use crate::connection::Connection;
use crate::record;

/// Texts that the attacker learns from; more would take longer than it teaches.
const PUBLIC_TEXTS_MAX: usize = 4_000;

/// Texts in the owner's report.
const SHOWN: usize = 30;

/// A recorded run, ready to be attacked.
pub(super) struct Recorded {
    truth: record::Truth,
    examples: Vec<OwnedExample>,
    ids: Vec<u32>,
    sent: Released,
}

impl Recorded {
    /// Reads what `train --record` wrote.
    ///
    /// # Errors
    ///
    /// When something is missing or damaged, or does not belong together.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let (truth, examples, frames) = record::read(directory)?;
        let (ids, sent) = uploaded(frames.iter().map(Vec::as_slice))?;
        if ids.iter().any(|id| *id as usize >= examples.len()) {
            bail!("{} does not belong together", directory.display());
        }
        Ok(Self {
            truth,
            examples,
            ids,
            sent,
        })
    }

    /// The options with those of the recorded run.
    pub(super) fn common(&self, common: &Common) -> Common {
        let truth = &self.truth;
        common.as_recorded(truth.cut, &truth.privacy)
    }
}

/// The evaluated examples, and what the attacker learns from.
pub(super) struct Material {
    pub(super) rows: Vec<usize>,
    pub(super) examples: Vec<OwnedExample>,
    pub(super) recorded: Option<Released>,
    pub(super) dtype: UploadDtype,
    pub(super) public: Vec<TokenIds>,
    pub(super) public_classes: Option<Vec<u32>>,
    pub(super) attacker: String,
    pub(super) top: Option<TopModel>,
}

/// Rows that are attacked, and the others.
struct Drawn {
    rows: Vec<usize>,
    examples: Vec<OwnedExample>,
    others: Vec<OwnedExample>,
    sent: Option<Released>,
    dtype: UploadDtype,
}

impl Drawn {
    /// Rows of the file; the others only where the attacker learns from them.
    async fn from_file(client: &Client<Connection>, args: &AuditArgs) -> anyhow::Result<Self> {
        let (rows, others) = client.draw_rows(args.examples as usize)?;
        // At random: a file may be sorted.
        let most = match args.public {
            Some(_) => 0,
            None => PUBLIC_TEXTS_MAX,
        };
        let (learnt, _) = draw(others.len(), most)?;
        let others: Vec<usize> = learnt.iter().map(|at| others[*at]).collect();
        Ok(Self {
            examples: client.private_examples(&rows).await?,
            others: client.private_examples(&others).await?,
            rows,
            sent: None,
            dtype: args.dtype,
        })
    }

    /// Rows that were recorded.
    fn from_record(
        recorded: Recorded,
        client: &Client<Connection>,
        args: &AuditArgs,
    ) -> anyhow::Result<Self> {
        if recorded.truth.model_id != client.catalogue().model_id {
            bail!("the run was recorded with another model");
        }
        let (drawn, others) = draw(recorded.ids.len(), args.examples as usize)?;
        let of = |at: &usize| recorded.examples[recorded.ids[*at] as usize].clone();
        let examples: Vec<OwnedExample> = drawn.iter().map(of).collect();
        let sanitized = examples.iter().map(|example| example.sanitized.clone());
        Ok(Self {
            rows: Vec::new(),
            sent: Some(
                recorded
                    .sent
                    .select(&drawn)
                    .with_sanitized(sanitized.collect()),
            ),
            examples,
            others: others.iter().take(PUBLIC_TEXTS_MAX).map(of).collect(),
            dtype: recorded.truth.dtype,
        })
    }
}

impl Material {
    /// Draws rows and finds out what the attacker has.
    ///
    /// # Errors
    ///
    /// When there is no file, the record is of another model, or a text has no token.
    pub(super) async fn gather(
        client: &Client<Connection>,
        args: &AuditArgs,
        recorded: Option<Recorded>,
        public: Option<Vec<TokenIds>>,
    ) -> anyhow::Result<Self> {
        let drawn = match recorded {
            None => Drawn::from_file(client, args).await?,
            Some(recorded) => Drawn::from_record(recorded, client, args)?,
        };
        let evaluated: HashSet<&[u32]> = drawn.examples.iter().map(|e| e.tokens.ids()).collect();
        let is_new = |tokens: &TokenIds| !evaluated.contains(tokens.ids());
        let (public, public_classes, attacker) = match public {
            Some(public) => {
                let public = public.into_iter().filter(is_new).take(PUBLIC_TEXTS_MAX);
                (public.collect(), None, "a file of public text")
            }
            None => {
                let others = drawn.others.into_iter().filter(|e| is_new(&e.tokens));
                let (public, classes): (Vec<_>, Vec<_>) =
                    others.map(|e| (e.tokens, e.label)).unzip();
                let attacker = "the other rows of the same file, which a real attacker does not \
                                have: it is stronger than most";
                (public, Some(classes), attacker)
            }
        };
        let top = args.model.as_deref().map(|dir| top(dir, client));
        Ok(Self {
            rows: drawn.rows,
            examples: drawn.examples,
            recorded: drawn.sent,
            dtype: drawn.dtype,
            public,
            public_classes,
            attacker: attacker.to_owned(),
            top: top.transpose()?,
        })
    }

    /// Texts beside what the strongest attack made of them.
    pub(super) fn shown(&self, client: &Client<Connection>, outcome: &Outcome) -> Vec<Shown> {
        let strongest = outcome
            .report
            .strongest
            .and_then(|id| outcome.guesses.get(id));
        let bags: Vec<Vec<u32>> = match strongest {
            Some(Guesses::Rows(rows)) => {
                let first = |rows: &Vec<Vec<u32>>| -> Vec<u32> {
                    rows.iter().filter_map(|row| row.first().copied()).collect()
                };
                rows.iter().map(first).collect()
            }
            Some(Guesses::Bags(bags)) => bags.clone(),
            _ => Vec::new(),
        };
        let special = client.special_ids();
        let pairs = self.examples.iter().zip(bags).take(SHOWN);
        pairs
            .filter_map(|(example, guessed)| {
                let is_special = guessed.iter().map(|id| special.contains(id)).collect();
                let types = vec![0; guessed.len()];
                let guessed = TokenIds::new(guessed, types, is_special).ok()?;
                // Rows of special tokens are guessed too, and mean nothing.
                let rows = example.tokens.special();
                let own = match rows.len() == guessed.len() {
                    true => TokenIds::new(guessed.ids().to_vec(), vec![0; rows.len()], rows.into()),
                    false => Ok(guessed),
                };
                Some(Shown {
                    original: client.readable(&example.tokens),
                    recovered: client.readable(&own.ok()?),
                })
            })
            .collect()
    }
}

/// The blocks above the cut, which the attacker owns and this client does not.
fn top(directory: &Path, client: &Client<Connection>) -> anyhow::Result<TopModel> {
    let path = directory.join("model.safetensors");
    let file = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(client.top(&file)?)
}
