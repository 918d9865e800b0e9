//! AdamW, gradient clipping and the learning-rate schedule.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;

use super::lora::Adapter;
use super::loss::gradient_square;
use crate::protocol::message::TrainSettings;

/// Linear warm-up to the peak, then linear decay to zero.
///
/// Step `s` of `steps_total`, from 0: `peak * s / warmup` below
/// `warmup = ceil(warmup_share * steps_total)`, then
/// `peak * (steps_total - s) / (steps_total - warmup)`. As `get_linear_schedule_with_warmup` of
/// transformers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    peak: f64,
    warmup_steps: u32,
    steps_total: u32,
}

impl Schedule {
    /// A schedule over a run of `steps_total` steps.
    pub fn new(peak: f32, warmup_share: f32, steps_total: u32) -> Self {
        // The share is an f32: what its rounding adds must not become a step.
        let warmup = (f64::from(warmup_share) * f64::from(steps_total) - 1e-3)
            .ceil()
            .max(0.0);
        Self {
            peak: f64::from(peak),
            warmup_steps: warmup as u32,
            steps_total,
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn learning_rate(&self, step: u32) -> f64 {
        let share = if step < self.warmup_steps {
            f64::from(step) / f64::from(self.warmup_steps)
        } else {
            let decaying = self.steps_total.saturating_sub(self.warmup_steps).max(1);
            f64::from(self.steps_total.saturating_sub(step)) / f64::from(decaying)
        };
        self.peak * share
    }
}

/// AdamW over all matrices of an adapter, with the L2 norm of all gradients together bounded before
/// it.
///
/// Where the matrices of one step lie on two sides, each side has an optimizer for its own and is
/// told the other's sum of squares: both then scale by the same factor, and the two steps together
/// are the step of one optimizer over all matrices.
///
/// Source: Decoupled Weight Decay Regularization, arXiv 1711.05101; betas 0.9 and 0.999, epsilon
/// 1e-8. The bound is `clip_grad_norm_` of PyTorch.
#[derive(Clone)]
pub struct AdapterOptimizer {
    adamw: AdamW,
    gradient_norm_max: f64,
    states: Vec<Option<AdamWState<2>>>,
}

/// What AdamW remembers of one matrix.
///
/// After step `t` with gradient `g`: `m = 0.9 m + 0.1 g`, `v = 0.999 v + 0.001 g^2`, both from 0.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Steps that were taken, `t`.
    pub steps: usize,
    /// First moment `m`, in the matrix' shape.
    pub first: Tensor<2>,
    /// Second moment `v`, in the matrix' shape.
    pub second: Tensor<2>,
}

impl std::fmt::Debug for AdapterOptimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AdapterOptimizer({} matrices)", self.states.len())
    }
}

impl AdapterOptimizer {
    /// An optimizer that has not taken a step.
    pub fn new(settings: &TrainSettings) -> Self {
        let adamw = AdamWConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(settings.weight_decay);
        Self {
            adamw: adamw.build(),
            gradient_norm_max: f64::from(settings.gradient_norm_max),
            states: Vec::new(),
        }
    }

    /// What it remembers of each matrix, in the order of the adapter's parameters; empty before the
    /// first step. With it and the same settings another optimizer goes on: see [`Self::resume`].
    pub fn moments(&self) -> Vec<Option<Moments>> {
        let remembered = |state: &AdamWState<2>| Moments {
            steps: state.momentum.time,
            first: state.momentum.moment_1.clone(),
            second: state.momentum.moment_2.clone(),
        };
        let states = self.states.iter();
        states.map(|state| state.as_ref().map(remembered)).collect()
    }

    /// An optimizer that goes on where another with the same settings was.
    ///
    /// # Guarantee
    ///
    /// Its steps are those of the other, bit for bit, where the device computes the same bits.
    pub fn resume(
        settings: &TrainSettings,
        moments: impl IntoIterator<Item = Option<Moments>>,
    ) -> Self {
        let state =
            |Moments {
                 steps,
                 first,
                 second,
             }| { AdamWState::new(AdaptiveMomentumState::new(steps, first, second)) };
        let moments = moments.into_iter();
        Self {
            states: moments.map(|moments| moments.map(state)).collect(),
            ..Self::new(settings)
        }
    }

    /// Takes one step; `gradients` in the order of the adapter's parameters. `square_elsewhere` is
    /// the sum of squares of this step's gradients on the other side; 0 where all are here.
    pub fn step(
        &mut self,
        adapter: &Adapter,
        gradients: Vec<Tensor<2>>,
        square_elsewhere: f32,
        learning_rate: f64,
    ) -> Adapter {
        let gradients = self.clip(gradients, square_elsewhere);
        self.states.resize_with(gradients.len(), || None);
        let mut updates = gradients.into_iter().zip(&mut self.states);
        adapter.map(|parameter| match updates.next() {
            Some((gradient, state)) => {
                let (updated, after) =
                    self.adamw
                        .step(learning_rate, parameter.clone(), gradient, state.take());
                *state = after;
                updated
            }
            None => parameter.clone(),
        })
    }

