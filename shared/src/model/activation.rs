//! The function between the two feed-forward projections.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu};

pub use super::config::FeedForwardActivation;
use super::kernel;

impl FeedForwardActivation {
    /// Applies the function to every element.
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Gelu if kernel::supports(&x) => kernel::apply(kernel::Gelu, [x]),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::Relu => relu(x),
        }
    }
}
