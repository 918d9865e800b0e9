//! The mechanism `suppress`: words that do not contribute become `[MASK]`.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::eta::{PrivacyError, Protection};
use super::mechanism::{
    BottomInput, Material, Mechanism, MechanismEntry, Prepared, PrivateExample, PrivatizedTokenIds,
    Step, Strength,
};
use super::ranking::Ranking;

/// Which tokens may leave as they are: the top of a [`Ranking`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptTokens(BTreeSet<u32>);

impl KeptTokens {
    /// The tokens that remain when `level` of all tokens of the training rows are taken away.
    pub(super) fn at(ranking: &Ranking, level: Protection) -> Self {
        let kept = ranking.top_by_occurrence(1.0 - level.get());
        Self(kept.iter().copied().collect())
    }

    /// Whether a token may leave as it is.
    pub(super) fn contains(&self, token: u32) -> bool {
        self.0.contains(&token)
    }

    /// As bytes, behind the tag of a mechanism.
    pub(super) fn parameters(&self, tag: u8) -> Vec<u8> {
        let ids = self.0.iter().flat_map(|id| id.to_le_bytes());
        std::iter::once(tag).chain(ids).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// `[MASK]` in place of every token that is not among the kept ones.
///
/// # Guarantee
///
/// What is sent of a text is a function of its kept tokens, their places and its length: two texts
/// that differ in other tokens only cannot be told apart. Nothing is promised for the kept tokens,
/// which leave as they are. The list of kept tokens is computed from the training rows and becomes
/// visible with time. What stood at a `[MASK]` can be guessed from its neighbours.
#[derive(Debug)]
pub struct SuppressMechanism {
    kept: KeptTokens,
    mask_id: u32,
}

impl Mechanism for SuppressMechanism {
    fn parameters(&self) -> Vec<u8> {
        self.kept.parameters(3)
    }

    fn privatize<'a>(&'a self, examples: &'a mut [PrivateExample]) -> Step<'a, Vec<BottomInput>> {
        let masked = |example: &PrivateExample| {
            let positions = example.tokens.ids().iter().zip(example.tokens.special());
            let ids = positions.map(|(id, special)| {
                if *special || self.kept.contains(*id) {
                    *id
                } else {
                    self.mask_id
                }
            });
            let masked = PrivatizedTokenIds::in_place(&example.tokens, ids.collect())?;
            Ok(BottomInput::Privatized(masked))
        };
        let inputs = examples.iter().map(masked).collect();
        Box::pin(std::future::ready(inputs))
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "suppress",
    title: "Blank out words",
    about: "Only the words that matter for the labels are kept, as they are; all others become \
        blanks. The server sees the kept words, where they stand, and how many words there were.",
    level: "Share of words that are blanked out. More protection costs accuracy.",
    guarantee: "Two texts that differ only in words that are blanked out cannot be told apart. \
        Kept words are not protected at all, and a blank can be guessed from its neighbours.",
    takes_contribution: false,
    ranks_tokens: true,
    why: "",
    prepare: |material, strength| Box::pin(std::future::ready(prepare(material, strength))),
};

fn prepare(material: &Material<'_>, strength: Strength) -> Result<Prepared, PrivacyError> {
    let (kept, share) = kept(material, strength)?;
    let sentence = format!(
        "About {:.0} % of the words are blanked out before anything leaves; {} different words \
         may be kept.",
        100.0 * share,
        kept.len()
    );
    let mask_id = material.mask_id.ok_or(PrivacyError::NoMask)?;
    Ok(Prepared {
        mechanism: Rc::new(SuppressMechanism { kept, mask_id }),
        eta: None,
        level: Some(share),
        sentence,
    })
}

/// The kept tokens of a strength, and the share of tokens that are taken away; there is no eta.
pub(super) fn kept(
    material: &Material<'_>,
    strength: Strength,
) -> Result<(KeptTokens, f64), PrivacyError> {
    let ranking = material.ranking.ok_or(PrivacyError::NothingToRank)?;
    let Strength::Level(level) = strength else {
        return Err(PrivacyError::NoEta);
    };
    let kept = KeptTokens::at(ranking, level);
    let share = 1.0 - ranking.share(&kept.0);
    Ok((kept, share))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::token::tests::released;
    use super::*;

    /// Fails when a token that is not kept leaves a trace.
    #[test]
    fn only_kept_tokens_and_their_places_are_left() {
        let ranking = Ranking::of(vec![2, 3, 4], vec![0, 0, 6, 6, 4]);
        let kept = KeptTokens::at(&ranking, Protection::new(0.2).unwrap());
        let mechanism = SuppressMechanism { kept, mask_id: 9 };
        let after = released(&mechanism, &[0, 4, 2, 5, 3, 1], 1);
        assert_eq!(after.ids(), [0, 9, 2, 9, 3, 1]);
        let other = released(&mechanism, &[0, 7, 2, 8, 3, 1], 2);
        assert_eq!(after.ids(), other.ids());
    }
}
