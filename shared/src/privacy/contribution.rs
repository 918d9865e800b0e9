//! CTI, contributing-token identification: which tokens matter for the task, and so get less noise.
//!
//! The table is computed from the training rows, stays with the client and is never sent. Source:
//! method.md, section 3. Two caveats belong wherever CTI is offered, see [`CAVEAT`] and
//! [`LABEL_CAVEAT`].

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::eta::PrivacyError;
use super::ordinary_ids;
use crate::text::TokenIds;

/// What CTI costs, for people.
pub const CAVEAT: &str = "With less noise for words that matter there is no single eta for all \
    words, and a word that stays, or is changed little, thereby tells that it matters for the task.";

/// What label-dependent CTI costs on top of that.
pub const LABEL_CAVEAT: &str = "The noise of a training text then depends on its label, so that \
    what is sent tells something of the label even where labels are not sent.";

/// Utility importance of each token for classification.
///
/// `UI_c(t) = sum over k != c of ln(f_c(t) / (f_k(t) + 3 xi))`, `f_c(t)` the share of token t among
/// the tokens of class c, `xi = 1 / max over c of N_c`, `N_c` the tokens of class c; 0 if t never
/// occurs in class c. Source: method.md, section 3.
#[derive(Clone, PartialEq)]
pub struct ContributionTable {
    counts: Vec<u32>,                         // [vocab_size], over the training rows
    by_class: BTreeMap<u32, Vec<(u32, f32)>>, // token -> (class, UI), classes where it occurs
    n_classes: usize,
}

impl std::fmt::Debug for ContributionTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ContributionTable({} tokens)", self.by_class.len())
    }
}

impl ContributionTable {
    /// Counts the tokens of labelled rows; special tokens do not count.
    pub fn from_rows<'a>(
        rows: impl IntoIterator<Item = (&'a TokenIds, u32)>,
        n_classes: usize,
        vocab_size: usize,
    ) -> Self {
        let mut counts = vec![0; vocab_size];
        let mut occurrences: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut totals = vec![0u64; n_classes];
        for (tokens, class) in rows {
            for id in ordinary_ids(tokens) {
                if let (Some(count), Some(total)) =
                    (counts.get_mut(id as usize), totals.get_mut(class as usize))
                {
                    *count += 1;
                    *total += 1;
                    *occurrences.entry(id).or_default().entry(class).or_default() += 1;
                }
            }
        }
        let xi = 1.0 / totals.iter().copied().max().unwrap_or(0).max(1) as f64;
        let by_class = occurrences
            .into_iter()
            .map(|(id, classes)| (id, importance(&classes, &totals, xi)))
            .collect();
        Self {
            counts,
            by_class,
            n_classes,
        }
    }

    /// Utility importance for a class, or the largest over all classes where none is given.
    pub fn importance(&self, token: u32, class: Option<u32>) -> f64 {
        let Some(classes) = self.by_class.get(&token) else {
            return 0.0;
        };
        let found = match class {
            Some(class) => classes.iter().find(|(of, _)| *of == class),
            None => classes.iter().max_by(|a, b| a.1.total_cmp(&b.1)),
        };
        let importance = found.map_or(0.0, |(_, importance)| f64::from(*importance));
        // A class in which the token never occurs counts 0, so that the largest is never below it.
        let everywhere = classes.len() == self.n_classes;
        if class.is_none() && !everywhere {
            importance.max(0.0)
        } else {
            importance
        }
    }

    /// The class that a token speaks for most.
    pub fn class_of(&self, token: u32) -> Option<u32> {
        let classes = self.by_class.get(&token)?;
        let best = classes.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(best.0)
    }

    /// How often a token occurs in the training rows.
    pub fn count(&self, token: u32) -> u32 {
        self.counts.get(token as usize).copied().unwrap_or(0)
    }

    /// What tokens are ranked by: `max over c of UI_c(t) * ln(1 + count(t))`, so that a token of a
    /// handful of rows does not stand before one of hundreds. The factor is a choice of this
    /// project.
    pub fn rank(&self, token: u32) -> f64 {
        self.importance(token, None) * f64::from(self.count(token)).ln_1p()
    }

    /// Tokens of the training rows with a rank above 0, highest first, at most `count`.
    pub fn top(&self, count: usize) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.by_class.keys().copied().collect();
        tokens.retain(|token| self.rank(*token) > 0.0);
        tokens.sort_by(|a, b| self.rank(*b).total_cmp(&self.rank(*a)).then(a.cmp(b)));
        tokens.truncate(count);
        tokens
    }

    /// Tokens of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.counts.len()
    }
}

