//! How the examples of a batch lie in one tensor.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::kernel::{self, PackedAttention};

/// Where the rows of each example are, and how they attend to each other.
///
/// On the CPU one example lies behind the other, `[1, sum of lengths, d]`, so that nothing is
/// computed of padding. Elsewhere each has as many rows as the longest, `[batch, seq, d]`, and what
/// is behind its own is masked.
#[derive(Debug, Clone)]
pub struct Sequences {
    seq_lengths: Arc<[usize]>,
    padded: Option<Padded>,
}

#[derive(Debug, Clone)]
struct Padded {
    seq: usize,
    // 0 at real positions, a large negative number at padding; none where nothing is padded.
    bias: Option<Tensor<4>>, // [batch, 1, 1, seq]
}

/// Far below every score, far above the smallest f32: its exponential is exactly 0.
const PADDING: f32 = -1e9;

impl Sequences {
    /// Examples of these lengths, as the device likes them.
    pub fn new(seq_lengths: &[usize], device: &Device) -> Self {
        if device.clone().without_autodiff() == Device::flex() {
            let seq_lengths = Arc::from(seq_lengths);
            return Self {
                seq_lengths,
                padded: None,
            };
        }
        Self::padded(seq_lengths, device)
    }

    fn padded(seq_lengths: &[usize], device: &Device) -> Self {
        let seq = seq_lengths.iter().copied().max().unwrap_or(0);
        let is_padded = seq_lengths.iter().any(|length| *length < seq);
        let bias = is_padded.then(|| {
            let of_position = |length| move |at| if at < length { 0.0 } else { PADDING };
            let of_example = |length: &usize| (0..seq).map(of_position(*length));
            let bias: Vec<f32> = seq_lengths.iter().flat_map(of_example).collect();
            let shape = [seq_lengths.len(), 1, 1, seq];
            Tensor::from_data(TensorData::new(bias, shape), device)
        });
        Self {
            seq_lengths: Arc::from(seq_lengths),
            padded: Some(Padded { seq, bias }),
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.seq_lengths.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.seq_lengths.is_empty()
    }

    /// Real positions of each example.
    pub fn seq_lengths(&self) -> &[usize] {
        &self.seq_lengths
    }

    /// A tensor of the examples' rows.
    ///
    /// # Shapes
    ///
    /// - rows: `[sum of lengths, d_model]`, row-major
    /// - output: `[1, sum of lengths, d_model]` or `[batch, seq, d_model]`
    pub fn tensor(&self, rows: Vec<f32>, d_model: usize, device: &Device) -> Tensor<3> {
        let (values, shape) = match &self.padded {
            None => {
                let count = self.seq_lengths.iter().sum();
                (rows, [1, count, d_model])
            }
            Some(Padded { seq, .. }) => {
                let mut values = Vec::with_capacity(self.len() * seq * d_model);
                let mut rest = rows.as_slice();
                for (example, length) in self.seq_lengths.iter().enumerate() {
                    let (own, others) = rest.split_at(length * d_model);
                    values.extend_from_slice(own);
                    values.resize((example + 1) * seq * d_model, 0.0);
                    rest = others;
                }
                (values, [self.len(), *seq, d_model])
            }
        };
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The examples' rows, of the numbers of such a tensor.
    ///
    /// # Shapes
    ///
    /// - values: of a tensor as [`Self::tensor`] gives
    /// - output: `[sum of lengths, d_model]`, row-major
    pub fn rows(&self, values: Vec<f32>, d_model: usize) -> Vec<f32> {
        let Some(Padded { seq, .. }) = &self.padded else {
            return values;
        };
        let mut rows = Vec::with_capacity(values.len());
        for (example, length) in self.seq_lengths.iter().enumerate() {
            let start = example * seq * d_model;
            rows.extend_from_slice(&values[start..start + length * d_model]);
        }
        rows
    }

    /// The index of a position among all rows of such a tensor.
    pub fn row(&self, example: usize, position: usize) -> usize {
        match &self.padded {
            None => self.seq_lengths[..example].iter().sum::<usize>() + position,
            Some(Padded { seq, .. }) => example * seq + position,
        }
    }

    /// A tensor with padding as one that lies as this batch does.
    ///
    /// # Shapes
    ///
    /// - x: `[batch, seq, d_model]`
    pub(super) fn of_padded(&self, x: Tensor<3>) -> Tensor<3> {
        if self.padded.is_some() {
            return x;
        }
        let [batch, seq, d_model] = x.dims();
        let rows = x.reshape([1, batch * seq, d_model]);
        if self.seq_lengths.iter().all(|length| *length == seq) {
            return rows;
        }
        let positions = |(example, length): (usize, &usize)| example * seq..example * seq + length;
        let real = self.seq_lengths.iter().enumerate().flat_map(positions);
        let device = x_device(&rows);
        rows.select(1, indices(real, &device))
    }

    /// The first position of each example.
    ///
    /// # Shapes
    ///
    /// - output: `[1, batch, d_model]` or `[batch, 1, d_model]`
    pub(super) fn first(&self, x: Tensor<3>) -> Tensor<3> {
        if self.padded.is_some() {
            return x.narrow(1, 0, 1);
        }
        let mut before = 0;
        let first = self.seq_lengths.iter().map(|length| {
            before += length;
            before - length
        });
        let device = x_device(&x);
        x.select(1, indices(first, &device))
    }

    /// `softmax(Q K^T / sqrt(d_head)) V` of each example and head.
    ///
    /// Source: Attention Is All You Need, arXiv 1706.03762, section 3.2.
    ///
    /// # Shapes
    ///
    /// - q: a row for each position, or one for each example; output: as q
    /// - k, v: a row for each position
    pub(super) fn attend(&self, [q, k, v]: [Tensor<3>; 3], n_heads: usize) -> Tensor<3> {
        let [batch, seq_queries, d_model] = q.dims();
        let scale = 1.0 / ((d_model / n_heads) as f32).sqrt();
        let Some(Padded { bias, .. }) = &self.padded else {
            let seq_lengths = self.seq_lengths.clone();
            let attention = PackedAttention {
                scale,
                n_heads,
                seq_lengths,
            };
            return kernel::apply(attention, [q, k, v]);
        };
        let heads = |x: Tensor<3>| {
            let [batch, seq, d_model] = x.dims();
            x.reshape([batch, seq, n_heads, d_model / n_heads])
                .swap_dims(1, 2) // [batch, heads, seq, d_head]
        };
        let scores = heads(q.mul_scalar(scale)).matmul(heads(k).swap_dims(2, 3)); // [batch, heads, q, seq]
        let scores = match bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let context = softmax(scores, 3).matmul(heads(v)); // [batch, heads, q, d_head]
        context
            .swap_dims(1, 2)
            .reshape([batch, seq_queries, d_model])
    }
}

fn x_device(x: &Tensor<3>) -> Device {
    x.device().without_autodiff()
}

fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.filter_map(|row| i32::try_from(row).ok()).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 2] = [1, 2];
    const ROWS: [f32; 6] = [1., 2., 3., 4., 5., 6.];

