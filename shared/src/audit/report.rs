//! What comes out of an audit: numbers and names of attacks, nothing of the data.

use serde::Serialize;

use super::attack::Attack;
use super::claim::ClaimCheck;
use super::labels::LabelsReport;
use super::pattern::PatternReport;
use super::score::Scores;
use super::side::SideReport;
use super::statistics::Interval;

/// Everything that was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AuditReport {
    /// Evaluated examples.
    pub examples: usize,
    /// Their tokens, special ones left out.
    pub tokens: usize,
    /// Of them, tokens of names and numbers.
    pub named_tokens: usize,
    /// Texts that the attacker learnt from.
    pub public_texts: usize,
    /// Runs with randomness of their own.
    pub seeds: usize,
    /// Whether released rows belong to positions of the text.
    pub keeps_positions: bool,
    /// Each attack, in the order of the table.
    pub attacks: Vec<AttackReport>,
    /// The attack that recovered most, of those that tried every example.
    pub strongest: Option<&'static str>,
    /// `1 - success` of the strongest attack.
    pub empirical_privacy: Option<Interval>,
    /// Several observations of one text.
    pub averaging: Option<AveragingReport>,
    /// What lengths tell.
    pub side: Option<SideReport>,
    /// Whether the guarantee is kept; empty where nothing is claimed or nothing was checked.
    pub claim: Vec<ClaimCheck>,
    /// What the steps of a recorded run with labels at the client tell of labels.
    #[serde(flatten)]
    pub labels: LabelsReport,
    /// Zeros and sizes in the steps of a recorded run whose bottom was trained.
    pub pattern: Option<PatternReport>,
}

impl AuditReport {
    /// A report in which there was nothing to attack.
    pub fn not_attacked(attacks: &[&'static dyn Attack], reason: &str) -> Self {
        let not_run = |attack: &&'static dyn Attack| AttackReport {
            id: attack.id(),
            about: attack.about(),
            not_run: Some(reason.to_owned()),
            ..AttackReport::default()
        };
        Self {
            attacks: attacks.iter().map(not_run).collect(),
            ..Self::default()
        }
    }

    /// Whether every control and check passed.
    pub fn passed(&self) -> bool {
        let controls = self.attacks.iter().flat_map(|attack| &attack.controls);
        let averaging = self.averaging.iter().map(|averaging| &averaging.control);
        let labels = self.labels.label_controls.iter();
        let labels = labels.map(|control| &control.control);
        let mut controls = controls.chain(averaging).chain(labels);
        controls.all(|control| control.passed)
            && self.claim.iter().all(|check| check.passed)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.passed)
    }
}

/// One attack.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttackReport {
    /// Its name.
    pub id: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// Why it was not run; then nothing below is there.
    pub not_run: Option<String>,
    /// Seconds of one run against the mechanism.
    pub seconds: f64,
    /// Examples that it tried.
    pub examples: usize,
    /// Against the mechanism, over the seeds.
    pub defended: Measures,
    /// Without the mechanism, first seed.
    pub undefended: Option<Scores>,
    /// What guesses get that have nothing to do with the text.
    pub chance: Option<f64>,
    /// Whether its numbers count.
    pub controls: Vec<Control>,
}

/// Scores over seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measures {
    /// What counts: see [`Scores::success`].
    pub success: Option<Interval>,
    /// Tokens right in place.
    pub top1: Option<Interval>,
    /// Tokens among five guesses.
    pub top5: Option<Interval>,
    /// Tokens found in the bag.
    pub bag_recall: Option<Interval>,
    /// Whole documents.
    pub exact_documents: Option<Interval>,
    /// ROUGE-L.
    pub rouge_l: Option<Interval>,
    /// Names and numbers.
    pub named: Option<Interval>,
    /// Macro-F1 of classes.
    pub macro_f1: Option<Interval>,
    /// Area under the curve of classes.
    pub auc: Option<Interval>,
}

impl Measures {
    /// The intervals of the scores of each seed.
    pub fn of(scores: &[Scores]) -> Self {
        let over = |pick: &dyn Fn(&Scores) -> Option<f64>| {
            let values: Option<Vec<f64>> = scores.iter().map(pick).collect();
            Interval::of(&values?)
        };
        let class = |scores: &Scores| scores.classes.clone();
        Self {
            success: over(&|s| Some(s.success())),
            top1: over(&|s| s.top1),
            top5: over(&|s| s.top5),
            bag_recall: over(&|s| s.bag_recall),
            exact_documents: over(&|s| s.exact_documents),
            rouge_l: over(&|s| s.rouge_l),
            named: over(&|s| s.named),
            macro_f1: over(&|s| class(s).map(|c| c.macro_f1)),
            auc: over(&|s| class(s).and_then(|c| c.auc)),
        }
    }
}

/// A number beside the bound that was set before the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Control {
    /// Which.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// The bound.
    pub bound: f64,
    /// Whether the value has to be at least the bound, or at most.
    pub at_least: bool,
    /// Whether it is.
    pub passed: bool,
}

impl Control {
    /// The value has to reach the bound.
    pub fn at_least(name: &'static str, value: f64, bound: f64) -> Self {
        Self {
            name,
            value,
            bound,
            at_least: true,
            passed: value >= bound,
        }
    }

    /// The value must not exceed the bound.
    pub fn at_most(name: &'static str, value: f64, bound: f64) -> Self {
        Self {
            name,
            value,
            bound,
            at_least: false,
            passed: value <= bound,
        }
    }
}

/// AVG: the share of tokens recovered from one and from several observations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AveragingReport {
    /// Observations of each text.
    pub observations: usize,
    /// From one.
    pub single: f64,
    /// From several of one and the same release, which is all that this client gives.
    pub one_release: f64,
    /// From several under fresh noise, which this client never gives within a session.
    pub fresh_noise: f64,
    /// One release must gain nothing.
    pub control: Control,
}
