//! LABEL by epoch: what the traffic of a run told a server of the labels that it was not sent.
//!
//! Everything is computed of what was recorded: gradients and outputs of each training example in
//! each epoch. The attacker knows a fifth of the labels; the AUC is that of the others. See
//! [`label_leakage`](super::attacks::label::label_leakage).
//!
//! What is not promised: an attacker who takes the gradients of several epochs together averages
//! noise away, and is stronger than any epoch here says.

mod attacked;

use burn::tensor::Device;
use serde::Serialize;

use super::attack::AuditError;
use super::attacks::label::{Evidence, Method};
use super::learned::features::Features;
use super::recorded::Uploaded;
use super::report::Control;
use super::run::Watch;
use super::transcript::{Seen, Transcript};
use attacked::Attacked;

/// What the server held of each example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelEvidence {
    /// The gradient that the client sent.
    Gradients,
    /// What the client's head reads, computed by the server.
    Outputs,
    /// The activations that the client sent.
    Activations,
}

impl LabelEvidence {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 3] = [Self::Gradients, Self::Outputs, Self::Activations];

    /// For a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gradients => "gradients",
            Self::Outputs => "outputs",
            Self::Activations => "activations",
        }
    }

    /// How its vectors are compared.
    fn compared(self) -> Evidence {
        match self {
            Self::Gradients => Evidence::Gradients,
            Self::Outputs | Self::Activations => Evidence::Activations,
        }
    }
}

/// What one method read out of one kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LabelLeakage {
    /// From 1; 0 for activations that were uploaded before the first step.
    pub epoch: usize,
    /// Of what.
    pub evidence: LabelEvidence,
    /// How.
    pub method: Method,
    /// Mean over the classes of the AUC of a class against all others; 0.5 is chance.
    pub auc: f64,
}

/// Whether the numbers of one kind of evidence count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelControl {
    /// Of what.
    pub evidence: LabelEvidence,
    /// The number and its bound.
    pub control: Control,
}

/// LABEL by epoch, as part of the report.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelsReport {
    /// Every epoch, kind of evidence and method.
    pub labels: Vec<LabelLeakage>,
    /// On the last epoch of each kind.
    pub label_controls: Vec<LabelControl>,
    /// Why some of it is missing.
    pub labels_not_run: Option<String>,
}

impl LabelsReport {
    /// The method that read most out of one kind of evidence in one epoch.
    pub fn strongest(&self, evidence: LabelEvidence, epoch: usize) -> Option<LabelLeakage> {
        let own = self.labels.iter().copied();
        own.filter(|leak| (leak.evidence, leak.epoch) == (evidence, epoch))
            .max_by(|a, b| a.auc.total_cmp(&b.auc))
    }

