//! Rows of a table to cleaned examples, and the report of those that were left out.
//!
//! The report holds line numbers and reasons, never a word of a cell.

use serde::Serialize;

use super::{
    clean::Cleaner,
    columns::{Columns, LABEL_CHARS_MAX},
    table::{Row, Table},
    token_ids::RawText,
};

/// Most characters of a text: longer ones are whole files by mistake, and no model reads them.
pub const TEXT_CHARS_MAX: usize = 100_000;

/// Bad rows that are listed one by one; the rest is only counted.
pub const BAD_ROWS_LISTED_MAX: usize = 20;

/// Why a row was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReason {
    /// It has more or fewer fields than the others.
    WrongColumnCount,
    /// It is not a JSON object.
    NotAnObject,
    /// Its text is empty.
    TextEmpty,
    /// The second text of its pair is empty.
    PairEmpty,
    /// A text exceeds `TEXT_CHARS_MAX`.
    TextTooLong,
    /// It has no label.
    LabelMissing,
    /// Its label is too long to be one.
    LabelTooLong,
    /// Its label is not one of those that the model knows.
    LabelUnknown,
}

impl BadReason {
    /// Returns the reason in words.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::WrongColumnCount => "does not have the same fields as the other rows",
            Self::NotAnObject => "is not a JSON object",
            Self::TextEmpty => "has no text",
            Self::PairEmpty => "has no second text",
            Self::TextTooLong => "has a text of more than 100,000 characters",
            Self::LabelMissing => "has no label",
            Self::LabelTooLong => "has a label of more than 100 characters",
            Self::LabelUnknown => "has a label that the model was not trained on",
        }
    }
}

/// One row that was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Line of the file on which it begins, from 1.
    pub row: u32,
    /// Why it was left out.
    pub reason: BadReason,
    /// The reason in words.
    pub sentence: &'static str,
}

/// How many rows were left out for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BadCount {
    /// Why they were left out.
    pub reason: BadReason,
    /// The reason in words.
    pub sentence: &'static str,
    /// How many.
    pub rows: usize,
}

/// The rows that were left out: the first few one by one, all of them counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BadRows {
    total: usize,
    by_reason: Vec<BadCount>,
    first: Vec<BadRow>,
}

impl BadRows {
    /// Returns how many rows were left out.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the counts, in the order of [`BadReason`].
    pub fn by_reason(&self) -> &[BadCount] {
        &self.by_reason
    }

    /// Returns the first [`BAD_ROWS_LISTED_MAX`] of the file.
    pub fn first(&self) -> &[BadRow] {
        &self.first
    }

    /// Counts a row, and lists it if it is among the first.
    pub(super) fn note(&mut self, row: u32, reason: BadReason) {
        let sentence = reason.sentence();
        self.total += 1;
        match self
            .by_reason
            .binary_search_by_key(&reason, |count| count.reason)
        {
            Ok(at) => self.by_reason[at].rows += 1,
            Err(at) => self.by_reason.insert(
                at,
                BadCount {
                    reason,
                    sentence,
                    rows: 1,
                },
            ),
        }
        let at = self.first.partition_point(|known| known.row <= row);
        self.first.insert(
            at,
            BadRow {
                row,
                reason,
                sentence,
            },
        );
        self.first.truncate(BAD_ROWS_LISTED_MAX);
    }
}

/// A row whose cells are sound.
pub(super) struct CleanRow {
    pub(super) line: u32,
    pub(super) text: RawText,
    pub(super) pair: Option<RawText>,
    /// Empty when no label column was asked for.
    pub(super) label: String,
}

/// Cleans the chosen columns of all rows; returns the sound rows, and all bad ones of the table.
pub(super) fn clean_rows(table: &Table, columns: &Columns) -> (Vec<CleanRow>, BadRows) {
    let cleaner = |column| Cleaner::for_column(table.rows.iter().map(move |row| row.cell(column)));
    let cleaners = Cleaners {
        text: cleaner(columns.text),
        pair: columns.pair.map(|column| (column, cleaner(column))),
        label: columns.label.map(|column| (column, cleaner(column))),
    };
    let mut bad = table.bad.clone();
    let mut rows = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        match cleaners.clean(row, columns.text) {
            Ok(clean) => rows.push(clean),
            Err(reason) => bad.note(row.line, reason),
        }
    }
    (rows, bad)
}

struct Cleaners {
    text: Cleaner,
    pair: Option<(usize, Cleaner)>,
    label: Option<(usize, Cleaner)>,
}

