//! Settings of a low-rank adapter that cannot be built invalid.

use std::collections::BTreeSet;

use crate::protocol::message::{AdapterSettings, AdapterTarget};

/// A projection of a transformer block that an adapter can stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Attention, query.
    Query,
    /// Attention, key.
    Key,
    /// Attention, value.
    Value,
    /// Attention, output.
    AttentionOutput,
    /// Feed-forward, first.
    FeedForwardUp,
    /// Feed-forward, second.
    FeedForwardDown,
}

impl Target {
    /// All targets, in the order of a block's forward pass.
    pub const ALL: [Self; 6] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::FeedForwardUp,
        Self::FeedForwardDown,
    ];

    /// The module's name in `model::weights`.
    pub fn module(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::AttentionOutput => "attention_output",
            Self::FeedForwardUp => "feed_forward_up",
            Self::FeedForwardDown => "feed_forward_down",
        }
    }
}

impl From<AdapterTarget> for Target {
    fn from(target: AdapterTarget) -> Self {
        match target {
            AdapterTarget::Query => Self::Query,
            AdapterTarget::Key => Self::Key,
            AdapterTarget::Value => Self::Value,
            AdapterTarget::AttentionOutput => Self::AttentionOutput,
            AdapterTarget::FeedForwardUp => Self::FeedForwardUp,
            AdapterTarget::FeedForwardDown => Self::FeedForwardDown,
        }
    }
}

/// Rank, scale, dropout and place of a low-rank adapter. Source: LoRA, arXiv 2106.09685, section 4.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    rank: usize,
    alpha: f32,
    dropout: f32,
    targets: BTreeSet<Target>,
}

/// An adapter's settings or files are not usable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AdapterError {
    /// A setting is out of its range.
    #[error("adapter {name} is {actual}; {expected} is possible")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What came.
        actual: f64,
        /// What is possible.
        expected: &'static str,
    },
    /// Nothing would be trained in the blocks.
    #[error("an adapter needs at least one target")]
    NoTarget,
    /// A PEFT file is not readable.
    #[error("adapter files: {0}")]
    Peft(String),
    /// The configuration asks for something that is not built here.
    #[error("adapter_config.json: `{name}` asks for something that is not built here")]
    Unsupported {
        /// Which key.
        name: &'static str,
    },
    /// The file has tensors that this model has no place for.
    #[error("adapter tensors: {expected} belong to this adapter, the file has {actual}")]
    TensorCount {
        /// By the model and the configuration.
        expected: usize,
        /// In the file.
        actual: usize,
    },
    /// The adapter stands beside a block that the client runs.
    #[error("the adapter stands beside block {layer}, which is below cut {cut}")]
    BelowCut {
        /// The lowest block, from 0.
        layer: usize,
        /// Blocks below the cut.
        cut: usize,
    },
    /// A tensor holds NaN or an infinity.
    #[error("adapter tensor `{name}`: a number is not finite")]
    NotFinite {
        /// PEFT's name of it.
        name: String,
    },
    /// A tensor is missing or has another shape.
    #[error("adapter tensor `{name}`: expected shape {expected:?}, found {actual:?}")]
    TensorShape {
        /// PEFT's name of it.
        name: String,
        /// By the model and the configuration.
        expected: [usize; 2],
        /// In the file; empty when it is missing.
        actual: Vec<usize>,
    },
}

impl LoraConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// When rank is not 1 to 256, alpha not a positive finite number, dropout not in 0 to 1
    /// (exclusive), or there is no target.
    pub fn new(
        rank: usize,
        alpha: f32,
        dropout: f32,
        targets: impl IntoIterator<Item = Target>,
    ) -> Result<Self, AdapterError> {
        let setting = |name, actual, expected| {
            Err(AdapterError::Setting {
                name,
                actual,
                expected,
            })
        };
        if !(1..=256).contains(&rank) {
            return setting("rank", rank as f64, "1 to 256");
        }
        if !(alpha.is_finite() && alpha > 0.0) {
            return setting("alpha", f64::from(alpha), "a positive number");
        }
        if !(0.0..1.0).contains(&dropout) {
            return setting("dropout", f64::from(dropout), "0 to below 1");
        }
        let targets: BTreeSet<Target> = targets.into_iter().collect();
        if targets.is_empty() {
            return Err(AdapterError::NoTarget);
        }
        Ok(Self {
            rank,
            alpha,
            dropout,
            targets,
        })
    }

    /// Inner dimension of the factors.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Numerator of the scale.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    /// `alpha / rank`, by which the product of the factors is multiplied.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Probability of zeroing an input of the adapter in training.
    pub fn dropout(&self) -> f32 {
        self.dropout
    }

    /// The projections, in order.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        self.targets.iter().copied()
    }
}

impl TryFrom<&AdapterSettings> for LoraConfig {
    type Error = AdapterError;

    fn try_from(settings: &AdapterSettings) -> Result<Self, AdapterError> {
        Self::new(
            settings.rank as usize,
            settings.alpha,
            settings.dropout,
            settings.targets.iter().map(|target| Target::from(*target)),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_alpha_over_rank() {
        let config = LoraConfig::new(8, 16.0, 0.0, [Target::Value, Target::Query]).unwrap();
        assert_eq!(config.scale(), 2.0);
        assert_eq!(
            config.targets().collect::<Vec<_>>(),
            [Target::Query, Target::Value]
        );
    }

    #[test]
    fn settings_out_of_range_cannot_be_built() {
        let query = [Target::Query];
        assert!(LoraConfig::new(0, 16.0, 0.0, query).is_err());
        assert!(LoraConfig::new(8, f32::NAN, 0.0, query).is_err());
        assert!(LoraConfig::new(8, 16.0, 1.0, query).is_err());
        assert_eq!(
            LoraConfig::new(8, 16.0, 0.0, []),
            Err(AdapterError::NoTarget)
        );
    }
}
