//! The smallest model of each family: one block of width 4, with numbers that nobody trained.

use std::collections::BTreeMap;

use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView};
use shared::adapter::Target;
use shared::model::weights::family_name;
use shared::model::{CutLayer, Family, ModelConfig, TopModel};

pub(super) const FAMILIES: [Family; 3] = [Family::Bert, Family::Roberta, Family::DistilBert];

/// Classes of the task.
pub(super) const CLASSES: usize = 2;

/// Of the adapter.
pub(super) const RANK: usize = 1;

const WIDTH: usize = 4;
const INNER: usize = 3;
const VOCABULARY: usize = 5;
const POSITIONS: usize = 6;
const TOKEN_TYPES: usize = 2;

/// Its `config.json`.
pub(super) fn config_json(family: Family) -> String {
    format!(
        r#"{{"model_type":"{family}","hidden_size":{WIDTH},"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":{INNER},"vocab_size":{VOCABULARY},"max_position_embeddings":{POSITIONS},"type_vocab_size":{TOKEN_TYPES}}}"#
    )
}

/// The same, read.
pub(super) fn config(family: Family) -> ModelConfig {
    ModelConfig::from_json(config_json(family).as_bytes()).expect("it is written for this")
}

/// Its `model.safetensors`.
pub(super) fn weights(family: Family) -> Vec<u8> {
    const SQUARE: [usize; 2] = [WIDTH, WIDTH];
    let matrices = [
        ("embeddings.word", [VOCABULARY, WIDTH]),
        ("embeddings.position", [POSITIONS, WIDTH]),
        ("embeddings.token_type", [TOKEN_TYPES, WIDTH]),
        ("layers.0.query", SQUARE),
        ("layers.0.key", SQUARE),
        ("layers.0.value", SQUARE),
        ("layers.0.attention_output", SQUARE),
        ("layers.0.feed_forward_up", [INNER, WIDTH]),
        ("layers.0.feed_forward_down", [WIDTH, INNER]),
        ("head.dense", SQUARE),
    ];
    let norms = [
        "embeddings.norm",
        "layers.0.attention_norm",
        "layers.0.feed_forward_norm",
    ];
    let mut shapes = BTreeMap::new();
    for (module, [d_out, d_in]) in matrices {
        let name = family_name(family, module);
        shapes.insert(format!("{name}.weight"), vec![d_out, d_in]);
        if !module.starts_with("embeddings.") {
            shapes.insert(format!("{name}.bias"), vec![d_out]);
        }
    }
    for module in norms {
        let name = family_name(family, module);
        shapes.insert(format!("{name}.weight"), vec![WIDTH]);
        shapes.insert(format!("{name}.bias"), vec![WIDTH]);
    }
    safetensors(shapes)
}

/// An adapter of the queries, and the whole head, in PEFT's names.
pub(super) fn adapter(family: Family) -> Vec<u8> {
    let module = format!("layers.0.{}", Target::Query.module());
    let query = family_name(family, &module);
    let mut shapes = BTreeMap::from([
        (format!("{family}.{query}.lora_A.weight"), vec![RANK, WIDTH]),
        (format!("{family}.{query}.lora_B.weight"), vec![WIDTH, RANK]),
    ]);
    let classifier = family_name(family, "head.classifier");
    shapes.insert(format!("{classifier}.weight"), vec![CLASSES, WIDTH]);
    shapes.insert(format!("{classifier}.bias"), vec![CLASSES]);
    if family != Family::Bert {
        let dense = family_name(family, "head.dense");
        shapes.insert(format!("{dense}.weight"), vec![WIDTH, WIDTH]);
        shapes.insert(format!("{dense}.bias"), vec![WIDTH]);
    }
    let named = shapes.into_iter();
    let named = named.map(|(name, shape)| (format!("base_model.model.{name}"), shape));
    safetensors(named.collect())
}

/// Its top, over the embeddings.
pub(super) fn top(family: Family) -> TopModel {
    let config = config(family);
    let cut = CutLayer::new(0, &config).expect("it has a block");
    TopModel::load(&config, &weights(family), cut, &Device::flex())
        .expect("its weights are written for this")
}

/// A safetensors file of f32 that count up in eighths.
pub(super) fn safetensors(shapes: BTreeMap<String, Vec<usize>>) -> Vec<u8> {
    let counted = |shape: &Vec<usize>| -> Vec<u8> {
        let numbers = 0..shape.iter().product::<usize>();
        numbers
            .flat_map(|place| (place as f32 / 8.0).to_le_bytes())
            .collect()
    };
    let named = shapes.into_iter();
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = named
        .map(|(name, shape)| {
            let bytes = counted(&shape);
            (name, shape, bytes)
        })
        .collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name, view.expect("the bytes are as many as the shape says"))
    });
    safetensors::serialize(views, None).expect("names and shapes are written for this")
}
