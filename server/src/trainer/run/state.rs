//! A run that is taken up again: what of it goes into a checkpoint, and how it comes out.
//!
//! What a run is made of anew at every start (the top, the schedule, the lists of examples) is not
//! kept; what it must have in common with the run that the checkpoint was taken of is held against
//! it, so that no run goes on as another.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use shared::adapter::{Adapter, AdapterOptimizer, Moments};
use shared::metrics::Ranking;
use shared::model::{ModelConfig, TopModel};
use shared::protocol::message::Split;

use super::exchange::Exchange;
use super::{Best, Run};
use crate::hex::hex;
use crate::trainer::checkpoint::{Checkpoint, CheckpointError, Generator, Matrix, State};
use crate::trainer::step::{DeviceBatch, pooled};
use crate::trainer::{ActivationBatch, JobSpec, TrainerError};

const ADAPTER: &str = "adapter";
const BEST: &str = "best";
const MOMENTS: [&str; 2] = ["moment_1", "moment_2"];
const PROBE: &str = "probe";

/// Rows of the fixed input that tells one top from another.
const PROBE_ROWS: u16 = 4;
/// Largest difference of what two devices make of it, by far: layer normalisation and tanh keep the
/// numbers at about 1, where f32 has seven digits.
const PROBE_DIFFERENCE_MAX: f32 = 1e-3;
/// Words of a block of ChaCha.
const BLOCK_WORDS: u128 = 16;

