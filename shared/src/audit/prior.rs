//! What the attacker expects of language, learnt from public text alone.

use std::collections::HashMap;

use crate::text::TokenIds;

/// Occurrences that every token is granted, so that none is impossible.
const SMOOTHING: f64 = 0.1;

/// Weight of the pair statistics where the first token of a pair is known.
const PAIR_WEIGHT: f64 = 0.7;

/// `p(v)`, from counts: `(n(v) + s) / (N + s V)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Unigrams {
    ln: Vec<f32>,
    seen: Vec<u32>,
}

impl Unigrams {
    /// Counts the tokens of public text, special ones included.
    pub fn of(public: &[TokenIds], vocab_size: usize) -> Self {
        let mut counts = vec![0u32; vocab_size];
        for id in public.iter().flat_map(TokenIds::ids) {
            if let Some(count) = counts.get_mut(*id as usize) {
                *count += 1;
            }
        }
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        let all = total + SMOOTHING * vocab_size as f64;
        let ln = |count: &u32| ((f64::from(*count) + SMOOTHING) / all).ln() as f32;
        Self {
            ln: counts.iter().map(ln).collect(),
            seen: (0..)
                .zip(&counts)
                .filter(|(_, count)| **count > 0)
                .map(|(token, _)| token)
                .collect(),
        }
    }

    /// `ln p(v)`; a token outside the vocabulary is impossible.
    pub fn ln(&self, token: u32) -> f32 {
        let known = self.ln.get(token as usize);
        known.copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// The tokens that occur, ascending.
    pub fn seen(&self) -> &[u32] {
        &self.seen
    }

    /// The `count` most frequent tokens that are not special, most frequent first.
    pub fn most_frequent(&self, count: usize, special: &[bool]) -> Vec<u32> {
        let ordinary = |token: &u32| !special.get(*token as usize).copied().unwrap_or(true);
        let mut tokens: Vec<u32> = self.seen.iter().copied().filter(ordinary).collect();
        tokens.sort_by(|a, b| self.ln(*b).total_cmp(&self.ln(*a)));
        tokens.truncate(count);
        tokens
    }
}

/// The `count` most frequent tokens of public text that are no special ones, most frequent first.
pub fn frequent(
    public: &[TokenIds],
    vocab_size: usize,
    special_ids: &[u32],
    count: usize,
) -> Vec<u32> {
    let mut special = vec![false; vocab_size];
    for id in special_ids {
        if let Some(flag) = special.get_mut(*id as usize) {
            *flag = true;
        }
    }
    Unigrams::of(public, vocab_size).most_frequent(count, &special)
}

/// `p(v | u)`, interpolated: `l n(u, v) / n(u) + (1 - l) p(v)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bigrams {
    pairs: HashMap<(u32, u32), u32>,
    firsts: HashMap<u32, u32>,
    unigrams: Unigrams,
}

impl Bigrams {
    /// Counts pairs of neighbours in public text.
    pub fn of(public: &[TokenIds], unigrams: Unigrams) -> Self {
        let mut pairs = HashMap::new();
        let mut firsts = HashMap::new();
        for pair in public.iter().flat_map(|text| text.ids().windows(2)) {
            *pairs.entry((pair[0], pair[1])).or_insert(0) += 1;
            *firsts.entry(pair[0]).or_insert(0) += 1;
        }
        Self {
            pairs,
            firsts,
            unigrams,
        }
    }

    /// `ln p(second | first)`
    pub fn ln(&self, first: u32, second: u32) -> f32 {
        let own = f64::from(self.unigrams.ln(second)).exp();
        let Some(all) = self.firsts.get(&first) else {
            return self.unigrams.ln(second);
        };
        let both = self.pairs.get(&(first, second)).copied().unwrap_or(0);
        let share = f64::from(both) / f64::from(*all);
        (PAIR_WEIGHT * share + (1.0 - PAIR_WEIGHT) * own).ln() as f32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(ids: &[u32]) -> TokenIds {
        TokenIds::new(ids.to_vec(), vec![0; ids.len()], vec![false; ids.len()]).unwrap()
    }

    #[test]
    fn frequencies_are_smoothed_counts() {
        let unigrams = Unigrams::of(&[text(&[1, 1, 2])], 4);
        // N + s V = 3.4
        assert!((unigrams.ln(1).exp() - 2.1 / 3.4).abs() < 1e-6);
        assert!((unigrams.ln(0).exp() - 0.1 / 3.4).abs() < 1e-6);
        assert_eq!(unigrams.ln(9), f32::NEG_INFINITY);
        assert_eq!(unigrams.seen(), [1, 2]);
        assert_eq!(unigrams.most_frequent(1, &[false; 4]), [1]);
        let special = [false, true, false, false];
        assert_eq!(unigrams.most_frequent(2, &special), [2]);
        // An id outside the vocabulary is nobody's.
        assert_eq!(frequent(&[text(&[1, 1, 2])], 4, &[1, 9], 2), [2]);
    }

    #[test]
    fn a_pair_that_was_seen_is_likelier_than_its_second_alone() {
        let public = [text(&[1, 2]), text(&[1, 3])];
        let unigrams = Unigrams::of(&public, 4);
        let second = f64::from(unigrams.ln(2)).exp(); // 1.1 / 4.4 = 0.25
        let bigrams = Bigrams::of(&public, unigrams);
        let expected = 0.7 * 0.5 + 0.3 * second;
        assert!((f64::from(bigrams.ln(1, 2)).exp() - expected).abs() < 1e-6);
        assert!((f64::from(bigrams.ln(2, 2)).exp() - second).abs() < 1e-6);
    }
}
