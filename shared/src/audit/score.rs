//! What an attack recovered, against the truth.

use std::collections::HashMap;

use serde::Serialize;

use super::attack::{AuditError, Guesses, TOP, Truth};
use super::classes::{ClassScores, class_scores};
use crate::text::TokenIds;

/// Shares of what was there, each 0 to 1. What a guess or a mechanism does not allow is not given.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Examples that were attacked.
    pub examples: usize,
    /// Their tokens, special ones left out.
    pub tokens: usize,
    /// Tokens guessed right at their position.
    pub top1: Option<f64>,
    /// Tokens among the first five guesses of their position.
    pub top5: Option<f64>,
    /// `|guessed multiset and true multiset| / n`, over all tokens. The attack is granted the
    /// length.
    pub bag_recall: Option<f64>,
    /// Examples that were recovered to the last token.
    pub exact_documents: Option<f64>,
    /// Mean over the examples of `F = 2 LCS / (n guessed + n true)`.
    pub rouge_l: Option<f64>,
    /// As `top1` (or as `bag_recall` where positions are lost) over names and numbers only.
    pub named: Option<f64>,
    /// Of attacks on classes.
    pub classes: Option<ClassScores>,
}

impl Scores {
    /// The share that counts: tokens in place, or in the bag where positions are lost, or right
    /// classes.
    pub fn success(&self) -> f64 {
        let classes = self.classes.as_ref().map(|classes| classes.accuracy);
        let token = self.top1.or(self.bag_recall);
        token.or(classes).unwrap_or(0.0)
    }
}

/// Scores guesses.
///
/// # Errors
///
/// When there are more guesses than examples, or not as many rows as were released in place.
pub fn score(guesses: &Guesses, truth: &Truth<'_>) -> Result<Scores, AuditError> {
    match guesses {
        Guesses::Rows(rows) => {
            check(rows.len(), truth.tokens.len())?;
            if truth.keeps_positions {
                in_place(rows, truth)
            } else {
                let bags: Vec<_> = rows.iter().map(|rows| firsts(rows)).collect();
                let mut scores = in_bags(&bags, truth);
                scores.rouge_l = mean_rouge(&bags, truth);
                Ok(scores)
            }
        }
        Guesses::Bags(bags) => {
            check(bags.len(), truth.tokens.len())?;
            Ok(in_bags(bags, truth))
        }
        Guesses::Classes(classes) => {
            check(classes.len(), truth.classes.len())?;
            let scores = class_scores(classes, truth.classes);
            Ok(Scores {
                examples: classes.len(),
                classes: Some(scores),
                ..Scores::default()
            })
        }
    }
}

fn check(actual: usize, expected: usize) -> Result<(), AuditError> {
    let of = "examples";
    if actual > expected {
        return Err(AuditError::Answers {
            of,
            expected,
            actual,
        });
    }
    Ok(())
}

/// The first guess of each row that has one.
pub(super) fn firsts(rows: &[Vec<u32>]) -> Vec<u32> {
    rows.iter().filter_map(|row| row.first().copied()).collect()
}

fn in_place(examples: &[Vec<Vec<u32>>], truth: &Truth<'_>) -> Result<Scores, AuditError> {
    let mut count = Count::default();
    let mut bags = Vec::with_capacity(examples.len());
    for (at, (rows, tokens)) in examples.iter().zip(truth.tokens).enumerate() {
        if rows.len() != tokens.len() {
            return Err(AuditError::Answers {
                of: "rows",
                expected: tokens.len(),
                actual: rows.len(),
            });
        }
        let named = truth.named.get(at).map(Vec::as_slice).unwrap_or_default();
        count.example(rows, tokens, named);
        let ordinary = ordinary_rows(rows, tokens);
        bags.push(
            ordinary
                .filter_map(|(_, row)| row.first().copied())
                .collect(),
        );
    }
    let rouge_l = mean_rouge(&bags, truth);
    let bag = in_bags(&bags, truth);
    let share = |hits: usize, of: usize| (of > 0).then(|| hits as f64 / of as f64);
    Ok(Scores {
        examples: examples.len(),
        tokens: count.tokens,
        top1: share(count.top1, count.tokens),
        top5: share(count.top5, count.tokens),
        bag_recall: bag.bag_recall,
        exact_documents: share(count.exact, examples.len()),
        rouge_l,
        named: share(count.named_hits, count.named),
        classes: None,
    })
}

