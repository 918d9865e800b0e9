//! AIA: an attribute of the author, from the pooled rows of a text.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::audit::learned::classifier::{Architecture, Classifier, Labelled};
use crate::audit::learned::features::Features;
use crate::audit::learned::generator;
use crate::audit::learned::public::PublicRelease;
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released};

/// `[mean row, first row] -> 768 -> classes`, trained on about a thousand texts whose attribute
/// the attacker knows.
///
/// The attribute is that of [`Attacker::public_classes`]; the texts are disjoint from the
/// evaluated ones and are released by the attacker's own draws. Source: method.md, section 4, AIA.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttributeInference;

/// Width of the hidden layer.
const D_HIDDEN: usize = 768;

/// Texts whose attribute the attacker knows, at most.
const PAIRS_MAX: usize = 1000;

impl Attack for AttributeInference {
    fn id(&self) -> &'static str {
        "attribute"
    }

    fn about(&self) -> &'static str {
        "A small network, trained on texts whose attribute is known and that were released in the \
         same way, guesses the attribute of each author."
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(async move {
            let known = KnownTexts::draw(attacker, PAIRS_MAX).await?;
            let labelled = Labelled {
                features: &Features::pooled(known.release.released()),
                classes: &known.classes,
                n_classes: known.n_classes,
            };
            let classifier = Classifier::train(
                labelled,
                Architecture::Hidden(D_HIDDEN),
                attacker.seed,
                attacker.bottom.device(),
                attacker.progress,
            )?;
            Ok(Guesses::Classes(
                classifier.scores(Features::pooled(observed))?,
            ))
        })
    }
}

/// Public texts with a known class, released by the attacker.
pub(super) struct KnownTexts {
    /// The texts and what came back.
    pub(super) release: PublicRelease,
    /// Their classes.
    pub(super) classes: Vec<u32>,
    /// Number of classes.
    pub(super) n_classes: usize,
}

impl KnownTexts {
    /// Releases at most `count` texts, chosen at random.
    ///
    /// # Errors
    ///
    /// [`AuditError::NotApplicable`] when the attacker knows no classes.
    pub(super) async fn draw(attacker: &Attacker<'_>, count: usize) -> Result<Self, AuditError> {
        let classes = attacker.public_classes.ok_or(AuditError::NotApplicable {
            reason: "the attacker has no texts whose class is known",
        })?;
        let mut rng = generator(attacker.seed, 4);
        let mut indices: Vec<usize> = (0..attacker.public.len().min(classes.len())).collect();
        indices.shuffle(&mut rng);
        indices.truncate(count);
        let n_classes = classes.iter().max().map_or(0, |class| *class as usize + 1);
        Ok(Self {
            release: PublicRelease::draw(attacker, &indices, rng.next_u64()).await?,
            classes: indices.iter().map(|at| classes[*at]).collect(),
            n_classes,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;
    use rand::RngExt;

    use super::*;
    use crate::audit::Simulator;
    use crate::audit::classes::class_scores;
    use crate::audit::learned::test_world::{Hiding, ORDINARY, World, text};
    use crate::text::TokenIds;

    /// Texts of six tokens; token 5 is in those of class 1 and in no other, at any place.
    fn texts(count: usize, seed: u64) -> (Vec<TokenIds>, Vec<u32>) {
        let mut rng = generator(seed, 0);
        (0..count)
            .map(|at| {
                let class = at % 2;
                let mut other = || (6 + rng.random_range(0..ORDINARY - 1)) % ORDINARY;
                let mut tokens: Vec<u32> = (0..6).map(|_| other()).collect();
                if class == 1 {
                    tokens[rng.random_range(0..6)] = 5;
                }
                (text(tokens), class as u32)
            })
            .unzip()
    }

    fn auc(public_classes: impl Fn(&[u32]) -> Vec<u32>) -> f64 {
        let world = World::new();
        let client = Hiding {
            bottom: &world.bottom,
            share: 0.0,
            keeps_positions: true,
        };
        let (public, classes) = texts(400, 1);
        let known = public_classes(&classes);
        let attacker = Attacker {
            public_classes: Some(&known),
            ..world.attacker(&public, &client)
        };
        let (private, truth) = texts(200, 2);
        let observed = client.release(&private, 9).now_or_never().unwrap().unwrap();
        let run = AttributeInference.run(&attacker, &observed).now_or_never();
        let Guesses::Classes(scores) = run.unwrap().unwrap() else {
            panic!("classes are expected");
        };
        class_scores(&scores, &truth).auc.unwrap()
    }

    #[test]
    fn an_attribute_that_one_token_tells_is_inferred() {
        let auc = auc(<[u32]>::to_vec);
        assert!(auc > 0.95, "{auc}");
    }

    /// The deviation of the AUC of 100 against 100 by chance is 0.041.
    #[test]
    fn what_the_texts_do_not_tell_stays_at_chance() {
        let auc = auc(|classes| (0..classes.len()).map(|at| (at / 2 % 2) as u32).collect());
        assert!((auc - 0.5).abs() < 0.17, "{auc}");
    }
}
