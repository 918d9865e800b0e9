//! Attention over examples that lie one behind the other, without padding.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};

use super::Kernel;
use super::arithmetic::{add_scaled, dot, exp, max, sum};
use crate::parallel::for_each;

/// `softmax(scale * Q K^T) V` of each example and head.
///
/// Source: Attention Is All You Need, arXiv 1706.03762, section 3.2.1.
///
/// # Shapes
///
/// - q: `[1, queries, d_model]`, a row for each position, or one for each example
/// - k, v: `[1, sum of seq_lengths, d_model]`, one example behind the other
/// - output: as q
#[derive(Debug, Clone)]
pub(in crate::model) struct PackedAttention {
    pub(in crate::model) scale: f32,
    pub(in crate::model) n_heads: usize,
    pub(in crate::model) seq_lengths: Arc<[usize]>,
}

/// Where the rows of one example are.
#[derive(Debug, Clone, Copy)]
struct Extent {
    first_query: usize,
    queries: usize,
    first_key: usize,
    keys: usize,
}

/// Inputs, and the attention weights: of each example `[heads, queries, keys]`.
#[derive(Debug, Clone)]
pub(in crate::model) struct Kept {
    inputs: [FlexTensor; 3],
    weights: Vec<f32>,
}

/// One head of one example.
#[derive(Clone, Copy)]
struct Head {
    extent: Extent,
    /// Columns before those of the head.
    column: usize,
    d_head: usize,
    d_model: usize,
}

impl Kernel<3> for PackedAttention {
    type Kept = Kept;

    fn value(&self, inputs: [FlexTensor; 3]) -> FlexTensor {
        self.forward(inputs).0
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Kept) {
        let [q, k, v] = inputs.each_ref().map(|tensor| tensor.storage::<f32>());
        let extents = self.extents(&inputs[0]);
        let d_model = self.d_model(&inputs[0]);
        let mut output = like(&inputs[0]);
        let mut weights = vec![0.0; extents.iter().map(|extent| self.n_weights(extent)).sum()];
        let sizes = |extent: &Extent| [extent.queries * d_model, self.n_weights(extent)];
        let sizes: Vec<[usize; 2]> = extents.iter().map(sizes).collect();
        let outputs = split(output.storage_mut(), sizes.iter().map(|[rows, _]| *rows));
        let parts = split(&mut weights, sizes.iter().map(|[_, weights]| *weights));
        let tasks = extents.iter().zip(outputs).zip(parts).collect();
        for_each(tasks, |((extent, output), weights)| {
            let mut turned = vec![0.0; extent.keys * d_model / self.n_heads];
            let weights = weights.chunks_exact_mut((extent.queries * extent.keys).max(1));
            for (head, weights) in self.heads(*extent, d_model).zip(weights) {
                head.turn(k, &mut turned);
                let weights = weights.chunks_exact_mut(extent.keys.max(1));
                for (query, weights) in weights.enumerate() {
                    combine_turned(head.query(q, query), &turned, weights);
                    softmax(weights, self.scale);
                    let own = query * d_model + head.column;
                    let output = &mut output[own..own + head.d_head];
                    for (key, weight) in weights.iter().enumerate() {
                        add_scaled(output, *weight, head.key(v, key));
                    }
                }
            }
        });
        (output, Kept { inputs, weights })
    }

