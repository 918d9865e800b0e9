//! Names of trained matrices.

use std::fmt;

use super::config::Target;

/// Names a trained matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParameterName {
    /// First factor, `[d_in, rank]`.
    LoraA {
        /// Block, counted from the embeddings.
        layer: usize,
        /// Projection.
        target: Target,
    },
    /// Second factor, `[rank, d_out]`.
    LoraB {
        /// Block, counted from the embeddings.
        layer: usize,
        /// Projection.
        target: Target,
    },
    /// `[d_model, d_model]`
    HeadDenseWeight,
    /// `[1, d_model]`
    HeadDenseBias,
    /// `[d_model, n_classes]`
    ClassifierWeight,
    /// `[1, n_classes]`
    ClassifierBias,
}

impl ParameterName {
    /// Whether the matrix belongs to the task head and not to a block.
    pub fn is_head(&self) -> bool {
        !matches!(self, Self::LoraA { .. } | Self::LoraB { .. })
    }
}

/// As in a checkpoint: `layers.3.query.lora_a`, `head.dense.weight`. PEFT's names are in `peft`.
impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoraA { layer, target } => write!(f, "layers.{layer}.{}.lora_a", target.module()),
            Self::LoraB { layer, target } => write!(f, "layers.{layer}.{}.lora_b", target.module()),
            Self::HeadDenseWeight => f.write_str("head.dense.weight"),
            Self::HeadDenseBias => f.write_str("head.dense.bias"),
            Self::ClassifierWeight => f.write_str("head.classifier.weight"),
            Self::ClassifierBias => f.write_str("head.classifier.bias"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_block_projection_and_factor() {
        let (layer, target) = (3, Target::FeedForwardUp);
        let name = ParameterName::LoraB { layer, target };
        assert_eq!(name.to_string(), "layers.3.feed_forward_up.lora_b");
        let name = ParameterName::ClassifierBias;
        assert_eq!(name.to_string(), "head.classifier.bias");
    }
}
