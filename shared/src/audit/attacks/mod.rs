//! The attacks: a file and a line of [`ATTACKS`] each.

mod as_is;
mod attribute;
mod average;
mod bag;
mod bayes;
mod eia_learned;
pub mod gradient;
pub mod label;
mod mask;
mod nearest;
mod relaxation;

pub use average::Average;

use super::attack::Attack;
use label::{Evidence, LabelInference, Method};

/// Every attack that the audit knows, in the order of the report.
pub const ATTACKS: &[&dyn Attack] = &[
    &as_is::AsIs,
    &nearest::DISTANCE,
    &nearest::ANGLE,
    &nearest::TABLE,
    &bayes::WORDS,
    &bayes::PAIRS,
    &relaxation::Relaxation,
    &eia_learned::LearnedInversion,
    &mask::Infilling,
    &bag::BagOfTokens,
    &attribute::AttributeInference,
    &LabelInference::of(Method::Norm, Evidence::Gradients),
    &LabelInference::of(Method::Cosine, Evidence::Gradients),
    &LabelInference::of(Method::Hint, Evidence::Gradients),
    &LabelInference::of(Method::KMeans, Evidence::Gradients),
    &LabelInference::of(Method::Spectral, Evidence::Gradients),
    &LabelInference::of(Method::Logistic, Evidence::Gradients),
    &LabelInference::of(Method::KMeans, Evidence::Activations),
    &LabelInference::of(Method::Spectral, Evidence::Activations),
    &LabelInference::of(Method::Logistic, Evidence::Activations),
];

/// The attacks of some names.
///
/// # Errors
///
/// The first name that no attack has.
pub fn named(names: &[String]) -> Result<Vec<&'static dyn Attack>, String> {
    let find = |name: &String| {
        let attack = ATTACKS.iter().find(|attack| attack.id() == name);
        attack.copied().ok_or_else(|| name.clone())
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let ids: Vec<String> = ATTACKS
            .iter()
            .map(|attack| attack.id().to_owned())
            .collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        let found = named(&ids).map(|found| found.len());
        assert_eq!(found, Ok(ids.len()));
        let unknown = named(&["no-such".to_owned()]).map(|found| found.len());
        assert_eq!(unknown, Err("no-such".to_owned()));
    }
}
