//! Adapters as directories of the Python library `peft`: `adapter_config.json` and
//! `adapter_model.safetensors`.
//!
//! PEFT stores `lora_A` as `[rank, d_in]` and `lora_B` as `[d_out, rank]`, and the trained head
//! whole (`modules_to_save`). Verified against peft 0.21 by tests/fixtures/check_peft.py.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::{AdapterError, LoraConfig, Target};
use super::lora::{Adapter, shapes};
use super::name::ParameterName;
use crate::model::weights::{family_name, to_f32};
use crate::model::{Family, ModelConfig, TopModel};

/// Name of the file with the settings.
pub const CONFIG_FILE: &str = "adapter_config.json";

/// Name of the file with the numbers.
pub const TENSORS_FILE: &str = "adapter_model.safetensors";

/// Settings of PEFT that change what an adapter computes and that are not built here. Each has a
/// neutral value: absent, false, empty or "none".
const NEUTRAL: [&str; 13] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "bias",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
];

/// The two files of a PEFT directory.
#[derive(Clone, PartialEq, Eq)]
pub struct PeftFiles {
    /// `adapter_config.json`
    pub config: Vec<u8>,
    /// `adapter_model.safetensors`
    pub tensors: Vec<u8>,
}

impl fmt::Debug for PeftFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeftFiles({} bytes)", self.bytes())
    }
}

impl PeftFiles {
    /// Bytes of both files.
    pub fn bytes(&self) -> u64 {
        self.config.len() as u64 + self.tensors.len() as u64
    }

    /// Classes of the adapter's head.
    ///
    /// # Errors
    ///
    /// When the tensors are not readable, or there is no classifier among them.
    pub fn n_classes(&self, model: &ModelConfig) -> Result<usize, AdapterError> {
        let file = SafeTensors::deserialize(&self.tensors)
            .map_err(|error| AdapterError::Peft(error.to_string()))?;
        let name = tensor_name(&ParameterName::ClassifierBias, model.family);
        let actual = file
            .tensor(&name)
            .map(|view| view.shape().to_vec())
            .unwrap_or_default();
        match actual[..] {
            [n_classes] => Ok(n_classes),
            _ => Err(AdapterError::TensorShape {
                name,
                expected: [1, 2],
                actual,
            }),
        }
    }
}

/// Writes an adapter. Blocks while a GPU gives its memory back; not for the browser.
///
/// # Errors
///
/// When the device fails.
pub fn write(adapter: &Adapter, model: &ModelConfig) -> Result<PeftFiles, AdapterError> {
    let failed = |what: &str| AdapterError::Peft(what.to_owned());
    let mut stored = BTreeMap::new();
    for (name, tensor) in adapter.names().zip(adapter.parameters()) {
        let oriented = if is_bias(&name) {
            tensor.clone()
        } else {
            tensor.clone().transpose()
        };
        let shape = if is_bias(&name) {
            vec![tensor.dims()[1]]
        } else {
            oriented.dims().to_vec()
        };
        let values = oriented
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|_| failed("device failed"))?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        stored.insert(tensor_name(&name, model.family), (shape, bytes));
    }
    let views = stored
        .iter()
        .map(|(name, (shape, bytes))| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| failed(&error.to_string()))?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let tensors = safetensors::serialize(views, Some(metadata))
        .map_err(|error| failed(&error.to_string()))?;
    let config = serde_json::to_vec_pretty(&config_json(adapter, model.family))
        .map_err(|error| failed(&error.to_string()))?;
    Ok(PeftFiles { config, tensors })
}

