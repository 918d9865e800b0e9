//! Released texts of one step, and which of their rows are read.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::model::Sequences;

/// Padded rows of a step: about 10 texts of 25 tokens, so 800 steps a pass over 8,000 texts. Larger
/// products would run faster, and one pass would be too few steps.
const BATCH_ROWS: usize = 256;

/// Released texts of a step, as the device likes them.
pub(crate) struct Batch {
    x: Tensor<3>,
    sequences: Sequences,
}

/// Rows that are read out of a batch: example, and row in it.
pub(crate) type Selection = Vec<(usize, usize)>;

impl Batch {
    /// Puts some texts together; each is `[rows of the text, d_model]`, row-major.
    pub(crate) fn new(examples: &[&[f32]], d_model: usize, device: &Device) -> Self {
        let lengths: Vec<usize> = examples.iter().map(|rows| rows.len() / d_model).collect();
        let sequences = Sequences::new(&lengths, device);
        Self {
            x: sequences.tensor(examples.concat(), d_model, device),
            sequences,
        }
    }

    /// The released rows.
    pub(crate) fn x(&self) -> &Tensor<3> {
        &self.x
    }

    /// Where the rows of each text are.
    pub(crate) fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// Every real row, example by example.
    pub(crate) fn all_rows(&self) -> Selection {
        let lengths = self.sequences.seq_lengths().iter().enumerate();
        let rows = lengths.flat_map(|(example, length)| (0..*length).map(move |at| (example, at)));
        rows.collect()
    }

    /// The selected rows of a tensor that lies as the batch does.
    ///
    /// # Shapes
    ///
    /// - output: `[selected, d_model]`
    pub(crate) fn pick(&self, rows: Tensor<3>, selection: &[(usize, usize)]) -> Tensor<2> {
        let [outer, inner, d_model] = rows.dims();
        let device = rows.device().without_autodiff();
        let count = outer * inner;
        let flat = rows.reshape([count, d_model]);
        let places = selection
            .iter()
            .map(|(example, row)| self.sequences.row(*example, *row));
        let places: Vec<i32> = places.filter_map(|at| i32::try_from(at).ok()).collect();
        let places = TensorData::new(places.clone(), [places.len()]);
        flat.select(0, Tensor::<1, Int>::from_data(places, &device))
    }
}

/// Indices of texts in groups of like length, so that little is padded, with at most
/// [`BATCH_ROWS`] padded rows each, or one text that is longer. Texts without rows are in none.
pub(crate) fn grouped(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|at| lengths[*at] > 0).collect();
    order.sort_by_key(|at| lengths[*at]);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in order {
        match groups.last_mut() {
            // Sorted: the text at hand is the longest of its group.
            Some(group) if (group.len() + 1) * lengths[at] <= BATCH_ROWS => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::learned::read;

    fn batch() -> Batch {
        let examples: [&[f32]; 2] = [&[1.0, 2.0, 3.0, 6.0], &[9.0, 8.0]];
        Batch::new(&examples, 2, &Device::flex())
    }

    #[test]
    fn rows_are_picked_by_example_and_place() {
        let batch = batch();
        let picked = batch.pick(batch.x().clone(), &[(1, 0), (0, 1)]);
        assert_eq!(read(picked).unwrap(), [9.0, 8.0, 3.0, 6.0]);
        assert_eq!(batch.all_rows(), [(0, 0), (0, 1), (1, 0)]);
    }

    #[test]
    fn groups_are_bounded_and_hold_every_text_once() {
        let lengths = [150, 0, 100, 300, 106];
        assert_eq!(grouped(&lengths), [vec![2, 4], vec![0], vec![3]]);
    }
}
