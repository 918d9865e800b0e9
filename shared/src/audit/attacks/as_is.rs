//! Takes the sanitized tokens as they are: the least that a server knows of a mechanism on tokens.

use crate::audit::attack::{Attack, Attacker, AuditError, Guesses, Pending};
use crate::audit::released::Released;
use crate::text::TokenIds;

/// The attack that does nothing. With a frozen bottom the activations are a function of the
/// sanitized tokens, whatever the cut; what did not change is lost. Source: threat-model.md.
#[derive(Debug)]
pub(super) struct AsIs;

/// What the sanitized tokens say by themselves. A special token is no guess of a word, and would
/// take the place of one in a bag.
fn guesses(sanitized: &[TokenIds]) -> Guesses {
    let row = |(token, special): (&u32, &bool)| match special {
        true => Vec::new(),
        false => vec![*token],
    };
    let rows = |tokens: &TokenIds| tokens.ids().iter().zip(tokens.special()).map(row).collect();
    Guesses::Rows(sanitized.iter().map(rows).collect())
}

impl Attack for AsIs {
    fn id(&self) -> &'static str {
        "as-is"
    }

    fn about(&self) -> &'static str {
        "Reads the replaced words as if nothing had been replaced: finds what did not change."
    }

    fn run<'a>(
        &'a self,
        _attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        let reason = "the mechanism does not work on words; there are no replaced words to read";
        let none = AuditError::NotApplicable { reason };
        let guesses = observed.sanitized.as_deref().map(guesses).ok_or(none);
        Box::pin(std::future::ready(guesses))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::score::score;
    use crate::audit::score::tests::{text, truth};

    /// Of 5 6 7 the words 5 and 6 are left; of 8 9 both.
    #[test]
    fn what_is_left_out_is_lost_and_nothing_else() {
        let before = [text(&[5, 6, 7]), text(&[8, 9])];
        let guesses = guesses(&[text(&[5, 6]), text(&[8, 9])]);
        let scores = score(&guesses, &truth(&before, false)).unwrap();
        assert_eq!(scores.bag_recall, Some(4.0 / 5.0));
    }
}