#[derive(Default)]
struct Count {
    tokens: usize,
    top1: usize,
    top5: usize,
    exact: usize,
    named: usize,
    named_hits: usize,
}

impl Count {
    fn example(&mut self, rows: &[Vec<u32>], tokens: &TokenIds, named: &[usize]) {
        let mut exact = true;
        for (position, row) in ordinary_rows(rows, tokens) {
            let own = tokens.ids()[position];
            let hit = row.first() == Some(&own);
            self.tokens += 1;
            self.top1 += usize::from(hit);
            self.top5 += usize::from(row.iter().take(TOP).any(|guess| *guess == own));
            exact &= hit;
            if named.contains(&position) {
                self.named += 1;
                self.named_hits += usize::from(hit);
            }
        }
        self.exact += usize::from(exact);
    }
}

/// Positions and rows that are not special tokens.
fn ordinary_rows<'a>(
    rows: &'a [Vec<u32>],
    tokens: &'a TokenIds,
) -> impl Iterator<Item = (usize, &'a Vec<u32>)> {
    let positions = rows.iter().enumerate().zip(tokens.special());
    positions
        .filter(|(_, special)| !**special)
        .map(|(row, _)| row)
}

/// The tokens of a text, special ones left out.
fn ordinary(tokens: &TokenIds) -> Vec<u32> {
    crate::privacy::ordinary_ids(tokens).collect()
}

fn in_bags(bags: &[Vec<u32>], truth: &Truth<'_>) -> Scores {
    let (mut found, mut tokens, mut exact) = (0, 0, 0);
    let (mut named, mut named_hits) = (0, 0);
    for (at, (bag, text)) in bags.iter().zip(truth.tokens).enumerate() {
        let own = ordinary(text);
        let bag = &bag[..bag.len().min(own.len())];
        let mut counts = counted(bag);
        found += take_all(&mut counts, own.iter().copied());
        tokens += own.len();
        exact += usize::from(bag == own);
        let positions = truth.named.get(at).map(Vec::as_slice).unwrap_or_default();
        let words = positions.iter().filter_map(|p| text.ids().get(*p).copied());
        named += positions.len();
        named_hits += take_all(&mut counted(bag), words);
    }
    let share = |hits: usize, of: usize| (of > 0).then(|| hits as f64 / of as f64);
    Scores {
        examples: bags.len(),
        tokens,
        bag_recall: share(found, tokens),
        exact_documents: share(exact, bags.len()),
        named: share(named_hits, named),
        ..Scores::default()
    }
}

fn counted(bag: &[u32]) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    for token in bag {
        *counts.entry(*token).or_insert(0) += 1;
    }
    counts
}

/// How many tokens the bag holds; each that is found is taken out of it.
fn take_all(counts: &mut HashMap<u32, usize>, tokens: impl Iterator<Item = u32>) -> usize {
    let mut found = 0;
    for token in tokens {
        if let Some(count) = counts.get_mut(&token).filter(|count| **count > 0) {
            *count -= 1;
            found += 1;
        }
    }
    found
}

