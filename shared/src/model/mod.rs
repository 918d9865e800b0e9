//! The transformer encoder, split at a cut.
//!
//! [`BottomModel`] runs at the client: embeddings and the first `cut` blocks. [`TopModel`] runs at
//! the server: the other blocks and the frozen part of the task head. [`trained_head`] runs where
//! the labels are. All are loaded from the same Hugging Face files. Nothing here trains, and nothing
//! here knows text: `BottomModel` takes token ids, and only its output can reach the wire.

pub mod activation;
mod attention;
mod block;
mod bottom;
mod config;
mod cut;
mod embedding;
mod error;
mod feed_forward;
mod groups;
mod head;
mod int8;
mod kernel;
mod linear;
mod sequences;
mod top;
pub mod weights;

pub use bottom::{BottomModel, BottomPass, DeviceFailed, TokenBatch};
pub use config::{Family, ModelConfig};
pub use cut::{CutActivations, CutLayer};
pub use error::ModelError;
pub use groups::AdapterGroups;
pub use head::{ClassificationHead, HeadLayer, trained_head};
#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
pub(crate) use kernel::exp;
#[cfg(feature = "client")]
pub(crate) use kernel::supports as is_on_cpu;
pub use linear::Linear;
pub(crate) use linear::rows_times;
pub use sequences::Sequences;
pub use top::TopModel;
