//! Several adapters beside one projection, each on its own rows.
//!
//! The library's gradient of a slice is a tensor of all rows, mostly zeros, for every adapter and
//! projection; here the rows of each are a view.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor};

use super::Kernel;
use crate::model::rows_times;

/// `(alpha / rank) (x A) B` of each part's own rows, zero where it has no factors.
///
/// # Shapes
///
/// - x: `[1, sum of rows, d_in]`, one part behind the other
/// - factors A: `[1, sum of d_in * rank, 1]`, row-major and one behind the other
/// - factors B: `[1, sum of rank * d_out, 1]`, alike
/// - output: `[1, sum of rows, d_out]`
#[derive(Debug, Clone)]
pub(in crate::model) struct GroupedLora {
    pub(in crate::model) parts: Vec<Part>,
    pub(in crate::model) d_out: usize,
}

/// Rows that go through one adapter.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Part {
    pub(in crate::model) rows: usize,
    /// 0 without factors.
    pub(in crate::model) rank: usize,
    pub(in crate::model) scale: f32,
}

/// One part's own piece of each tensor.
struct Piece {
    part: Part,
    x: Tensor<3>, // [1, rows, d_in]
    a: Tensor<2>, // [d_in, rank]
    b: Tensor<2>, // [rank, d_out]
}

impl Kernel<3> for GroupedLora {
    type Kept = [FlexTensor; 3];

    fn value(&self, inputs: [FlexTensor; 3]) -> FlexTensor {
        let pieces = self.pieces(&inputs);
        let outputs = pieces.into_iter().map(|piece| match piece.part.rank {
            0 => Tensor::zeros([1, piece.part.rows, self.d_out], &Device::flex()),
            _ => rows_times(piece.inner(), piece.b, None),
        });
        flex(Tensor::cat(outputs.collect(), 1))
    }

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Kept) {
        (self.value(inputs.clone()), inputs)
    }

    /// With `s = alpha / rank`, `h = s x A` and G the gradient of the output: `dB = h^T G`,
    /// `dh = s G B^T`, `dA = x^T dh`, `dx = dh A^T`.
    fn backward(&self, kept: &Self::Kept, gradient: FlexTensor) -> [FlexTensor; 3] {
        let gradient = Tensor::<3>::from_primitive::<Flex>(gradient);
        let mut first = 0;
        let mut slopes = [(); 3].map(|()| Vec::new());
        for piece in self.pieces(kept) {
            let Part { rows, rank, scale } = piece.part;
            let [_, _, d_in] = piece.x.dims();
            let own = gradient.clone().narrow(1, first, rows);
            first += rows;
            let [dx, da, db] = &mut slopes;
            if rank == 0 {
                dx.push(Tensor::zeros([1, rows, d_in], &Device::flex()));
                continue;
            }
            let inner = piece.inner().reshape([rows, rank]);
            let own = own.reshape([rows, self.d_out]);
            db.push(line(inner.transpose().matmul(own.clone())));
            let inner = own.matmul(piece.b.transpose()).mul_scalar(scale); // [rows, rank]
            let x = piece.x.reshape([rows, d_in]);
            da.push(line(x.transpose().matmul(inner.clone())));
            dx.push(inner.matmul(piece.a.transpose()).unsqueeze::<3>());
        }
        slopes.map(|parts| flex(Tensor::cat(parts, 1)))
    }
}

impl GroupedLora {
    fn pieces(&self, inputs: &[FlexTensor; 3]) -> Vec<Piece> {
        let [x, a, b] = inputs.clone().map(Tensor::<3>::from_primitive::<Flex>);
        let [_, _, d_in] = x.dims();
        let d_out = self.d_out;
        let (mut row, mut ranks) = (0, 0);
        let piece = |part: &Part| {
            let Part { rows, rank, .. } = *part;
            let matrix = |all: &Tensor<3>, start, shape: [usize; 2]| {
                let own = all.clone().narrow(1, start, shape[0] * shape[1]);
                own.reshape(shape)
            };
            // Without factors they are never looked at.
            let factors = match rank {
                0 => [(); 2].map(|()| Tensor::zeros([1, 1], &Device::flex())),
                _ => [
                    matrix(&a, ranks * d_in, [d_in, rank]),
                    matrix(&b, ranks * d_out, [rank, d_out]),
                ],
            };
            let [a, b] = factors;
            let own = x.clone().narrow(1, row, rows);
            row += rows;
            ranks += rank;
            Piece {
                part: *part,
                x: own,
                a,
                b,
            }
        };
        self.parts.iter().map(piece).collect()
    }
}

impl Piece {
    /// `(alpha / rank) x A`, `[1, rows, rank]`.
    fn inner(&self) -> Tensor<3> {
        let inner = rows_times(self.x.clone(), self.a.clone(), None);
        inner.mul_scalar(self.part.scale)
    }
}

/// A matrix' numbers, row-major, one below the other.
pub(in crate::model) fn line(matrix: Tensor<2>) -> Tensor<3> {
    let [rows, columns] = matrix.dims();
    matrix.reshape([1, rows * columns, 1])
}

fn flex(tensor: Tensor<3>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .expect("it was computed of tensors of the CPU backend")
}