/// `UI_c` of one token for every class in which it occurs.
///
/// `sum over k != c of ln(f_c / (f_k + 3 xi)) = (K - 1) ln f_c - (S - ln(f_c + 3 xi))` with
/// `S = sum over all k of ln(f_k + 3 xi)`: linear in the classes in which the token occurs.
fn importance(occurrences: &BTreeMap<u32, u32>, totals: &[u64], xi: f64) -> Vec<(u32, f32)> {
    let n_classes = totals.len() as f64;
    let share = |class: u32, count: u32| f64::from(count) / totals[class as usize].max(1) as f64;
    let smoothed = |class: u32, count: u32| (share(class, count) + 3.0 * xi).ln();
    let absent = n_classes - occurrences.len() as f64;
    let sum: f64 = occurrences
        .iter()
        .map(|(class, count)| smoothed(*class, *count))
        .sum::<f64>()
        + absent * (3.0 * xi).ln();
    occurrences
        .iter()
        .map(|(class, count)| {
            let own = (n_classes - 1.0) * share(*class, *count).ln();
            let importance = own - (sum - smoothed(*class, *count));
            (*class, importance as f32)
        })
        .collect()
}

/// How importance becomes noise. Source: method.md, section 3.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// `eta_t = eta_0 * max(UI(t), floor)`.
    Floor {
        /// 0.6 in the paper's second version.
        floor: f64,
    },
    /// The top share of the vocabulary by rank is left unperturbed, all else gets `eta_0`.
    TopShare {
        /// 0.01 in the paper's second version.
        rho: f64,
    },
    /// `eta_t = 2 eta_0 / (1 + exp(-(UI(t) - center)))`.
    Sigmoid {
        /// Importance at which a token gets `eta_0`.
        center: f64,
    },
}

impl Reading {
    /// Checks the parameter.
    ///
    /// # Errors
    ///
    /// When it is out of range.
    pub fn checked(self) -> Result<Self, PrivacyError> {
        let (good, actual) = match self {
            Self::Floor { floor } => (floor.is_finite() && floor > 0.0, floor),
            Self::TopShare { rho } => (rho > 0.0 && rho < 1.0, rho),
            Self::Sigmoid { center } => (center.is_finite(), center),
        };
        if good {
            Ok(self)
        } else {
            Err(PrivacyError::Contribution { actual })
        }
    }
}

/// Whether the noise of a training row may depend on its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelPolicy {
    /// The largest importance over all classes counts, in training as in prediction.
    LabelFree,
    /// The importance for the row's own class counts in training: see [`LABEL_CAVEAT`].
    LabelDependent,
}

/// A table and its reading: the factor on every token's eta.
#[derive(Debug, Clone)]
pub struct Contribution {
    table: Rc<ContributionTable>,
    reading: Reading,
    policy: LabelPolicy,
    kept: Vec<u32>, // ascending; of `TopShare`
    digest: [u8; 32],
}

impl Contribution {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// When the reading's parameter is out of range.
    pub fn new(
        table: Rc<ContributionTable>,
        reading: Reading,
        policy: LabelPolicy,
    ) -> Result<Self, PrivacyError> {
        let reading = reading.checked()?;
        let mut kept = match reading {
            Reading::TopShare { rho } => {
                table.top((rho * table.vocab_size() as f64).round() as usize)
            }
            Reading::Floor { .. } | Reading::Sigmoid { .. } => Vec::new(),
        };
        kept.sort_unstable();
        let digest = digest(&table, reading, policy);
        Ok(Self {
            table,
            reading,
            policy,
            kept,
            digest,
        })
    }

    /// The factor on eta for a token; infinite where it is left unperturbed. `class` is that of the
    /// text, used only under [`LabelPolicy::LabelDependent`].
    pub fn multiplier(&self, token: u32, class: Option<u32>) -> f64 {
        let class = match self.policy {
            LabelPolicy::LabelFree => None,
            LabelPolicy::LabelDependent => class,
        };
        let importance = || self.table.importance(token, class);
        match self.reading {
            Reading::Floor { floor } => importance().max(floor),
            Reading::TopShare { .. } if self.kept.binary_search(&token).is_ok() => f64::INFINITY,
            Reading::TopShare { .. } => 1.0,
            Reading::Sigmoid { center } => 2.0 / (1.0 + (center - importance()).exp()),
        }
    }

    /// The table behind it.
    pub fn table(&self) -> &Rc<ContributionTable> {
        &self.table
    }

