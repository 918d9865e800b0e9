//! The options of a run.

use client_wasm::options::{
    Bottom, ClassWeights, LABEL_NOISE_MAX, LabelsAt, Targets, TrainOptions, UploadDtype,
};
use shared::protocol::limits::Limits;

use super::{Common, named};

/// How to train.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Training")]
pub(crate) struct Training {
    /// Passes over the training examples.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().epochs)]
    epochs: u32,

    /// Examples an optimizer step.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().batch_size)]
    batch_size: u32,

    /// Peak learning rate.
    #[arg(long, value_name = "RATE", default_value_t = TrainOptions::default().learning_rate)]
    learning_rate: f32,

    /// Share of all steps in which the learning rate rises.
    #[arg(long, value_name = "SHARE", default_value_t = TrainOptions::default().warmup_share)]
    warmup_share: f32,

    /// Decoupled weight decay of AdamW.
    #[arg(long, value_name = "RATE", default_value_t = TrainOptions::default().weight_decay)]
    weight_decay: f32,

    /// Largest norm of all gradients together; 0 for no clipping.
    #[arg(long, value_name = "NORM", default_value_t = TrainOptions::default().gradient_norm_max)]
    gradient_norm_max: f32,

    /// Inner dimension of the adapter.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().rank)]
    rank: u32,

    /// The adapter is scaled by alpha / rank.
    #[arg(long, value_name = "X", default_value_t = TrainOptions::default().alpha)]
    alpha: f32,

    /// Which projections of each block have an adapter.
    #[arg(long, default_value = "query-value", value_parser = named::<Targets>(&["query-value", "all"]))]
    targets: Targets,

    /// Probability of zeroing an input of the adapter in training.
    #[arg(long, value_name = "SHARE", default_value_t = TrainOptions::default().dropout)]
    dropout: f32,

    /// Share of the examples that measures instead of training, at most 0.9.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = TrainOptions::default().validation_share,
        value_parser = validation_share
    )]
    validation_share: f64,

    /// Whether rare classes weigh more.
    #[arg(long, default_value = "none", value_parser = named::<ClassWeights>(&["none", "balanced"]))]
    class_weights: ClassWeights,

    /// Validations without improvement after which training ends; 0 for never.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().patience)]
    patience: u32,

    /// Validations an epoch.
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().validations_per_epoch)]
    validations_per_epoch: u32,

    /// How activations are sent: 4, 2 or 1 byte a number.
    #[arg(long, default_value = "f16", value_parser = named::<UploadDtype>(&["f32", "f16", "int8"]))]
    dtype: UploadDtype,

    /// Where the labels are: `client` keeps them and the task head here, and trains step by step with the server.
    #[arg(long, default_value = "server", value_parser = named::<LabelsAt>(&["server", "client"]))]
    labels: LabelsAt,

    /// Whether an adapter in the bottom is trained here, too; it needs --cut 1 or more, and not `--mechanism vector`.
    #[arg(long, default_value = "frozen", value_parser = named::<Bottom>(&["frozen", "lora"]))]
    bottom: Bottom,

    /// Noise on the gradients that tell of labels, with `--labels client`: its power over the distance of the classes;
    /// 0 for none.
    #[arg(
        long,
        value_name = "X",
        default_value_t = TrainOptions::default().label_noise,
        value_parser = label_noise,
        allow_negative_numbers = true
    )]
    label_noise: f64,
}

impl Training {
    pub(crate) fn options(&self) -> TrainOptions {
        TrainOptions {
            epochs: self.epochs,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            warmup_share: self.warmup_share,
            weight_decay: self.weight_decay,
            gradient_norm_max: self.gradient_norm_max,
            rank: self.rank,
            alpha: self.alpha,
            targets: self.targets,
            dropout: self.dropout,
            validation_share: self.validation_share,
            class_weights: self.class_weights,
            patience: self.patience,
            validations_per_epoch: self.validations_per_epoch,
            dtype: self.dtype,
            labels: self.labels,
            bottom: self.bottom,
            label_noise: self.label_noise,
        }
    }

    /// What is wrong with the options together, whatever the server.
    pub(super) fn conflict(&self, common: &Common) -> Option<&'static str> {
        if self.label_noise > 0.0 && self.labels == LabelsAt::Server {
            return Some("--label-noise hides labels that stay here: it needs --labels client");
        }
        (self.bottom == Bottom::Lora && common.cut == Some(0))
            .then_some("--bottom lora trains blocks of the bottom, and --cut 0 has none")
    }

    /// The first setting that no server would accept.
    pub(super) fn check(&self) -> Result<(), String> {
        let options = TrainOptions {
            class_weights: ClassWeights::None,
            ..self.options()
        };
        let adapter = options.adapter().check();
        let settings = || options.settings(&[]).check(2, &Limits::default());
        adapter
            .and_then(|()| settings())
            .map_err(|error| error.to_string())
    }
}

fn label_noise(text: &str) -> Result<f64, String> {
    let noise: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.0..=LABEL_NOISE_MAX).contains(&noise) {
        Ok(noise)
    } else {
        Err(format!("0 to {LABEL_NOISE_MAX} is possible"))
    }
}

fn validation_share(text: &str) -> Result<f64, &'static str> {
    let share: f64 = text.parse().map_err(|_| "not a number")?;
    if (0.0..=0.9).contains(&share) {
        Ok(share)
    } else {
        Err("a share from 0 to 0.9 is possible")
    }
}