/// Reads an adapter that fits a top model.
///
/// # Errors
///
/// When a file is not readable, the settings ask for what is not built here, or a tensor is missing,
/// has another shape, is not finite, or belongs to nothing.
pub fn read(
    files: &PeftFiles,
    model: &ModelConfig,
    top: &TopModel,
    n_classes: usize,
    device: &Device,
) -> Result<Adapter, AdapterError> {
    #[derive(Deserialize)]
    struct PeftConfig {
        r: usize,
        lora_alpha: f32,
        #[serde(default)]
        lora_dropout: f32,
    }
    let failed = |error: String| AdapterError::Peft(error);
    let settings: Map<String, Value> =
        serde_json::from_slice(&files.config).map_err(|error| failed(error.to_string()))?;
    check_settings(&settings)?;
    let peft = PeftConfig::deserialize(Value::Object(settings))
        .map_err(|error| failed(error.to_string()))?;
    let file =
        SafeTensors::deserialize(&files.tensors).map_err(|error| failed(error.to_string()))?;
    let adapted: Vec<(usize, Target)> = (0..model.n_layers)
        .flat_map(|layer| Target::ALL.map(|target| (layer, target)))
        .filter(|(layer, target)| {
            let name = ParameterName::LoraA {
                layer: *layer,
                target: *target,
            };
            file.tensor(&tensor_name(&name, model.family)).is_ok()
        })
        .collect();
    let targets = adapted.iter().map(|(_, target)| *target);
    let config = LoraConfig::new(peft.r, peft.lora_alpha, peft.lora_dropout, targets)?;
    let first_layer = adapted.iter().map(|(layer, _)| *layer).min().unwrap_or(0);
    let mut parameters = Vec::new();
    for (name, shape) in shapes(&config, model, top, first_layer, n_classes) {
        let stored = tensor_name(&name, model.family);
        let view = file.tensor(&stored).ok();
        let expected = if is_bias(&name) {
            vec![shape[1]]
        } else {
            vec![shape[1], shape[0]]
        };
        let actual = view
            .as_ref()
            .map(|view| view.shape().to_vec())
            .unwrap_or_default();
        let values = view
            .as_ref()
            .and_then(to_f32)
            .filter(|_| actual == expected);
        let values = values.ok_or(AdapterError::TensorShape {
            name: stored.clone(),
            expected: shape,
            actual,
        })?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(AdapterError::NotFinite { name: stored });
        }
        let tensor = if is_bias(&name) {
            Tensor::from_data(TensorData::new(values, shape), device)
        } else {
            Tensor::from_data(TensorData::new(values, [shape[1], shape[0]]), device).transpose()
        };
        parameters.push((name, tensor));
    }
    let (expected, actual) = (parameters.len(), file.len());
    if expected != actual {
        // What is left out would be missed in the answers.
        return Err(AdapterError::TensorCount { expected, actual });
    }
    Ok(Adapter::from_parameters(&config, parameters))
}

/// Holds that the settings ask for a plain low-rank adapter.
fn check_settings(settings: &Map<String, Value>) -> Result<(), AdapterError> {
    let is_neutral = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text == "none",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    if settings.get("peft_type").is_some_and(|kind| kind != "LORA") {
        return Err(AdapterError::Unsupported { name: "peft_type" });
    }
    let unsupported = NEUTRAL
        .into_iter()
        .find(|name| !settings.get(*name).is_none_or(is_neutral));
    unsupported.map_or(Ok(()), |name| Err(AdapterError::Unsupported { name }))
}

fn is_bias(name: &ParameterName) -> bool {
    matches!(
        name,
        ParameterName::HeadDenseBias | ParameterName::ClassifierBias
    )
}

/// PEFT's name of a trained tensor.
fn tensor_name(name: &ParameterName, family: Family) -> String {
    let lora = |layer: &usize, target: &Target, factor: &str| {
        let module = format!("layers.{layer}.{}", target.module());
        format!(
            "base_model.model.{family}.{}.{factor}.weight",
            family_name(family, &module)
        )
    };
    let head = |module: &str, kind: &str| {
        let prefix = if family == Family::Bert && module == "head.dense" {
            "bert."
        } else {
            ""
        };
        format!(
            "base_model.model.{prefix}{}.{kind}",
            family_name(family, module)
        )
    };
    match name {
        ParameterName::LoraA { layer, target } => lora(layer, target, "lora_A"),
        ParameterName::LoraB { layer, target } => lora(layer, target, "lora_B"),
        ParameterName::HeadDenseWeight => head("head.dense", "weight"),
        ParameterName::HeadDenseBias => head("head.dense", "bias"),
        ParameterName::ClassifierWeight => head("head.classifier", "weight"),
        ParameterName::ClassifierBias => head("head.classifier", "bias"),
    }
}