impl Run {
    /// Everything that decides how this run goes on.
    ///
    /// A run that takes its steps with its client has a whole state only between two steps, and only
    /// its own side of it is here: the client's adapter, head and ranking are the client's to keep.
    /// With an adapter at the client and clipping the optimizer's step waits for the client's share
    /// of the norm, which comes with the next batch: such a run is whole before its first step and
    /// after a validation.
    ///
    /// # Guarantee
    ///
    /// The run itself is not changed. A run that is restored from it on the same device takes the
    /// same steps, bit for bit.
    ///
    /// # Errors
    ///
    /// `MidStep`, as above; otherwise when the device fails.
    pub fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        let untold = self.exchange.untold_between_steps();
        let untold = untold.ok_or(CheckpointError::MidStep)?;
        let mut matrices = BTreeMap::new();
        let mut optimizer_steps = BTreeMap::new();
        add_adapter(&mut matrices, ADAPTER, &self.adapter)?;
        for (name, moments) in self.adapter.names().zip(self.optimizer.moments()) {
            let Some(moments) = moments else { continue };
            optimizer_steps.insert(name.to_string(), moments.steps);
            for (kind, moment) in MOMENTS.into_iter().zip([moments.first, moments.second]) {
                matrices.insert(format!("{kind}.{name}"), read(moment)?);
            }
        }
        if let Some(best) = &self.best {
            add_adapter(&mut matrices, BEST, &best.adapter)?;
        }
        let probe = self.probe()?;
        let shape = [1, probe.len()];
        let values = probe;
        matrices.insert(PROBE.to_owned(), Matrix { shape, values });
        let best = self.ranking.best();
        let state = State {
            version: 0, // the checkpoint's own
            conditions: self.conditions()?,
            examples_sha256: self.examples_sha256()?,
            step: self.step,
            order: self.order.clone(),
            generator: generator(&self.rng),
            best_bits: best.map(|(accuracy, loss)| [accuracy.to_bits(), loss.to_bits()]),
            validations_without_gain: self.ranking.without_gain(),
            best_step: self.best.as_ref().map(|best| best.step),
            optimizer_steps,
            untold_bits: untold.map(f32::to_bits),
        };
        Ok(Checkpoint::new(state, matrices))
    }

    /// A run that goes on where another was.
    ///
    /// # Errors
    ///
    /// `OtherRun`, `OtherExamples`, `OtherWeights` or `WrongShape` when the checkpoint was taken of a
    /// run with other settings, examples or model; `Malformed` when something is missing in it;
    /// otherwise as [`Run::new`].
    pub fn restore(
        spec: JobSpec,
        model: &ModelConfig,
        top: TopModel,
        device: &Device,
        checkpoint: &Checkpoint,
    ) -> Result<Self, CheckpointError> {
        let state = checkpoint.state();
        let rng = restored(&state.generator);
        // Its adapter and its order are drawn for nothing; the shapes are what is wanted of it.
        let mut run = Self::new(spec, model, top, device, rng.clone())?;
        run.ensure_same(state)?;
        run.adapter = adapter(checkpoint, ADAPTER, &run.adapter, device)?;
        run.ensure_same_weights(checkpoint)?;
        run.optimizer = optimizer(checkpoint, &run, device)?;
        run.best = match state.best_step {
            Some(step) => Some(Best {
                step,
                adapter: adapter(checkpoint, BEST, &run.adapter, device)?,
            }),
            None => None,
        };
        let best = state.best_bits.map(|bits| bits.map(f32::from_bits));
        run.ranking = Ranking::resume(
            best.map(|[accuracy, loss]| (accuracy, loss)),
            state.validations_without_gain,
        );
        run.exchange = Exchange::between_steps(state.untold_bits.map(f32::from_bits));
        run.order.clone_from(&state.order);
        run.step = state.step;
        run.rng = rng;
        Ok(run)
    }

    /// What two runs must have in common for one to go on as the other.
    fn conditions(&self) -> Result<BTreeMap<String, String>, CheckpointError> {
        fn text(value: &impl serde::Serialize) -> Result<String, CheckpointError> {
            // As text, which is equal where the numbers are: a number that is read may be another.
            serde_json::to_string(value).map_err(|_| malformed("settings"))
        }
        let JobSpec {
            cut,
            n_classes,
            adapter,
            settings,
            labels,
            bottom,
            examples: _,
        } = &self.spec;
        let conditions = [
            ("cut", text(cut)?),
            ("n_classes", text(n_classes)?),
            ("adapter settings", text(adapter)?),
            ("training settings", text(settings)?),
            ("place of the labels", text(labels)?),
            ("training of the bottom", text(bottom)?),
            ("training examples", text(&self.order.len())?),
            ("validation examples", text(&self.validation.len())?),
            ("model", format!("{:?}", self.model)),
        ];
        let owned = conditions.map(|(name, value)| (name.to_owned(), value));
        Ok(owned.into())
    }

    /// Identifies the examples without their labels, so that an error may say it; a label does not
    /// change under an example that is stored.
    fn examples_sha256(&self) -> Result<String, CheckpointError> {
        let all: Vec<usize> = (0..self.spec.examples.len()).collect();
        let headers = self.spec.examples.headers(&all)?;
        let mut hasher = Sha256::new();
        for header in headers {
            hasher.update(header.example_id.to_le_bytes());
            hasher.update(header.seq_length.to_le_bytes());
            hasher.update([u8::from(header.split == Split::Validation)]);
        }
        Ok(hex(&hasher.finalize()))
    }

    /// Holds a checkpoint's state against this run, which has taken no step.
    fn ensure_same(&self, state: &State) -> Result<(), CheckpointError> {
        for (name, expected) in self.conditions()? {
            let actual = state.conditions.get(&name);
            if actual != Some(&expected) {
                return Err(CheckpointError::OtherRun {
                    actual: actual.cloned().unwrap_or_default(),
                    name,
                    expected,
                });
            }
        }
        let mut sorted = state.order.clone();
        sorted.sort_unstable();
        // `self.order` was not shuffled yet.
        if state.examples_sha256 != self.examples_sha256()? || sorted != self.order {
            return Err(CheckpointError::OtherExamples);
        }
        if state.step > self.steps_total {
            return Err(malformed("step of this run"));
        }
        Ok(())
    }

    /// What the top with the adapter makes of a fixed input, `[d_model]`.
    fn probe(&self) -> Result<Vec<f32>, CheckpointError> {
        let d_model = self.spec.examples.d_model();
        let numbers = usize::from(PROBE_ROWS) * d_model;
        let input = ActivationBatch {
            values: (0..numbers)
                .map(|i| (i * 7 % 23) as f32 / 11.0 - 1.0)
                .collect(),
            seq_lengths: vec![PROBE_ROWS],
        };
        let batch = DeviceBatch::new(&input, d_model, &self.device);
        Ok(pooled(&self.top, &self.adapter, &batch)?)
    }

    /// Holds the weights of the top against those that the checkpoint was taken with.
    fn ensure_same_weights(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let expected = self.probe()?;
        let actual = stored(checkpoint, PROBE, [1, expected.len()])?;
        let differences = expected
            .iter()
            .zip(&actual.values)
            .map(|(a, b)| (a - b).abs());
        // A run that has diverged makes NaN of everything, and goes on as it was: no difference.
        let largest = differences.fold(0.0, f32::max);
        if largest > PROBE_DIFFERENCE_MAX {
            return Err(CheckpointError::OtherWeights {
                expected: PROBE_DIFFERENCE_MAX,
                actual: largest,
            });
        }
        Ok(())
    }
}

