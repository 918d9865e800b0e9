//! Tokenizers small enough to follow by hand, for the tests of this crate.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{TextError, Tokenizer};

/// Returns the entry of a special token in `added_tokens`.
fn special(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "special": true, "normalized": false,
        "single_word": false, "lstrip": false, "rstrip": false})
}

/// A few words, BERT's markers; the file asks for padding and truncation, which must both be ignored.
pub(crate) fn tokenizer(seq_length_max: usize) -> Tokenizer {
    let file = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "OnlyFirst",
            "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_id": 0,
            "pad_to_multiple_of": null, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"),
            special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "lowercase": true,
            "handle_chinese_chars": true, "strip_accents": null},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "film": 5,
                "##s": 6, "a": 7, "[": 8, "]": 9, "sep": 10}}
    });
    from_value(&file, seq_length_max).unwrap()
}

/// RoBERTa's markers and separators.
pub(crate) fn byte_level_tokenizer(seq_length_max: usize) -> Result<Tokenizer, TextError> {
    let file = json!({
        "version": "1.0",
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0],
            "trim_offsets": true, "add_prefix_space": false},
        "model": {"type": "BPE", "merges": ["Ġ b"],
            "vocab": {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "Ġ": 4, "Ġb": 5}}
    });
    from_value(&file, seq_length_max)
}

fn from_value(file: &Value, seq_length_max: usize) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(file.to_string().as_bytes(), seq_length_max)
}
