//! The top on a GPU against the top on the processor: the same numbers from another backend.
//!
//! Any Vulkan driver does; a software one shows wrong shaders as well as hardware would.

use burn::tensor::Device;
use server::args::DeviceChoice;
use server::trainer::device;
use server::trainer::step::{gradients, logits};
use tests::reference::{Reference, numbers, relative_difference};

/// Shaders sum in another order than the processor does.
const TOLERANCE: f32 = 1e-3;

/// Logits, loss and every gradient of one training batch.
struct Step {
    logits: Vec<f32>,
    loss: f32,
    gradients: Vec<Vec<f32>>,
}

impl Step {
    /// Computes a step on the device of `reference`. Every device is given the same activations: those of `bottom`.
    fn of(reference: &Reference, bottom: &Reference) -> Self {
        let (top, adapter, batch) = (reference.top(0), reference.adapter(), reference.batch());
        let activations = reference.activations(&bottom.bottom(0), &batch);
        let weights = reference.class_weights();
        let (loss, gradients) =
            gradients(&top, &adapter, &activations, &batch.labels, &weights).unwrap();
        Self {
            logits: numbers(logits(&top, &adapter, &activations)),
            loss,
            gradients: gradients.adapter.into_iter().map(numbers).collect(),
        }
    }
}

#[test]
#[ignore = "needs vulkan"]
fn the_top_on_a_gpu_equals_the_cpu_needs_vulkan() {
    // Opened once: a process has one wgpu device of a kind.
    let gpu = device::open(DeviceChoice::Gpu).unwrap();
    assert_ne!(gpu.name, "cpu");
    for name in ["bert-shaped", "roberta-shaped", "distilbert-shaped"] {
        let on_cpu = Reference::open(name, None, Device::flex());
        let on_gpu = Reference::open(name, None, gpu.device.clone());
        let expected = Step::of(&on_cpu, &on_cpu);
        let actual = Step::of(&on_gpu, &on_cpu);
        let difference = relative_difference(&actual.logits, &expected.logits);
        assert!(
            difference < TOLERANCE,
            "{name}: logits differ by {difference}"
        );
        let difference = relative_difference(&[actual.loss], &[expected.loss]);
        assert!(
            difference < TOLERANCE,
            "{name}: losses differ by {difference}"
        );
        let adapter = on_cpu.adapter();
        assert_eq!(actual.gradients.len(), adapter.parameters().len());
        let pairs = actual.gradients.iter().zip(&expected.gradients);
        for (parameter, (actual, expected)) in adapter.names().zip(pairs) {
            let difference = relative_difference(actual, expected);
            assert!(
                difference < TOLERANCE,
                "{name}: gradient of {parameter:?} differs by {difference}"
            );
        }
    }
}
