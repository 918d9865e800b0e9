//! The function between the two feed-forward projections.
//!
//! GELU costs more than anything but the products when a library evaluates the error function
//! number by number. On the CPU it is done here in one pass, for value and derivative together, in
//! arithmetic that a compiler vectorises.

use burn::tensor::activation::{gelu, gelu_approximate, relu};
use burn::tensor::{Device, Tensor, TensorData};

pub use super::config::FeedForwardActivation;

impl FeedForwardActivation {
    /// Applies the function to every element.
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu if x.device().without_autodiff() == Device::flex() => gelu_on_cpu(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::Relu => relu(x),
        }
    }
}

/// `x * Phi(x)` on the CPU.
///
/// With `d = gelu'(x)` and `c = gelu(x) - x d` as constants, `x d + c` has GELU's value and GELU's
/// gradient, and costs the graph one product backwards.
fn gelu_on_cpu(x: Tensor<3>) -> Tensor<3> {
    let shape = x.dims();
    let device = x.device().without_autodiff();
    let mut values = match x
        .clone()
        .without_autodiff()
        .into_data()
        .try_into_vec::<f32>()
    {
        Ok(values) => values,
        Err(_) => return gelu(x), // not f32: the library's own
    };
    let constant = |values| Tensor::<3>::from_data(TensorData::new(values, shape), &device);
    if !x.is_autodiff() {
        for_each_chunk(&mut values, |chunk| {
            chunk.iter_mut().for_each(|v| *v = gelu_and_slope(*v).0)
        });
        return constant(values);
    }
    let mut slopes = vec![0.0; values.len()];
    for_each_chunk_pair(&mut values, &mut slopes, |values, slopes| {
        for (value, slope) in values.iter_mut().zip(slopes) {
            let x = *value;
            let (gelu, derivative) = gelu_and_slope(x);
            *slope = derivative;
            *value = gelu - x * derivative;
        }
    });
    x * constant(slopes) + constant(values)
}

/// Numbers that one thread works on at a time: they fit into a first-level cache.
const CHUNK: usize = 4096;

#[cfg(not(target_arch = "wasm32"))]
fn for_each_chunk(values: &mut [f32], work: impl Fn(&mut [f32]) + Sync + Send) {
    use rayon::prelude::*;
    values.par_chunks_mut(CHUNK).for_each(work);
}

#[cfg(not(target_arch = "wasm32"))]
fn for_each_chunk_pair(
    left: &mut [f32],
    right: &mut [f32],
    work: impl Fn(&mut [f32], &mut [f32]) + Sync + Send,
) {
    use rayon::prelude::*;
    let pairs = left.par_chunks_mut(CHUNK).zip(right.par_chunks_mut(CHUNK));
    pairs.for_each(|(left, right)| work(left, right));
}

#[cfg(target_arch = "wasm32")]
fn for_each_chunk(values: &mut [f32], work: impl Fn(&mut [f32])) {
    values.chunks_mut(CHUNK).for_each(work);
}

#[cfg(target_arch = "wasm32")]
fn for_each_chunk_pair(left: &mut [f32], right: &mut [f32], work: impl Fn(&mut [f32], &mut [f32])) {
    let pairs = left.chunks_mut(CHUNK).zip(right.chunks_mut(CHUNK));
    pairs.for_each(|(left, right)| work(left, right));
}

/// `x Phi(x)` and its derivative `Phi(x) + x phi(x)`.
#[inline(always)]
fn gelu_and_slope(x: f32) -> (f32, f32) {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    let cdf = 0.5 + 0.5 * erf(x * std::f32::consts::FRAC_1_SQRT_2);
    let density = INV_SQRT_TAU * exp(-0.5 * x * x);
    (x * cdf, cdf + x * density)
}

/// The error function, to about 3e-7: an odd rational function, constant beyond 4.
///
/// The coefficients are those of the minimax approximation that Eigen uses
/// (`generic_fast_erf_float`).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let numerator = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    let denominator = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329_2e-3,
        -1.426_473_9e-2,
    ];
    let p = numerator
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * square + coefficient);
    let q = denominator
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * square + coefficient);
    x * p / q
}

/// The exponential of a number that is not positive, to about 2e-7.
///
/// `exp(x) = 2^k exp(r)`, `k` the integer nearest to `x / ln 2`, and a Taylor polynomial for
/// `|r| <= ln 2 / 2`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it leaves the nearest integer in the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = x - k * LN_2_HIGH - k * LN_2_LOW;
    let coefficients = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let power = coefficients
        .iter()
        .fold(0.0, |sum: f32, coefficient| sum * r + coefficient);
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127)
        << 23;
    power * f32::from_bits(exponent)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn points() -> Vec<f32> {
        (-1_200..=1_200).map(|at| at as f32 / 100.0).collect()
    }

    #[test]
    fn the_exponential_is_that_of_the_library() {
        for x in points().into_iter().filter(|x| *x <= 0.0) {
            let (ours, theirs) = (exp(x), x.exp());
            assert!(
                (ours / theirs - 1.0).abs() < 3e-7,
                "{x}: {ours} against {theirs}"
            );
        }
        assert!(exp(-1000.0) < 1e-37);
    }

    #[test]
    fn the_value_is_that_of_the_library() {
        let device = Device::flex();
        let data = TensorData::new(points(), [1, 1, points().len()]);
        let x = Tensor::<3>::from_data(data, &device);
        let values = |tensor: Tensor<3>| tensor.into_data().try_into_vec::<f32>().unwrap();
        let close = |ours: Vec<f32>, theirs: Vec<f32>| {
            for ((x, ours), theirs) in points().iter().zip(ours).zip(theirs) {
                let scale = theirs.abs().max(1.0);
                assert!(
                    (ours - theirs).abs() < 1e-6 * scale,
                    "{x}: {ours} against {theirs}"
                );
            }
        };
        close(values(gelu_on_cpu(x.clone())), values(gelu(x)));
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn the_gradient_is_that_of_the_library() {
        let data = TensorData::new(points(), [1, 1, points().len()]);
        let x = Tensor::<3>::from_data(data, &Device::flex())
            .autodiff()
            .require_grad();
        let gradient = |y: Tensor<3>| {
            let gradients = y.sum().backward();
            x.grad(&gradients)
                .unwrap()
                .into_data()
                .try_into_vec::<f32>()
                .unwrap()
        };
        let pairs = gradient(gelu_on_cpu(x.clone()))
            .into_iter()
            .zip(gradient(gelu(x.clone())));
        for ((ours, theirs), x) in pairs.zip(points()) {
            assert!((ours - theirs).abs() < 2e-6, "{x}: {ours} against {theirs}");
        }
    }
}