    fn clip(&self, gradients: Vec<Tensor<2>>, square_elsewhere: f32) -> Vec<Tensor<2>> {
        if self.gradient_norm_max <= 0.0 {
            return gradients;
        }
        let Some(sum) = gradient_square(&gradients) else {
            return gradients;
        };
        // min(1, max / (norm + 1e-6)), as PyTorch
        let scale = (sum.add_scalar(square_elsewhere).sqrt() + 1e-6)
            .recip()
            .mul_scalar(self.gradient_norm_max)
            .clamp_max(1.0);
        gradients
            .into_iter()
            .map(|gradient| gradient * scale.clone().unsqueeze::<2>())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{LoraConfig, ParameterName, Target};

    #[test]
    fn the_schedule_rises_and_falls_linearly() {
        let schedule = Schedule::new(1.0, 0.2, 10);
        let rates: Vec<f64> = (0..10).map(|step| schedule.learning_rate(step)).collect();
        assert_eq!(
            rates,
            [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
        );
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_peak() {
        assert_eq!(Schedule::new(0.5, 0.0, 4).learning_rate(0), 0.5);
    }

    fn settings() -> TrainSettings {
        TrainSettings {
            epochs: 1,
            batch_size: 1,
            learning_rate: 0.1,
            warmup_share: 0.0,
            weight_decay: 0.0,
            gradient_norm_max: 1.0,
            class_weights: Vec::new(),
            patience: 0,
            validations_per_epoch: 1,
        }
    }

    /// Gradients after clipping to norm 1; `square_elsewhere` is the other side's.
    fn clipped(gradients: &[f32], square_elsewhere: f32) -> Vec<f32> {
        let device = burn::tensor::Device::flex();
        let gradients = gradients
            .iter()
            .map(|value| Tensor::<2>::from_floats([[*value]], &device))
            .collect();
        let clipped = AdapterOptimizer::new(&settings()).clip(gradients, square_elsewhere);
        clipped.into_iter().map(Tensor::into_scalar).collect()
    }

    #[test]
    fn gradients_are_bounded_together_and_not_one_by_one() {
        let values = clipped(&[3.0, 4.0], 0.0);
        assert!(
            (values[0] - 0.6).abs() < 1e-5 && (values[1] - 0.8).abs() < 1e-5,
            "{values:?}"
        );
    }

    #[test]
    fn two_sides_that_know_each_others_squares_scale_as_one() {
        let (here, there) = (clipped(&[3.0], 16.0), clipped(&[4.0], 9.0));
        let together = clipped(&[3.0, 4.0], 0.0);
        assert!((here[0] - together[0]).abs() < 1e-6, "{here:?}");
        assert!((there[0] - together[1]).abs() < 1e-6, "{there:?}");
        // Below the bound alone, above it together: the other side's share counts.
        assert!((clipped(&[0.6], 0.0)[0] - 0.6).abs() < 1e-6);
        assert!((clipped(&[0.6], 3.64)[0] - 0.3).abs() < 1e-5); // 0.6 / sqrt(0.36 + 3.64)
    }

    /// Breaks when a moment or the number of steps is lost: the correction of the bias of step 1 is
    /// ten times that of a long run.
    #[test]
    fn an_optimizer_that_is_resumed_takes_the_same_steps() {
        let device = burn::tensor::Device::flex();
        let one = |value: f32| Tensor::<2>::from_floats([[value]], &device);
        let value = |adapter: &Adapter| adapter.parameters()[0].clone().into_scalar::<f32>();
        let lora = LoraConfig::new(1, 1.0, 0.0, [Target::Query]).expect("rank 1 is possible");
        let parameters = [(ParameterName::ClassifierBias, one(1.0))];
        let mut adapter = Adapter::from_parameters(&lora, parameters);
        let settings = TrainSettings {
            weight_decay: 0.1,
            ..settings()
        };
        let mut optimizer = AdapterOptimizer::new(&settings);
        assert!(optimizer.moments().is_empty());
        for (step, gradient) in [0.5, -0.25, 0.125, 0.75].into_iter().enumerate() {
            let mut resumed = AdapterOptimizer::resume(&settings, optimizer.moments());
            let again = resumed.step(&adapter, vec![one(gradient)], 0.0, 0.1);
            adapter = optimizer.step(&adapter, vec![one(gradient)], 0.0, 0.1);
            assert_eq!(value(&again).to_bits(), value(&adapter).to_bits(), "{step}");
            let moments = resumed.moments()[0].clone().expect("it has taken a step");
            assert_eq!(moments.steps, step + 1);
            if step == 0 {
                let [first, second] =
                    [moments.first, moments.second].map(Tensor::into_scalar::<f32>);
                assert!((first - 0.05).abs() < 1e-6, "{first}"); // 0.1 * 0.5
                assert!((second - 2.5e-4).abs() < 1e-8, "{second}"); // 0.001 * 0.25
            }
        }
        // Without what was remembered the next step is another.
        let forgotten = AdapterOptimizer::new(&settings).step(&adapter, vec![one(0.5)], 0.0, 0.1);
        let remembered = optimizer.step(&adapter, vec![one(0.5)], 0.0, 0.1);
        assert_ne!(value(&forgotten), value(&remembered));
    }
}
