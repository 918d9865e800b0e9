//! LABEL: the class of an example, from its gradient or its activations, where labels stay at the
//! client.

use burn::tensor::Device;
use rand::seq::SliceRandom;

use super::attribute::KnownTexts;
use crate::audit::classes::class_scores;
use crate::audit::learned::classifier::Labelled;
use crate::audit::learned::features::Features;
use crate::audit::learned::generator;
use crate::audit::learned::label_scores::label_scores;
pub use crate::audit::learned::label_scores::{Evidence, HINTS, Method};
use crate::audit::{Attack, Attacker, AuditError, Guesses, Pending, Released};

/// One of the ways in which a label shows. Source: method.md, section 4, LABEL.
///
/// The attacker knows the labels of a few examples of its own ([`HINTS`] a class; logistic
/// regression: all that it has) and names with them what the unsupervised methods find.
#[derive(Debug, Clone, Copy)]
pub struct LabelInference {
    /// What is computed.
    pub method: Method,
    /// Of what.
    pub evidence: Evidence,
}

impl LabelInference {
    /// One method on one kind of evidence.
    pub const fn of(method: Method, evidence: Evidence) -> Self {
        Self { method, evidence }
    }
}

/// Known examples of the attacker, at most: as many as for attributes.
const KNOWN_MAX: usize = 1000;

impl Attack for LabelInference {
    fn id(&self) -> &'static str {
        match (self.evidence, self.method) {
            (Evidence::Gradients, Method::Norm) => "label-norm",
            (Evidence::Gradients, Method::Cosine) => "label-cosine",
            (Evidence::Gradients, Method::Hint) => "label-hint",
            (Evidence::Gradients, Method::KMeans) => "label-k-means",
            (Evidence::Gradients, Method::Spectral) => "label-spectral",
            (Evidence::Gradients, Method::Logistic) => "label-logistic",
            (Evidence::Activations, Method::Norm) => "label-norm-activations",
            (Evidence::Activations, Method::Cosine) => "label-cosine-activations",
            (Evidence::Activations, Method::Hint) => "label-hint-activations",
            (Evidence::Activations, Method::KMeans) => "label-k-means-activations",
            (Evidence::Activations, Method::Spectral) => "label-spectral-activations",
            (Evidence::Activations, Method::Logistic) => "label-logistic-activations",
        }
    }

    fn about(&self) -> &'static str {
        match self.evidence {
            Evidence::Gradients => {
                "Guesses the label of each example from the gradient that the server receives."
            }
            Evidence::Activations => {
                "Guesses the label of each example from the activations that the server receives."
            }
        }
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(async move {
            let vectors = |released: &Released| match self.evidence {
                Evidence::Activations => Ok(Features::pooled(released)),
                Evidence::Gradients => released.gradients.as_deref().map(Features::of_rows).ok_or(
                    AuditError::NotApplicable {
                        reason: "an upload holds no gradient; what those of a recorded run with \
                                 labels at the client tell is in the part on labels",
                    },
                ),
            };
            let evaluated = vectors(observed)?;
            let known = KnownTexts::draw(attacker, KNOWN_MAX).await?;
            let labelled = Labelled {
                features: &vectors(known.release.released())?,
                classes: &known.classes,
                n_classes: known.n_classes,
            };
            let (seed, device) = (attacker.seed, attacker.bottom.device());
            let scores = label_scores(
                self.method,
                self.evidence,
                &evaluated,
                labelled,
                seed,
                device,
            )?;
            (attacker.progress)(1.0);
            Ok(Guesses::Classes(scores))
        })
    }
}

/// What one method reads out of some vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelLeak {
    /// How.
    pub method: Method,
    /// Mean over the classes of the AUC of a class against all others; 0.5 is chance.
    pub auc: f64,
}

/// One vector in this many has a label that the attacker knows.
pub(in crate::audit) const KNOWN_SHARE: usize = 5;

