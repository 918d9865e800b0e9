//! A release under a fixed secret, the same body for the browser and for the native build: one secret must mean one
//! noise wherever the client runs.

use std::rc::Rc;

use burn::tensor::Device;
use client_wasm::pipeline::{Pipeline, TextPair};
use client_wasm::release::ReleaseKey;
use serde_json::json;
use shared::model::{BottomModel, CutLayer, ModelConfig};
use shared::privacy::Eta;
use shared::privacy::mechanism::TokenEta;
use shared::privacy::nearest::TokenTable;
use shared::privacy::token::TokenMechanism;
use shared::text::{RawText, Tokenizer};

const CONFIG: &[u8] =
    include_bytes!("../../../tests/fixtures/reference/bert-shaped/model/config.json");
const WEIGHTS: &[u8] =
    include_bytes!("../../../tests/fixtures/reference/bert-shaped/model/model.safetensors");

/// About half of the words of the small model change.
const ETA: f64 = 18.0;

/// Blocks that run at the client.
pub(crate) const CUT: usize = 2;

/// Three texts of eight words.
pub(crate) const TEXTS: [&str; 3] = [
    "word5 word6 word7 word8 word9 word10 word11 word12",
    "word119 word100 word81 word62 word43 word24 word15 word5",
    "word33 word33 word33 word33 word70 word70 word70 word70",
];

/// What the server would see of [`TEXTS`], special tokens included. Printed by the native test where it differs; it
/// changes only with the release key, the mechanism, the tokenizer or the fixture.
pub(crate) const EXPECTED_SEEN: &[&str] = &[
    "[CLS] word17 word6 word7 word24 word49 word10 word90 word18 [SEP]",
    "[CLS] word116 word100 word81 word9 word62 word66 word15 word47 [SEP]",
    "[CLS] word33 word33 word33 word33 word70 word70 word70 word37 [SEP]",
];

/// The bottom of the committed random model.
pub(crate) fn bottom(device: &Device) -> BottomModel {
    let config = ModelConfig::from_json(CONFIG).unwrap();
    let cut = CutLayer::new(CUT, &config).unwrap();
    BottomModel::load(&config, WEIGHTS, cut, device).unwrap()
}

/// What the server would see of [`TEXTS`] under a fixed secret, on the CPU.
pub(crate) async fn seen() -> Vec<String> {
    let tokenizer = Tokenizer::from_json(tokenizer(120).to_string().as_bytes(), 32).unwrap();
    let key = ReleaseKey::from_bytes([7; 32]);
    let bottom = bottom(&Device::flex());
    let table = TokenTable::new(&bottom, &tokenizer.special_ids())
        .await
        .unwrap();
    let mut pipeline = Pipeline::new(tokenizer, bottom, key).await.unwrap();
    let eta = TokenEta::uniform(Eta::new(ETA).unwrap());
    pipeline.set_mechanism(Rc::new(TokenMechanism::new(Rc::new(table), eta)));
    let texts = TEXTS.map(|text| RawText::new(text.to_owned()));
    let texts: Vec<_> = texts
        .iter()
        .map(|text| TextPair {
            text,
            pair: None,
            class: None,
        })
        .collect();
    let preview = pipeline.preview(&texts, texts.len()).await.unwrap();
    let line = |example: &client_wasm::preview::PreviewExample| {
        let seen = example.tokens.iter().map(|token| token.seen.as_str());
        seen.collect::<Vec<_>>().join(" ")
    };
    preview.examples.iter().map(line).collect()
}

/// Holds that what is seen is neither the texts nor without any word of them: a list of either would hold nothing.
pub(crate) fn assert_partly_changed(seen: &[String]) {
    let pairs: Vec<_> = TEXTS
        .iter()
        .zip(seen)
        .flat_map(|(text, seen)| {
            let inner = seen.split(' ').skip(1); // behind [CLS]
            text.split(' ').zip(inner).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(pairs.len(), 24);
    let unchanged = pairs.iter().filter(|(word, seen)| word == seen).count();
    assert!((4..=20).contains(&unchanged), "{unchanged} of 24 unchanged");
}

/// A `tokenizer.json` of whole words: special tokens, then `word5`, `word6` and so on.
fn tokenizer(vocab_size: usize) -> serde_json::Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let word = |id: usize| match special.get(id) {
        Some(special) => (*special).to_owned(),
        None => format!("word{id}"),
    };
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..vocab_size).map(|id| (word(id), json!(id))).collect();
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }
            ],
            "pair": [
                { "SpecialToken": { "id": "[CLS]", "type_id": 0 } },
                { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } },
                { "Sequence": { "id": "B", "type_id": 1 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 1 } }
            ],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] }
            }
        },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" }
    })
}
