//! GRAD's side channels: what zeros, padding and the sizes of batches tell of a run whose bottom was
//! trained at the client.
//!
//! A row that is exactly zero says that its position is padding, or has no part in the loss; a batch
//! of another size sets its examples apart. Source: method.md, section 4, GRAD.

use std::collections::HashMap;

use serde::Serialize;

use crate::protocol::message::{Batch, Split};

/// What was counted; nothing of it may be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PatternReport {
    /// Batches whose activations travelled.
    pub batches: usize,
    /// Rows that travelled: activations, and gradients at the cut.
    pub rows: u64,
    /// Rows among them in which every number is exactly zero.
    pub zero_rows: usize,
    /// Batches that are not as large as the others and not the last of a pass.
    pub odd_batches: usize,
    /// Rows more, or fewer, than the examples of their batch have.
    pub foreign_rows: u64,
    /// Whether none of the three was found.
    pub passed: bool,
}

/// The activations of a batch, as they travelled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SeenBatch {
    pub(super) batch: Batch,
    pub(super) rows: u64,
    pub(super) zero_rows: usize,
}

impl PatternReport {
    /// Counts; none where no batch travelled. `cut_gradients` are rows and zero rows of each, in the
    /// order of the training batches.
    pub(super) fn of(
        batches: &[SeenBatch],
        seq_lengths: &HashMap<u32, u16>,
        cut_gradients: &[(u64, usize)],
    ) -> Option<Self> {
        if batches.is_empty() {
            return None;
        }
        let real = |seen: &SeenBatch| -> u64 {
            let ids = seen.batch.example_ids.iter();
            let lengths = ids.map(|id| seq_lengths.get(id).copied().unwrap_or(0));
            lengths.map(u64::from).sum()
        };
        let trained = batches
            .iter()
            .filter(|seen| seen.batch.split == Split::Train);
        let sent = batches.iter().map(|seen| (seen.rows, real(seen)));
        let received = cut_gradients.iter().zip(trained);
        let received = received.map(|((rows, _), seen)| (*rows, real(seen)));
        let foreign_rows = sent.chain(received).map(|(rows, real)| rows.abs_diff(real));
        let foreign_rows = foreign_rows.sum();
        let zeros = batches.iter().map(|seen| seen.zero_rows);
        let zero_rows = zeros.chain(cut_gradients.iter().map(|(_, zeros)| *zeros));
        let zero_rows = zero_rows.sum();
        let odd_batches = odd_batches(batches);
        let rows = batches.iter().map(|seen| seen.rows);
        Some(Self {
            batches: batches.len(),
            rows: rows
                .chain(cut_gradients.iter().map(|(rows, _)| *rows))
                .sum(),
            zero_rows,
            odd_batches,
            foreign_rows,
            passed: (zero_rows, odd_batches, foreign_rows) == (0, 0, 0),
        })
    }
}

/// Batches that are smaller than the largest and not the last of their pass. A pass over the
/// training examples begins when one of them comes again, one over those of validation after
/// another step.
fn odd_batches(batches: &[SeenBatch]) -> usize {
    let size = |seen: &SeenBatch| seen.batch.example_ids.len();
    let largest = batches.iter().map(size).max().unwrap_or(0);
    let mut turns: HashMap<u32, usize> = HashMap::new();
    let passes: Vec<(Split, usize)> = batches
        .iter()
        .map(|seen| match seen.batch.split {
            Split::Validation => (Split::Validation, seen.batch.step as usize),
            Split::Train => {
                let ids = seen.batch.example_ids.iter();
                let turns = ids.map(|id| {
                    let turn = turns.entry(*id).or_default();
                    *turn += 1;
                    *turn
                });
                (Split::Train, turns.fold(0, usize::max))
            }
        })
        .collect();
    let mut last = HashMap::new();
    for (at, pass) in passes.iter().enumerate() {
        last.insert(*pass, at);
    }
    let both = passes.iter().zip(batches).enumerate();
    both.filter(|(at, (pass, seen))| size(seen) < largest && last.get(*pass) != Some(at))
        .count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every example has two rows.
    fn batch(step: u32, split: Split, ids: &[u32]) -> SeenBatch {
        SeenBatch {
            batch: Batch {
                step,
                split,
                example_ids: ids.to_vec(),
            },
            rows: 2 * ids.len() as u64,
            zero_rows: 0,
        }
    }

    fn pattern(batches: &[SeenBatch], cut_gradients: &[(u64, usize)]) -> PatternReport {
        let lengths = (0..9).map(|id| (id, 2)).collect();
        PatternReport::of(batches, &lengths, cut_gradients).unwrap()
    }

    /// Three examples in batches of two, twice, with a validation of one example after each.
    fn run() -> Vec<SeenBatch> {
        let (train, validation) = (Split::Train, Split::Validation);
        vec![
            batch(1, train, &[0, 1]),
            batch(2, train, &[2]),
            batch(2, validation, &[3]),
            batch(3, train, &[2, 0]),
            batch(4, train, &[1]),
            batch(4, validation, &[3]),
        ]
    }

    #[test]
    fn a_run_as_it_should_be_has_no_pattern() {
        let found = pattern(&run(), &[(4, 0), (2, 0), (4, 0), (2, 0)]);
        assert!(found.passed, "{found:?}");
        assert_eq!((found.batches, found.rows), (6, 16 + 12));
        assert_eq!(PatternReport::of(&[], &HashMap::new(), &[]), None);
    }

    #[test]
    fn zeros_padding_and_small_batches_are_each_found() {
        let zero = pattern(&run(), &[(4, 1), (2, 0)]);
        assert_eq!((zero.zero_rows, zero.passed), (1, false));
        let mut padded = run();
        padded[1].rows = 5; // as long as the longest batch might be
        assert_eq!(pattern(&padded, &[]).foreign_rows, 3);
        assert_eq!(pattern(&run(), &[(6, 0)]).foreign_rows, 2);
        let mut odd = run();
        odd.swap(0, 1); // the small one first
        let found = pattern(&odd, &[]);
        assert_eq!((found.odd_batches, found.passed), (1, false));
    }
}
