//! Whose turn it is: the run that has had the fewest rows, so that a run with large steps does not
//! get more of the device than one with small ones.

use super::JobId;

/// The order of runs. What a run has had is counted where the run is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The fewest rows that any run has had that could take its turn.
    fewest: u64,
}

impl Turns {
    /// The runs that can take a turn, each with the rows that it has had, in the order in which
    /// they should; of two that have had the same, the older is first.
    pub(super) fn order(&mut self, ready: impl Iterator<Item = (JobId, u64)>) -> Vec<JobId> {
        let mut ready: Vec<_> = ready.map(|(id, had)| (had, id)).collect();
        ready.sort_unstable();
        if let Some((had, _)) = ready.first() {
            self.fewest = self.fewest.max(*had);
        }
        ready.into_iter().map(|(_, id)| id).collect()
    }

    /// What a run counts as having had that begins, or could not take a turn for a while: as much as
    /// the others at least, so that it does not hold them up until it has caught up.
    pub(super) fn joins(&self, had: u64) -> u64 {
        had.max(self.fewest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes turns of the first in order, and says whose they were.
    fn take<const N: usize>(turns: &mut Turns, runs: &mut [(u64, u64, u64)]) -> [u64; N] {
        [(); N].map(|()| {
            let ready = runs.iter().map(|(id, had, _)| (JobId(*id), *had));
            let JobId(next) = turns.order(ready)[0];
            for (id, had, rows) in runs.iter_mut() {
                *had += if *id == next { *rows } else { 0 };
            }
            next
        })
    }

    #[test]
    fn the_run_that_has_had_the_fewest_rows_is_next() {
        let mut turns = Turns::default();
        // Steps of 30, 10 and 20 rows. Had after each turn:
        let mut runs = vec![(1, 0, 30), (2, 0, 10), (3, 0, 20)];
        // 30 0 0, 30 10 0, 30 10 20, 30 20 20, 30 30 20, 30 30 40, 60 30 40
        assert_eq!(take(&mut turns, &mut runs), [1, 2, 3, 2, 2, 3, 1]);
        // A fourth with steps of 10 joins where 2 is, not at 0: 2 and it take turns until both have
        // had 40 as 3 has, and then the oldest of the three is first.
        runs.push((4, turns.joins(0), 10));
        assert_eq!(runs[3].1, 30);
        assert_eq!(take(&mut turns, &mut runs), [2, 4, 2, 3, 4, 2, 4]);
    }

    #[test]
    fn a_run_that_was_held_does_not_catch_up() {
        let mut turns = Turns::default();
        turns.order([(JobId(1), 500), (JobId(2), 400)].into_iter());
        assert_eq!(turns.joins(100), 400);
        assert_eq!(turns.joins(450), 450);
    }
}
