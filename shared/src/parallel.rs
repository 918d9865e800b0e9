//! Work over the rows of contiguous matrices: every core takes some, and each is told of the widest
//! vector registers that this machine has.

use pulp::Arch;

/// Numbers that one thread works on at a time: they fit into a first-level cache.
const CHUNK: usize = 4096;

/// Calls `work` with the index of the first row and the rows of a part, for every part.
pub(crate) fn for_rows(
    values: &mut [f32],
    row: usize,
    work: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let rows = rows_of_a_part(row);
    let part = |(part, values): (usize, &mut [f32])| {
        Arch::new().dispatch(|| work(part * rows, values));
    };
    #[cfg(target_arch = "wasm32")]
    values.chunks_mut(rows * row).enumerate().for_each(part);
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        let parts = values.par_chunks_mut(rows * row).enumerate();
        parts.for_each(part);
    }
}

/// The same over two matrices, whose rows may differ in length.
pub(crate) fn for_row_pairs<L: Send, R: Send>(
    (left, row_left): (&mut [L], usize),
    (right, row_right): (&mut [R], usize),
    work: impl Fn(usize, &mut [L], &mut [R]) + Sync + Send,
) {
    let rows = rows_of_a_part(row_left);
    let part = |(part, (left, right)): (usize, (&mut [L], &mut [R]))| {
        Arch::new().dispatch(|| work(part * rows, left, right));
    };
    #[cfg(target_arch = "wasm32")]
    {
        let right = right.chunks_mut(rows * row_right);
        let parts = left.chunks_mut(rows * row_left).zip(right);
        parts.enumerate().for_each(part);
    }
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        let right = right.par_chunks_mut(rows * row_right);
        let parts = left.par_chunks_mut(rows * row_left).zip(right);
        parts.enumerate().for_each(part);
    }
}

/// Calls `work` for every task, in any order.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, work: impl Fn(T) + Sync + Send) {
    let task = |task| Arch::new().dispatch(|| work(task));
    #[cfg(target_arch = "wasm32")]
    tasks.into_iter().for_each(task);
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        tasks.into_par_iter().for_each(task);
    }
}

fn rows_of_a_part(row: usize) -> usize {
    (CHUNK / row.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_index() {
        let mut values = vec![0.0; 3 * 5_000];
        for_rows(&mut values, 3, |first, rows| {
            for (row, values) in rows.chunks_mut(3).enumerate() {
                values.iter_mut().for_each(|v| *v += (first + row) as f32);
            }
        });
        assert!((0..5_000).all(|row| values[3 * row..][..3] == [row as f32; 3]));
    }

    #[test]
    fn pairs_of_rows_stay_together() {
        let (mut long, mut short) = (vec![0.0; 4_000 * 3], vec![0; 4_000]);
        for_row_pairs((&mut long, 3), (&mut short, 1), |first, long, short| {
            for (row, (long, short)) in long.chunks_mut(3).zip(short).enumerate() {
                long.fill((first + row) as f32);
                *short = first + row;
            }
        });
        assert!((0..4_000).all(|row| long[3 * row + 2] == row as f32 && short[row] == row));
    }
}
