//! The readers against real files, where the folder `../shared/data` exists: counts only, no text.
//!
//! Run with `cargo test -p shared --features client --lib needs_shared_data -- --ignored`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::{Columns, Dataset, DatasetLimits, DatasetReport, Table};

fn dataset(path: &str) -> Dataset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let bytes = std::fs::read(folder.join(path)).unwrap();
    let table = Table::read(path, &bytes).unwrap();
    let columns = Columns::detect(&table).unwrap();
    Dataset::from_table(&table, &columns, &DatasetLimits::default()).unwrap()
}

fn counts(report: &DatasetReport) -> Vec<(&str, usize)> {
    report
        .labels
        .iter()
        .map(|label| (label.name.as_str(), label.examples))
        .collect()
}

#[test]
#[ignore = "needs ../shared/data"]
fn sst_needs_shared_data() {
    for (part, rows) in [("train", 6_920), ("dev", 872), ("test", 1_821)] {
        let data = dataset(&format!("sst2_sentence/stsa.binary.{part}"));
        assert_eq!(data.examples().len(), rows);
        assert_eq!(data.labels(), ["0", "1"]);
        assert_eq!(data.report().bad_rows.total(), 0);
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn financial_phrasebank_needs_shared_data() {
    let half = dataset("financial_phrasebank/Sentences_50Agree.txt");
    let expected = [("negative", 604), ("neutral", 2_879), ("positive", 1_363)];
    assert_eq!(counts(half.report()), expected);
    assert_eq!(half.report().bad_rows.total(), 0);
    assert_eq!(half.report().encoding.name(), "UTF-8");
    let all = dataset("financial_phrasebank/Sentences_AllAgree.txt");
    assert_eq!(all.examples().len(), 2_264);
    assert!(all.report().encoding.name().starts_with("Windows-1252"));
}

#[test]
#[ignore = "needs ../shared/data"]
fn mrpc_needs_shared_data() {
    for (part, rows) in [("train", 4_076), ("test", 1_725)] {
        let data = dataset(&format!("mrpc/msr_paraphrase_{part}.txt"));
        assert_eq!(data.examples().len(), rows);
        assert_eq!(data.report().bad_rows.total(), 0);
        assert_eq!(data.report().format.name(), "TSV, quotes literal");
        assert_eq!(data.report().text_column, "#1 String");
        assert_eq!(data.report().pair_column.as_deref(), Some("#2 String"));
        assert_eq!(data.report().label_column.as_deref(), Some("Quality"));
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn happydb_needs_shared_data() {
    let data = dataset("happydb_claff/labeled_10k.csv");
    assert_eq!(data.report().rows, 10_560);
    assert_eq!(data.examples().len(), 10_560);
    assert_eq!(data.report().text_column, "moment");
    for task in ["social", "agency"] {
        assert!(
            data.report()
                .label_candidates
                .iter()
                .any(|name| name == task)
        );
    }
}

#[test]
#[ignore = "needs ../shared/data"]
fn presidio_needs_shared_data() {
    let path = "presidio_synth_pii/synth_dataset_v2.json";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let table = Table::read(path, &std::fs::read(folder.join(path)).unwrap()).unwrap();
    assert_eq!(table.row_count(), 1_500);
    let columns = Columns::detect(&table).unwrap();
    assert_eq!(table.column_names()[columns.text], "full_text");
}
