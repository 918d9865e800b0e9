//! Tensors of a `model.safetensors`, under one name whatever the file calls them, and the bottom
//! cut out of it.
//!
//! Our names are short (`layers.0.query.weight`); a file may use the family's names with or without
//! the prefix (`bert.`, `roberta.`, `distilbert.`) and the old layer-norm names (`gamma`, `beta`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::config::{Family, ModelConfig};
use super::error::ModelError;
use super::int8;

/// How the numbers of a bottom artifact are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Half the bytes; activations differ from those of the original weights by about 1e-3.
    F16,
    /// As the original.
    F32,
    /// A quarter of the bytes: matrices in 8 bits with a scale a row (`int8.rs`), vectors as the
    /// original. Read as the f32 numbers that the bytes stand for.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F16, Self::F32, Self::Int8];
}

/// A read-only view on a `model.safetensors`.
#[derive(Debug)]
pub struct Weights<'a> {
    file: SafeTensors<'a>,
    family: Family,
}

impl<'a> Weights<'a> {
    /// Reads the header of a safetensors file.
    ///
    /// # Errors
    ///
    /// `ModelError::Safetensors` when it is not one.
    pub fn new(bytes: &'a [u8], config: &ModelConfig) -> Result<Self, ModelError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| ModelError::Safetensors(error.to_string()))?;
        Ok(Self {
            file,
            family: config.family,
        })
    }

    /// The tensor's shape, if the file holds it under any of its names.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).map(|(_, view)| view.shape().to_vec())
    }

    /// The tensor's numbers, row-major.
    ///
    /// # Errors
    ///
    /// When the tensor is missing, is not stored as floating point, or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let (found, view) = self.find(name).ok_or_else(|| ModelError::MissingTensor {
            name: name.to_owned(),
        })?;
        if view.shape() != shape {
            return Err(ModelError::TensorShape {
                name: found,
                expected: shape.to_vec(),
                actual: view.shape().to_vec(),
            });
        }
        if let Some(scales) = self.scales(&found, &view) {
            return int8::read(&found, shape, &scales, view.data());
        }
        to_f32(&view).ok_or_else(|| ModelError::TensorDtype {
            name: found,
            dtype: format!("{:?}", view.dtype()),
        })
    }

    /// The scales of a tensor that is stored in 8 bits; none for another.
    fn scales(&self, found: &str, view: &TensorView<'_>) -> Option<TensorView<'_>> {
        let stored = view.dtype() == Dtype::I8;
        stored.then(|| self.file.tensor(&int8::scale_name(found)).ok())?
    }

    /// The file's own name of a tensor, and the tensor.
    fn find(&self, name: &str) -> Option<(String, TensorView<'_>)> {
        let (base, kind) = name.rsplit_once('.')?;
        let base = family_name(self.family, base);
        let kinds: &[&str] = match kind {
            "weight" => &["weight", "gamma"],
            "bias" => &["bias", "beta"],
            _ => return None,
        };
        let prefixes = ["".to_owned(), format!("{}.", self.family)];
        for prefix in &prefixes {
            for kind in kinds {
                let candidate = format!("{prefix}{base}.{kind}");
                if let Ok(view) = self.file.tensor(&candidate) {
                    return Some((candidate, view));
                }
            }
        }
        None
    }
}

/// The name that the family's Hugging Face class gives to one of our modules.
pub fn family_name(family: Family, module: &str) -> Cow<'static, str> {
    if let Some((layer, part)) = module
        .strip_prefix("layers.")
        .and_then(|rest| rest.split_once('.'))
    {
        let (stem, part) = match family {
            Family::Bert | Family::Roberta => ("encoder.layer", bert_layer_name(part)),
            Family::DistilBert => ("transformer.layer", distilbert_layer_name(part)),
        };
        return Cow::Owned(format!("{stem}.{layer}.{part}"));
    }
    Cow::Owned(
        match (family, module) {
            (_, "embeddings.word") => "embeddings.word_embeddings",
            (_, "embeddings.position") => "embeddings.position_embeddings",
            (_, "embeddings.token_type") => "embeddings.token_type_embeddings",
            (_, "embeddings.norm") => "embeddings.LayerNorm",
            (Family::Bert, "head.dense") => "pooler.dense",
            (Family::Roberta, "head.dense") => "classifier.dense",
            (Family::Roberta, "head.classifier") => "classifier.out_proj",
            (Family::DistilBert, "head.dense") => "pre_classifier",
            (_, "head.classifier") => "classifier",
            (_, other) => return Cow::Owned(other.to_owned()),
        }
        .to_owned(),
    )
}

