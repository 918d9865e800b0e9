//! The place where a model is divided, and what crosses it.

use std::fmt;

use super::config::ModelConfig;
use super::error::ModelError;
use crate::protocol::tensor::{ActivationDtype, TensorDescriptor, TensorError};

/// A checked number of blocks that the client runs: 0 (embeddings only) to `n_layers - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CutLayer(usize);

impl CutLayer {
    /// Checks `cut` against the model.
    ///
    /// # Errors
    ///
    /// `ModelError::CutOutOfRange` when no block would remain for the server.
    pub fn new(cut: usize, config: &ModelConfig) -> Result<Self, ModelError> {
        if cut < config.n_layers {
            Ok(Self(cut))
        } else {
            Err(ModelError::CutOutOfRange {
                cut,
                n_layers: config.n_layers,
            })
        }
    }

    /// Blocks that the client runs.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The activations of some examples at the cut, without padding. The only thing of a text that may
/// leave the client.
///
/// # Shapes
///
/// `values`: `[sum of seq_lengths, d_model]`, row-major, examples one after the other.
#[derive(Clone, PartialEq)]
pub struct CutActivations {
    pub(crate) values: Vec<f32>,
    pub(crate) seq_lengths: Vec<u16>,
    pub(crate) d_model: usize,
}

impl fmt::Debug for CutActivations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CutActivations({} examples, d_model {})",
            self.seq_lengths.len(),
            self.d_model
        )
    }
}

impl CutActivations {
    /// The numbers, `[sum of seq_lengths, d_model]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Rows of each example.
    pub fn seq_lengths(&self) -> &[u16] {
        &self.seq_lengths
    }

    /// Width of a row.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// The payload of an `Upload` or a `Predict`. This is the only way from a text to the wire.
    ///
    /// # Errors
    ///
    /// When a number is not finite or too large for the dtype.
    pub fn to_payload(
        &self,
        dtype: ActivationDtype,
    ) -> Result<(TensorDescriptor, Vec<u8>), TensorError> {
        TensorDescriptor::encode_rows(dtype, self.d_model, &self.values)
    }
}