fn malformed(missing: &str) -> CheckpointError {
    CheckpointError::Malformed {
        missing: missing.to_owned(),
    }
}

fn add_adapter(
    matrices: &mut BTreeMap<String, Matrix>,
    kind: &str,
    adapter: &Adapter,
) -> Result<(), CheckpointError> {
    for (name, parameter) in adapter.names().zip(adapter.parameters()) {
        matrices.insert(format!("{kind}.{name}"), read(parameter.clone())?);
    }
    Ok(())
}

fn read(tensor: Tensor<2>) -> Result<Matrix, CheckpointError> {
    let shape = tensor.dims();
    let values = tensor.into_data().try_into_vec::<f32>();
    let values = values.map_err(|_| TrainerError::Device)?;
    Ok(Matrix { shape, values })
}

/// A matrix of a checkpoint that must have a shape.
fn stored<'a>(
    checkpoint: &'a Checkpoint,
    name: &str,
    expected: [usize; 2],
) -> Result<&'a Matrix, CheckpointError> {
    let matrix = checkpoint.matrix(name).ok_or_else(|| malformed(name))?;
    if matrix.shape != expected {
        return Err(CheckpointError::WrongShape {
            name: name.to_owned(),
            expected,
            actual: matrix.shape,
        });
    }
    Ok(matrix)
}

fn tensor(
    checkpoint: &Checkpoint,
    name: &str,
    like: &Tensor<2>,
    device: &Device,
) -> Result<Tensor<2>, CheckpointError> {
    let Matrix { shape, values } = stored(checkpoint, name, like.dims())?;
    Ok(Tensor::from_data(
        TensorData::new(values.clone(), *shape),
        device,
    ))
}

/// An adapter of a checkpoint, with the names and shapes of another.
fn adapter(
    checkpoint: &Checkpoint,
    kind: &str,
    like: &Adapter,
    device: &Device,
) -> Result<Adapter, CheckpointError> {
    let mut parameters = Vec::new();
    for (name, parameter) in like.names().zip(like.parameters()) {
        let stored = tensor(checkpoint, &format!("{kind}.{name}"), parameter, device)?;
        parameters.push((name, stored));
    }
    Ok(Adapter::from_parameters(like.config(), parameters))
}

fn optimizer(
    checkpoint: &Checkpoint,
    run: &Run,
    device: &Device,
) -> Result<AdapterOptimizer, CheckpointError> {
    let mut moments = Vec::new();
    for (name, parameter) in run.adapter.names().zip(run.adapter.parameters()) {
        let steps = checkpoint.state().optimizer_steps.get(&name.to_string());
        let moment = |kind| tensor(checkpoint, &format!("{kind}.{name}"), parameter, device);
        let [first, second] = MOMENTS;
        moments.push(match steps {
            Some(steps) => Some(Moments {
                steps: *steps,
                first: moment(first)?,
                second: moment(second)?,
            }),
            None => None,
        });
    }
    Ok(AdapterOptimizer::resume(&run.spec.settings, moments))
}

fn generator(rng: &ChaCha8Rng) -> Generator {
    let position = rng.get_word_pos();
    Generator {
        seed: rng.get_seed(),
        stream: rng.get_stream(),
        block: (position / BLOCK_WORDS) as u64, // of 68 bits 64 are left
        word: (position % BLOCK_WORDS) as u32,
    }
}

fn restored(generator: &Generator) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::from_seed(generator.seed);
    rng.set_stream(generator.stream);
    rng.set_word_pos(u128::from(generator.block) * BLOCK_WORDS + u128::from(generator.word));
    rng
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::Rng;

    use super::*;

    /// At every word of more than two buffers of 64: at the last word of one, too, where the next
    /// number of 64 bits lies across its end.
    #[test]
    fn a_generator_goes_on_where_it_was() {
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        rng.set_stream(5);
        for word in 0..150 {
            let mut again = restored(&generator(&rng));
            let mut here = rng.clone();
            let numbers = |rng: &mut ChaCha8Rng| [(); 70].map(|()| rng.next_u64());
            assert_eq!(numbers(&mut again), numbers(&mut here), "{word}");
            rng.next_u32();
        }
        let kept = generator(&rng);
        assert_eq!((kept.stream, kept.block, kept.word), (5, 9, 6)); // 150 = 9 * 16 + 6
    }
}
