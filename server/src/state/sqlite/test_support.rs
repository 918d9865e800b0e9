//! What tests of the state and its users begin with.

#![allow(clippy::unwrap_used)]

use rusqlite::Connection;
use shared::protocol::message::{
    AdapterSettings, AdapterTarget, BottomTraining, LabelPlace, TrainSettings,
};
use tempfile::TempDir;

use super::SqliteState;
use crate::state::{
    AdapterFit, Agreed, ExampleCounts, JobKey, NewJob, RunSeed, StateStore, TenantId, TenantName,
    path_in,
};

/// The tenant of [`opened`]: the first.
pub(crate) const LOCAL: TenantId = TenantId(1);

/// A new state with the tenant `local`.
pub(crate) fn opened() -> (TempDir, SqliteState) {
    let directory = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path_in(directory.path())).unwrap();
    assert_eq!(state.tenant(&TenantName::local()).unwrap(), LOCAL);
    (directory, state)
}

/// What takes all the room of a state.
pub(crate) struct Ballast(Connection);

impl Ballast {
    /// Lets a state that lies in a directory grow no more: it has the room of the pages that it
    /// has.
    pub(crate) fn fill(directory: &TempDir, state: &SqliteState) -> Self {
        let other = Connection::open(path_in(directory.path())).unwrap();
        other
            .execute_batch(
                "CREATE TABLE ballast (bytes BLOB); INSERT INTO ballast VALUES (zeroblob(400000));",
            )
            .unwrap();
        // Never below what is there; of this connection only.
        let kept = state.connection();
        kept.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()))
            .unwrap();
        drop(kept);
        Self(other)
    }

    /// Gives the room of its pages.
    pub(crate) fn drop_overboard(self) {
        self.0.execute_batch("DELETE FROM ballast").unwrap();
    }
}

/// What an adapter of [`new_job`] fits.
pub(crate) fn fit() -> AdapterFit {
    AdapterFit {
        model_id: "tiny".to_owned(),
        cut: 1,
        n_classes: 2,
    }
}

/// A job of `LOCAL`.
pub(crate) fn new_job(number: u8) -> NewJob {
    NewJob {
        key: JobKey([number; 16]),
        tenant: LOCAL,
        agreed: Agreed {
            cut: 1,
            n_classes: 2,
            adapter: AdapterSettings {
                rank: 4,
                alpha: 8.0,
                dropout: 0.1,
                targets: vec![AdapterTarget::Query],
            },
            settings: TrainSettings {
                epochs: 3,
                batch_size: 4,
                learning_rate: 0.01,
                warmup_share: 0.1,
                weight_decay: 0.0,
                gradient_norm_max: 1.0,
                class_weights: vec![0.5, 1.5],
                patience: 0,
                validations_per_epoch: 1,
            },
            labels: LabelPlace::Client,
            bottom: BottomTraining::Frozen,
            bottom_sha256: "00".repeat(32),
        },
        examples: ExampleCounts {
            train: 8,
            validation: 2,
            bytes: 640,
        },
        seed: RunSeed([number; 32]),
    }
}
