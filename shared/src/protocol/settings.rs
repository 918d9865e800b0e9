//! Whether the numbers of a `Hello` or a `Train` make sense, before anything is built from them.
//!
//! The client checks what a person typed, the server what came over the wire, with the same code.
//! Whether a model has a cut or a projection is not decided here.

use thiserror::Error;

pub use super::interval::Interval;
use super::limits::{LimitError, Limits, MODEL_ID_BYTES_MAX, at_most};
use super::message::{
    AdapterSettings, BottomTraining, Hello, LabelPlace, RefusalCode, TrainSettings,
};

/// A setting is outside what a session accepts.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum SettingsError {
    /// A number outside its interval.
    #[error("{field} must be {expected}; got {actual}")]
    OutOfRange {
        /// The field's name on the wire.
        field: &'static str,
        /// What is accepted.
        expected: Interval,
        /// What came.
        actual: f64,
    },
    /// A list that must have one entry a class.
    #[error("{field} must be empty or have {expected} entries; got {actual}")]
    WrongLength {
        /// The field's name on the wire.
        field: &'static str,
        /// Classes of the task.
        expected: usize,
        /// Entries.
        actual: usize,
    },
    /// A list that names the same thing twice.
    #[error("{field} must have {expected} different entries; got {actual}")]
    Repeated {
        /// The field's name on the wire.
        field: &'static str,
        /// Entries.
        expected: usize,
        /// Different entries.
        actual: usize,
    },
    /// A setting that would tell of labels which stay at the client.
    #[error("{field} must be empty while labels stay at the client: they say how often a class is")]
    TellsLabels {
        /// The field's name on the wire.
        field: &'static str,
    },
}

impl SettingsError {
    /// Tells what the other side is told.
    pub fn refusal_code(&self) -> RefusalCode {
        RefusalCode::BadSettings
    }
}

/// 256 is the largest rank with which LoRA is still small beside the widths served here.
const RANK: Interval = Interval::closed(1.0, 256.0);
/// Beyond it the adapter's product drowns the frozen weights at any learning rate.
const ALPHA: Interval = Interval::above(0.0, 10_000.0);
/// At 1 every input is zeroed and the rest scaled by 1 / 0.
const DROPOUT: Interval = Interval::below(0.0, 1.0);
/// As many as there are projections in a block.
const TARGETS: Interval = Interval::closed(1.0, 6.0);
/// A bound for arithmetic; `steps_max` is the one that is felt.
const EPOCHS: Interval = Interval::closed(1.0, 1_000.0);
/// AdamW moves each weight by about the learning rate: 1 is already absurd.
const LEARNING_RATE: Interval = Interval::above(0.0, 1.0);
/// A share.
const WARMUP_SHARE: Interval = Interval::closed(0.0, 1.0);
/// `1 - learning_rate * weight_decay` must not change sign.
const WEIGHT_DECAY: Interval = Interval::closed(0.0, 1.0);
/// 0 for no clipping; a bound that no gradient reaches is none.
const GRADIENT_NORM_MAX: Interval = Interval::closed(0.0, 1_000_000.0);
/// Positive, and far from where a product of weight and loss overflows.
const CLASS_WEIGHT: Interval = Interval::above(0.0, 1_000_000.0);
/// An adapter in the bottom stands beside its blocks; cut 0 has none.
const TRAINED_CUT: Interval = Interval::closed(1.0, u32::MAX as f64);
/// Each validation reads every validation example.
const VALIDATIONS_PER_EPOCH: Interval = Interval::closed(1.0, 100.0);