fn mean_rouge(guesses: &[Vec<u32>], truth: &Truth<'_>) -> Option<f64> {
    let pairs = guesses.iter().zip(truth.tokens);
    let scores: Vec<f64> = pairs
        .map(|(guess, own)| rouge_l(guess, &ordinary(own)))
        .collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

/// `2 LCS / (n + m)`, LCS the longest common subsequence. Source: Lin, ROUGE (2004), with beta 1.
fn rouge_l(guess: &[u32], own: &[u32]) -> f64 {
    if guess.is_empty() || own.is_empty() {
        return 0.0;
    }
    let mut row = vec![0usize; own.len() + 1];
    for token in guess {
        let mut diagonal = 0;
        for (at, other) in own.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if token == other {
                diagonal + 1
            } else {
                above.max(row[at])
            };
            diagonal = above;
        }
    }
    2.0 * row[own.len()] as f64 / (guess.len() + own.len()) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A text between two special tokens, 0 and 1.
    pub(in crate::audit) fn text(ids: &[u32]) -> TokenIds {
        let ids: Vec<u32> = [0]
            .into_iter()
            .chain(ids.iter().copied())
            .chain([1])
            .collect();
        let special = ids.iter().map(|id| *id < 2).collect();
        TokenIds::new(ids.clone(), vec![0; ids.len()], special).unwrap()
    }

    pub(in crate::audit) fn truth(tokens: &[TokenIds], keeps_positions: bool) -> Truth<'_> {
        Truth {
            tokens,
            named: &[],
            classes: &[],
            keeps_positions,
        }
    }

    fn rows(best: &[u32]) -> Vec<Vec<u32>> {
        best.iter().map(|token| vec![*token]).collect()
    }

    #[test]
    fn tokens_in_place_are_counted_without_special_ones() {
        let tokens = [text(&[5, 6, 7, 8]), text(&[5, 6])];
        let named = [vec![1, 4], vec![]];
        let truth = Truth {
            named: &named,
            ..truth(&tokens, true)
        };
        // First text: 5 right, 6 second of its row, 7 and 8 exchanged. Second: all right.
        let first = vec![vec![9], vec![5], vec![9, 6], vec![8], vec![7], vec![9]];
        let guesses = Guesses::Rows(vec![first, rows(&[0, 5, 6, 1])]);
        let scores = score(&guesses, &truth).unwrap();
        assert_eq!((scores.examples, scores.tokens), (2, 6));
        assert_eq!(scores.top1, Some(3.0 / 6.0));
        assert_eq!(scores.top5, Some(4.0 / 6.0));
        assert_eq!(scores.exact_documents, Some(0.5));
        // Bag of the first: 5, 9, 8, 7 against 5, 6, 7, 8: 3 of 4.
        assert_eq!(scores.bag_recall, Some(5.0 / 6.0));
        // 5 (position 1) is found, 8 (position 4) is not.
        assert_eq!(scores.named, Some(0.5));
        // LCS of 5 9 8 7 and 5 6 7 8 is 2: F = 4 / 8; the second text has 1.
        assert_eq!(scores.rouge_l, Some(0.75));
        assert_eq!(scores.success(), 0.5);
    }

    #[test]
    fn without_positions_a_bag_is_compared() {
        let tokens = [text(&[5, 5, 6])];
        let guesses = Guesses::Rows(vec![rows(&[6, 5])]);
        let scores = score(&guesses, &truth(&tokens, false)).unwrap();
        assert_eq!((scores.top1, scores.bag_recall), (None, Some(2.0 / 3.0)));
        // A bag larger than the text is cut to its length: guessing everything gains nothing.
        let guesses = Guesses::Bags(vec![(2..100).collect()]);
        let scores = score(&guesses, &truth(&tokens, false)).unwrap();
        assert_eq!(scores.bag_recall, Some(0.0));
    }

    #[test]
    fn a_slow_attack_is_scored_on_what_it_tried() {
        let tokens = [text(&[5]), text(&[6])];
        let guesses = Guesses::Rows(vec![rows(&[0, 5, 1])]);
        let scores = score(&guesses, &truth(&tokens, true)).unwrap();
        assert_eq!((scores.examples, scores.top1), (1, Some(1.0)));
        let guesses = Guesses::Rows(vec![rows(&[5, 1])]);
        assert!(score(&guesses, &truth(&tokens, true)).is_err());
        let guesses = Guesses::Bags(vec![vec![]; 3]);
        assert!(score(&guesses, &truth(&tokens, true)).is_err());
    }
}