/// What every method reads out of the vectors that a server received in a session.
///
/// A fifth of the labels, drawn at random, is given to the attacker (logistic regression uses all
/// of them, the others [`HINTS`] a class); the AUC is that of the other four fifths.
///
/// # Errors
///
/// [`AuditError::Answers`] when there is not one label a vector; [`AuditError::NotApplicable`]
/// when a class is missing among the known or the evaluated; or when the device fails.
pub fn label_leakage(
    evidence: Evidence,
    vectors: &[Vec<f32>],
    labels: &[u32],
    seed: u64,
    device: &Device,
) -> Result<Vec<LabelLeak>, AuditError> {
    if vectors.len() != labels.len() {
        return Err(AuditError::Answers {
            of: "vectors",
            expected: vectors.len(),
            actual: labels.len(),
        });
    }
    let mut order: Vec<usize> = (0..vectors.len()).collect();
    order.shuffle(&mut generator(seed, 6));
    let (known, evaluated) = order.split_at(vectors.len() / KNOWN_SHARE);
    let all = Features::of_rows(vectors);
    let label = |at: &usize| labels[*at];
    let known_labels: Vec<u32> = known.iter().map(label).collect();
    let truth: Vec<u32> = evaluated.iter().map(label).collect();
    let labelled = Labelled {
        features: &all.select(known),
        classes: &known_labels,
        n_classes: labels.iter().max().map_or(0, |class| *class as usize + 1),
    };
    let observed = all.select(evaluated);
    let leak = |method| {
        let scores = label_scores(method, evidence, &observed, labelled, seed, device)?;
        let auc = class_scores(&scores, &truth)
            .auc
            .ok_or(AuditError::NotApplicable {
                reason: "the evaluated examples are all of one class",
            })?;
        Ok(LabelLeak { method, auc })
    };
    Method::ALL.into_iter().map(leak).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    const EXAMPLES: usize = 1_000;
    const WIDTH: usize = 8;

    /// Normal vectors with labels 1, 0, 0, 0, 1, ..; `plant` may change those of label 1.
    fn leaks(plant: impl Fn(&mut [f32])) -> Vec<LabelLeak> {
        let mut rng = generator(9, 0);
        let labels: Vec<u32> = (0..EXAMPLES).map(|at| u32::from(at % 4 == 0)).collect();
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let vectors: Vec<Vec<f32>> = labels
            .iter()
            .map(|label| {
                let mut vector: Vec<f32> = (0..WIDTH).map(|_| normal() as f32).collect();
                if *label == 1 {
                    plant(&mut vector);
                }
                vector
            })
            .collect();
        label_leakage(Evidence::Gradients, &vectors, &labels, 1, &Device::flex()).unwrap()
    }

    fn auc(leaks: &[LabelLeak], method: Method) -> f64 {
        let leak = leaks.iter().find(|leak| leak.method == method).unwrap();
        leak.auc
    }

    /// Three times as long: `ln 3` is 4.1 deviations of `ln ||g||` at width 8.
    #[test]
    fn a_longer_gradient_is_found_by_its_norm() {
        let leaks = leaks(|vector| vector.iter_mut().for_each(|value| *value *= 3.0));
        assert!(auc(&leaks, Method::Norm) > 0.99, "{leaks:?}");
        // The directions say nothing.
        assert!(
            (auc(&leaks, Method::Logistic) - 0.5).abs() < 0.1,
            "{leaks:?}"
        );
    }

    #[test]
    fn a_direction_is_found_by_all_that_look_at_directions() {
        let leaks = leaks(|vector| vector[0] += 12.0);
        let methods = [
            Method::Cosine,
            Method::Hint,
            Method::KMeans,
            Method::Spectral,
            Method::Logistic,
        ];
        for method in methods {
            assert!(auc(&leaks, method) > 0.95, "{leaks:?}");
        }
    }

    /// 200 of 800 examples have label 1: the deviation of the AUC by chance is 0.024, and hints
    /// choose the better side of it now and then.
    #[test]
    fn without_a_leak_every_method_is_at_chance() {
        for leak in leaks(|_| ()) {
            assert!((leak.auc - 0.5).abs() < 0.1, "{leak:?}");
        }
    }

    /// Three clouds, six deviations apart.
    #[test]
    fn three_classes_are_found_in_activations() {
        let mut rng = generator(9, 1);
        let labels: Vec<u32> = (0..600).map(|at| at % 3).collect();
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let vectors: Vec<Vec<f32>> = labels
            .iter()
            .map(|label| {
                let mut vector: Vec<f32> = (0..WIDTH).map(|_| normal() as f32).collect();
                vector[*label as usize] += 6.0;
                vector
            })
            .collect();
        let evidence = Evidence::Activations;
        let leaks = label_leakage(evidence, &vectors, &labels, 1, &Device::flex()).unwrap();
        let methods = [
            Method::Hint,
            Method::KMeans,
            Method::Spectral,
            Method::Logistic,
        ];
        for method in methods {
            assert!(auc(&leaks, method) > 0.95, "{leaks:?}");
        }
    }

    #[test]
    fn a_label_a_vector_is_asked_for() {
        let vectors = vec![vec![1.0]; 3];
        let leak = label_leakage(Evidence::Gradients, &vectors, &[0], 1, &Device::flex());
        assert!(matches!(leak, Err(AuditError::Answers { .. })));
    }
}
