//! Takes the sanitized tokens as they are: the least that a server knows of a mechanism on tokens.

use crate::audit::attack::{Attack, Attacker, AuditError, Guesses, Pending};
use crate::audit::released::Released;
use crate::text::TokenIds;

/// The attack that does nothing. With a frozen bottom the activations are a function of the
/// sanitized tokens, whatever the cut; what did not change is lost. Source: threat-model.md.
#[derive(Debug)]
pub(super) struct AsIs;

/// What the sanitized tokens say by themselves.
pub(super) fn guesses(sanitized: &[TokenIds]) -> Guesses {
    let rows = |tokens: &TokenIds| tokens.ids().iter().map(|token| vec![*token]).collect();
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
