//! A tiny model with random weights, and clients that hide tokens: what the tests of the trained
//! attacks run against.

#![allow(clippy::unwrap_used)]

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use safetensors::tensor::{Dtype, TensorView};

use super::generator;
use crate::audit::{Attacker, NoiseLaw, Pending, Released, Simulator};
use crate::model::{BottomModel, CutLayer, ModelConfig, TokenBatch, TopModel};
use crate::privacy::ordinary_ids;
use crate::text::TokenIds;

/// Start, end and the token that hides another.
pub(crate) const SPECIAL: [u32; 3] = [0, 1, MASK];

/// The token that hides another.
pub(crate) const MASK: u32 = 2;

/// Ordinary tokens, numbered from here.
pub(crate) const FIRST: u32 = 3;

/// How many there are.
pub(crate) const ORDINARY: u32 = 16;

const CONFIG: &[u8] = br#"{"model_type":"bert","hidden_size":32,"num_hidden_layers":2,
    "num_attention_heads":4,"intermediate_size":64,"vocab_size":19,
    "max_position_embeddings":16,"type_vocab_size":1}"#;

/// Both halves of the model, cut behind the embeddings.
pub(crate) struct World {
    pub(crate) bottom: BottomModel,
    pub(crate) top: TopModel,
}

impl World {
    pub(crate) fn new() -> Self {
        let config = ModelConfig::from_json(CONFIG).unwrap();
        let cut = CutLayer::new(0, &config).unwrap();
        let file = weights();
        let device = burn::tensor::Device::flex();
        Self {
            bottom: BottomModel::load(&config, &file, cut, &device).unwrap(),
            top: TopModel::load(&config, &file, cut, &device).unwrap(),
        }
    }

    pub(crate) fn attacker<'a>(
        &'a self,
        public: &'a [TokenIds],
        simulator: &'a dyn Simulator,
    ) -> Attacker<'a> {
        Attacker {
            bottom: &self.bottom,
            top: Some(&self.top),
            special_ids: &SPECIAL,
            public,
            public_classes: None,
            simulator,
            undefended: simulator,
            seed: 1,
            progress: &|_| (),
        }
    }
}

/// Matrices normal with variance `1 / d_in`, so that every layer says something; embeddings small,
/// as in a trained model; biases 0, layer norms 1.
fn weights() -> Vec<u8> {
    let mut tensors: Vec<(String, Vec<usize>, f64)> = vec![
        (
            "embeddings.word_embeddings.weight".into(),
            vec![19, 32],
            0.2,
        ),
        (
            "embeddings.position_embeddings.weight".into(),
            vec![16, 32],
            0.1,
        ),
        (
            "embeddings.token_type_embeddings.weight".into(),
            vec![1, 32],
            0.1,
        ),
    ];
    for layer in 0..2 {
        for (name, d_out, d_in) in [
            ("attention.self.query", 32, 32),
            ("attention.self.key", 32, 32),
            ("attention.self.value", 32, 32),
            ("attention.output.dense", 32, 32),
            ("intermediate.dense", 64, 32),
            ("output.dense", 32, 64),
        ] {
            let name = format!("encoder.layer.{layer}.{name}.weight");
            let deviation = (1.0 / d_in as f64).sqrt();
            tensors.push((name, vec![d_out, d_in], deviation));
        }
    }
    let mut rng = generator(21, 0);
    let mut stored: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (name, shape, deviation) in tensors {
        let count = shape.iter().product();
        let draws = (0..count).map(|_| -> f64 { StandardNormal.sample(&mut rng) });
        let values = draws.map(|draw| (draw * deviation) as f32).collect();
        let bias = name.strip_prefix("encoder").map(|_| {
            let name = name.replace(".weight", ".bias");
            (name, vec![shape[0]], vec![0.0; shape[0]])
        });
        stored.push((name, shape, values));
        stored.extend(bias);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..2 {
        norms.push(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
        norms.push(format!("encoder.layer.{layer}.output.LayerNorm"));
    }
    for norm in norms {
        stored.push((format!("{norm}.weight"), vec![32], vec![1.0; 32]));
        stored.push((format!("{norm}.bias"), vec![32], vec![0.0; 32]));
    }
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = stored
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// A text of the given ordinary tokens between start and end.
pub(crate) fn text(tokens: impl IntoIterator<Item = u32>) -> TokenIds {
    let inner = tokens.into_iter().map(|token| FIRST + token);
    let ids: Vec<u32> = [0].into_iter().chain(inner).chain([1]).collect();
    let special = ids.iter().map(|id| SPECIAL.contains(id)).collect();
    let length = ids.len();
    TokenIds::new(ids, vec![0; length], special).unwrap()
}

/// Replaces each ordinary token by [`MASK`] with probability `share`.
pub(crate) struct Hiding<'a> {
    pub(crate) bottom: &'a BottomModel,
    pub(crate) share: f64,
    /// Whether rows say where they stood.
    pub(crate) keeps_positions: bool,
}

impl Hiding<'_> {
    fn hide(&self, text: &TokenIds, seed: u64, index: u64) -> TokenIds {
        let mut rng = generator(seed, index);
        let ids = text.ids().iter().zip(text.special());
        let ids = ids.map(|(id, special)| {
            let hidden = !*special && rng.random::<f64>() < self.share;
            if hidden { MASK } else { *id }
        });
        text.with_ids(ids.collect()).unwrap()
    }
}

impl Simulator for Hiding<'_> {
    fn release<'a>(&'a self, tokens: &'a [TokenIds], seed: u64) -> Pending<'a, Released> {
        Box::pin(async move {
            let texts = tokens.iter().zip(0..);
            let texts: Vec<_> = texts.map(|(text, at)| self.hide(text, seed, at)).collect();
            let inputs = texts.iter().map(|text| (text.ids(), text.type_ids()));
            let batch = TokenBatch::new(&inputs.collect::<Vec<_>>(), self.bottom.config())?;
            let activations = self.bottom.activations(&batch).await?;
            Ok(Released::new(activations).with_sanitized(Some(texts)))
        })
    }

    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Other
    }

    fn keeps_positions(&self) -> bool {
        self.keeps_positions
    }
}

/// Share of the tokens of each text that are among its guesses, mean over the texts.
pub(crate) fn recall(texts: &[TokenIds], guesses: &[Vec<u32>]) -> f64 {
    let of_text = texts.iter().zip(guesses).map(|(text, guesses)| {
        let found = ordinary_ids(text).filter(|id| guesses.contains(id)).count();
        found as f64 / ordinary_ids(text).count() as f64
    });
    of_text.sum::<f64>() / texts.len() as f64
}
