//! What a person chooses, with the defaults of the page and the command line.

use serde::{Deserialize, Serialize};
use shared::privacy::contribution::{LabelPolicy, Reading};
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, LabelPlace, TrainSettings,
};
use shared::protocol::tensor::ActivationDtype;

/// What computes at the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// WebGPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// WebGPU, or an error.
    Gpu,
}

/// How the bottom's weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BottomPrecision {
    /// Half the download.
    #[default]
    F16,
    /// As the original.
    F32,
    /// A quarter of the download: matrices in 8 bits with a scale a row, computed with as f32.
    Int8,
}

impl BottomPrecision {
    /// The name in the server's catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

/// How a client is set up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectOptions {
    /// What computes.
    pub device: DeviceChoice,
    /// Blocks that run at the client; the smallest that the server offers when not given.
    pub cut: Option<u32>,
    /// How the bottom's weights are stored.
    pub precision: BottomPrecision,
    /// Longest text in tokens; longer ones are cut. 0 for the default.
    pub seq_length_max: u32,
}

/// Tokens of a text that are used when nobody says otherwise. A longer text costs the server more
/// than it gains.
pub const SEQ_LENGTH_DEFAULT: u32 = 128;

/// Which mechanism, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrivacyOptions {
    /// A name of the table of mechanisms.
    pub mechanism: String,
    /// Protection level, above 0 and below 1; not used when `eta` is given.
    pub protection: Option<f64>,
    /// The parameter itself, for experts.
    pub eta: Option<f64>,
    /// Less noise for words that matter (CTI).
    pub contribution: ContributionOptions,
}

impl Default for PrivacyOptions {
    fn default() -> Self {
        Self {
            mechanism: "token".to_owned(),
            protection: Some(PROTECTION_DEFAULT),
            eta: None,
            contribution: ContributionOptions::default(),
        }
    }
}

/// The protection level when nobody says otherwise.
pub const PROTECTION_DEFAULT: f64 = 0.5;

/// What a reading of the file measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadingOptions {
    /// Protection levels, each above 0 and below 1. A mechanism without levels is measured once for
    /// each all the same.
    pub levels: Vec<f64>,
    /// Rows that are attacked, at most.
    pub examples: usize,
}

/// How contribution becomes noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadingName {
    /// Every word gets the same noise.
    #[default]
    Off,
    /// Eta times the importance, at least a floor.
    Floor,
    /// The top share of the vocabulary is left unperturbed.
    Top,
    /// Eta times a sigmoid of the importance.
    Sigmoid,
}

/// CTI: which words get less noise.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContributionOptions {
    /// How importance becomes noise.
    pub reading: ReadingName,
    /// The reading's parameter: the floor (0.6), the share of the vocabulary (0.01) or the centre
    /// of the sigmoid (0); its default when not given.
    pub parameter: Option<f64>,
    /// Whether the noise of a training row may depend on its label.
    pub label_dependent: bool,
}

impl ContributionOptions {
    /// The reading with its parameter; none when it is off.
    pub fn reading(&self) -> Option<Reading> {
        let or = |default| self.parameter.unwrap_or(default);
        match self.reading {
            ReadingName::Off => None,
            ReadingName::Floor => Some(Reading::Floor { floor: or(0.6) }),
            ReadingName::Top => Some(Reading::TopShare { rho: or(0.01) }),
            ReadingName::Sigmoid => Some(Reading::Sigmoid { center: or(0.0) }),
        }
    }

    /// Whether labels may enter the noise.
    pub fn policy(&self) -> LabelPolicy {
        if self.label_dependent {
            LabelPolicy::LabelDependent
        } else {
            LabelPolicy::LabelFree
        }
    }
}

/// How classes count in the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// Every example counts the same.
    #[default]
    None,
    /// Every class counts the same: weight `examples / (classes * examples of the class)`.
    Balanced,
}

/// Which projections of a block an adapter stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// Query and value, as in LoRA's own experiments.
    #[default]
    QueryValue,
    /// All six: what PEFT calls `all-linear`. More to learn with, and more to compute.
    All,
}

impl From<Targets> for Vec<AdapterTarget> {
    fn from(targets: Targets) -> Self {
        use AdapterTarget::{AttentionOutput, FeedForwardDown, FeedForwardUp, Key, Query, Value};
        match targets {
            Targets::QueryValue => vec![Query, Value],
            Targets::All => vec![
                Query,
                Key,
                Value,
                AttentionOutput,
                FeedForwardUp,
                FeedForwardDown,
            ],
        }
    }
}

/// How activations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadDtype {
    /// 4 bytes a number.
    F32,
    /// 2 bytes a number.
    #[default]
    F16,
    /// 1 byte a number and 4 a row.
    Int8,
}

impl From<UploadDtype> for ActivationDtype {
    fn from(dtype: UploadDtype) -> Self {
        match dtype {
            UploadDtype::F32 => Self::F32,
            UploadDtype::F16 => Self::F16,
            UploadDtype::Int8 => Self::Int8,
        }
    }
}