    /// Of everything that the factors depend on: two that differ share no draw.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

fn digest(table: &ContributionTable, reading: Reading, policy: LabelPolicy) -> [u8; 32] {
    let mut hash = Sha256::new();
    let (tag, parameter) = match reading {
        Reading::Floor { floor } => (0u8, floor),
        Reading::TopShare { rho } => (1, rho),
        Reading::Sigmoid { center } => (2, center),
    };
    hash.update([tag, u8::from(policy == LabelPolicy::LabelDependent)]);
    hash.update(parameter.to_le_bytes());
    for (token, classes) in &table.by_class {
        hash.update(token.to_le_bytes());
        hash.update(table.count(*token).to_le_bytes());
        for (class, importance) in classes {
            hash.update(class.to_le_bytes());
            hash.update(importance.to_le_bytes());
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    fn tokens(ids: &[u32]) -> TokenIds {
        TokenIds::new(ids.to_vec(), vec![0; ids.len()], vec![false; ids.len()]).unwrap()
    }

    /// Token 2 speaks for class 0, token 3 for class 1, token 4 for none.
    pub(in crate::privacy) fn table() -> Rc<ContributionTable> {
        let rows = [
            (tokens(&[2, 2, 2, 2, 2, 2, 4, 4]), 0),
            (tokens(&[3, 3, 3, 3, 3, 3, 4, 4]), 1),
        ];
        let rows = rows.iter().map(|(tokens, class)| (tokens, *class));
        Rc::new(ContributionTable::from_rows(rows, 2, 10))
    }

    #[test]
    fn importance_is_the_log_ratio_of_the_shares() {
        let table = table();
        // xi = 1/8; token 2: f_0 = 6/8, f_1 = 0: ln((6/8) / (3/8)) = ln 2
        assert!((table.importance(2, Some(0)) - 2.0f64.ln()).abs() < 1e-6);
        assert_eq!(table.importance(2, Some(1)), 0.0); // never occurs there
        assert!((table.importance(2, None) - 2.0f64.ln()).abs() < 1e-6);
        // token 4: f = 2/8 in both: ln((2/8) / (2/8 + 3/8)) = ln 0.4
        assert!((table.importance(4, None) - 0.4f64.ln()).abs() < 1e-6);
        assert_eq!(table.importance(9, None), 0.0);
        assert_eq!(table.class_of(3), Some(1));
    }

    #[test]
    fn with_three_classes_all_other_classes_count() {
        let rows = [
            (tokens(&[2, 2, 3]), 0),
            (tokens(&[3, 3, 3]), 1),
            (tokens(&[3, 2, 4]), 2),
        ];
        let rows = rows.iter().map(|(tokens, class)| (tokens, *class));
        let table = ContributionTable::from_rows(rows, 3, 10);
        // xi = 1/3, 3 xi = 1; token 2, class 0: ln((2/3) / (0 + 1)) + ln((2/3) / (1/3 + 1))
        let expected = (2.0f64 / 3.0).ln() + 0.5f64.ln();
        assert!((table.importance(2, Some(0)) - expected).abs() < 1e-6);
    }

    #[test]
    fn the_three_readings_give_their_factors() {
        let of = |reading| Contribution::new(table(), reading, LabelPolicy::LabelFree).unwrap();
        let floor = of(Reading::Floor { floor: 0.6 });
        assert!((floor.multiplier(2, None) - 2.0f64.ln()).abs() < 1e-6);
        assert_eq!(floor.multiplier(4, None), 0.6);
        let top = of(Reading::TopShare { rho: 0.2 }); // 2 of 10 tokens
        assert_eq!(top.multiplier(2, None), f64::INFINITY);
        assert_eq!(top.multiplier(3, None), f64::INFINITY);
        assert_eq!(top.multiplier(4, None), 1.0);
        let sigmoid = of(Reading::Sigmoid {
            center: 2.0f64.ln(),
        });
        assert!((sigmoid.multiplier(2, None) - 1.0).abs() < 1e-6);
        assert!(sigmoid.multiplier(9, None) < 1.0);
        for bad in [f64::NAN, 0.0, 1.0] {
            let reading = Reading::TopShare { rho: bad };
            assert!(Contribution::new(table(), reading, LabelPolicy::LabelFree).is_err());
        }
    }

    /// A label-free factor that changed with the class would leak it.
    #[test]
    fn only_the_label_dependent_policy_looks_at_the_class() {
        let reading = Reading::Floor { floor: 0.1 };
        let free = Contribution::new(table(), reading, LabelPolicy::LabelFree).unwrap();
        assert_eq!(free.multiplier(2, Some(1)), free.multiplier(2, None));
        let dependent = Contribution::new(table(), reading, LabelPolicy::LabelDependent).unwrap();
        assert_eq!(dependent.multiplier(2, Some(1)), 0.1);
        assert!(dependent.multiplier(2, Some(0)) > 0.6);
        assert_ne!(free.digest(), dependent.digest());
    }
}