impl Hello {
    /// Holds the session's numbers against what any model allows.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn check(&self, limits: &Limits) -> Result<(), SettingsError> {
        let model_id_bytes = Interval::closed(1.0, MODEL_ID_BYTES_MAX as f64);
        within("model_id bytes", model_id_bytes, self.model_id.len() as f64)?;
        let n_classes = Interval::closed(2.0, f64::from(limits.n_classes_max));
        within("n_classes", n_classes, f64::from(self.n_classes))?;
        if self.bottom == BottomTraining::Lora {
            within("cut of a trained bottom", TRAINED_CUT, f64::from(self.cut))?;
        }
        self.adapter.check()
    }
}

impl AdapterSettings {
    /// Holds the adapter's numbers against what any model allows.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn check(&self) -> Result<(), SettingsError> {
        within("rank", RANK, f64::from(self.rank))?;
        within("alpha", ALPHA, f64::from(self.alpha))?;
        within("dropout", DROPOUT, f64::from(self.dropout))?;
        within("targets", TARGETS, self.targets.len() as f64)?;
        let mut different = self.targets.clone();
        different.sort_unstable();
        different.dedup();
        let (expected, actual) = (self.targets.len(), different.len());
        if actual != expected {
            return Err(SettingsError::Repeated {
                field: "targets",
                expected,
                actual,
            });
        }
        Ok(())
    }
}

impl TrainSettings {
    /// Holds the run's numbers against the task and the server's limits.
    ///
    /// # Errors
    /// The first setting that does not.
    pub fn check(&self, n_classes: u32, limits: &Limits) -> Result<(), SettingsError> {
        let batch_size = Interval::closed(1.0, f64::from(limits.batch_examples_max));
        within("epochs", EPOCHS, f64::from(self.epochs))?;
        within("batch_size", batch_size, f64::from(self.batch_size))?;
        within(
            "learning_rate",
            LEARNING_RATE,
            f64::from(self.learning_rate),
        )?;
        within("warmup_share", WARMUP_SHARE, f64::from(self.warmup_share))?;
        within("weight_decay", WEIGHT_DECAY, f64::from(self.weight_decay))?;
        within(
            "gradient_norm_max",
            GRADIENT_NORM_MAX,
            f64::from(self.gradient_norm_max),
        )?;
        let validations = f64::from(self.validations_per_epoch);
        within("validations_per_epoch", VALIDATIONS_PER_EPOCH, validations)?;
        let (expected, actual) = (n_classes as usize, self.class_weights.len());
        if actual != 0 && actual != expected {
            return Err(SettingsError::WrongLength {
                field: "class_weights",
                expected,
                actual,
            });
        }
        let mut weights = self.class_weights.iter();
        weights.try_for_each(|&weight| within("class_weights", CLASS_WEIGHT, f64::from(weight)))
    }

    /// Holds what goes over the wire against where the labels are.
    ///
    /// # Errors
    /// Class weights while labels stay at the client, which has its own.
    pub fn check_labels(&self, labels: LabelPlace) -> Result<(), SettingsError> {
        if labels == LabelPlace::Client && !self.class_weights.is_empty() {
            let field = "class_weights";
            return Err(SettingsError::TellsLabels { field });
        }
        Ok(())
    }

    /// Holds the largest batch that a trained bottom may be asked for against one frame: the
    /// `batch_size` longest examples, `value_bytes` a number.
    ///
    /// # Errors
    /// More than fits a frame beside any header.
    pub fn check_batch_bytes(
        &self,
        seq_lengths: &[u16],
        d_model: u32,
        value_bytes: usize,
        limits: &Limits,
    ) -> Result<(), LimitError> {
        let mut longest = seq_lengths.to_vec();
        longest.sort_unstable_by(|a, b| b.cmp(a));
        let rows = longest.iter().take(self.batch_size as usize);
        let rows: u64 = rows.map(|length| u64::from(*length)).sum();
        let bytes = rows * u64::from(d_model) * value_bytes as u64;
        let max = limits.payload_bytes_max() as u64;
        at_most("frame_bytes_max less a header", max, bytes).map(drop)
    }