impl Cleaners {
    fn clean(&self, row: &Row, text_column: usize) -> Result<CleanRow, BadReason> {
        let text = clean_text(row.cell(text_column), self.text, BadReason::TextEmpty)?;
        let pair = self
            .pair
            .map(|(column, cleaner)| clean_text(row.cell(column), cleaner, BadReason::PairEmpty));
        let label = self
            .label
            .map(|(column, cleaner)| clean_label(row.cell(column), cleaner));
        let (pair, label) = (pair.transpose()?, label.transpose()?.unwrap_or_default());
        Ok(CleanRow {
            line: row.line,
            text,
            pair,
            label,
        })
    }
}

fn clean_text(cell: &str, cleaner: Cleaner, empty: BadReason) -> Result<RawText, BadReason> {
    if exceeds(cell, TEXT_CHARS_MAX) {
        return Err(BadReason::TextTooLong);
    }
    let text = cleaner.clean(cell);
    if text.is_empty() {
        Err(empty)
    } else {
        Ok(RawText::new(text))
    }
}

/// Cleans a label; what pandas and databases write for "none" counts as missing.
fn clean_label(cell: &str, cleaner: Cleaner) -> Result<String, BadReason> {
    if exceeds(cell.trim(), LABEL_CHARS_MAX) {
        return Err(BadReason::LabelTooLong);
    }
    let label = cleaner.clean(cell);
    if label.is_empty() || matches!(label.as_str(), "nan" | "NaN" | "null" | "NULL") {
        return Err(BadReason::LabelMissing);
    }
    Ok(label)
}

fn exceeds(text: &str, chars_max: usize) -> bool {
    text.len() > chars_max && text.chars().nth(chars_max).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COLUMNS: Columns = Columns {
        text: 0,
        pair: None,
        label: Some(1),
    };

    fn reasons(csv: &str, columns: &Columns) -> Vec<(u32, BadReason)> {
        let table = Table::read("a.csv", csv.as_bytes()).unwrap();
        clean_rows(&table, columns)
            .1
            .first()
            .iter()
            .map(|bad| (bad.row, bad.reason))
            .collect()
    }

    #[test]
    fn every_reason_is_found_on_its_line() {
        let long = "a".repeat(101);
        let csv = format!(
            "text,label\na b,x\n  ,x\n&nbsp;,x\nc d,\ne f,nan\ng h\n\"i\nj\",{long}\nk l,x\n"
        );
        let expected = [
            (3, BadReason::TextEmpty),
            (4, BadReason::TextEmpty),
            (5, BadReason::LabelMissing),
            (6, BadReason::LabelMissing),
            (7, BadReason::WrongColumnCount),
            (8, BadReason::LabelTooLong),
        ];
        assert_eq!(reasons(&csv, &COLUMNS), expected);
        let columns = Columns {
            label: None,
            ..COLUMNS
        };
        assert_eq!(reasons(&csv, &columns).len(), 3);
    }

    #[test]
    fn pairs_need_both_texts() {
        let columns = Columns {
            text: 0,
            pair: Some(1),
            label: None,
        };
        assert_eq!(
            reasons("s1,s2\na,b\nc,\n,d\n", &columns),
            [(3, BadReason::PairEmpty), (4, BadReason::TextEmpty)]
        );
    }

    #[test]
    fn the_longest_text_passes_and_one_more_character_does_not() {
        let (fits, exceeds) = ("é".repeat(TEXT_CHARS_MAX), "é".repeat(TEXT_CHARS_MAX + 1));
        let csv = format!("text,label\n{fits},x\n{exceeds},x\n");
        assert_eq!(reasons(&csv, &COLUMNS), [(3, BadReason::TextTooLong)]);
    }

    #[test]
    fn the_first_twenty_of_the_file_are_listed_and_all_are_counted() {
        let mut bad = BadRows::default();
        for row in (1..=30).rev() {
            bad.note(row, BadReason::TextEmpty);
        }
        bad.note(5, BadReason::LabelMissing);
        assert_eq!(bad.total(), 31);
        let counts: Vec<_> = bad.by_reason().iter().map(|c| (c.reason, c.rows)).collect();
        assert_eq!(
            counts,
            [(BadReason::TextEmpty, 30), (BadReason::LabelMissing, 1)]
        );
        assert_eq!(bad.first().len(), BAD_ROWS_LISTED_MAX);
        assert_eq!((bad.first()[0].row, bad.first()[19].row), (1, 19));
    }

    #[test]
    fn cells_are_cleaned() {
        let csv = "text\tlabel\n\"\"\"It&#039;s\r\nfine\"\"\"\t good \n\"\"\"b\"\"\"\tbad\n";
        let table = Table::read("a.tsv", csv.as_bytes()).unwrap();
        let (rows, _) = clean_rows(&table, &COLUMNS);
        let read: Vec<_> = rows
            .iter()
            .map(|row| (row.text.expose(), row.label.as_str()))
            .collect();
        assert_eq!(read, [("It's fine", "good"), ("b", "bad")]);
    }
}
