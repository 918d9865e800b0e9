//! The whole audit: every attack, over seeds, with its controls.

use std::collections::HashMap;

use super::attack::{Attack, Attacker, AuditError, Guesses, Pending, Simulator, Truth};
use super::attacks::Average;
use super::client_claim;
use super::controls;
use super::prior::frequent;
use super::released::Released;
use super::report::{AttackReport, AuditReport, AveragingReport, Control, Measures};
use super::score::{Scores, score};
use super::side::side;
use super::thresholds::AVERAGING_GAIN_MAX;
use crate::model::{BottomModel, TopModel};
use crate::privacy::ordinary_ids;
use crate::text::TokenIds;

/// The client under audit, with the evaluated examples in its hands.
pub trait Subject {
    /// Releases the evaluated examples. The same secret gives the same release.
    ///
    /// # Errors
    ///
    /// When the client cannot release.
    fn observe(&self, secret: u64) -> Pending<'_, Released>;

    /// The attacker's copy of this client.
    fn simulator(&self) -> &dyn Simulator;

    /// The same client without a mechanism.
    fn undefended(&self) -> &dyn Simulator;
}

/// What the attacker has, whatever it attacks.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge<'a> {
    /// The client's part of the model.
    pub bottom: &'a BottomModel,
    /// The blocks behind the cut, on the same device; without them the infilling attack is not run.
    pub top: Option<&'a TopModel>,
    /// Tokens that no text consists of.
    pub special_ids: &'a [u32],
    /// Text that never overlaps the evaluated examples.
    pub public: &'a [TokenIds],
    /// A class of each public text, where known.
    pub public_classes: Option<&'a [u32]>,
}

/// What is run.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The attacks.
    pub attacks: &'a [&'static dyn Attack],
    /// Several observations of one text; 0 for not.
    pub observations: usize,
    /// Whether lengths are looked at.
    pub side: bool,
    /// Whether the guarantee is checked.
    pub claim: bool,
    /// Of noise and attacker, one run each.
    pub seeds: &'a [u64],
}

impl std::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Plan({} attacks, {} seeds)",
            self.attacks.len(),
            self.seeds.len()
        )
    }
}

/// Watches a run from outside.
pub trait Watch {
    /// What is worked on, and its share that is done.
    fn progress(&self, what: &str, share: f64);

    /// Seconds since some point in time: this room has no clock.
    fn seconds(&self) -> f64;
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The numbers.
    pub report: AuditReport,
    /// The guesses of each attack under the first seed, for the owner's eyes.
    pub guesses: HashMap<&'static str, Guesses>,
}

/// Runs an audit.
///
/// # Errors
///
/// When the client cannot release, the device fails, or an attack's answer does not fit.
pub async fn run(
    subject: &dyn Subject,
    knowledge: &Knowledge<'_>,
    truth: &Truth<'_>,
    plan: &Plan<'_>,
    watch: &dyn Watch,
) -> Result<Outcome, AuditError> {
    let audit = Audit {
        subject,
        knowledge,
        truth,
        plan,
        watch,
        // As many as the longest text has.
        frequent: frequent(
            knowledge.public,
            knowledge.bottom.config().vocab_size,
            knowledge.special_ids,
            truth.tokens.iter().map(TokenIds::len).max().unwrap_or(0),
        ),
    };
    let mut tracks: Vec<Track> = plan.attacks.iter().map(|_| Track::default()).collect();
    let mut lengths = Vec::new();
    for (index, seed) in plan.seeds.iter().enumerate() {
        watch.progress(
            "releasing the texts",
            index as f64 / plan.seeds.len() as f64,
        );
        let observed = subject.observe(*seed).await?;
        audit
            .one_seed(&observed, *seed, index == 0, &mut tracks)
            .await?;
        lengths = observed.activations.seq_lengths().to_vec();
    }
    let mut report = audit.summary(&tracks);
    if let Some(seed) = plan.seeds.first() {
        if plan.observations > 1 {
            report.averaging = audit.averaging(*seed).await?;
        }
        if plan.side {
            report.side = Some(side(&lengths, truth.classes, *seed));
        }
        if plan.claim {
            let progress = |share| watch.progress("checking the guarantee", share);
            let attacker = audit.attacker(subject.simulator(), *seed, &progress);
            report.claim = client_claim::checks(&attacker).await?;
        }
    }
    let ids = plan.attacks.iter().map(|attack| attack.id());
    let guesses = ids
        .zip(tracks)
        .filter_map(|(id, track)| Some((id, track.guesses?)));
    Ok(Outcome {
        report,
        guesses: guesses.collect(),
    })
}

