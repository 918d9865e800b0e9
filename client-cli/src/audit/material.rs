//! What is attacked, what the attacker learns from, and the attack.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use client_wasm::client::Client;
use client_wasm::client::audit::OwnedExample;
use client_wasm::options::UploadDtype;
use shared::audit::report::AuditReport;
use shared::audit::run::Outcome;
use shared::audit::side::side;
use shared::audit::{Guesses, Knowledge, Plan, Released, Subject, Truth};
use shared::model::TopModel;
use shared::text::TokenIds;

use super::args::AuditArgs;
use super::attribute::{Attribute, owned};
use super::document::Shown;
use super::recorded::{Recorded, TRAINED_BOTTOM};
use super::{Bar, Chosen};
use crate::connection::Connection;
use crate::output::Output;

/// Texts that the attacker learns from; more would take longer than it teaches.
const PUBLIC_TEXTS_MAX: usize = 4_000;

/// Texts in the owner's report.
const SHOWN: usize = 30;

/// What a recorded run sent of the attacked examples.
struct Sent {
    /// None where the bottom was trained.
    released: Option<Released>,
    seq_lengths: Vec<u16>,
}

/// The evaluated examples, and what the attacker learns from.
pub(super) struct Material {
    rows: Vec<usize>,
    examples: Vec<OwnedExample>,
    recorded: Option<Sent>,
    dtype: UploadDtype,
    public: Vec<TokenIds>,
    public_classes: Option<Vec<u32>>,
    /// Where the attacker's text came from, in words.
    pub(super) attacker: String,
    top: Option<TopModel>,
}

impl Material {
    /// Draws the rows that are attacked, and what the attacker learns from.
    ///
    /// # Errors
    ///
    /// When a file does not fit, or the device fails.
    pub(super) async fn gather(
        client: &Client<Connection>,
        args: &AuditArgs,
        recorded: Option<&Recorded>,
        public: Option<Vec<TokenIds>>,
        attribute: Option<&Attribute>,
    ) -> anyhow::Result<Self> {
        let count = args.examples as usize;
        let (rows, examples, others, sent, dtype) = match recorded {
            None => {
                let (drawn, others) = client.draw_rows(count)?;
                let examples = owned(client, &drawn, attribute).await?;
                let others = match public {
                    Some(_) => Vec::new(),
                    None => {
                        let others = &others[..others.len().min(PUBLIC_TEXTS_MAX)];
                        owned(client, others, attribute).await?
                    }
                };
                (drawn, examples, others, None, args.dtype)
            }
            Some(recorded) => {
                if recorded.truth.model_id != client.catalogue().model_id {
                    bail!("the run was recorded with another model");
                }
                let total = recorded.uploaded.example_ids.len();
                let (drawn, others) = client.draw(total, count)?;
                let of = |at: &usize| recorded.example(*at).clone();
                let examples: Vec<OwnedExample> = drawn.iter().map(of).collect();
                let others = others.iter().take(PUBLIC_TEXTS_MAX).map(of).collect();
                let after: Option<Vec<_>> = examples
                    .iter()
                    .map(|example| example.sanitized.clone())
                    .collect();
                let released = recorded.uploaded.released.as_ref();
                let sent = Sent {
                    released: released.map(|all| all.select(&drawn).with_sanitized(after)),
                    seq_lengths: drawn
                        .iter()
                        .map(|at| recorded.uploaded.seq_lengths[*at])
                        .collect(),
                };
                let dtype = recorded.truth.dtype;
                (Vec::new(), examples, others, Some(sent), dtype)
            }
        };
        let evaluated: HashSet<&[u32]> = examples.iter().map(|e| e.tokens.ids()).collect();
        let is_new = |tokens: &TokenIds| !evaluated.contains(tokens.ids());
        let (public, public_classes, attacker) = match public {
            Some(public) => {
                let public = public.into_iter().filter(is_new).take(PUBLIC_TEXTS_MAX);
                (public.collect(), None, "a file of public text".to_owned())
            }
            None => {
                let others = others.into_iter().filter(|e| is_new(&e.tokens));
                let (public, classes): (Vec<_>, Vec<_>) =
                    others.map(|e| (e.tokens, e.label)).unzip();
                let attacker = "the other rows of the same file, which a real attacker does not \
                                have: it is stronger than most";
                (public, Some(classes), attacker.to_owned())
            }
        };
        drop(evaluated);
        Ok(Self {
            rows,
            examples,
            recorded: sent,
            dtype,
            public,
            public_classes,
            attacker,
            top: args
                .model
                .as_deref()
                .map(|dir| top(dir, client))
                .transpose()?,
        })
    }

    /// Attacks; where the bottom was trained there is nothing to attack.
    ///
    /// # Errors
    ///
    /// When an attack or the device fails.
    pub(super) async fn attack(
        &self,
        client: &Client<Connection>,
        args: &AuditArgs,
        chosen: &Chosen,
        seed: u64,
        output: &mut Output,
    ) -> anyhow::Result<Outcome> {
        let released = match &self.recorded {
            Some(Sent {
                released: None,
                seq_lengths,
            }) => return Ok(self.not_attacked(seq_lengths, chosen, seed)),
            Some(sent) => sent.released.clone(),
            None => None,
        };
        let audited = client.audited(&self.rows, released, self.dtype)?;
        let tokens: Vec<_> = self.examples.iter().map(|e| e.tokens.clone()).collect();
        let named: Vec<_> = self.examples.iter().map(|e| e.named.clone()).collect();
        let classes: Vec<_> = self.examples.iter().map(|e| e.label).collect();
        let truth = Truth {
            tokens: &tokens,
            named: &named,
            classes: &classes,
            keeps_positions: audited.simulator().keeps_positions(),
        };
        let special = client.special_ids();
        let classes = self.public_classes.as_deref();
        let knowledge = Knowledge {
            top: self.top.as_ref(),
            ..client.knowledge(&special, &self.public, classes)
        };
        let seeds: Vec<u64> = (0..u64::from(args.seeds))
            .map(|n| seed.wrapping_add(n))
            .collect();
        // Of recorded traffic there is one release, and no client to ask again.
        let observations = match chosen.checks.contains("avg") && self.recorded.is_none() {
            true => args.observations as usize,
            false => 0,
        };
        let plan = Plan {
            attacks: &chosen.attacks,
            observations,
            side: chosen.checks.contains("side"),
            claim: chosen.checks.contains("claim"),
            seeds: &seeds,
        };
        let bar = Bar::new(output);
        let outcome = shared::audit::run::run(&audited, &knowledge, &truth, &plan, &bar).await;
        output.clear();
        outcome.map_err(Into::into)
    }

    /// What is left where the bottom was trained: lengths.
    fn not_attacked(&self, seq_lengths: &[u16], chosen: &Chosen, seed: u64) -> Outcome {
        let classes: Vec<_> = self.examples.iter().map(|e| e.label).collect();
        let looks = chosen.checks.contains("side");
        let report = AuditReport {
            examples: self.examples.len(),
            public_texts: self.public.len(),
            side: looks.then(|| side(seq_lengths, &classes, seed)),
            ..AuditReport::not_attacked(&chosen.attacks, TRAINED_BOTTOM)
        };
        Outcome {
            report,
            guesses: HashMap::new(),
        }
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