fn config_json(adapter: &Adapter, family: Family) -> serde_json::Value {
    let mut layers: Vec<usize> = adapter
        .names()
        .filter_map(|name| match name {
            ParameterName::LoraA { layer, .. } => Some(layer),
            _ => None,
        })
        .collect();
    layers.dedup();
    let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let modules: Vec<String> = adapter
        .config()
        .targets()
        .map(|target| {
            let full = family_name(family, &format!("layers.0.{}", target.module()));
            let part = full.split_once("layer.0.").map_or(&*full, |(_, part)| part);
            part.replace('.', r"\.")
        })
        .collect();
    let trains_pooler = family == Family::Bert && adapter.head_dense().is_some();
    let modules_to_save: &[&str] = match (family, trains_pooler) {
        (Family::Bert, true) => &["pooler", "classifier"],
        (Family::DistilBert, _) => &["pre_classifier", "classifier"],
        _ => &["classifier"],
    };
    json!({
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "r": adapter.config().rank(),
        "lora_alpha": adapter.config().alpha(),
        "lora_dropout": adapter.config().dropout(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        // A pattern, because names alone would match too much (`output.dense` occurs twice in a
        // block of BERT).
        "target_modules": format!(r".*\.layer\.({})\.({})", layers.join("|"), modules.join("|")),
        "modules_to_save": modules_to_save,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_change_the_answers_are_refused() {
        let settings = |extra: Value| {
            let mut map = Map::new();
            map.insert("peft_type".to_owned(), json!("LORA"));
            map.insert("bias".to_owned(), json!("none"));
            map.insert("use_rslora".to_owned(), json!(false));
            if let Value::Object(extra) = extra {
                map.extend(extra);
            }
            check_settings(&map)
        };
        assert_eq!(
            settings(json!({ "rank_pattern": {}, "use_dora": null })),
            Ok(())
        );
        for (extra, name) in [
            (json!({ "use_rslora": true }), "use_rslora"),
            (json!({ "alpha_pattern": { "query": 4 } }), "alpha_pattern"),
            (json!({ "bias": "all" }), "bias"),
            (json!({ "peft_type": "IA3" }), "peft_type"),
        ] {
            assert_eq!(settings(extra), Err(AdapterError::Unsupported { name }));
        }
    }

    #[test]
    fn what_is_shown_of_files_is_their_size() {
        let files = PeftFiles {
            config: vec![1; 3],
            tensors: vec![2; 4],
        };
        assert_eq!(format!("{files:?}"), "PeftFiles(7 bytes)");
    }

    #[test]
    fn names_are_those_of_peft() {
        let a = ParameterName::LoraA {
            layer: 1,
            target: Target::Query,
        };
        assert_eq!(
            tensor_name(&a, Family::Bert),
            "base_model.model.bert.encoder.layer.1.attention.self.query.lora_A.weight"
        );
        assert_eq!(
            tensor_name(&a, Family::DistilBert),
            "base_model.model.distilbert.transformer.layer.1.attention.q_lin.lora_A.weight"
        );
        assert_eq!(
            tensor_name(&ParameterName::ClassifierBias, Family::Roberta),
            "base_model.model.classifier.out_proj.bias"
        );
        assert_eq!(
            tensor_name(&ParameterName::HeadDenseWeight, Family::Bert),
            "base_model.model.bert.pooler.dense.weight"
        );
    }
}
