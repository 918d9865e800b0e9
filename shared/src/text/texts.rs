//! Bare texts to predict.

use std::fmt;

use super::{
    TextError,
    columns::Columns,
    dataset::duplicates,
    report::{Counts, DatasetReport},
    rows::{CleanRow, clean_rows},
    table::Table,
    token_ids::RawText,
};

/// One text or pair without label.
#[derive(Debug, Clone)]
pub struct TextRow {
    /// Line of the file on which it begins, from 1.
    pub row: u32,
    /// The text.
    pub text: RawText,
    /// The second text of a pair.
    pub pair: Option<RawText>,
}

/// Texts to predict.
pub struct Texts {
    rows: Vec<TextRow>,
    report: DatasetReport,
}

impl Texts {
    /// Reads the texts of a table; a label column is ignored.
    ///
    /// # Errors
    /// [`TextError::ExamplesTooFew`] when no row is usable, and what [`Columns::choose`] says of wrong columns.
    pub fn from_table(table: &Table, columns: &Columns) -> Result<Self, TextError> {
        let columns = Columns {
            label: None,
            ..*columns
        };
        columns.check(table)?;
        let (rows, bad_rows) = clean_rows(table, &columns);
        if rows.is_empty() {
            return Err(TextError::ExamplesTooFew {
                expected: 1,
                actual: 0,
            });
        }
        let duplicates = duplicates(rows.iter().map(|row| (&row.text, row.pair.as_ref())));
        let found = Counts {
            examples: rows.len(),
            duplicates,
            labels: Vec::new(),
            bad_rows,
        };
        let report = DatasetReport::new(table, &columns, found);
        let text_row = |row: CleanRow| TextRow {
            row: row.line,
            text: row.text,
            pair: row.pair,
        };
        Ok(Self {
            rows: rows.into_iter().map(text_row).collect(),
            report,
        })
    }

    /// Returns the texts in the order of the file.
    pub fn rows(&self) -> &[TextRow] {
        &self.rows
    }

    /// Returns what the page may show: names, counts and line numbers, no texts.
    pub fn report(&self) -> &DatasetReport {
        &self.report
    }

    /// Returns the first `n` texts with pair, for the owner's own screen only; the label is always `None`.
    pub fn display_texts(&self, n: usize) -> Vec<(String, Option<String>, Option<String>)> {
        let shown = |row: &TextRow| {
            (
                row.text.expose().to_owned(),
                row.pair.as_ref().map(|p| p.expose().to_owned()),
                None,
            )
        };
        self.rows.iter().take(n).map(shown).collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Texts({} rows)", self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn table(text: &str) -> Table {
        Table::read("a.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_need_no_label() {
        let table = table("text,label\na b,\n,x\nc d,y\n");
        let texts = Texts::from_table(&table, &Columns::detect(&table).unwrap()).unwrap();
        let read: Vec<_> = texts
            .rows()
            .iter()
            .map(|r| (r.row, r.text.expose()))
            .collect();
        assert_eq!(read, [(2, "a b"), (4, "c d")]);
        assert_eq!(texts.report().label_column, None);
        assert_eq!(texts.display_texts(9)[1], ("c d".to_owned(), None, None));
    }

    #[test]
    fn columns_outside_the_table_are_refused() {
        let table = table("text,label\na b,x\n");
        let columns = Columns {
            text: 5,
            pair: None,
            label: Some(1),
        };
        assert!(matches!(
            Texts::from_table(&table, &columns),
            Err(TextError::ColumnUnknown { .. })
        ));
    }
}
