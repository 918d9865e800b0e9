//! The attacks: a file and a line of [`ATTACKS`] each.

pub mod attribute;
pub mod bag;
pub mod eia_learned;
pub mod label;
pub mod mask;

use super::attack::Attack;
use label::{Evidence, LabelInference, Method};

/// Every attack that the audit knows, in the order of the report.
pub const ATTACKS: &[&dyn Attack] = &[
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
