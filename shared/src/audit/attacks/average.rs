//! AVG: several observations of one text, taken together.
//!
//! Activations are averaged, then inverted by the nearest token; sanitized tokens vote. Under one
//! release per example this must gain nothing over a single observation. Source: method.md,
//! section 4.

use super::nearest::DISTANCE;
use crate::audit::attack::{Attack, Attacker, AuditError, Guesses, Pending};
use crate::audit::released::Released;
use crate::text::TokenIds;

/// Averaging; of a text that was observed once it takes that observation.
#[derive(Debug)]
pub struct Average;

impl Average {
    async fn guesses(
        &self,
        attacker: &Attacker<'_>,
        observed: &Released,
    ) -> Result<Guesses, AuditError> {
        let sanitized: Option<Vec<&[TokenIds]>> = observations(observed)
            .map(|released| released.sanitized.as_deref())
            .collect();
        match sanitized {
            Some(sanitized) => Ok(votes(&sanitized)),
            None => DISTANCE.run(attacker, &mean(observed)?).await,
        }
    }
}

impl Attack for Average {
    fn id(&self) -> &'static str {
        "avg"
    }

    fn about(&self) -> &'static str {
        "Takes several observations of each text together, so that the noise averages out."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(self.guesses(attacker, observed))
    }
}

fn observations(observed: &Released) -> impl Iterator<Item = &Released> {
    std::iter::once(observed).chain(&observed.repeats)
}

/// The mean of all observations.
fn mean(observed: &Released) -> Result<Released, AuditError> {
    let lengths = observed.activations.seq_lengths();
    let mut mean = Released::new(observed.activations.clone());
    let count = (observed.repeats.len() + 1) as f32;
    for repeat in &observed.repeats {
        if repeat.activations.seq_lengths() != lengths {
            let reason = "the observations of a text differ in length";
            return Err(AuditError::NotApplicable { reason });
        }
        let sums = mean.activations.values.iter_mut();
        sums.zip(repeat.activations.values())
            .for_each(|(sum, value)| *sum += value);
    }
    mean.activations.values.iter_mut().for_each(|v| *v /= count);
    Ok(mean)
}

/// For each row the tokens that were observed, most often first; of equals the first observed.
fn votes(observations: &[&[TokenIds]]) -> Guesses {
    let Some((first, _)) = observations.split_first() else {
        return Guesses::Rows(Vec::new());
    };
    let example = |example: usize| {
        let rows = first[example].len();
        let row = |row: usize| {
            let seen = observations
                .iter()
                .filter_map(|all| all.get(example)?.ids().get(row).copied());
            let mut counts: Vec<(u32, usize)> = Vec::new();
            for token in seen {
                match counts.iter_mut().find(|(known, _)| *known == token) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((token, 1)),
                }
            }
            counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count)); // stable
            counts.into_iter().map(|(token, _)| token).collect()
        };
        (0..rows).map(row).collect()
    };
    Guesses::Rows((0..first.len()).map(example).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::released::tests::released;

    #[test]
    fn observations_are_averaged() {
        let mut observed = released(&[1], &[1.0, 5.0]);
        observed.repeats = vec![released(&[1], &[3.0, 7.0])];
        let mean = mean(&observed).unwrap();
        assert_eq!(mean.activations.values(), [2.0, 6.0]);
        observed.repeats = vec![released(&[2], &[0.0; 4])];
        assert!(super::mean(&observed).is_err());
    }

    #[test]
    fn the_majority_of_the_observations_wins() {
        let text =
            |ids: &[u32]| vec![TokenIds::new(ids.to_vec(), vec![0; 2], vec![false; 2]).unwrap()];
        let (a, b, c) = (text(&[1, 7]), text(&[2, 8]), text(&[2, 9]));
        let expected = vec![vec![vec![2, 1], vec![7, 8, 9]]];
        assert_eq!(votes(&[&a, &b, &c]), Guesses::Rows(expected));
    }
}
