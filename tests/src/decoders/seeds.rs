//! What fuzzing starts from: the smallest valid input of every kind, written here and by nobody
//! else.

use shared::model::Family;
use shared::protocol::codec::{encode_client, encode_server};
use shared::protocol::message::{ExampleHeader, Split};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use super::disk::{with_checksums, with_digest};
use super::{joined, tiny};
use crate::{assets, messages};

/// A valid input, and its name in the corpus.
pub type Seed = (String, Vec<u8>);

/// The seeds of a decoder, by its name.
pub fn of(decoder: &str) -> Vec<Seed> {
    match decoder {
        "client_frame" => client_frames(),
        "server_frame" => server_frames(),
        "tensor" => tensors(),
        "dataset" => datasets(),
        "tokenizer" => tokenizers(),
        "model" => models(),
        "peft" => adapters(),
        "store_index" => indices(),
        "checkpoint" => checkpoints(),
        _ => Vec::new(),
    }
}

fn client_frames() -> Vec<Seed> {
    let samples = messages::client().into_iter();
    let frame = |sample: messages::ClientSample| {
        let frame = encode_client(sample.sequence, &sample.message, &sample.payload());
        (named(sample.name), frame.expect("every sample is valid"))
    };
    samples.map(frame).collect()
}

fn server_frames() -> Vec<Seed> {
    let samples = messages::server().into_iter();
    let frame = |sample: messages::ServerSample| {
        let frame = encode_server(sample.sequence, &sample.message, &sample.payload());
        (named(sample.name), frame.expect("every sample is valid"))
    };
    samples.map(frame).collect()
}

fn named(message: &str) -> String {
    message.to_lowercase()
}

fn tensors() -> Vec<Seed> {
    let kinds = [
        ("f32", 0_u8, ActivationDtype::F32),
        ("f16", 1, ActivationDtype::F16),
        ("int8", 2, ActivationDtype::Int8),
    ];
    let tensor = |stated_rows: u32| {
        move |(name, tag, dtype): (&str, u8, ActivationDtype)| {
            let values = [0.5, -1.0, 2.0, 0.0, 127.0, -3.5];
            let (tensor, payload) = TensorDescriptor::encode_rows(dtype, 3, &values)
                .expect("the numbers are finite and fill two rows");
            let rows = stated_rows.min(tensor.rows).to_le_bytes();
            // Where rows are counted by the payload, columns are one less than stated.
            let columns = (3 - u32::from(stated_rows == 0)).to_le_bytes();
            let bytes = [&[tag][..], &rows, &columns, &payload].concat();
            (format!("{name}-{stated_rows}-rows"), bytes)
        }
    };
    let stated = kinds.into_iter().map(tensor(2));
    stated.chain(kinds.into_iter().map(tensor(0))).collect()
}

fn datasets() -> Vec<Seed> {
    // The first byte chooses the name: csv, tsv, json, jsonl, txt, none.
    let files: [(&str, u8, &str); 9] = [
        (
            "csv",
            0,
            "text,label\n\"a good, long day\",yes\nrain again,no\nsun,yes\n",
        ),
        (
            "csv-semicolon",
            0,
            "label;text\n1;\"she said \"\"no\"\"\"\n0;fine\n1;well\n",
        ),
        (
            "tsv",
            1,
            "sentence\tlabel\none day\t1\nanother day\t0\nlast day\t1\n",
        ),
        (
            "tsv-pair",
            1,
            "label\ttext\ttext_pair\n1\tone\ttwo\n0\tthree\tfour\n1\tfive\tsix\n",
        ),
        (
            "json",
            2,
            r#"[{"text":"one \u00e9","label":1},{"text":"two","label":0},{"text":"3","label":1}]"#,
        ),
        (
            "jsonl",
            3,
            "{\"text\":\"one\",\"label\":true}\n{\"text\":\"two\",\"label\":false}\n",
        ),
        (
            "labelled-lines",
            4,
            "1 one line\n0 another line\n1 a third line\n",
        ),
        (
            "text-at-label",
            4,
            "one line@1\nanother line@0\na third line@1\n",
        ),
        ("none", 5, "text,label\r\none,a\r\ntwo,b\r\n"),
    ];
    let seed = |(name, kind, text): (&str, u8, &str)| {
        (name.to_owned(), [&[kind], text.as_bytes()].concat())
    };
    let utf_16: Vec<u8> = "\u{feff}text,label\none,a\ntwo,b\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let utf_16 = ("csv-utf-16".to_owned(), [&[0], &utf_16[..]].concat());
    files.into_iter().map(seed).chain([utf_16]).collect()
}

