//! The attacks: a file and a line of [`ATTACKS`] each. A browser holds three of them.

mod as_is;
// A browser uses a part of what these two files hold.
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
mod bayes;
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
mod nearest;

#[cfg(not(target_arch = "wasm32"))]
mod attribute;
#[cfg(not(target_arch = "wasm32"))]
mod average;
#[cfg(not(target_arch = "wasm32"))]
mod bag;
#[cfg(not(target_arch = "wasm32"))]
mod eia_learned;
#[cfg(not(target_arch = "wasm32"))]
pub mod gradient;
#[cfg(not(target_arch = "wasm32"))]
pub mod label;
#[cfg(not(target_arch = "wasm32"))]
mod mask;
#[cfg(not(target_arch = "wasm32"))]
mod relaxation;

#[cfg(not(target_arch = "wasm32"))]
pub use average::Average;

use super::attack::Attack;
#[cfg(not(target_arch = "wasm32"))]
use label::{Evidence, LabelInference, Method};

/// `as-is`: what did not change.
pub const AS_IS: &dyn Attack = &as_is::AsIs;

/// `eia-nn`: the nearest.
pub const NEAREST: &dyn Attack = &nearest::DISTANCE;

/// `eia-bayes`: the likeliest.
pub const BAYES: &dyn Attack = &bayes::WORDS;

/// Every attack that the audit knows, in the order of the report.
#[cfg(not(target_arch = "wasm32"))]
pub const ATTACKS: &[&dyn Attack] = &[
    AS_IS,
    NEAREST,
    &nearest::ANGLE,
    &nearest::TABLE,
    BAYES,
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
#[cfg(not(target_arch = "wasm32"))]
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