/// What is known of one attack so far.
#[derive(Default)]
struct Track {
    scores: Vec<Scores>,
    seconds: f64,
    not_run: Option<String>,
    undefended: Option<Scores>,
    chance: Option<f64>,
    controls: Vec<Control>,
    guesses: Option<Guesses>,
}

struct Audit<'a> {
    subject: &'a dyn Subject,
    knowledge: &'a Knowledge<'a>,
    truth: &'a Truth<'a>,
    plan: &'a Plan<'a>,
    watch: &'a dyn Watch,
    frequent: Vec<u32>,
}

impl Audit<'_> {
    fn attacker<'s>(
        &'s self,
        simulator: &'s dyn Simulator,
        seed: u64,
        progress: &'s dyn Fn(f64),
    ) -> Attacker<'s> {
        Attacker {
            bottom: self.knowledge.bottom,
            top: self.knowledge.top,
            special_ids: self.knowledge.special_ids,
            public: self.knowledge.public,
            public_classes: self.knowledge.public_classes,
            simulator,
            undefended: self.subject.undefended(),
            seed,
            progress,
        }
    }

    /// Runs every attack against one release; under the first seed with its controls.
    async fn one_seed(
        &self,
        observed: &Released,
        seed: u64,
        controls: bool,
        tracks: &mut [Track],
    ) -> Result<(), AuditError> {
        let undefended = match controls {
            true => Some(self.undefended(observed, seed).await?),
            false => None,
        };
        // What leaked in the control is attacked together with the rest, so that an attack that is
        // trained is trained once.
        let leak = undefended
            .as_ref()
            .map(|clean| controls::with_leak(observed, clean));
        let all = match &leak {
            Some(leak) => observed.clone().join(leak.clone()),
            None => observed.clone(),
        };
        for (attack, track) in self.plan.attacks.iter().zip(tracks) {
            if track.not_run.is_some() {
                continue;
            }
            let started = self.watch.seconds();
            let simulator = self.subject.simulator();
            let (guesses, of_leak) = match self.guesses(*attack, "", simulator, &all, seed).await {
                Ok(guesses) => guesses.split_off(observed.len()),
                Err(AuditError::NotApplicable { reason }) => {
                    track.not_run = Some(reason.to_owned());
                    continue;
                }
                Err(error) => return Err(error),
            };
            track.seconds += self.watch.seconds() - started;
            track.scores.push(score(&guesses, self.truth)?);
            if let Some((undefended, leak)) = undefended.as_ref().zip(leak.as_ref()) {
                // A slow attack tries the first examples only, and so has not come to the leak.
                let of_leak = match of_leak.len() == leak.len() {
                    true => of_leak,
                    false => {
                        let against = ", injected leak";
                        self.guesses(*attack, against, simulator, leak, seed)
                            .await?
                    }
                };
                self.controls(*attack, undefended, [&guesses, &of_leak], seed, track)
                    .await?;
                track.guesses = Some(guesses);
            }
        }
        Ok(())
    }

    async fn guesses(
        &self,
        attack: &dyn Attack,
        against: &str,
        simulator: &dyn Simulator,
        observed: &Released,
        seed: u64,
    ) -> Result<Guesses, AuditError> {
        let what = format!("{}{against}", attack.id());
        let progress = |share| self.watch.progress(&what, share);
        progress(0.0);
        let attacker = self.attacker(simulator, seed, &progress);
        attack.run(&attacker, observed).await
    }

    /// The evaluated examples without a mechanism. Where the attacker is granted sanitized tokens
    /// it is granted these, which here are the tokens themselves.
    async fn undefended(&self, observed: &Released, seed: u64) -> Result<Released, AuditError> {
        let released = self
            .subject
            .undefended()
            .release(self.truth.tokens, seed)
            .await?;
        let tokens = observed
            .sanitized
            .as_ref()
            .map(|_| self.truth.tokens.to_vec());
        Ok(released.with_sanitized(tokens))
    }

    async fn controls(
        &self,
        attack: &dyn Attack,
        undefended: &Released,
        [guesses, of_leak]: [&Guesses; 2],
        seed: u64,
        track: &mut Track,
    ) -> Result<(), AuditError> {
        let shuffled = controls::shuffled(guesses, self.truth, &self.frequent);
        track.chance = shuffled.map(|shuffled| shuffled.chance);
        track
            .controls
            .extend(shuffled.map(controls::shuffled_control));
        let simulator = self.subject.undefended();
        let against = ", without the mechanism";
        let reference = match self
            .guesses(attack, against, simulator, undefended, seed)
            .await
        {
            Ok(reference) => reference,
            Err(AuditError::NotApplicable { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let as_undefended = Truth {
            keeps_positions: simulator.keeps_positions(),
            ..*self.truth
        };
        let scores = score(&reference, &as_undefended)?;
        let (cut, chance) = (
            self.knowledge.bottom.cut().index(),
            track.chance.unwrap_or(0.0),
        );
        let control = controls::reference_control(attack.id(), cut, &scores, chance);
        track.controls.push(control);
        track.undefended = Some(scores);
        let leak = controls::leak_control(of_leak, &reference, self.truth)?;
        track.controls.extend(leak);
        Ok(())
    }

    /// Several observations of each text: of one release, and under fresh noise.
    async fn averaging(&self, seed: u64) -> Result<Option<AveragingReport>, AuditError> {
        let single = self.subject.observe(seed).await?;
        let (mut same, mut fresh) = (single.clone(), single.clone());
        for repeat in 1..self.plan.observations as u64 {
            same.repeats.push(self.subject.observe(seed).await?);
            let noise = seed.wrapping_add(repeat);
            let simulator = self.subject.simulator();
            fresh
                .repeats
                .push(simulator.release(self.truth.tokens, noise).await?);
        }
        let mut successes = Vec::new();
        for observed in [&single, &same, &fresh] {
            let simulator = self.subject.simulator();
            match self.guesses(&Average, "", simulator, observed, seed).await {
                Ok(guesses) => successes.push(score(&guesses, self.truth)?.success()),
                Err(AuditError::NotApplicable { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let [single, one_release, fresh_noise] = successes[..] else {
            return Ok(None);
        };
        let gain = one_release - single;
        Ok(Some(AveragingReport {
            observations: self.plan.observations,
            single,
            one_release,
            fresh_noise,
            control: Control::at_most("gain under one release", gain, AVERAGING_GAIN_MAX),
        }))
    }

    fn summary(&self, tracks: &[Track]) -> AuditReport {
        let attacks = self.plan.attacks.iter().zip(tracks);
        let attacks: Vec<AttackReport> = attacks
            .map(|(attack, track)| AttackReport {
                id: attack.id(),
                about: attack.about(),
                not_run: track.not_run.clone(),
                seconds: track.seconds / track.scores.len().max(1) as f64,
                examples: track.scores.first().map_or(0, |scores| scores.examples),
                defended: Measures::of(&track.scores),
                undefended: track.undefended.clone(),
                chance: track.chance,
                controls: track.controls.clone(),
            })
            .collect();
        let examples = self.truth.tokens.len();
        let strongest = attacks
            .iter()
            .filter(|attack| attack.examples == examples && attack.defended.macro_f1.is_none())
            .filter_map(|attack| Some((attack.id, attack.defended.success?)))
            .max_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
        AuditReport {
            examples,
            tokens: self
                .truth
                .tokens
                .iter()
                .map(|t| ordinary_ids(t).count())
                .sum(),
            named_tokens: self.truth.named.iter().map(Vec::len).sum(),
            public_texts: self.knowledge.public.len(),
            seeds: self.plan.seeds.len(),
            keeps_positions: self.truth.keeps_positions,
            strongest: strongest.map(|(id, _)| id),
            empirical_privacy: strongest.map(|(_, success)| success.complement()),
            attacks,
            ..AuditReport::default()
        }
    }
}
