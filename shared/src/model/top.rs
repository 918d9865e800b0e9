//! The server's part of the model: the blocks after the cut and the task head.

use burn::tensor::{Device, Tensor};

use super::block::Block;
use super::config::ModelConfig;
use super::cut::CutLayer;
use super::error::ModelError;
use super::groups::{AdapterGroups, Adapters};
use super::head::ClassificationHead;
use super::sequences::Sequences;
use super::weights::Weights;
use crate::adapter::Adapter;

/// Blocks `cut..n_layers` and the frozen part of the head.
#[derive(Debug, Clone)]
pub struct TopModel {
    blocks: Vec<Block>,
    head: ClassificationHead,
}

impl TopModel {
    /// Reads the top of a whole model file.
    ///
    /// # Errors
    ///
    /// When a tensor is missing or has another shape.
    pub fn load(
        config: &ModelConfig,
        file: &[u8],
        cut: CutLayer,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let weights = Weights::new(file, config)?;
        Ok(Self {
            blocks: (cut.index()..config.n_layers)
                .map(|layer| Block::load(config, &weights, layer, device))
                .collect::<Result<_, _>>()?,
            head: ClassificationHead::load(config, &weights, device)?,
        })
    }

    /// A top of fewer blocks that shares the weights of this one.
    ///
    /// The daemon keeps one copy of the blocks in memory and serves every cut from it.
    pub fn skip(&self, blocks: usize) -> Self {
        Self {
            blocks: self.blocks.iter().skip(blocks).cloned().collect(),
            head: self.head.clone(),
        }
    }

    /// The frozen part of the task head.
    pub fn head(&self) -> &ClassificationHead {
        &self.head
    }

    /// The output of the last block at every position, for readers other than the task head.
    ///
    /// # Shapes
    ///
    /// - x, output: as `sequences` lays examples out
    pub fn hidden(&self, x: Tensor<3>, sequences: &Sequences, adapter: &Adapter) -> Tensor<3> {
        let blocks = self.blocks.iter();
        blocks.fold(x, |x, block| {
            block.forward(x, sequences, Adapters::One(adapter))
        })
    }

    /// Class scores of a batch, by an adapter that has the trained part of the head.
    ///
    /// # Shapes
    ///
    /// - x: activations at the cut, as `sequences` lays examples out
    /// - output: `[batch, n_classes]`, logits
    pub fn forward(&self, x: Tensor<3>, sequences: &Sequences, adapter: &Adapter) -> Tensor<2> {
        let first = self.first(x, sequences, Adapters::One(adapter));
        self.head.forward(first, adapter)
    }

    /// Class scores of a batch whose examples go through different adapters, a matrix for each: what
    /// [`Self::forward`] gives of the adapter's own examples, up to the rounding of sums.
    ///
    /// All examples go through the frozen matrices at once, and each group through its own adapter.
    ///
    /// # Shapes
    ///
    /// - x: activations at the cut, as `sequences` lays the examples of all groups out
    /// - output: `[examples of the group, n_classes]` each, logits
    ///
    /// # Guarantee
    ///
    /// No number of a group depends on a number of another: neither scores nor gradients, and where
    /// they are not finite neither.
    pub fn forward_groups(
        &self,
        x: Tensor<3>,
        sequences: &Sequences,
        groups: &AdapterGroups,
    ) -> Vec<Tensor<2>> {
        let first = self.first(x, sequences, Adapters::Groups(groups));
        let [outer, inner, d_model] = first.dims();
        let rows = first.reshape([1, outer * inner, d_model]); // [1, batch, d_model]
        let parts = groups.examples();
        parts
            .map(|(adapter, examples)| {
                let own = rows.clone().narrow(1, examples.start, examples.len());
                self.head.forward(own, adapter)
            })
            .collect()
    }

    /// What the trained part of the head reads of a batch; see `ClassificationHead::pooled`.
    ///
    /// # Shapes
    ///
    /// - x: activations at the cut, as `sequences` lays examples out
    /// - output: `[batch, d_model]`
    pub fn pooled(&self, x: Tensor<3>, sequences: &Sequences, adapter: &Adapter) -> Tensor<2> {
        let first = self.first(x, sequences, Adapters::One(adapter));
        self.head.pooled(first)
    }

    /// The last block's output at the first position, a row for each example.
    ///
    /// Only what the head reads is computed in the last block: see `Block::forward_first`.
    fn first(&self, x: Tensor<3>, sequences: &Sequences, adapters: Adapters<'_>) -> Tensor<3> {
        let mut x = x;
        let (last, blocks) = match self.blocks.split_last() {
            Some((last, blocks)) => (Some(last), blocks),
            None => (None, &[][..]),
        };
        for block in blocks {
            x = block.forward(x, sequences, adapters);
        }
        match last {
            Some(last) => last.forward_first(x, sequences, adapters),
            None => sequences.first(x),
        }
    }
}
