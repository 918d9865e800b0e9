//! The controls, without which no number of an attack counts: undefended reference, shuffled pairs,
//! injected leak. Source: method.md, section 4.

use std::collections::HashMap;

use super::attack::{AuditError, Guesses, Truth};
use super::released::Released;
use super::report::Control;
use super::score::{Scores, firsts, score};
use super::thresholds::{
    EXACT_AT_CUT_0, LEAK_FOUND_MIN, LEAK_ONE_OF, REFERENCE_AT_CUT_0_MIN,
    REFERENCE_OF_CLASSES_ABOVE_CHANCE_MIN, REFERENCE_OF_THE_REST_MIN, REFERENCE_OVER_CHANCE_MIN,
    SHUFFLED_ABOVE_CHANCE_MAX,
};
use crate::text::TokenIds;

/// Pairings of guesses with the texts of others that are averaged.
const ROTATIONS: usize = 5;

/// Guesses held against the texts of others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shuffled {
    /// Share that is right.
    pub success: f64,
    /// Share that is right by frequencies alone, `sum over v of g(v) t(v)`.
    pub chance: f64,
}

/// Pairs each guess with the truth of another example; nothing for fewer than two examples.
///
/// In place: positions that both texts have. Bags: `success` is the recall in the other's text, and
/// `chance` that of `frequent`, the most frequent tokens of public text, as a constant guess.
pub fn shuffled(guesses: &Guesses, truth: &Truth<'_>, frequent: &[u32]) -> Option<Shuffled> {
    match guesses {
        Guesses::Rows(rows) if truth.keeps_positions => {
            let pairs = rotated(rows.len()).flat_map(|(own, other)| {
                let (guessed, texts) = (&truth.tokens[own], &truth.tokens[other]);
                let flags = guessed.special().iter().zip(texts.special());
                let both = rows[own].iter().zip(texts.ids()).zip(flags);
                both.filter(|(_, (a, b))| !**a && !**b)
                    .filter_map(|((row, token), _)| Some((*row.first()?, *token)))
            });
            matches(pairs)
        }
        Guesses::Rows(rows) => {
            let bags: Vec<Vec<u32>> = rows.iter().map(|rows| firsts(rows)).collect();
            bags_of_others(&bags, truth, frequent)
        }
        Guesses::Bags(bags) => bags_of_others(bags, truth, frequent),
        Guesses::Classes(classes) => {
            let best = |scores: &[f32]| {
                let best = scores.iter().zip(0u32..).max_by(|a, b| a.0.total_cmp(b.0));
                best.map(|(_, class)| class)
            };
            let pairs = rotated(classes.len());
            matches(pairs.filter_map(|(own, other)| {
                Some((best(&classes[own])?, *truth.classes.get(other)?))
            }))
        }
    }
}

/// Pairs of different examples.
fn rotated(examples: usize) -> impl Iterator<Item = (usize, usize)> {
    let offsets = 1..=ROTATIONS.min(examples.saturating_sub(1));
    offsets.flat_map(move |by| (0..examples).map(move |own| (own, (own + by) % examples)))
}

fn matches(pairs: impl Iterator<Item = (u32, u32)>) -> Option<Shuffled> {
    let mut guessed: HashMap<u32, f64> = HashMap::new();
    let mut true_ones: HashMap<u32, f64> = HashMap::new();
    let (mut hits, mut all) = (0.0, 0.0);
    for (guess, token) in pairs {
        *guessed.entry(guess).or_insert(0.0) += 1.0;
        *true_ones.entry(token).or_insert(0.0) += 1.0;
        hits += f64::from(u8::from(guess == token));
        all += 1.0;
    }
    if all == 0.0 {
        return None;
    }
    let together = guessed
        .iter()
        .map(|(token, count)| count * true_ones.get(token).copied().unwrap_or(0.0));
    Some(Shuffled {
        success: hits / all,
        chance: together.sum::<f64>() / (all * all),
    })
}

fn bags_of_others(bags: &[Vec<u32>], truth: &Truth<'_>, frequent: &[u32]) -> Option<Shuffled> {
    if bags.len() < 2 {
        return None;
    }
    let (own, others): (Vec<_>, Vec<_>) = rotated(bags.len())
        .map(|(own, other)| (bags[own].clone(), truth.tokens[other].clone()))
        .unzip();
    let others = Truth {
        tokens: &others,
        named: &[],
        ..*truth
    };
    let constant = vec![frequent.to_vec(); own.len()];
    let recall = |bags: Vec<Vec<u32>>| score(&Guesses::Bags(bags), &others).ok()?.bag_recall;
    Some(Shuffled {
        success: recall(own)?,
        chance: recall(constant)?,
    })
}

/// Shuffled pairs must fall to chance.
pub fn shuffled_control(shuffled: Shuffled) -> Control {
    let bound = shuffled.chance + SHUFFLED_ABOVE_CHANCE_MAX;
    Control::at_most("shuffled pairs", shuffled.success, bound)
}

/// Without a mechanism the attack must succeed.
pub fn reference_control(id: &str, cut: usize, reference: &Scores, chance: f64) -> Control {
    let exact = cut == 0 && EXACT_AT_CUT_0.contains(&id);
    let bound = if exact {
        REFERENCE_AT_CUT_0_MIN
    } else if reference.classes.is_some() {
        chance + REFERENCE_OF_CLASSES_ABOVE_CHANCE_MIN
    } else {
        let of_the_rest = chance + REFERENCE_OF_THE_REST_MIN * (1.0 - chance);
        (REFERENCE_OVER_CHANCE_MIN * chance).min(of_the_rest)
    };
    Control::at_least("undefended reference", reference.success(), bound)
}

