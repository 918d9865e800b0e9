//! AIA: an attribute of the author, from the pooled rows of a text.

use crate::audit::learned::classifier::{Architecture, Classifier, Labelled};
use crate::audit::learned::features::Features;
use crate::audit::learned::generator;
use crate::audit::learned::public::PublicRelease;
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released};
use rand::seq::SliceRandom;

/// `[mean row, first row] -> 768 -> classes`, trained on about a thousand texts whose attribute
/// the attacker knows.
///
/// The attribute is that of [`Attacker::public_classes`]; the texts are disjoint from the
/// evaluated ones and are released by the attacker's own draws. Source: method.md, section 4, AIA.
#[derive(Debug, Clone, Copy)]
pub struct AttributeInference;

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
#[derive(Debug)]
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
            release: PublicRelease::draw(attacker, &indices, attacker.seed).await?,
            classes: indices.iter().map(|at| classes[*at]).collect(),
            n_classes,
        })
    }
}