    /// With W the weights and G the gradient of the output: `dV = W^T G`,
    /// `dS = scale W * (G V^T - rowsum(W * G V^T))`, `dQ = dS K`, `dK = dS^T Q`.
    fn backward(&self, kept: &Kept, gradient: FlexTensor) -> [FlexTensor; 3] {
        let [q, k, v] = kept.inputs.each_ref().map(|tensor| tensor.storage::<f32>());
        let gradient = gradient.storage::<f32>();
        let extents = self.extents(&kept.inputs[0]);
        let d_model = self.d_model(&kept.inputs[0]);
        let mut slopes = kept.inputs.each_ref().map(like);
        let [dq, dk, dv] = &mut slopes;
        let rows_of_queries = || extents.iter().map(|extent| extent.queries * d_model);
        let rows_of_keys = || extents.iter().map(|extent| extent.keys * d_model);
        let mut weights = kept.weights.as_slice();
        let weights = extents.iter().map(|extent| {
            let (own, rest) = weights.split_at(self.n_weights(extent));
            weights = rest;
            own
        });
        let tasks = extents
            .iter()
            .zip(weights)
            .zip(split(dq.storage_mut(), rows_of_queries()))
            .zip(split(dk.storage_mut(), rows_of_keys()))
            .zip(split(dv.storage_mut(), rows_of_keys()))
            .collect();
        for_each(tasks, |((((extent, weights), dq), dk), dv)| {
            let mut turned = vec![0.0; extent.keys * d_model / self.n_heads];
            let mut slope = vec![0.0; extent.keys];
            let weights = weights.chunks_exact((extent.queries * extent.keys).max(1));
            for (head, weights) in self.heads(*extent, d_model).zip(weights) {
                head.turn(v, &mut turned);
                let weights = weights.chunks_exact(extent.keys.max(1));
                for (query, weights) in weights.enumerate() {
                    let g = head.query(gradient, query);
                    combine_turned(g, &turned, &mut slope);
                    let mean = dot(&slope, weights);
                    for (slope, weight) in slope.iter_mut().zip(weights) {
                        *slope = self.scale * weight * (*slope - mean);
                    }
                    let own = query * d_model + head.column;
                    let own_q = head.query(q, query);
                    let dq = &mut dq[own..own + head.d_head];
                    for (key, (weight, slope)) in weights.iter().zip(&slope).enumerate() {
                        let own = key * d_model + head.column;
                        add_scaled(dq, *slope, head.key(k, key));
                        add_scaled(&mut dk[own..own + head.d_head], *slope, own_q);
                        add_scaled(&mut dv[own..own + head.d_head], *weight, g);
                    }
                }
            }
        });
        slopes
    }
}

impl PackedAttention {
    fn d_model(&self, q: &FlexTensor) -> usize {
        q.layout().shape()[2]
    }

    fn n_weights(&self, extent: &Extent) -> usize {
        self.n_heads * extent.queries * extent.keys
    }

    fn extents(&self, q: &FlexTensor) -> Vec<Extent> {
        let rows = q.layout().shape()[1];
        let each = rows == self.seq_lengths.iter().sum::<usize>();
        let (mut first_query, mut first_key) = (0, 0);
        let extent = |keys: &usize| {
            let extent = Extent {
                first_query,
                queries: if each { *keys } else { 1 },
                first_key,
                keys: *keys,
            };
            first_query += extent.queries;
            first_key += extent.keys;
            extent
        };
        self.seq_lengths.iter().map(extent).collect()
    }

    fn heads(&self, extent: Extent, d_model: usize) -> impl Iterator<Item = Head> {
        let d_head = d_model / self.n_heads;
        (0..self.n_heads).map(move |head| Head {
            extent,
            column: head * d_head,
            d_head,
            d_model,
        })
    }
}

impl Head {
    /// The head's part of the example's `query`-th row among the queries.
    #[inline(always)]
    fn query<'a>(&self, rows: &'a [f32], query: usize) -> &'a [f32] {
        let start = (self.extent.first_query + query) * self.d_model + self.column;
        &rows[start..start + self.d_head]
    }

    /// The head's part of the example's `key`-th row among the keys.
    #[inline(always)]
    fn key<'a>(&self, rows: &'a [f32], key: usize) -> &'a [f32] {
        let start = (self.extent.first_key + key) * self.d_model + self.column;
        &rows[start..start + self.d_head]
    }

    /// The head's part of the example's rows, `[d_head, keys]`.
    #[inline(always)]
    fn turn(&self, rows: &[f32], turned: &mut [f32]) {
        let keys = self.extent.keys;
        for key in 0..keys {
            for (column, value) in self.key(rows, key).iter().enumerate() {
                turned[column * keys + key] = *value;
            }
        }
    }
}

/// `sum over i of factors[i] * turned[i]`, `[keys]`.
#[inline(always)]
fn combine_turned(factors: &[f32], turned: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (factor, row) in factors.iter().zip(turned.chunks_exact(out.len().max(1))) {
        add_scaled(out, *factor, row);
    }
}