/// The examples that leak in the control.
pub fn leaking(examples: usize) -> Vec<usize> {
    (0..examples).step_by(LEAK_ONE_OF).collect()
}

/// The release with every tenth example taken from the undefended one.
pub fn with_leak(observed: &Released, undefended: &Released) -> Released {
    let n = observed.len();
    let leak = leaking(n);
    let at = |example| match leak.contains(&example) {
        true => n + example,
        false => example,
    };
    let order: Vec<usize> = (0..n).map(at).collect();
    observed.clone().join(undefended.clone()).select(&order)
}

/// What leaked must be found: the success on the leaking examples, against that on the same
/// examples without a mechanism. Nothing where the attack could not find them at all.
///
/// # Errors
///
/// When guesses and truth do not fit together.
pub fn leak_control(
    with_leak: &Guesses,
    undefended: &Guesses,
    truth: &Truth<'_>,
) -> Result<Option<Control>, AuditError> {
    let success = |guesses: &Guesses| -> Result<f64, AuditError> {
        let (guesses, tokens) = only_leaking(guesses, truth.tokens);
        let truth = Truth {
            tokens: &tokens,
            named: &[],
            ..*truth
        };
        Ok(score(&guesses, &truth)?.success())
    };
    if matches!(with_leak, Guesses::Classes(_)) {
        return Ok(None);
    }
    let reference = success(undefended)?;
    if reference == 0.0 {
        return Ok(None);
    }
    let found = success(with_leak)?;
    let bound = LEAK_FOUND_MIN * reference;
    Ok(Some(Control::at_least("injected leak", found, bound)))
}

fn only_leaking(guesses: &Guesses, tokens: &[TokenIds]) -> (Guesses, Vec<TokenIds>) {
    fn pick<T: Clone>(all: &[T]) -> Vec<T> {
        all.iter().step_by(LEAK_ONE_OF).cloned().collect()
    }
    let guesses = match guesses {
        Guesses::Rows(rows) => Guesses::Rows(pick(rows)),
        Guesses::Bags(bags) => Guesses::Bags(pick(bags)),
        Guesses::Classes(classes) => Guesses::Classes(pick(classes)),
    };
    (guesses, pick(tokens))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::released::tests::released;
    use crate::audit::score::tests::{text, truth};

    fn rows(tokens: &TokenIds) -> Vec<Vec<u32>> {
        tokens.ids().iter().map(|token| vec![*token]).collect()
    }

    #[test]
    fn right_guesses_of_other_texts_are_wrong() {
        // Ten texts of one word each, all different: right in place, never right for another.
        let tokens: Vec<TokenIds> = (10..20).map(|word| text(&[word])).collect();
        let guesses = Guesses::Rows(tokens.iter().map(rows).collect());
        let found = shuffled(&guesses, &truth(&tokens, true), &[]).unwrap();
        assert_eq!(found.success, 0.0);
        assert!((found.chance - 0.1).abs() < 1e-9); // ten words, each with share 1/10
        assert!(shuffled_control(found).passed);
    }

    #[test]
    fn guesses_that_fit_every_text_are_seen_through() {
        let tokens = vec![text(&[7, 7, 7]); 4];
        let guesses = Guesses::Rows(tokens.iter().map(rows).collect());
        let found = shuffled(&guesses, &truth(&tokens, true), &[]).unwrap();
        assert_eq!((found.success, found.chance), (1.0, 1.0)); // chance says that it means nothing
        let bags = Guesses::Bags(vec![vec![7, 7, 7]; 4]);
        let found = shuffled(&bags, &truth(&tokens, false), &[7, 8, 9]).unwrap();
        assert_eq!(found.success, 1.0);
        assert!((found.chance - 1.0 / 3.0).abs() < 1e-9);
        assert!(!shuffled_control(found).passed);
    }

    #[test]
    fn the_bound_of_a_reference_is_that_of_its_kind() {
        let at = |top1| Scores {
            top1: Some(top1),
            ..Scores::default()
        };
        // Exact at cut 0 by theory; elsewhere three times chance.
        assert!(!reference_control("eia-nn", 0, &at(0.9), 0.02).passed);
        assert!(reference_control("eia-nn", 1, &at(0.9), 0.02).passed);
        assert!(!reference_control("eia-table", 0, &at(0.05), 0.02).passed);
        // Where chance is a third, five ninths.
        assert!(!reference_control("bag", 0, &at(0.55), 1.0 / 3.0).passed);
        assert!(reference_control("bag", 0, &at(0.56), 1.0 / 3.0).passed);
    }

    #[test]
    fn every_tenth_example_leaks() {
        let noisy = released(&[1; 12], &[9.0; 24]);
        let clean = released(&[1; 12], &[1.0; 24]);
        let mixed = with_leak(&noisy, &clean);
        let leaking: Vec<bool> = mixed.examples().map(|row| row == [1.0, 1.0]).collect();
        let expected: Vec<bool> = (0..12).map(|example| example % 10 == 0).collect();
        assert_eq!(leaking, expected);
    }

    #[test]
    fn a_leak_that_is_not_found_fails() {
        let tokens: Vec<TokenIds> = (10..30).map(|word| text(&[word])).collect();
        let right = Guesses::Rows(tokens.iter().map(rows).collect());
        let wrong = Guesses::Rows(tokens.iter().map(|_| vec![vec![9]; 3]).collect());
        let truth = truth(&tokens, true);
        let found = leak_control(&right, &right, &truth).unwrap().unwrap();
        assert!(found.passed && found.value == 1.0);
        let missed = leak_control(&wrong, &right, &truth).unwrap().unwrap();
        assert!(!missed.passed);
        assert_eq!(leak_control(&right, &wrong, &truth).unwrap(), None);
    }
}
