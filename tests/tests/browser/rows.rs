//! A private file: demo reviews cut short, and a row of words that occur nowhere else.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, ensure};
use shared::text::{ColumnChoice, Columns, Dataset, DatasetLimits, RawText, Table, Tokenizer};
use tempfile::TempDir;
use tests::browser::Secrets;

use crate::page::model;

/// A row of words that neither the page nor the protocol has.
pub const CANARY: &str =
    "Vrondelle whispered quazzimort beneath frobnical lanterns in old Ibberwick";

/// What is asked of the trained model; as private as the file.
pub const QUESTION: &str = "Zephyrquill tonics soothed my grumblethorpe after seventeen minutes";

/// Words of at least so many letters are looked for one by one.
const WORD_LETTERS_MIN: usize = 5;

/// Neither the page nor what is saved of a run may know it.
pub const FILE_NAME: &str = "wardnotes-krellington.tsv";
const ROWS_PER_LABEL: usize = 12;
const WORDS_PER_ROW: usize = 12;

/// The labels that are used of the three.
pub const LABELS: [&str; 2] = ["negative", "positive"];

/// The file, and its rows as they were written.
pub struct PrivateFile {
    directory: TempDir,
    rows: Vec<String>,
}

impl PrivateFile {
    pub fn write() -> anyhow::Result<Self> {
        let mut rows = Vec::new();
        let mut lines = "review\trating\n".to_owned();
        for (text, label) in reviews()? {
            lines += &format!("{text}\t{label}\n");
            rows.push(text);
        }
        lines += &format!("{CANARY}\t{}\n", LABELS[1]);
        rows.push(CANARY.to_owned());
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(FILE_NAME), lines)?;
        Ok(Self { directory, rows })
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join(FILE_NAME)
    }

    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Everything of it that must stay in the browser.
    pub fn secrets(&self) -> anyhow::Result<Secrets> {
        let tokenizer = fs::read(model().join("tokenizer.json"))?;
        let tokenizer = Tokenizer::from_json(&tokenizer, 128)?;
        let mut secrets = Secrets::default();
        let numbered = self.rows.iter().enumerate();
        let rows = numbered.map(|(number, row)| (format!("row {number}"), row.as_str()));
        for (name, text) in rows.chain([("the question".to_owned(), QUESTION)]) {
            secrets.add_sentence(&name, text);
            let ids = tokenizer.encode(&RawText::new(text.to_owned()), None)?;
            secrets.add_ids(&name, ids.ids());
        }
        for word in CANARY.split_whitespace().chain(QUESTION.split_whitespace()) {
            if word.len() >= WORD_LETTERS_MIN {
                secrets.add_text("a word of the canary", word);
            }
        }
        for label in LABELS {
            secrets.add_text("the name of a label", label);
        }
        secrets.add_text("the file name", FILE_NAME);
        secrets.add_text("the stem of the file name", "krellington");
        Ok(secrets)
    }
}

/// Real reviews of both labels, one line each.
fn reviews() -> anyhow::Result<Vec<(String, &'static str)>> {
    let file = env::var_os("CUTLAYER_REVIEWS").context("CUTLAYER_REVIEWS names the reviews")?;
    let table = Table::read("reviews.tsv", &fs::read(file)?)?;
    let choice = ColumnChoice {
        text: Some("review"),
        pair: None,
        label: Some("rating"),
    };
    let columns = Columns::choose(&table, &choice)?;
    let dataset = Dataset::from_table(&table, &columns, &DatasetLimits::default())?;
    let mut rows: Vec<(String, &'static str)> = Vec::new();
    for label in LABELS {
        let of_label = dataset.examples().iter().filter(|example| {
            dataset
                .labels()
                .get(example.label as usize)
                .map(String::as_str)
                == Some(label)
        });
        let short = of_label.filter_map(|example| first_words(example.text.expose()));
        // Some reviews are there twice.
        let distinct: BTreeSet<String> = short.take(2 * ROWS_PER_LABEL).collect();
        let distinct = distinct.into_iter().take(ROWS_PER_LABEL);
        rows.extend(distinct.map(|text| (text, label)));
    }
    ensure!(
        rows.len() == 2 * ROWS_PER_LABEL,
        "too few reviews of a label"
    );
    Ok(rows)
}

/// The first words of a long enough review, without what a file of rows would have to quote or
/// could take for an HTML entity.
fn first_words(text: &str) -> Option<String> {
    if text.contains('&') {
        return None;
    }
    let plain = text.replace('"', "");
    let words: Vec<_> = plain.split_whitespace().take(WORDS_PER_ROW).collect();
    (words.len() == WORDS_PER_ROW).then(|| words.join(" "))
}