    fn layouts() -> [Sequences; 2] {
        let device = Device::flex();
        [
            Sequences::new(&LENGTHS, &device),
            Sequences::padded(&LENGTHS, &device),
        ]
    }

    fn values(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let [packed, padded] = layouts();
        let device = Device::flex();
        let tensor = |layout: &Sequences| layout.tensor(ROWS.to_vec(), 2, &device);
        assert_eq!(values(tensor(&packed)), ROWS);
        assert_eq!(values(tensor(&padded)), [1., 2., 0., 0., 3., 4., 5., 6.]);
        for layout in layouts() {
            assert_eq!(layout.rows(values(tensor(&layout)), 2), ROWS);
            assert_eq!(values(layout.first(tensor(&layout))), [1., 2., 3., 4.]);
        }
        assert_eq!((packed.row(1, 1), padded.row(1, 1)), (2, 3));
    }

    #[test]
    fn padding_is_left_out() {
        let [packed, padded] = layouts();
        let with = padded.tensor(ROWS.to_vec(), 2, &Device::flex());
        assert_eq!(values(packed.of_padded(with.clone())), ROWS);
        assert_eq!(values(padded.of_padded(with)).len(), 8);
    }

    /// Breaks when either way looks at padding, or at another example.
    #[test]
    fn both_layouts_attend_alike() {
        let numbers: Vec<f32> = (0..12).map(|at| (at * 7 % 11) as f32 / 5.0 - 1.0).collect();
        let [packed, padded] = layouts().map(|layout| {
            let part = |from: usize| {
                let rows = numbers.iter().cycle().skip(from).take(12).copied();
                layout.tensor(rows.collect(), 4, &Device::flex())
            };
            let [q, k, v] = [part(0), part(3), part(5)];
            let all = layout.attend([q.clone(), k.clone(), v.clone()], 2);
            let first = layout.attend([layout.first(q), k, v], 2);
            let mut rows = layout.rows(values(all), 4);
            rows.extend(values(first));
            rows
        });
        assert_eq!(packed.len(), 20);
        for (ours, theirs) in packed.iter().zip(&padded) {
            assert!(
                (ours - theirs).abs() < 1e-6,
                "{packed:?} against {padded:?}"
            );
        }
    }
}
