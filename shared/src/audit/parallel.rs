//! Loops over slices on all processors; in a browser, which has no threads for them, one by one.
//!
//! The names are rayon's, so that a loop reads the same for both.

#[cfg(not(target_arch = "wasm32"))]
pub(super) use rayon::prelude::*;

#[cfg(target_arch = "wasm32")]
pub(super) use one_by_one::{ExtendOneByOne, SliceOneByOne};

#[cfg(target_arch = "wasm32")]
mod one_by_one {
    use std::slice::{ChunksExact, ChunksExactMut, IterMut};

    /// What rayon gives slices.
    pub(in crate::audit) trait SliceOneByOne<T> {
        fn par_iter_mut(&mut self) -> IterMut<'_, T>;
        fn par_chunks_exact(&self, size: usize) -> ChunksExact<'_, T>;
        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T>;
    }

    impl<T> SliceOneByOne<T> for [T] {
        fn par_iter_mut(&mut self) -> IterMut<'_, T> {
            self.iter_mut()
        }

        fn par_chunks_exact(&self, size: usize) -> ChunksExact<'_, T> {
            self.chunks_exact(size)
        }

        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T> {
            self.chunks_exact_mut(size)
        }
    }

    /// What rayon gives lists.
    pub(in crate::audit) trait ExtendOneByOne<T> {
        fn par_extend(&mut self, items: impl IntoIterator<Item = T>);
    }

    impl<T> ExtendOneByOne<T> for Vec<T> {
        fn par_extend(&mut self, items: impl IntoIterator<Item = T>) {
            self.extend(items);
        }
    }
}
