//! One training step: all blocks, LoRA on query and value, classifier, AdamW.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::Device;
use clap::Args;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;
use server::trainer::ActivationBatch;
use server::trainer::step::{DeviceBatch, gradients, probabilities};
use shared::adapter::{Adapter, AdapterOptimizer, LoraConfig, Target};
use shared::model::{CutLayer, ModelConfig, TopModel};

use crate::measure::{median, settings};

/// The workload; the same options as bench/peers/step.py.
#[derive(Debug, Args)]
pub(crate) struct Step {
    /// Hugging Face directory.
    #[arg(long)]
    model: PathBuf,
    /// Examples a step.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Positions of every example; nothing is padded.
    #[arg(long, default_value_t = 64)]
    length: u16,
    /// Rank of the adapter.
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// Steps that count.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
}

const N_CLASSES: usize = 2;

impl Step {
    /// Takes the steps and prints their times.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let device = Device::flex();
        let read = |name: &str| {
            let path = self.model.join(name);
            fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let config = ModelConfig::from_json(&read("config.json")?)?;
        let cut = CutLayer::new(0, &config)?;
        let top = TopModel::load(&config, &read("model.safetensors")?, cut, &device)?;
        let targets = [Target::Query, Target::Value];
        let lora = LoraConfig::new(self.rank, 16.0, 0.0, targets)?;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut adapter = Adapter::init(&lora, &config, &top, 0, N_CLASSES, &mut rng, &device);
        let mut optimizer = AdapterOptimizer::new(&settings(u32::try_from(self.batch)?));
        let batch = self.batch(config.d_model, &mut rng);
        let labels: Vec<u32> = (0..self.batch)
            .map(|at| u32::from(at % N_CLASSES == 1))
            .collect();
        let (mut steps, mut forwards) = (Vec::new(), Vec::new());
        for _ in 0..self.warmup + self.steps {
            let started = Instant::now();
            probabilities(
                &top,
                &adapter,
                &DeviceBatch::new(&batch, config.d_model, &device),
            )?;
            forwards.push(millis(started));
            let started = Instant::now();
            let batch = DeviceBatch::new(&batch, config.d_model, &device);
            let (_, gradients) = gradients(&top, &adapter, &batch, &labels, &[])?;
            adapter = optimizer.step(&adapter, gradients.adapter, 0.0, 1e-3);
            steps.push(millis(started));
        }
        let (steps, forwards) = (&steps[self.warmup..], &forwards[self.warmup..]);
        let line = json!({
            "peer": "cutlayer",
            "step_millis_median": median(steps),
            "step_millis": steps,
            "forward_millis_median": median(forwards),
            "threads": std::thread::available_parallelism()?.get(),
        });
        writeln!(io::stdout(), "{line}")?;
        Ok(())
    }

    fn batch(&self, d_model: usize, rng: &mut ChaCha8Rng) -> ActivationBatch {
        let count = self.batch * usize::from(self.length) * d_model;
        let values = (0..count)
            .map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5)
            .collect();
        ActivationBatch {
            values,
            seq_lengths: vec![self.length; self.batch],
        }
    }
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