    /// The epochs of one kind of evidence, ascending.
    pub fn epochs(&self, evidence: LabelEvidence) -> Vec<usize> {
        let own = self.labels.iter().filter(|leak| leak.evidence == evidence);
        let mut epochs: Vec<usize> = own.map(|leak| leak.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }
}

/// What is attacked at a time.
#[derive(Debug)]
struct Observed {
    epoch: usize,
    evidence: LabelEvidence,
    seen: Seen,
}

/// Attacks the labels of a recorded run, epoch by epoch. `labels` is by example id.
///
/// # Errors
///
/// When the device fails, or an example has no label. Evidence of too few examples is left out, and
/// the report says so.
pub fn labels_by_epoch(
    uploaded: &Uploaded,
    transcript: &Transcript,
    labels: &[u32],
    seed: u64,
    device: &Device,
    watch: &dyn Watch,
) -> Result<LabelsReport, AuditError> {
    let all = observed(uploaded, transcript);
    let mut report = LabelsReport::default();
    for (at, observed) in all.iter().enumerate() {
        watch.progress("labels by epoch", at as f64 / all.len() as f64);
        let own = of_examples(&observed.seen.example_ids, labels)?;
        let attack = Attacked {
            evidence: observed.evidence,
            vectors: &observed.seen.vectors,
            labels: &own,
            seed,
            device,
        };
        let is_last = all[at + 1..]
            .iter()
            .all(|later| later.evidence != observed.evidence);
        match attack.run(is_last) {
            Ok((leaks, controls)) => {
                report.labels.extend(leaks.iter().map(|leak| LabelLeakage {
                    epoch: observed.epoch,
                    evidence: observed.evidence,
                    method: leak.method,
                    auc: leak.auc,
                }));
                let evidence = observed.evidence;
                let controls = controls.into_iter();
                report
                    .label_controls
                    .extend(controls.map(|control| LabelControl { evidence, control }));
            }
            Err(AuditError::NotApplicable { reason }) => {
                report.labels_not_run = Some(reason.to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// All evidence of a run, by kind and epoch.
fn observed(uploaded: &Uploaded, transcript: &Transcript) -> Vec<Observed> {
    let by_epoch = |evidence, seen: &[Seen]| -> Vec<Observed> {
        let epochs = (1..).zip(seen.iter().cloned());
        epochs
            .map(|(epoch, seen)| Observed {
                epoch,
                evidence,
                seen,
            })
            .collect()
    };
    let mut all = by_epoch(LabelEvidence::Gradients, &transcript.gradients);
    all.extend(by_epoch(LabelEvidence::Outputs, &transcript.outputs));
    let before = uploaded.released.as_ref().map(|released| Observed {
        epoch: 0,
        evidence: LabelEvidence::Activations,
        seen: Seen {
            example_ids: uploaded.example_ids.clone(),
            vectors: Features::pooled(released)
                .rows()
                .map(<[f32]>::to_vec)
                .collect(),
        },
    });
    all.extend(before);
    all.extend(by_epoch(
        LabelEvidence::Activations,
        &transcript.activations,
    ));
    all
}

fn of_examples(ids: &[u32], labels: &[u32]) -> Result<Vec<u32>, AuditError> {
    let what = "an example has no label in the private truth";
    let label = |id: &u32| labels.get(*id as usize).copied();
    let own: Option<Vec<u32>> = ids.iter().map(label).collect();
    own.ok_or(AuditError::Recording { what })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::audit::learned::generator;

    const EXAMPLES: u32 = 800;

    struct Quiet;

    impl Watch for Quiet {
        fn progress(&self, _: &str, _: f64) {}

        fn seconds(&self) -> f64 {
            0.0
        }
    }

    /// Normal vectors of width 16 of all examples; class 1 has `plant` added to its first number, class
    /// 0 taken from it.
    fn seen(seed: u64, plant: f32) -> Seen {
        let mut rng = generator(seed, 0);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let vectors = (0..EXAMPLES).map(|id| {
            let mut vector: Vec<f32> = (0..16).map(|_| normal() as f32).collect();
            vector[0] += if id % 2 == 1 { plant } else { -plant };
            vector
        });
        Seen {
            vectors: vectors.collect(),
            example_ids: (0..EXAMPLES).collect(),
        }
    }

    fn labels() -> Vec<u32> {
        (0..EXAMPLES).map(|id| id % 2).collect()
    }

    fn report(gradients: Vec<Seen>, labels: &[u32]) -> LabelsReport {
        let uploaded = Uploaded {
            example_ids: (0..EXAMPLES).collect(),
            seq_lengths: vec![1; EXAMPLES as usize],
            released: None,
        };
        let transcript = Transcript {
            gradients,
            ..Transcript::default()
        };
        let device = Device::flex();
        labels_by_epoch(&uploaded, &transcript, labels, 3, &device, &Quiet).unwrap()
    }

    /// The first epoch tells nothing, the second has the classes eight deviations apart.
    #[test]
    fn a_planted_leak_is_found_in_its_epoch_and_nowhere_else() {
        let report = report(vec![seen(1, 0.0), seen(2, 4.0)], &labels());
        assert_eq!(report.epochs(LabelEvidence::Gradients), [1, 2]);
        assert_eq!(report.labels.len(), 2 * Method::ALL.len());
        let auc = |epoch| report.strongest(LabelEvidence::Gradients, epoch).unwrap();
        assert!(auc(1).auc < 0.6, "{:?}", auc(1)); // best of six by chance
        assert!(auc(2).auc > 0.99, "{:?}", auc(2));
        assert!(report.strongest(LabelEvidence::Outputs, 2).is_none());
        assert_eq!(report.labels_not_run, None);
        // Controls on the last epoch: what leaks with the labels does not leak with others.
        let passed: Vec<bool> = report
            .label_controls
            .iter()
            .map(|control| control.control.passed)
            .collect();
        assert_eq!(passed, [true, true], "{:?}", report.label_controls);
        // 320 of each class are evaluated: 4.5 * sqrt(641 / (12 * 320^2)).
        let shuffled = &report.label_controls[0].control;
        assert!((shuffled.bound - 0.102_78).abs() < 1e-4, "{shuffled:?}");
    }

    #[test]
    fn too_few_examples_are_said_and_a_missing_label_is_an_error() {
        let few = Seen {
            example_ids: vec![0, 1],
            vectors: vec![vec![1.0], vec![-1.0]],
        };
        let report = report(vec![few.clone()], &labels());
        assert!(report.labels.is_empty() && report.labels_not_run.is_some());
        assert!(of_examples(&few.example_ids, &[0]).is_err());
    }
}