fn tokenizers() -> Vec<Seed> {
    let words = assets::tokenizer(12);
    let mut pieces = words.clone();
    pieces["model"] = serde_json::json!({
        "type": "WordPiece", "vocab": words["model"]["vocab"], "unk_token": "[UNK]",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100
    });
    pieces["pre_tokenizer"] = serde_json::json!({ "type": "BertPreTokenizer" });
    pieces["normalizer"] = serde_json::json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true
    });
    let mut bytes = words.clone();
    bytes["model"] = serde_json::json!({
        "type": "BPE", "dropout": null, "unk_token": "[UNK]", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "vocab": { "[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "w": 5, "o": 6,
            "wo": 7 },
        "merges": [["w", "o"]]
    });
    bytes["pre_tokenizer"] = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
    });
    let mut unigram = words.clone();
    unigram["model"] = serde_json::json!({
        "type": "Unigram", "unk_id": 1, "byte_fallback": false,
        "vocab": [["[PAD]", 0.0], ["[UNK]", -1.0], ["\u{2581}word", -2.0], ["5", -3.0]]
    });
    unigram["pre_tokenizer"] = serde_json::json!({
        "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true
    });
    let named = [
        ("words", words),
        ("word-pieces", pieces),
        ("byte-level", bytes),
        ("unigram", unigram),
    ];
    named
        .map(|(name, json)| (name.to_owned(), json.to_string().into_bytes()))
        .to_vec()
}

fn models() -> Vec<Seed> {
    let model = |family: Family| {
        let config = tiny::config_json(family);
        let bytes = joined(config.as_bytes(), &tiny::weights(family));
        (family.to_string(), bytes)
    };
    tiny::FAMILIES.map(model).to_vec()
}

fn adapters() -> Vec<Seed> {
    let config = format!(
        r#"{{"r":{},"lora_alpha":2.0,"lora_dropout":0.0}}"#,
        tiny::RANK
    );
    let adapter = |family: Family| {
        let bytes = joined(config.as_bytes(), &tiny::adapter(family));
        (family.to_string(), bytes)
    };
    tiny::FAMILIES.map(adapter).to_vec()
}

/// `d_model` of the indices.
const WIDTH: u32 = 2;

fn indices() -> Vec<Seed> {
    let empty = index(&[]);
    let f32s = record(0, 3, 0, &[(0, 1), (1, 2)]);
    let int8s = record(24, 2, 2, &[(2, 2)]);
    let none = record(36, 0, 255, &[(3, 9)]);
    let torn = &none[..none.len() - 5];
    let whole = [&f32s[..], &int8s, &none].concat();
    let cut = [&f32s[..], &int8s, torn].concat();
    [
        ("empty", 0_u16, empty),
        ("three-appends", 36, index(&whole)),
        ("a-torn-append", 36, index(&cut)),
        ("a-lost-payload", 30, index(&[&f32s[..], &int8s].concat())),
    ]
    .map(|(name, payload_bytes, index)| {
        let bytes = [&payload_bytes.to_le_bytes(), &index[..]].concat();
        (name.to_owned(), bytes)
    })
    .to_vec()
}

/// An index of these records; docs of `server::store` have the table.
fn index(records: &[u8]) -> Vec<u8> {
    let mut bytes = b"CUTINDEX\x01\0\0\0".to_vec();
    bytes.extend(WIDTH.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(records);
    with_checksums(&bytes)
}

/// A record without its checksum, of examples as id and rows.
fn record(offset: u64, rows: u32, dtype: u8, examples: &[(u32, u16)]) -> Vec<u8> {
    let headers = examples
        .iter()
        .map(|&(example_id, seq_length)| ExampleHeader {
            example_id,
            split: Split::Train,
            label: Some(1),
            seq_length,
        });
    let mut bytes = Vec::new();
    let body_bytes = 16 + 12 * u32::try_from(examples.len()).expect("a few");
    bytes.extend(body_bytes.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(rows.to_le_bytes());
    bytes.extend([dtype, 0, 0, 0]);
    for header in headers {
        bytes.extend(header.example_id.to_le_bytes());
        bytes.extend(header.label.unwrap_or(0).to_le_bytes());
        bytes.extend(header.seq_length.to_le_bytes());
        bytes.extend([0, 1]);
    }
    bytes.extend([0; 8]);
    bytes
}

fn checkpoints() -> Vec<Seed> {
    let state = serde_json::json!({
        "version": 1, "conditions": { "cut": "1" }, "examples_sha256": "ab", "step": 3,
        "order": [2, 0, 1],
        "generator": { "seed": vec![7; 32], "stream": 1, "block": 2, "word": 15 },
        "best_bits": [1_061_158_912, 0], "validations_without_gain": 2, "best_step": 2,
        "optimizer_steps": { "a": 3 }, "untold_bits": null
    });
    let header = serde_json::json!({
        "__metadata__": { "sha256": "0".repeat(64), "state": state.to_string() },
        "adapter.a": { "dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8] },
        "best.a": { "dtype": "F32", "shape": [1, 1], "data_offsets": [8, 12] }
    });
    let mut header = header.to_string().into_bytes();
    // The numbers begin at a multiple of eight, as safetensors wants it.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = header.len() as u64;
    let numbers = [1.0_f32, -2.0, 0.5].map(f32::to_le_bytes).concat();
    let bytes = [&length.to_le_bytes(), &header[..], &numbers].concat();
    vec![("three-numbers".to_owned(), with_digest(&bytes))]
}
