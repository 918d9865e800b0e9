//! The mechanism `drop`: words that do not contribute are left out.

use std::rc::Rc;

use super::eta::PrivacyError;
use super::mechanism::{
    BottomInput, Material, Mechanism, MechanismEntry, Prepared, PrivateExample, PrivatizedTokenIds,
    Step, Strength,
};
use super::suppress::{KeptTokens, kept};

/// Every token that is not among the kept ones is left out; the others move together.
///
/// # Guarantee
///
/// What is sent of a text is a function of its kept tokens in their order: neither the other tokens
/// nor their number or places leave a trace. Nothing is promised for the kept tokens, which leave as
/// they are. The list of kept tokens is computed from the training rows and becomes visible with
/// time.
#[derive(Debug)]
pub struct DropMechanism {
    kept: KeptTokens,
}

impl Mechanism for DropMechanism {
    fn parameters(&self) -> Vec<u8> {
        self.kept.parameters(4)
    }

    fn privatize<'a>(&'a self, examples: &'a mut [PrivateExample]) -> Step<'a, Vec<BottomInput>> {
        let shortened = |example: &PrivateExample| {
            let positions = example.tokens.ids().iter().zip(example.tokens.special());
            let stays = |(at, (id, special)): (usize, (&u32, &bool))| {
                (*special || self.kept.contains(*id)).then_some(at)
            };
            let origins = positions.enumerate().filter_map(stays).collect();
            let shortened = PrivatizedTokenIds::keeping(&example.tokens, origins)?;
            Ok(BottomInput::Privatized(shortened))
        };
        let inputs = examples.iter().map(shortened).collect();
        Box::pin(std::future::ready(inputs))
    }

    fn keeps_positions(&self) -> bool {
        false
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "drop",
    title: "Leave out words",
    about: "Only the words that matter for the labels are sent, as they are and in their order; \
        all others are left out without a trace. The server sees the kept words only.",
    level: "Share of words that are left out. More protection costs accuracy.",
    guarantee: "Two texts with the same kept words in the same order cannot be told apart, \
        whatever else stands in them and however long they are. Kept words are not protected at \
        all.",
    takes_contribution: false,
    ranks_tokens: true,
    why: "",
    prepare: |material, strength| Box::pin(std::future::ready(prepare(material, strength))),
};

fn prepare(material: &Material<'_>, strength: Strength) -> Result<Prepared, PrivacyError> {
    let (kept, share) = kept(material, strength)?;
    let sentence = format!(
        "About {:.0} % of the words are left out before anything leaves; {} different words may \
         be kept.",
        100.0 * share,
        kept.len()
    );
    Ok(Prepared {
        mechanism: Rc::new(DropMechanism { kept }),
        eta: None,
        level: Some(share),
        sentence,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::eta::Protection;
    use super::super::ranking::Ranking;
    use super::super::token::tests::released;
    use super::*;

    /// Fails when a word that is left out shows in what is sent, be it by a gap.
    #[test]
    fn what_is_left_out_leaves_no_trace() {
        let ranking = Ranking::of(vec![2, 3, 4], vec![0, 0, 6, 6, 4]);
        let kept = KeptTokens::at(&ranking, Protection::new(0.2).unwrap());
        let mechanism = DropMechanism { kept };
        let long = released(&mechanism, &[0, 4, 2, 5, 6, 7, 3, 1], 1);
        let short = released(&mechanism, &[0, 2, 3, 8, 1], 2);
        assert_eq!(long.ids(), [0, 2, 3, 1]);
        assert_eq!(long, short);
    }
}
