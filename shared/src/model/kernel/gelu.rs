//! The Gaussian error linear unit, exact form.

use burn::backend::flex::FlexTensor;

use super::Kernel;
use super::arithmetic::{erf, exp};
use crate::parallel::{for_row_pairs, for_rows};

/// `x Phi(x)`, with `Phi` the distribution function of the standard normal.
///
/// Source: arXiv 1606.08415.
#[derive(Debug, Clone)]
pub(in crate::model) struct Gelu;

impl Kernel<1> for Gelu {
    /// The derivative at every element.
    type Kept = FlexTensor;

    fn value(&self, [mut x]: [FlexTensor; 1]) -> FlexTensor {
        for_rows(x.storage_mut(), 1, |_, values| {
            values
                .iter_mut()
                .for_each(|x| *x = value_and_derivative(*x).0);
        });
        x
    }

    fn forward(&self, [mut x]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        let mut derivatives = FlexTensor::empty(x.layout().shape().clone(), x.dtype());
        let (values, slopes) = (x.storage_mut::<f32>(), derivatives.storage_mut::<f32>());
        for_row_pairs((values, 1), (slopes, 1), |_, values, slopes| {
            for (x, slope) in values.iter_mut().zip(slopes) {
                (*x, *slope) = value_and_derivative(*x);
            }
        });
        (x, derivatives)
    }

    fn backward(&self, derivatives: &FlexTensor, mut gradient: FlexTensor) -> [FlexTensor; 1] {
        let derivatives = derivatives.storage::<f32>();
        for_rows(gradient.storage_mut(), 1, |first, gradient| {
            for (g, derivative) in gradient.iter_mut().zip(&derivatives[first..]) {
                *g *= derivative;
            }
        });
        [gradient]
    }
}

/// `x Phi(x)` and its derivative `Phi(x) + x phi(x)`.
#[inline(always)]
fn value_and_derivative(x: f32) -> (f32, f32) {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    let cdf = 0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2);
    let density = INV_SQRT_TAU * exp(-0.5 * x * x);
    (x * cdf, cdf + x * density)
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::gelu;
    use burn::tensor::{Device, Tensor};

    use super::super::apply;
    use super::super::tests::{assert_close, value_and_gradient};
    use super::*;

    #[test]
    fn value_and_gradient_are_those_of_the_library() {
        let ours = value_and_gradient([3, 4_001], |x| apply(Gelu, [x]));
        let theirs = value_and_gradient([3, 4_001], gelu);
        assert_close(&ours[0], &theirs[0], 2e-6);
        assert_close(&ours[1], &theirs[1], 6e-6);
    }

    #[test]
    fn without_a_graph_the_value_is_the_same() {
        let values = super::super::tests::numbers(5_000);
        let x = Tensor::<1>::from_floats(values.as_slice(), &Device::flex());
        assert!(super::super::supports(&x));
        let [ours, _] = value_and_gradient([5_000], |x| apply(Gelu, [x]));
        let plain = apply(Gelu, [x]).into_data();
        assert_eq!(plain.try_into_vec::<f32>().ok(), Some(ours));
    }
}