fn bert_layer_name(part: &str) -> &str {
    match part {
        "query" => "attention.self.query",
        "key" => "attention.self.key",
        "value" => "attention.self.value",
        "attention_output" => "attention.output.dense",
        "attention_norm" => "attention.output.LayerNorm",
        "feed_forward_up" => "intermediate.dense",
        "feed_forward_down" => "output.dense",
        "feed_forward_norm" => "output.LayerNorm",
        other => other,
    }
}

fn distilbert_layer_name(part: &str) -> &str {
    match part {
        "query" => "attention.q_lin",
        "key" => "attention.k_lin",
        "value" => "attention.v_lin",
        "attention_output" => "attention.out_lin",
        "attention_norm" => "sa_layer_norm",
        "feed_forward_up" => "ffn.lin1",
        "feed_forward_down" => "ffn.lin2",
        "feed_forward_norm" => "output_layer_norm",
        other => other,
    }
}

/// Projections of a block that have a weight and a bias.
const LAYER_MODULES: [&str; 8] = [
    "query",
    "key",
    "value",
    "attention_output",
    "attention_norm",
    "feed_forward_up",
    "feed_forward_down",
    "feed_forward_norm",
];

/// Cuts the bottom out of a model file: embeddings and the first `cut` blocks, under the file's own
/// names.
///
/// The result is the same for the same input, so its sha256 names it.
///
/// # Errors
///
/// When the file is not readable or lacks a tensor.
pub fn bottom_artifact(
    config: &ModelConfig,
    model: &[u8],
    cut: usize,
    precision: Precision,
) -> Result<Vec<u8>, ModelError> {
    let cut = super::CutLayer::new(cut, config)?.index();
    let weights = Weights::new(model, config)?;
    let mut names = vec![
        "embeddings.word.weight".to_owned(),
        "embeddings.position.weight".to_owned(),
        "embeddings.norm.weight".to_owned(),
        "embeddings.norm.bias".to_owned(),
    ];
    if config.n_token_types > 0 {
        names.push("embeddings.token_type.weight".to_owned());
    }
    for layer in 0..cut {
        for module in LAYER_MODULES {
            names.push(format!("layers.{layer}.{module}.weight"));
            names.push(format!("layers.{layer}.{module}.bias"));
        }
    }
    let mut stored = BTreeMap::new();
    for name in names {
        let (found, view) = weights
            .find(&name)
            .ok_or(ModelError::MissingTensor { name: name.clone() })?;
        let (shape, values) = (view.shape().to_vec(), weights.tensor(&name, view.shape())?);
        if precision == Precision::Int8 && shape.len() == 2 {
            let [scales, numbers] = int8::write(&found, &shape, &values)?;
            stored.insert(int8::scale_name(&found), scales);
            stored.insert(found, numbers);
        } else {
            stored.insert(found, encode(shape, &values, precision));
        }
    }
    let views = stored
        .iter()
        .map(|(name, tensor)| {
            let Stored { dtype, shape, data } = tensor;
            Ok((name, TensorView::new(*dtype, shape.clone(), data)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| ModelError::Safetensors(error.to_string()))?;
    safetensors::serialize(views, None).map_err(|error| ModelError::Safetensors(error.to_string()))
}

/// A tensor of a file that is being written.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<u8>,
}

/// Numbers as floating point; of an `Int8` file, what is no matrix.
fn encode(shape: Vec<usize>, values: &[f32], precision: Precision) -> Stored {
    let (dtype, data) = match precision {
        Precision::F32 | Precision::Int8 => {
            let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (Dtype::F32, data)
        }
        Precision::F16 => {
            let narrow = values.iter().map(|v| f16::from_f32(*v));
            (Dtype::F16, narrow.flat_map(f16::to_le_bytes).collect())
        }
    };
    Stored { dtype, shape, data }
}

/// The numbers of a floating-point tensor; `None` for other dtypes.
pub(crate) fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect(),
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_own_names() {
        let query = "layers.2.query";
        assert_eq!(
            family_name(Family::Bert, query),
            "encoder.layer.2.attention.self.query"
        );
        assert_eq!(
            family_name(Family::DistilBert, query),
            "transformer.layer.2.attention.q_lin"
        );
        assert_eq!(
            family_name(Family::Roberta, "head.dense"),
            "classifier.dense"
        );
        assert_eq!(family_name(Family::Bert, "head.dense"), "pooler.dense");
    }

    #[test]
    fn half_precision_is_read_back_rounded() {
        let stored = encode(vec![2], &[1.0, 0.1], Precision::F16);
        let view = TensorView::new(stored.dtype, vec![2], &stored.data).unwrap();
        let read = to_f32(&view).unwrap();
        assert_eq!(read[0], 1.0);
        assert!((read[1] - 0.1).abs() < 1e-4 && read[1] != 0.1);
    }

    #[test]
    fn integers_are_not_weights() {
        let view = TensorView::new(Dtype::I64, vec![1], &[0; 8]).unwrap();
        assert!(to_f32(&view).is_none());
    }
}
