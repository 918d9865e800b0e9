//! What the server may ask for next in a run: a book that the client keeps of its own examples.
//!
//! A server that could choose freely could ask for one example at a time, and read its label off a
//! gradient of its own. It gets every training example once an epoch, in batches of the agreed size,
//! and every validation example once after a step.

use std::collections::HashSet;

use shared::protocol::message::{Split, TrainSettings};

use crate::error::ClientError;

/// The book of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    splits: Vec<Split>,
    batch_size: usize,
    train: usize,
    validation: usize,
    steps_per_epoch: u32,
    steps_total: u32,
    /// Steps that were asked for.
    step: u32,
    /// The step after which the last pass of validation ended.
    validated: Option<u32>,
    /// Of this epoch.
    trained_on: HashSet<u32>,
    /// Of this pass of validation.
    measured: HashSet<u32>,
}

impl Ledger {
    /// A book of examples whose id is their place in `splits`.
    pub(crate) fn new(splits: Vec<Split>, settings: &TrainSettings) -> Self {
        let of = |wanted| splits.iter().filter(|split| **split == wanted).count();
        let (train, validation) = (of(Split::Train), of(Split::Validation));
        let batch_size = settings.batch_size.max(1) as usize;
        let steps_per_epoch = u32::try_from(train.div_ceil(batch_size)).unwrap_or(u32::MAX);
        Self {
            steps_total: steps_per_epoch.saturating_mul(settings.epochs),
            splits,
            batch_size,
            train,
            validation,
            steps_per_epoch,
            step: 0,
            validated: None,
            trained_on: HashSet::new(),
            measured: HashSet::new(),
        }
    }

    /// Optimizer steps of the whole run.
    pub(crate) fn steps_total(&self) -> u32 {
        self.steps_total
    }

    /// Enters what the server asks for.
    ///
    /// # Errors
    ///
    /// `ClientError::Protocol` for another step than the next, examples that are not there, of the
    /// other split or asked for before in this pass, and batches of another size.
    pub(crate) fn enter(
        &mut self,
        step: u32,
        split: Split,
        ids: &[u32],
    ) -> Result<(), ClientError> {
        let seen = match split {
            Split::Train => {
                let begins = self.step.is_multiple_of(self.steps_per_epoch.max(1));
                let due = step == self.step + 1 && step <= self.steps_total;
                if !due || !self.measured.is_empty() {
                    return Err(unexpected("another step than the next"));
                }
                self.step = step;
                if begins {
                    self.trained_on.clear();
                }
                &mut self.trained_on
            }
            Split::Validation => {
                if step != self.step || self.validated == Some(step) {
                    return Err(unexpected("a validation out of turn"));
                }
                &mut self.measured
            }
        };
        let of_split = match split {
            Split::Train => self.train,
            Split::Validation => self.validation,
        };
        if ids.is_empty() || ids.len() != self.batch_size.min(of_split - seen.len()) {
            return Err(unexpected("a batch of another size than agreed"));
        }
        for id in ids {
            let known = self.splits.get(*id as usize) == Some(&split);
            if !known || !seen.insert(*id) {
                return Err(unexpected("an example that it may not ask for now"));
            }
        }
        Ok(())
    }

    /// Whether this batch ends a pass of validation; the next may then begin.
    pub(crate) fn ends_validation(&mut self) -> bool {
        let ends = self.measured.len() == self.validation;
        if ends {
            self.measured.clear();
            self.validated = Some(self.step);
        }
        ends
    }
}

fn unexpected(what: &str) -> ClientError {
    ClientError::Protocol(what.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Training examples 0, 1, 2 and validation examples 3, 4, in batches of 2, two epochs.
    fn ledger() -> Ledger {
        let settings = TrainSettings {
            epochs: 2,
            batch_size: 2,
            learning_rate: 0.1,
            warmup_share: 0.0,
            weight_decay: 0.0,
            gradient_norm_max: 0.0,
            class_weights: Vec::new(),
            patience: 0,
            validations_per_epoch: 1,
        };
        let (train, validation) = (Split::Train, Split::Validation);
        Ledger::new(vec![train, train, train, validation, validation], &settings)
    }

    #[test]
    fn a_run_in_its_order_is_entered() {
        let mut ledger = ledger();
        assert_eq!(ledger.steps_total(), 4);
        for (first, second) in [(1, 2), (3, 4)] {
            ledger.enter(first, Split::Train, &[2, 0]).unwrap();
            ledger.enter(second, Split::Train, &[1]).unwrap();
            ledger.enter(second, Split::Validation, &[4, 3]).unwrap();
            assert!(ledger.ends_validation());
        }
        assert!(ledger.enter(5, Split::Train, &[2, 0]).is_err()); // more steps than agreed
    }

    #[test]
    fn nothing_else_is() {
        let refused = |step, split, ids: &[u32]| {
            let mut ledger = ledger();
            ledger.enter(1, Split::Train, &[0, 1]).unwrap();
            ledger.enter(step, split, ids).is_err()
        };
        assert!(!refused(2, Split::Train, &[2]));
        assert!(refused(1, Split::Train, &[2])); // the same step again
        assert!(refused(3, Split::Train, &[2]));
        assert!(refused(2, Split::Train, &[0])); // had its turn in this epoch
        assert!(refused(2, Split::Train, &[])); // no example
        assert!(refused(2, Split::Train, &[3])); // validates
        assert!(refused(2, Split::Train, &[5])); // is not there
        assert!(!refused(1, Split::Validation, &[3, 4]));
        assert!(refused(2, Split::Validation, &[3, 4]));
        assert!(refused(1, Split::Validation, &[3])); // smaller than agreed
        assert!(refused(1, Split::Validation, &[3, 3]));
        assert!(refused(1, Split::Validation, &[3, 0]));
    }

    #[test]
    fn one_example_at_a_time_is_not_to_be_had() {
        assert!(ledger().enter(1, Split::Train, &[0]).is_err());
    }

    #[test]
    fn a_pass_of_validation_ends_before_the_next_step_and_is_not_repeated() {
        let mut ledger = Ledger {
            batch_size: 1,
            steps_per_epoch: 3,
            steps_total: 6,
            ..ledger()
        };
        ledger.enter(1, Split::Train, &[0]).unwrap();
        ledger.enter(1, Split::Validation, &[3]).unwrap();
        assert!(!ledger.ends_validation());
        assert!(ledger.enter(2, Split::Train, &[1]).is_err());
        ledger.enter(1, Split::Validation, &[4]).unwrap();
        assert!(ledger.ends_validation());
        assert!(ledger.enter(1, Split::Validation, &[3]).is_err());
        ledger.enter(2, Split::Train, &[1]).unwrap();
    }
}