#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let max = max(row);
    row.iter_mut().for_each(|x| *x = exp(scale * (*x - max)));
    let inverse = 1.0 / sum(row);
    row.iter_mut().for_each(|x| *x *= inverse);
}

fn like(tensor: &FlexTensor) -> FlexTensor {
    let shape: Shape = tensor.layout().shape().clone();
    FlexTensor::zeros(shape, DType::F32)
}

/// Cuts a slice into parts of the given sizes.
fn split(mut values: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes
        .map(|size| {
            let (own, rest) = std::mem::take(&mut values).split_at_mut(size);
            values = rest;
            own
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Tensor};

    use super::super::apply;
    use super::super::tests::{assert_close, value_and_gradient};
    use super::*;

    const LENGTHS: [usize; 3] = [3, 1, 5];
    const D_MODEL: usize = 6;
    const N_HEADS: usize = 2;

    fn kernel() -> PackedAttention {
        PackedAttention {
            scale: 0.4,
            n_heads: N_HEADS,
            seq_lengths: Arc::from(LENGTHS),
        }
    }

    /// Example by example and head by head, by the library.
    fn plain([q, k, v]: &[Tensor<3>; 3]) -> Tensor<3> {
        let queries = |length| {
            if q.dims()[1] == LENGTHS.len() {
                1
            } else {
                length
            }
        };
        let (mut first_query, mut first_key) = (0, 0);
        let mut examples = Vec::new();
        for length in LENGTHS {
            let part = |x: &Tensor<3>, first, rows, head| {
                let d_head = D_MODEL / N_HEADS;
                let rows = x.clone().narrow(1, first, rows);
                rows.narrow(2, head * d_head, d_head)
            };
            let heads = (0..N_HEADS).map(|head| {
                let q = part(q, first_query, queries(length), head);
                let k = part(k, first_key, length, head);
                let v = part(v, first_key, length, head);
                softmax(q.matmul(k.swap_dims(1, 2)).mul_scalar(0.4), 2).matmul(v)
            });
            examples.push(Tensor::cat(heads.collect(), 2));
            first_query += queries(length);
            first_key += length;
        }
        Tensor::cat(examples, 1)
    }

    /// The three inputs as columns of one, so that one gradient holds all three.
    fn thirds(x: &Tensor<3>) -> [Tensor<3>; 3] {
        [0, 1, 2].map(|at| x.clone().narrow(2, at * D_MODEL, D_MODEL))
    }

    #[test]
    fn value_and_gradients_are_those_of_the_library() {
        let shape = [1, 9, 3 * D_MODEL];
        let ours = value_and_gradient(shape, |x| apply(kernel(), thirds(&x)));
        let theirs = value_and_gradient(shape, |x| plain(&thirds(&x)));
        assert_close(&ours[0], &theirs[0], 2e-6);
        assert_close(&ours[1], &theirs[1], 1e-5);
    }

    #[test]
    fn one_query_an_example_sees_all_its_keys() {
        let firsts = |x: &Tensor<3>| {
            let first = |at| x.clone().narrow(1, at, 1);
            Tensor::cat(vec![first(0), first(3), first(4)], 1)
        };
        let inputs = |x| {
            let [q, k, v] = thirds(&x);
            [firsts(&q), k, v]
        };
        let shape = [1, 9, 3 * D_MODEL];
        let ours = value_and_gradient(shape, |x| apply(kernel(), inputs(x)));
        let theirs = value_and_gradient(shape, |x| plain(&inputs(x)));
        assert_close(&ours[0], &theirs[0], 2e-6);
        assert_close(&ours[1], &theirs[1], 1e-5);
    }

    /// Breaks when an input without a gradient needs one.
    #[test]
    fn an_input_may_be_constant() {
        let constant = Tensor::<3>::ones([1, 9, D_MODEL], &Device::flex());
        let shape = [1, 9, D_MODEL];
        let with = |x| [x, constant.clone(), constant.clone()];
        let [values, gradient] = value_and_gradient(shape, |x| apply(kernel(), with(x)));
        assert_close(&values, &[1.0; 9 * D_MODEL], 1e-6);
        assert_close(&gradient, &[0.0; 9 * D_MODEL], 1e-6);
    }
}
