//! A recorded run: what is attacked of it, and what its steps tell.

use std::path::Path;

use anyhow::bail;
use client_wasm::client::audit::OwnedExample;
use shared::audit::labels::{LabelsReport, labels_by_epoch};
use shared::audit::recorded::{Uploaded, uploaded};
use shared::audit::transcript::{Transcript, transcript};
use shared::audit::{AuditError, Knowledge, Watch};

use crate::args::Common;
use crate::record::{self, Recording};

/// Why there is nothing to attack with the attacks on texts.
pub(super) const TRAINED_BOTTOM: &str = "the bottom was trained: its activations are new in every \
                                         step, and no attack in the table is made for that";

/// A recorded run, ready to be attacked.
pub(super) struct Recorded {
    pub(super) truth: record::Truth,
    /// By example id.
    examples: Vec<OwnedExample>,
    pub(super) uploaded: Uploaded,
    pub(super) transcript: Transcript,
}

impl Recorded {
    /// Reads what `cutlayer train --record` has written.
    ///
    /// # Errors
    ///
    /// When something is missing or damaged.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let Recording {
            truth,
            examples,
            sent,
            received,
        } = record::read(directory)?;
        let uploaded = uploaded(sent.iter().map(Vec::as_slice))?;
        let known = |id: &u32| (*id as usize) < examples.len();
        if !uploaded.example_ids.iter().all(known) {
            bail!("{} does not belong together", directory.display());
        }
        let (sent, received) = (
            sent.iter().map(Vec::as_slice),
            received.iter().map(Vec::as_slice),
        );
        Ok(Self {
            transcript: transcript(sent, received)?,
            truth,
            examples,
            uploaded,
        })
    }

    /// The options with those of the recorded run.
    pub(super) fn common(&self, common: &Common) -> Common {
        let truth = &self.truth;
        common.as_recorded(truth.cut, &truth.privacy)
    }

    /// The example that was uploaded at a place.
    pub(super) fn example(&self, place: usize) -> &OwnedExample {
        &self.examples[self.uploaded.example_ids[place] as usize]
    }

    /// Whether the labels stayed at the client, which then told gradients.
    pub(super) fn kept_labels(&self) -> bool {
        !self.transcript.gradients.is_empty()
    }

    /// What the steps tell of the labels.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub(super) fn labels(
        &self,
        seed: u64,
        knowledge: &Knowledge<'_>,
        watch: &dyn Watch,
    ) -> Result<LabelsReport, AuditError> {
        let labels: Vec<u32> = self.examples.iter().map(|example| example.label).collect();
        let (uploaded, transcript) = (&self.uploaded, &self.transcript);
        let device = knowledge.bottom.device();
        labels_by_epoch(uploaded, transcript, &labels, seed, device, watch)
    }
}
