//! Functions of the CPU backend that have a backward pass of their own.
//!
//! The library takes the gradient of a softmax, a layer norm or a GELU by parts: half a dozen passes
//! over memory, most of them on one core, and the exponential number by number. A [`Kernel`] is one
//! pass forwards and one backwards, on all cores, in arithmetic that a compiler vectorises. On other
//! devices the library's own functions stay.
//!
//! | module | what |
//! |---|---|
//! | [`attention`] | attention over examples without padding |
//! | [`gelu`] | `x Phi(x)` |
//! | [`grouped_lora`] | adapters of several runs, each on its own rows |
//! | [`layer_norm`] | normalisation over the last axis |
//! | [`arithmetic`] | exponential and error function |

mod arithmetic;
mod attention;
mod gelu;
mod grouped_lora;
mod layer_norm;

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor};

#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
pub(crate) use arithmetic::exp;
pub(super) use attention::PackedAttention;
pub(super) use gelu::Gelu;
pub(super) use grouped_lora::{GroupedLora, Part, line};
pub(super) use layer_norm::LayerNormKernel;

/// A function of some tensors to one.
pub(super) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs.
    type Kept: Clone + Debug + Send + 'static;

    /// The function's value. The inputs are contiguous f32.
    fn value(&self, inputs: [FlexTensor; N]) -> FlexTensor;

    /// The function's value, and what the backward pass needs.
    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Kept);

    /// The gradients at the inputs, of that at the output; all contiguous f32.
    fn backward(&self, kept: &Self::Kept, gradient: FlexTensor) -> [FlexTensor; N];
}

/// Whether kernels work on this tensor: 32-bit numbers on the CPU backend.
pub(crate) fn supports<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().without_autodiff() == Device::flex()
}

/// Applies a kernel to tensors that it [`supports`].
///
/// # Panics
///
/// When a tensor is on another device.
pub(super) fn apply<const D: usize, const N: usize, K: Kernel<N>>(
    kernel: K,
    inputs: [Tensor<D>; N],
) -> Tensor<D> {
    const DEVICE: &str = "kernels work on tensors of the CPU backend";
    if !inputs.iter().any(Tensor::is_autodiff) {
        let inputs = inputs.map(|x| x.try_into_primitive::<Flex>().expect(DEVICE));
        let output = kernel.value(inputs.map(contiguous));
        return Tensor::from_primitive::<Flex>(output);
    }
    let parts = inputs.map(|x| {
        let x = if x.is_autodiff() { x } else { x.autodiff() };
        let x = x.try_into_primitive::<Autodiff<Flex>>().expect(DEVICE);
        let node = x.node();
        (contiguous(x.into_primitive()), node)
    });
    let mut nodes = Vec::with_capacity(N);
    let inputs = parts.map(|(x, node)| {
        nodes.push(node);
        x
    });
    let nodes: [NodeGuard; N] = nodes.try_into().expect("a node was taken of each input");
    let pass = Pass::<K>(PhantomData).prepare::<NoCheckpointing>(nodes);
    let output = match pass.compute_bound().stateful() {
        OpsKind::Tracked(pass) => {
            let (output, kept) = kernel.forward(inputs);
            pass.finish((kernel, kept), output)
        }
        OpsKind::UnTracked(pass) => pass.finish(kernel.value(inputs)),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The backward pass of a kernel, in the form that the graph stores.
#[derive(Debug)]
struct Pass<K>(PhantomData<K>);

impl<const N: usize, K: Kernel<N>> Backward<Flex, N> for Pass<K> {
    type State = (K, K::Kept);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (kernel, kept) = ops.state;
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let of_inputs = kernel.backward(&kept, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The same numbers one after the other, from the start of their storage to its end.
fn contiguous(x: FlexTensor) -> FlexTensor {
    let whole = x.layout().contiguous_offsets() == Some((0, x.storage::<f32>().len()));
    if whole { x } else { x.to_contiguous() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    /// Numbers between -6 and 6 that repeat after a long time.
    pub(super) fn numbers(count: usize) -> Vec<f32> {
        (0..count)
            .map(|at| ((at * 7_919) % 12_007) as f32 / 1_000.0 - 6.0)
            .collect()
    }

    /// Value and gradient of a function; the gradient of the output is not constant.
    pub(super) fn value_and_gradient<const D: usize>(
        shape: [usize; D],
        function: impl Fn(Tensor<D>) -> Tensor<D>,
    ) -> [Vec<f32>; 2] {
        let tensor = |values, shape: [usize; D]| {
            Tensor::<D>::from_data(TensorData::new(values, shape), &Device::flex())
        };
        let x = tensor(numbers(shape.iter().product()), shape);
        let x = x.autodiff().require_grad();
        let y = function(x.clone());
        let weights = (0..y.dims().iter().product()).map(|at| (at % 5) as f32 - 1.5);
        let weights = tensor(weights.collect(), y.dims());
        let gradients = (y.clone() * weights).sum().backward();
        let gradient = x.grad(&gradients).unwrap();
        [y.without_autodiff(), gradient].map(|t| t.into_data().try_into_vec::<f32>().unwrap())
    }

    /// Equality up to an absolute tolerance.
    pub(super) fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
        assert_eq!(ours.len(), theirs.len());
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let scale = theirs.abs().max(1.0);
            assert!(
                (ours - theirs).abs() < tolerance * scale,
                "{at}: {ours} against {theirs}"
            );
        }
    }

    #[test]
    fn a_view_is_copied_and_its_storage_left_alone() {
        let whole = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Device::flex());
        let column = whole.clone().narrow(1, 1, 1);
        let y = apply(Gelu, [column]);
        assert_eq!(y.dims(), [2, 1]);
        let values = whole.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    }
}