/// Where the labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelsAt {
    /// They travel with the examples, and the server computes the loss.
    #[default]
    Server,
    /// They never leave; the head is trained here, step by step with the server.
    Client,
}

impl From<LabelsAt> for LabelPlace {
    fn from(labels: LabelsAt) -> Self {
        match labels {
            LabelsAt::Server => Self::Server,
            LabelsAt::Client => Self::Client,
        }
    }
}

/// Whether the bottom is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bottom {
    /// It stays as it was fetched; activations are sent once.
    #[default]
    Frozen,
    /// An adapter in it is trained here, step by step with the server.
    Lora,
}

impl From<Bottom> for BottomTraining {
    fn from(bottom: Bottom) -> Self {
        match bottom {
            Bottom::Frozen => Self::Frozen,
            Bottom::Lora => Self::Lora,
        }
    }
}

/// Most of `TrainOptions::label_noise`: beyond it nothing is learned.
pub const LABEL_NOISE_MAX: f64 = 1_000.0;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainOptions {
    /// Passes over the training examples.
    pub epochs: u32,
    /// Examples an optimizer step.
    pub batch_size: u32,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Share of all steps that warms up.
    pub warmup_share: f32,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f32,
    /// Largest L2 norm of all gradients together; 0 for no clipping.
    pub gradient_norm_max: f32,
    /// Inner dimension of the adapter's factors.
    pub rank: u32,
    /// The adapter is scaled by `alpha / rank`.
    pub alpha: f32,
    /// Which projections have one.
    pub targets: Targets,
    /// Probability of zeroing an input of the adapter in training.
    pub dropout: f32,
    /// Share of the examples that measures instead of training.
    pub validation_share: f64,
    /// How classes count in the loss.
    pub class_weights: ClassWeights,
    /// Validations without improvement after which the run stops; 0 for never.
    pub patience: u32,
    /// Validations an epoch.
    pub validations_per_epoch: u32,
    /// How activations are written.
    pub dtype: UploadDtype,
    /// Where the labels are.
    pub labels: LabelsAt,
    /// Whether the bottom is trained.
    pub bottom: Bottom,
    /// Noise on the gradients that leave the client where labels do not: its power over the squared
    /// distance of the classes' mean gradients; 0 for none, at most [`LABEL_NOISE_MAX`].
    pub label_noise: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 32,
            learning_rate: 1e-3,
            warmup_share: 0.06,
            weight_decay: 0.01,
            gradient_norm_max: 1.0,
            rank: 8,
            alpha: 16.0,
            targets: Targets::QueryValue,
            dropout: 0.0,
            validation_share: 0.1,
            class_weights: ClassWeights::None,
            patience: 0,
            validations_per_epoch: 1,
            dtype: UploadDtype::F16,
            labels: LabelsAt::Server,
            bottom: Bottom::Frozen,
            label_noise: 0.0,
        }
    }
}

impl TrainOptions {
    /// The adapter's settings in the words of the protocol.
    pub fn adapter(&self) -> AdapterSettings {
        AdapterSettings {
            rank: self.rank,
            alpha: self.alpha,
            dropout: self.dropout,
            targets: self.targets.into(),
        }
    }

    /// The run's settings in the words of the protocol. `class_counts` are those of the training
    /// examples.
    pub fn settings(&self, class_counts: &[usize]) -> TrainSettings {
        let examples: usize = class_counts.iter().sum();
        let balanced =
            |count: &usize| examples as f32 / (class_counts.len() as f32 * (*count).max(1) as f32);
        TrainSettings {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            warmup_share: self.warmup_share,
            weight_decay: self.weight_decay,
            gradient_norm_max: self.gradient_norm_max,
            class_weights: match self.class_weights {
                ClassWeights::None => Vec::new(),
                ClassWeights::Balanced => class_counts.iter().map(balanced).collect(),
            },
            patience: self.patience,
            validations_per_epoch: self.validations_per_epoch,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn balanced_classes_weigh_the_same_in_all() {
        let options = TrainOptions {
            class_weights: ClassWeights::Balanced,
            ..TrainOptions::default()
        };
        let weights = options.settings(&[30, 10]).class_weights;
        assert_eq!(weights, [40.0 / 60.0, 2.0]);
        assert!((weights[0] * 30.0 - weights[1] * 10.0).abs() < 1e-4);
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let options: TrainOptions = serde_json::from_str(r#"{"epochs":7}"#).unwrap();
        assert_eq!((options.epochs, options.batch_size), (7, 32));
        assert_eq!(
            (options.labels, options.bottom),
            (LabelsAt::Server, Bottom::Frozen)
        );
        let json = r#"{"labels":"client","bottom":"lora","label_noise":2.5}"#;
        let options: TrainOptions = serde_json::from_str(json).unwrap();
        assert_eq!(
            (options.labels, options.bottom),
            (LabelsAt::Client, Bottom::Lora)
        );
        assert_eq!(options.label_noise, 2.5);
    }
}
