//! SIDE: what lengths alone tell, under any mechanism.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;

/// Permutations that tell how much of the information is chance.
const PERMUTATIONS: usize = 200;

/// What the number of rows of each example tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SideReport {
    /// Examples that were looked at.
    pub examples: usize,
    /// Share of the examples whose length no other example has.
    pub unique_by_length: f64,
    /// Different lengths.
    pub lengths: usize,
    /// `I(length; class)` in bits, as counted.
    pub information_bits: f64,
    /// The same between lengths and shuffled classes, on average: small samples are never at 0.
    pub information_bits_by_chance: f64,
    /// Share of the shuffles that gave as much.
    pub p_value: f64,
    /// Entropy of the classes in bits: what could be told at most.
    pub class_bits: f64,
}

/// Looks at lengths and classes.
pub fn side(lengths: &[u16], classes: &[u32], seed: u64) -> SideReport {
    let counts = counted(lengths.iter());
    let unique = counts.values().filter(|count| **count == 1).count();
    let n = lengths.len().min(classes.len());
    let (lengths_used, classes) = (&lengths[..n], &classes[..n]);
    let information = mutual_information(lengths_used, classes);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut shuffled = classes.to_vec();
    let by_chance: Vec<f64> = (0..PERMUTATIONS)
        .map(|_| {
            shuffled.shuffle(&mut rng);
            mutual_information(lengths_used, &shuffled)
        })
        .collect();
    let as_much = by_chance
        .iter()
        .filter(|bits| **bits >= information - 1e-12)
        .count();
    SideReport {
        examples: lengths.len(),
        unique_by_length: unique as f64 / lengths.len().max(1) as f64,
        lengths: counts.len(),
        information_bits: information,
        information_bits_by_chance: by_chance.iter().sum::<f64>() / PERMUTATIONS as f64,
        p_value: (as_much + 1) as f64 / (PERMUTATIONS + 1) as f64,
        class_bits: entropy(counted(classes.iter()).values()),
    }
}

fn counted<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    counts
}

/// `-sum of p ln p / ln 2`
fn entropy<'a>(counts: impl Iterator<Item = &'a usize> + Clone) -> f64 {
    let total = counts.clone().sum::<usize>().max(1) as f64;
    let term = |count: &usize| {
        let p = *count as f64 / total;
        -p * p.log2()
    };
    counts.map(term).sum()
}

/// `H(length) + H(class) - H(length, class)`
fn mutual_information(lengths: &[u16], classes: &[u32]) -> f64 {
    let both = counted(lengths.iter().zip(classes));
    let own = entropy(counted(lengths.iter()).values()) + entropy(counted(classes.iter()).values());
    (own - entropy(both.values())).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_give_the_class_away_are_found() {
        let lengths: Vec<u16> = (0..40).map(|n| if n < 20 { 5 } else { 9 }).collect();
        let classes: Vec<u32> = (0..40).map(|n| u32::from(n >= 20)).collect();
        let report = side(&lengths, &classes, 1);
        assert!((report.information_bits - 1.0).abs() < 1e-9);
        assert!((report.class_bits - 1.0).abs() < 1e-9);
        assert!(report.p_value < 0.01 && report.information_bits_by_chance < 0.1);
        assert_eq!((report.lengths, report.unique_by_length), (2, 0.0));
    }

    #[test]
    fn lengths_without_a_bearing_on_the_class_are_not() {
        // Each class has each of the two lengths equally often.
        let lengths: Vec<u16> = (0..40).map(|n| 5 + n % 2).collect();
        let classes: Vec<u32> = (0..40).map(|n| (n / 2) % 2).collect();
        let report = side(&lengths, &classes, 1);
        assert!(report.information_bits < 1e-9 && report.p_value > 0.9);
        let alone = side(&[3, 3, 4, 5], &[0, 1, 0, 1], 1);
        assert_eq!(alone.unique_by_length, 0.5);
    }
}
