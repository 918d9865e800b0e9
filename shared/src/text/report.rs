//! What the page and the command line may show of a data set: names, counts and line numbers, no texts.

use std::fmt;

use serde::Serialize;

use super::{
    columns::{Columns, label_candidates},
    encoding::TextEncoding,
    format::FileFormat,
    rows::BadRows,
    table::Table,
};

/// How many examples have one label.
///
/// Names of labels are shown to the owner, so they serialize; they are private all the same and not in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    /// The label as it stands in the file.
    pub name: String,
    /// Examples that have it.
    pub examples: usize,
}

impl fmt::Debug for LabelCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LabelCount({} examples)", self.examples)
    }
}

/// What was read from a file, for its owner's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetReport {
    /// How the rows are written.
    pub format: FileFormat,
    /// How the characters are written.
    pub encoding: TextEncoding,
    /// Whether the column names come from the file.
    pub has_header: bool,
    /// Names of all columns.
    pub columns: Vec<String>,
    /// Name of the column that holds the text.
    pub text_column: String,
    /// Name of the column that holds the second text of a pair.
    pub pair_column: Option<String>,
    /// Name of the column that holds the label.
    pub label_column: Option<String>,
    /// Names of the columns that could be the label.
    pub label_candidates: Vec<String>,
    /// Rows of the file, header excluded, bad ones included.
    pub rows: usize,
    /// Rows that can be used.
    pub examples: usize,
    /// Examples whose text occurs earlier in the file.
    pub duplicates: usize,
    /// The labels with their counts; empty without a label column.
    pub labels: Vec<LabelCount>,
    /// Rows that were left out.
    pub bad_rows: BadRows,
}

/// What only the reader of the rows knows.
pub(super) struct Counts {
    pub(super) examples: usize,
    pub(super) duplicates: usize,
    pub(super) labels: Vec<LabelCount>,
    pub(super) bad_rows: BadRows,
}

impl DatasetReport {
    /// Puts together what the table, the choice of columns and the rows say; `columns` is in the table.
    pub(super) fn new(table: &Table, columns: &Columns, counts: Counts) -> Self {
        let name = |column: usize| table.columns.get(column).cloned().unwrap_or_default();
        Self {
            format: table.format,
            encoding: table.encoding,
            has_header: table.has_header,
            columns: table.columns.clone(),
            text_column: name(columns.text),
            pair_column: columns.pair.map(name),
            label_column: columns.label.map(name),
            label_candidates: label_candidates(table, columns.text)
                .into_iter()
                .map(name)
                .collect(),
            rows: table.rows.len() + table.bad.total(),
            examples: counts.examples,
            duplicates: counts.duplicates,
            labels: counts.labels,
            bad_rows: counts.bad_rows,
        }
    }
}
