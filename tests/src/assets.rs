//! Where models and fixtures are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use tempfile::TempDir;

/// The repository's root.
pub fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Where `cargo xtask` puts models: `CUTLAYER_MODELS`, else `.cache/models` of the repository.
pub fn models() -> PathBuf {
    let named = std::env::var_os("CUTLAYER_MODELS").map(PathBuf::from);
    named.unwrap_or_else(|| repository().join(".cache/models"))
}

/// A reference fixture by name, such as `bert-shaped`.
pub fn reference(name: &str) -> PathBuf {
    repository().join("tests/fixtures/reference").join(name)
}

/// A complete model directory made of a reference fixture, which has no tokenizer.
#[derive(Debug)]
pub struct ModelDirectory {
    parent: TempDir,
    name: String,
}

impl ModelDirectory {
    /// Copies `config.json` and `model.safetensors` of a fixture and writes a tokenizer of made-up
    /// words beside them.
    ///
    /// # Errors
    ///
    /// When the fixture is not there or cannot be copied.
    pub fn of_reference(name: &str) -> anyhow::Result<Self> {
        let parent = tempfile::tempdir()?;
        let directory = parent.path().join(name);
        fs::create_dir(&directory)?;
        for file in ["config.json", "model.safetensors"] {
            let source = reference(name).join("model").join(file);
            fs::copy(&source, directory.join(file))
                .with_context(|| format!("the fixture {} cannot be copied", source.display()))?;
        }
        fs::write(directory.join("tokenizer.json"), tokenizer(120).to_string())?;
        Ok(Self {
            parent,
            name: name.to_owned(),
        })
    }

    /// Where it is; the last part is the model's name.
    pub fn path(&self) -> PathBuf {
        self.parent.path().join(&self.name)
    }

    /// Takes one file away again.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn without(self, file: &str) -> anyhow::Result<Self> {
        fs::remove_file(Path::new(&self.path()).join(file))?;
        Ok(self)
    }
}

/// A `tokenizer.json` of whole words: special tokens, then `word5`, `word6` and so on.
pub(crate) fn tokenizer(vocab_size: usize) -> serde_json::Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let word = |id: usize| {
        special
            .get(id)
            .map_or_else(|| format!("word{id}"), |s| s.to_string())
    };
    let vocab: BTreeMap<String, usize> = (0..vocab_size).map(|id| (word(id), id)).collect();
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        })
    });
    let special_token =
        |token: &str, id: usize| json!({ "id": token, "ids": [id], "tokens": [token] });
    let piece = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let sequence =
        |id: &str, type_id: usize| json!({ "Sequence": { "id": id, "type_id": type_id } });
    let second_end = json!({ "SpecialToken": { "id": "[SEP]", "type_id": 1 } });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece("[CLS]"), sequence("A", 0), piece("[SEP]")],
            "pair": [piece("[CLS]"), sequence("A", 0), piece("[SEP]"), sequence("B", 1), second_end],
            "special_tokens": {
                "[CLS]": special_token("[CLS]", 2),
                "[SEP]": special_token("[SEP]", 3)
            }
        },
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" }
    })
}
