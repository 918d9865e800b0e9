//! The answer to `GET /v1/catalogue`: what is offered, and of every file its path, its sha256 and its
//! size.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::model::ModelConfig;
use shared::model::weights::Precision;
use shared::protocol::limits::Limits;
use shared::protocol::message::PROTOCOL_VERSION;
use utoipa::ToSchema;

use super::files::Artifact;
use super::{ARTIFACTS_PATH, bottom_name, precision_name};

/// The answer to `GET /v1/catalogue`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer<'a> {
    #[serde(flatten)]
    pub(super) model: &'a Description,
    /// What the page runs; null where the server has no page.
    pub(super) program: Option<FileDescription>,
}

/// What is offered of the model.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Description {
    protocol_version: u16,
    pub(super) model_id: String,
    family: String,
    n_layers: usize,
    pub(super) d_model: usize,
    seq_length_max: u16,
    cuts: Vec<CutDescription>,
    tokenizer: FileDescription,
    config: FileDescription,
    /// docs/protocol.md, section 9.
    #[schema(value_type = Object)]
    pub(super) limits: Limits,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct CutDescription {
    cut: u32,
    artifacts: Vec<BottomDescription>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
struct BottomDescription {
    /// `f16`, `f32` or `int8`.
    precision: &'static str,
    #[serde(flatten)]
    file: FileDescription,
}

/// Where a file is, and how to know that it is the right one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FileDescription {
    /// Names the content: another content has another path.
    path: String,
    /// Of the file, 64 hexadecimal digits; its `ETag` too.
    sha256: String,
    bytes: u64,
}

impl FileDescription {
    /// The path names the content: whatever is kept under it stays right.
    pub(super) fn new(path: &str, artifact: &Artifact) -> Self {
        let sha256 = artifact.sha256_hex();
        Self {
            path: format!("{path}?sha256={sha256}"),
            sha256,
            bytes: artifact.bytes,
        }
    }
}

/// Describes a model whose artifacts are there.
pub(super) fn describe(
    model_id: String,
    config: &ModelConfig,
    cuts: &[u32],
    artifacts: &BTreeMap<String, Artifact>,
    limits: Limits,
) -> Description {
    let file =
        |name: &str| FileDescription::new(&format!("{ARTIFACTS_PATH}/{name}"), &artifacts[name]);
    let bottom = |cut: u32, precision| {
        let file = file(&bottom_name(cut, precision));
        BottomDescription {
            precision: precision_name(precision),
            file,
        }
    };
    let cut = |&cut: &u32| CutDescription {
        cut,
        artifacts: Precision::ALL
            .map(|precision| bottom(cut, precision))
            .into(),
    };
    Description {
        protocol_version: PROTOCOL_VERSION,
        model_id,
        family: config.family.to_string(),
        n_layers: config.n_layers,
        d_model: config.d_model,
        seq_length_max: limits.seq_length_max,
        cuts: cuts.iter().map(cut).collect(),
        tokenizer: file("tokenizer.json"),
        config: file("config.json"),
        limits,
    }
}
