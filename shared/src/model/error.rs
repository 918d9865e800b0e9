//! What can be wrong with a model directory or with the numbers given to a model.

use crate::protocol::tensor::TensorError;

/// A model could not be read, or was asked for something that it does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// `config.json` is not the description of a supported encoder.
    #[error("config.json: {0}")]
    Config(String),
    /// The file is not a safetensors file.
    #[error("model.safetensors cannot be read: {0}")]
    Safetensors(String),
    /// No tensor under any of the names that the family uses.
    #[error("model.safetensors has no tensor `{name}`")]
    MissingTensor {
        /// The name without prefix.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {actual:?}, the configuration says {expected:?}")]
    TensorShape {
        /// The tensor's name.
        name: String,
        /// By the configuration.
        expected: Vec<usize>,
        /// In the file.
        actual: Vec<usize>,
    },
    /// A tensor is not stored as a floating-point type that this project reads.
    #[error("tensor `{name}` has dtype {dtype}; F32, F16, BF16 and I8 with scales are read")]
    TensorDtype {
        /// The tensor's name.
        name: String,
        /// In the file.
        dtype: String,
    },
    /// A matrix cannot be written in 8 bits, or is not read from them.
    #[error("tensor `{name}` in 8 bits: {reason}")]
    TensorInt8 {
        /// The tensor's name.
        name: String,
        /// What is wrong.
        reason: TensorError,
    },
    /// The cut is not below the number of blocks.
    #[error("cut {cut} is out of range: the model has {n_layers} blocks, so 0 to {} are possible", n_layers - 1)]
    CutOutOfRange {
        /// What was asked for.
        cut: usize,
        /// What the model has.
        n_layers: usize,
    },
    /// A sequence is empty or longer than the position table.
    #[error("a sequence has {actual} tokens; 1 to {max} are possible")]
    SequenceLength {
        /// What came.
        actual: usize,
        /// What the model has positions for.
        max: usize,
    },
    /// A token id is not in the vocabulary.
    #[error("a token id is not below the vocabulary size {vocab_size}")]
    TokenOutOfVocabulary {
        /// Rows of the embedding table.
        vocab_size: usize,
    },
}
