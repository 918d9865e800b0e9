//! A `tokenizer.json` before the library sees it: what the library takes on trust is held here.
//!
//! The library panics, when it reads a file or later at the first text, where
//!
//! - a decoder is no JSON: nothing here decodes, so that part is dropped;
//! - a map of characters (`Precompiled`) cannot be read;
//! - a template names a special token that the file does not have, or a text that is not given.
//!
//! A template that takes a text twice would also give more tokens than there is room for. All of it
//! was found by fuzzing. What a map of characters says within is not looked at.

use serde_json::{Map, Value};
use tokenizers::normalizers::Precompiled;

/// Reads a tokenizer; none if it is not one, or cannot be trusted with a text.
pub(super) fn read(bytes: &[u8]) -> Option<tokenizers::Tokenizer> {
    let mut file: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    file.remove("decoder");
    let all = |part: &str, kind: Kind, holds: fn(&Value) -> bool| {
        file.get(part)
            .is_none_or(|part| holds_for_all(part, kind, holds))
    };
    let is_sound = all("normalizer", MAP, has_readable_map)
        && all("post_processor", TEMPLATE, has_sound_templates);
    let bytes = is_sound.then(|| serde_json::to_vec(&file).ok())??;
    tokenizers::Tokenizer::from_bytes(bytes).ok()
}

/// How an object of a kind is known.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// The library takes an object that has this for one of the kind, whatever its `type` says.
    field: &'static str,
}

const MAP: Kind = Kind {
    name: "Precompiled",
    field: "precompiled_charsmap",
};

const TEMPLATE: Kind = Kind {
    name: "TemplateProcessing",
    field: "single",
};

impl Kind {
    fn is(self, fields: &Map<String, Value>) -> bool {
        fields.contains_key(self.field) || fields.get("type").is_some_and(|it| it == self.name)
    }
}

/// Whether something holds for every object of a kind, however deep in sequences it is.
fn holds_for_all(part: &Value, kind: Kind, holds: fn(&Value) -> bool) -> bool {
    let all = |part| holds_for_all(part, kind, holds);
    match part {
        Value::Object(fields) if kind.is(fields) => holds(part),
        Value::Object(fields) => fields.values().all(all),
        Value::Array(parts) => parts.iter().all(all),
        _ => true,
    }
}

/// Whether a map of characters can be read.
fn has_readable_map(normalizer: &Value) -> bool {
    // As text: the library reads this one from nothing else.
    serde_json::from_str::<Precompiled>(&normalizer.to_string()).is_ok()
}

/// Whether the templates take the first text once, of a pair also the second, and otherwise only
/// special tokens that the file has, each with as many ids as names.
fn has_sound_templates(processor: &Value) -> bool {
    let length = |list: &Value| list.as_array().map(Vec::len);
    let tokens = &processor["special_tokens"];
    let is_token = |piece: &Value| {
        let token = piece["id"].as_str().and_then(|id| tokens.get(id));
        token.is_some_and(|token| {
            let ids = length(&token["ids"]);
            ids.is_some() && ids == length(&token["tokens"])
        })
    };
    let takes = |template: &str, texts: &[&str]| {
        let mut taken = Vec::new();
        let pieces = processor[template].as_array().into_iter().flatten();
        for piece in pieces {
            match (piece.get("Sequence"), piece.get("SpecialToken")) {
                (Some(text), None) => taken.push(text["id"].as_str().unwrap_or_default()),
                (None, Some(token)) if is_token(token) => {}
                _ => return false,
            }
        }
        taken.sort_unstable();
        taken == texts
    };
    takes("single", &["A"]) && takes("pair", &["A", "B"])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn template() -> Value {
        let special = json!({ "SpecialToken": { "id": "[S]", "type_id": 0 } });
        let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
        json!({
            "type": "TemplateProcessing",
            "single": [special, text("A")],
            "pair": [text("A"), special, text("B")],
            "special_tokens": { "[S]": { "id": "[S]", "ids": [0], "tokens": ["[S]"] } }
        })
    }

    fn file(post_processor: &Value) -> Vec<u8> {
        let model = json!({ "type": "WordLevel", "vocab": { "[S]": 0 }, "unk_token": "[S]" });
        let file = json!({
            "version": "1.0", "added_tokens": [], "model": model,
            "post_processor": { "type": "Sequence", "processors": [post_processor] }
        });
        file.to_string().into_bytes()
    }

    /// The library alone panics at these.
    #[test]
    fn parts_that_cannot_be_read_are_refused() {
        for part in [
            r#""decoder": {"type": x}"#,
            r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}"#,
            r#""normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled"}]}"#,
        ] {
            let file = format!(r#"{{"version": "1.0", {part}}}"#);
            assert!(read(file.as_bytes()).is_none(), "{part}");
        }
        // Four zeros: no trie, no text.
        let empty = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAA==" });
        assert!(has_readable_map(&empty));
    }

    /// The library alone reads these, and panics or gives too many tokens at the first text.
    #[test]
    fn templates_that_do_not_hold_are_refused() {
        assert!(read(&file(&template())).is_some());
        type Spoil = fn(&mut Value);
        let spoilt: [Spoil; 7] = [
            |template| {
                template["type"] = json!("Other");
                template["single"][0]["SpecialToken"]["id"] = json!("[X]");
            },
            |template| template["special_tokens"] = json!({}),
            |template| template["single"][1]["Sequence"]["id"] = json!("B"),
            |template| template["pair"][2]["Sequence"]["id"] = json!("A"),
            |template| template["single"][0] = template["single"][1].clone(),
            |template| template["single"] = json!([]),
            |template| template["special_tokens"]["[S]"]["tokens"] = json!([]),
        ];
        for spoil in spoilt {
            let mut template = template();
            spoil(&mut template);
            assert!(read(&file(&template)).is_none(), "{template}");
        }
    }
}