    /// Counts the optimizer steps of a whole run; the last batch of an epoch may be smaller.
    /// `Limits::check_steps` says whether they are too many.
    ///
    /// Formula: `epochs * ceil(train_examples / batch_size)`; 0 for a batch size of 0.
    pub fn steps_total(&self, train_examples: u32) -> u64 {
        if self.batch_size == 0 {
            return 0;
        }
        u64::from(self.epochs) * u64::from(train_examples.div_ceil(self.batch_size))
    }
}

fn within(field: &'static str, expected: Interval, actual: f64) -> Result<(), SettingsError> {
    if expected.contains(actual) {
        return Ok(());
    }
    Err(SettingsError::OutOfRange {
        field,
        expected,
        actual,
    })
}

#[allow(clippy::unwrap_used)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::AdapterTarget;

    fn adapter() -> AdapterSettings {
        let targets = vec![AdapterTarget::Query, AdapterTarget::Value];
        AdapterSettings {
            rank: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets,
        }
    }

    fn train() -> TrainSettings {
        TrainSettings {
            epochs: 3,
            batch_size: 32,
            learning_rate: 1e-3,
            warmup_share: 0.06,
            weight_decay: 0.01,
            gradient_norm_max: 1.0,
            class_weights: vec![],
            patience: 0,
            validations_per_epoch: 1,
        }
    }

    /// The field that is complained about.
    fn field(result: Result<(), SettingsError>) -> &'static str {
        match result.unwrap_err() {
            SettingsError::OutOfRange { field, .. }
            | SettingsError::WrongLength { field, .. }
            | SettingsError::Repeated { field, .. }
            | SettingsError::TellsLabels { field } => field,
        }
    }

    fn train_field(change: impl FnOnce(&mut TrainSettings)) -> &'static str {
        let mut settings = train();
        change(&mut settings);
        field(settings.check(2, &Limits::default()))
    }

    fn adapter_field(change: impl FnOnce(&mut AdapterSettings)) -> &'static str {
        let mut settings = adapter();
        change(&mut settings);
        field(settings.check())
    }

    #[test]
    fn the_reference_run_is_accepted() {
        adapter().check().unwrap();
        train().check(2, &Limits::default()).unwrap();
        let weighted = TrainSettings {
            class_weights: vec![0.5, 2.0],
            ..train()
        };
        weighted.check(2, &Limits::default()).unwrap();
        assert!(weighted.check(3, &Limits::default()).is_err());
    }

    #[test]
    fn an_error_names_field_bounds_and_number() {
        let error = AdapterSettings {
            dropout: 1.0,
            ..adapter()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "dropout must be at least 0 and below 1; got 1"
        );
        let error = AdapterSettings {
            rank: 257,
            ..adapter()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "rank must be at least 1 and at most 256; got 257"
        );
    }

    #[test]
    fn each_setting_of_the_adapter_has_bounds() {
        assert_eq!(adapter_field(|one| one.rank = 0), "rank");
        assert_eq!(adapter_field(|one| one.alpha = 0.0), "alpha");
        assert_eq!(adapter_field(|one| one.alpha = f32::INFINITY), "alpha");
        assert_eq!(adapter_field(|one| one.dropout = f32::NAN), "dropout");
        assert_eq!(adapter_field(|one| one.dropout = -0.1), "dropout");
        assert_eq!(adapter_field(|one| one.targets.clear()), "targets");
        assert_eq!(
            adapter_field(|one| one.targets[1] = AdapterTarget::Query),
            "targets"
        );
    }

    #[test]
    fn each_setting_of_a_run_has_bounds() {
        assert_eq!(train_field(|one| one.epochs = 0), "epochs");
        assert_eq!(train_field(|one| one.epochs = 1_001), "epochs");
        assert_eq!(train_field(|one| one.batch_size = 0), "batch_size");
        assert_eq!(train_field(|one| one.batch_size = 257), "batch_size");
        assert_eq!(train_field(|one| one.learning_rate = 0.0), "learning_rate");
        assert_eq!(train_field(|one| one.learning_rate = 1.5), "learning_rate");
        assert_eq!(
            train_field(|one| one.learning_rate = f32::NAN),
            "learning_rate"
        );
        assert_eq!(train_field(|one| one.warmup_share = 1.5), "warmup_share");
        assert_eq!(train_field(|one| one.weight_decay = -1.0), "weight_decay");
        assert_eq!(
            train_field(|one| one.gradient_norm_max = f32::INFINITY),
            "gradient_norm_max"
        );
        assert_eq!(
            train_field(|one| one.validations_per_epoch = 0),
            "validations_per_epoch"
        );
        assert_eq!(
            train_field(|one| one.class_weights = vec![1.0]),
            "class_weights"
        );
        assert_eq!(
            train_field(|one| one.class_weights = vec![1.0, 0.0]),
            "class_weights"
        );
        assert_eq!(
            train_field(|one| one.class_weights = vec![f32::NAN, 1.0]),
            "class_weights"
        );
    }

    #[test]
    fn a_hello_is_checked_with_its_adapter() {
        let hello = Hello {
            protocol_version: 1,
            model_id: "m".into(),
            bottom_sha256: [0; 32],
            cut: 1,
            n_classes: 2,
            adapter: adapter(),
            labels: LabelPlace::Server,
            bottom: BottomTraining::Lora,
        };
        hello.check(&Limits::default()).unwrap();
        let blockless = Hello {
            cut: 0,
            ..hello.clone()
        };
        assert_eq!(
            field(blockless.check(&Limits::default())),
            "cut of a trained bottom"
        );
        let frozen = Hello {
            bottom: BottomTraining::Frozen,
            ..blockless
        };
        frozen.check(&Limits::default()).unwrap();
        let lonely = Hello {
            n_classes: 1,
            ..hello.clone()
        };
        assert_eq!(field(lonely.check(&Limits::default())), "n_classes");
        let long = Hello {
            model_id: "m".repeat(129),
            ..hello
        };
        assert_eq!(field(long.check(&Limits::default())), "model_id bytes");
    }

    #[test]
    fn class_weights_do_not_travel_where_labels_do_not() {
        let weighted = TrainSettings {
            class_weights: vec![0.5, 2.0],
            ..train()
        };
        weighted.check_labels(LabelPlace::Server).unwrap();
        assert_eq!(
            field(weighted.check_labels(LabelPlace::Client)),
            "class_weights"
        );
        train().check_labels(LabelPlace::Client).unwrap();
    }

    #[test]
    fn the_longest_examples_together_must_fit_a_frame() {
        let settings = TrainSettings {
            batch_size: 2,
            ..train()
        };
        let limits = Limits {
            frame_bytes_max: 16 + 64 * 1024 + 100, // 100 bytes of payload
            ..Limits::default()
        };
        // Rows 3 and 2 of 5 numbers of 4 bytes.
        settings
            .check_batch_bytes(&[1, 3, 2], 5, 4, &limits)
            .unwrap();
        let error = settings
            .check_batch_bytes(&[1, 3, 3], 5, 4, &limits)
            .unwrap_err();
        assert_eq!((error.expected, error.actual), (100, 120));
        settings
            .check_batch_bytes(&[1, 3, 3], 5, 2, &limits)
            .unwrap();
    }

    #[test]
    fn steps_count_the_smaller_last_batch() {
        assert_eq!(train().steps_total(64), 6);
        assert_eq!(train().steps_total(65), 9);
        let endless = TrainSettings {
            epochs: u32::MAX,
            batch_size: 1,
            ..train()
        };
        assert!(endless.steps_total(u32::MAX) > u64::from(u32::MAX));
        assert_eq!(
            TrainSettings {
                batch_size: 0,
                ..train()
            }
            .steps_total(64),
            0
        );
    }
}
