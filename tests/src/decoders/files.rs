//! Files of other people: data sets, and what a server serves of a model.

use burn::tensor::Device;
use shared::adapter::peft::{self, PeftFiles};
use shared::model::weights::{Precision, bottom_artifact};
use shared::model::{BottomModel, CutLayer, Family, ModelConfig, TopModel};
use shared::text::{Columns, Dataset, DatasetLimits, RawText, Table, Texts, TokenIds, Tokenizer};

use super::{tiny, two_parts};

const FILE_NAMES: [&str; 6] = ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a"];

const LIMITS: DatasetLimits = DatasetLimits {
    examples_min: 1,
    classes_max: 5,
};

/// Positions of the model that the tokenizer is for.
const SEQ_LENGTH_MAX: usize = 16;

/// A file of texts: one byte that chooses its name, then its bytes.
///
/// # Panics
///
/// When a row is neither an example nor a bad row, or an example has no text or no such label.
pub fn dataset(bytes: &[u8]) -> bool {
    let Some((name, bytes)) = bytes.split_first() else {
        return false;
    };
    let file_name = FILE_NAMES[usize::from(*name) % FILE_NAMES.len()];
    let Ok(table) = Table::read(file_name, bytes) else {
        return false;
    };
    let Ok(columns) = Columns::detect(&table) else {
        return false;
    };
    if let Ok(texts) = Texts::from_table(&table, &columns) {
        let rows = texts.rows();
        assert!(rows.windows(2).all(|pair| pair[0].row <= pair[1].row));
        assert!(rows.iter().all(|row| !row.text.expose().is_empty()));
        assert!(texts.display_texts(3).len() <= 3);
    }
    let Ok(data) = Dataset::from_table(&table, &columns, &LIMITS) else {
        return false;
    };
    let report = data.report();
    assert_eq!(report.examples + report.bad_rows.total(), report.rows);
    assert_eq!(data.counts().iter().sum::<usize>(), data.examples().len());
    for example in data.examples() {
        assert!((example.label as usize) < data.labels().len());
        assert!(!example.text.expose().is_empty());
    }
    assert!(data.display_texts(3).len() <= 3);
    true
}

/// A `tokenizer.json`.
///
/// # Panics
///
/// When a text becomes more tokens than the model has positions.
pub fn tokenizer(bytes: &[u8]) -> bool {
    let Ok(tokenizer) = Tokenizer::from_json(bytes, SEQ_LENGTH_MAX) else {
        return false;
    };
    let text = RawText::new("word5 word6, \u{e9}\u{1f600} [MASK]\n".to_owned());
    let pair = RawText::new("word7 ".repeat(40));
    let read = |tokens: &TokenIds| {
        assert!(tokens.len() <= SEQ_LENGTH_MAX, "{} tokens", tokens.len());
        assert_eq!(tokenizer.pieces(tokens).len(), tokens.len());
    };
    let alone = tokenizer.encode(&text, None);
    let both = tokenizer.encode(&text, Some(&pair));
    alone.iter().chain(&both).for_each(read);
    assert!(tokenizer.special_ids().is_sorted());
    let _ = (tokenizer.mask_id(), tokenizer.vocab_size());
    alone.is_ok()
}

/// Two bytes of length, a `config.json` of that length, a `model.safetensors`.
///
/// The weights are read by their own configuration and by that of a tiny model of each family.
///
/// # Panics
///
/// When a bottom loads that cannot be cut out, or what was cut out does not load.
pub fn model(bytes: &[u8]) -> bool {
    let (config, weights) = two_parts(bytes);
    let own = ModelConfig::from_json(config).ok();
    let tiny = tiny::FAMILIES.map(tiny::config);
    let mut accepted = false;
    for config in own.iter().chain(&tiny) {
        assert!(config.d_model.is_multiple_of(config.n_heads) && config.seq_length_max > 0);
        accepted |= is_loaded(config, weights);
    }
    accepted
}

fn is_loaded(config: &ModelConfig, weights: &[u8]) -> bool {
    let device = Device::flex();
    let cut = CutLayer::new(0, config).expect("a model has at least one block");
    let bottom = BottomModel::load(config, weights, cut, &device);
    let top = TopModel::load(config, weights, cut, &device);
    if bottom.is_ok() {
        for precision in [Precision::F16, Precision::F32] {
            let artifact =
                bottom_artifact(config, weights, 0, precision).expect("what loads can be cut out");
            assert!(BottomModel::load(config, &artifact, cut, &device).is_ok());
        }
        // In 8 bits only what is finite can be written; what is written can be read.
        if let Ok(artifact) = bottom_artifact(config, weights, 0, Precision::Int8) {
            assert!(BottomModel::load(config, &artifact, cut, &device).is_ok());
        }
    }
    bottom.is_ok() && top.is_ok()
}

/// Two bytes of length, an `adapter_config.json` of that length, an `adapter_model.safetensors`.
///
/// # Panics
///
/// When what was read does not come back after it was written.
pub fn peft(bytes: &[u8]) -> bool {
    let (config, tensors) = two_parts(bytes);
    let files = PeftFiles {
        config: config.to_vec(),
        tensors: tensors.to_vec(),
    };
    tiny::FAMILIES
        .map(|family| is_adapter(family, &files))
        .contains(&true)
}

fn is_adapter(family: Family, files: &PeftFiles) -> bool {
    let (config, device) = (tiny::config(family), Device::flex());
    let top = tiny::top(family);
    let read = |files: &PeftFiles| peft::read(files, &config, &top, tiny::CLASSES, &device);
    let Ok(adapter) = read(files) else {
        return false;
    };
    let written = peft::write(&adapter, &config).expect("the CPU gives its memory back");
    let again = read(&written).expect("what was written can be read");
    assert_eq!(again.config(), adapter.config());
    assert!(again.names().eq(adapter.names()));
    true
}
