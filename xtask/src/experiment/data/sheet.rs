//! Rows under named columns, and which of them are taken.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Rows under named columns.
#[derive(Clone, PartialEq)]
pub(super) struct Sheet {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sheet({} rows)", self.rows.len())
    }
}

impl Sheet {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// The rows whose text falls into these hundredths; equal texts are always on one side.
    pub(super) fn side(&self, hundredths: std::ops::Range<u64>) -> Self {
        let rows = self.rows.iter();
        let rows = rows.filter(|row| hundredths.contains(&hundredth(&row[0])));
        Self {
            columns: self.columns.clone(),
            rows: rows.cloned().collect(),
        }
    }

    /// The rows where a column has one of some values.
    pub(super) fn with(&self, column: &str, values: &[&str]) -> Result<Self> {
        let at = self.columns.iter().position(|name| *name == column);
        let at = at.with_context(|| format!("There is no column {column}: report it."))?;
        let rows = self.rows.iter();
        let rows = rows.filter(|row| values.contains(&row[at].as_str()));
        Ok(Self {
            columns: self.columns.clone(),
            rows: rows.cloned().collect(),
        })
    }

    /// At most `rows_max` rows, evenly spread, since files are often sorted.
    pub(super) fn thinned(&self, rows_max: usize) -> Self {
        let all = self.rows.len();
        let kept = rows_max.min(all);
        let rows = (0..kept).filter_map(|at| self.rows.get(at * all / kept));
        Self {
            columns: self.columns.clone(),
            rows: rows.cloned().collect(),
        }
    }

    pub(super) fn to_csv(&self) -> Result<String> {
        let mut writer = csv::WriterBuilder::new()
            .quote_style(csv::QuoteStyle::Always)
            .from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

/// A number from 0 to 99 that is fixed by the text: the first 8 bytes of its sha256, modulo 100.
pub(super) fn hundredth(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    let first = digest.iter().take(8);
    first.fold(0u64, |number, byte| number << 8 | u64::from(*byte)) % 100
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sheet(texts: &[&str]) -> Sheet {
        Sheet {
            columns: vec!["text", "label"],
            rows: texts
                .iter()
                .map(|text| vec![(*text).to_owned(), "a".to_owned()])
                .collect(),
        }
    }

    /// sha256("abc") begins with ba7816bf 8f01cfea = 13436514500253700074.
    #[test]
    fn the_side_of_a_text_is_fixed_by_its_sha256() {
        assert_eq!(hundredth("abc"), 0xba78_16bf_8f01_cfea % 100);
        let all = sheet(&["abc", "d e", "abc", "f"]);
        let (first, second) = (all.side(0..80), all.side(80..100));
        assert_eq!(first.rows.len() + second.rows.len(), 4);
        let held = first.rows.iter().filter(|row| row[0] == "abc").count();
        assert_eq!(held, 2); // 74 of 100, both of them
    }

    #[test]
    fn csv_keeps_quotes_commas_and_line_ends() {
        let csv = sheet(&["he said \"no\",\nthen left"]).to_csv().unwrap();
        let expected = "\"text\",\"label\"\n\"he said \"\"no\"\",\nthen left\",\"a\"\n";
        assert_eq!(csv, expected);
    }

    #[test]
    fn a_quick_file_is_spread_over_the_whole() {
        let texts: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let thin = sheet(&texts).thinned(4);
        let kept: Vec<&str> = thin.rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(kept, ["0", "2", "5", "7"]);
        assert_eq!(sheet(&texts).thinned(10).rows.len(), 10);
    }

    #[test]
    fn only_rows_with_a_known_attribute_are_attacked() {
        let mut sheet = sheet(&["a", "b", "c"]);
        sheet.rows[0][1] = "NA".to_owned();
        assert_eq!(sheet.with("label", &["a", "b"]).unwrap().rows.len(), 2);
        assert!(sheet.with("gender", &["m"]).is_err());
    }
}
