//! What can be wrong with a file, a choice of columns or a tokenizer, one plain sentence each.
//!
//! No variant can hold a text, a token or a label: only sizes, line numbers and column names.

use thiserror::Error;

use super::encoding::BinaryKind;

/// What went wrong, without a word of the owner's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// The bytes are no `tokenizer.json`.
    #[error("the tokenizer file cannot be read: expected a Hugging Face tokenizer.json")]
    TokenizerFile,
    /// The sequence has no room for a pair.
    #[error("sequences of {seq_length_max} tokens are too short: at least {needed} are needed")]
    SequenceTooShort {
        /// Special tokens of a pair and one token of each text.
        needed: usize,
        /// What was asked for.
        seq_length_max: usize,
    },
    /// The tokenizer refused a text.
    #[error("a text could not be turned into tokens by this model's tokenizer")]
    Tokenize,
    /// Lists that describe the same positions differ in length.
    #[error("expected {expected} token positions, got {actual}")]
    LengthMismatch {
        /// Positions of the ids.
        expected: usize,
        /// Positions of the other list.
        actual: usize,
    },
    /// The file exceeds `FILE_BYTES_MAX`.
    #[error(
        "the file has {} MB, at most {} MB can be read at once: split it into smaller files",
        bytes.div_ceil(1024 * 1024), bytes_max / (1024 * 1024)
    )]
    FileTooLarge {
        /// Size of the file.
        bytes: u64,
        /// `FILE_BYTES_MAX`.
        bytes_max: u64,
    },
    /// The file holds nothing, or nothing but blanks.
    #[error("the file is empty")]
    FileEmpty,
    /// The file is not text.
    #[error("the file is {} and cannot be read as rows of text: {}", kind.name(), kind.advice())]
    NotText {
        /// What it seems to be.
        kind: BinaryKind,
    },
    /// The file begins like JSON and is not.
    #[error("the file looks like JSON but breaks off or is malformed at line {line}")]
    JsonMalformed {
        /// From 1.
        line: usize,
    },
    /// The JSON is not a list of flat objects.
    #[error("the JSON file must be a list of objects, or one object a line, with a text in each")]
    JsonShape,
    /// There is a header and nothing below it.
    #[error("the file has column names but no rows")]
    NoRows,
    /// The file exceeds `ROWS_MAX`.
    #[error("the file has more than {rows_max} rows: split it into smaller files")]
    TooManyRows {
        /// `ROWS_MAX`.
        rows_max: usize,
    },
    /// The file exceeds `COLUMNS_MAX`.
    #[error("the file has {columns} columns, at most {columns_max} can be read")]
    TooManyColumns {
        /// Columns of the widest row.
        columns: usize,
        /// `COLUMNS_MAX`.
        columns_max: usize,
    },
    /// No column has this name.
    #[error("there is no column {wanted:?}; the file has: {}", listed(columns))]
    ColumnUnknown {
        /// The name that was asked for.
        wanted: String,
        /// Names in the file.
        columns: Vec<String>,
    },
    /// One column was chosen for two purposes.
    #[error("the column {column:?} cannot serve two purposes: choose different columns")]
    ColumnTwice {
        /// Its name.
        column: String,
    },
    /// No column holds free text.
    #[error("no column looks like text; choose one of: {}", listed(columns))]
    TextColumnMissing {
        /// Names in the file.
        columns: Vec<String>,
    },
    /// No column holds labels.
    #[error("no column looks like labels; choose one of: {}", listed(columns))]
    LabelColumnMissing {
        /// Names in the file.
        columns: Vec<String>,
    },
    /// Too few rows are usable.
    #[error("{actual} usable rows are too few: at least {expected} are needed")]
    ExamplesTooFew {
        /// Least number of usable rows.
        expected: usize,
        /// Usable rows in the file.
        actual: usize,
    },
    /// All rows have the same label.
    #[error("the label column {column:?} has one value only: at least 2 are needed")]
    OneClassOnly {
        /// Its name.
        column: String,
    },
    /// The label column has more values than a task may have classes.
    #[error(
        "the label column {column:?} has {actual} different values, at most {expected} can be learned: is it the right column?"
    )]
    ClassesTooMany {
        /// Its name.
        column: String,
        /// Most classes of a task.
        expected: usize,
        /// Different values in the column.
        actual: usize,
    },
    /// The labels hardly repeat, so that there is nothing to learn.
    #[error(
        "the label column {column:?} has {classes} different values in {examples} rows: it does not look like classes"
    )]
    LabelsNotRepeated {
        /// Its name.
        column: String,
        /// Different values in the column.
        classes: usize,
        /// Usable rows.
        examples: usize,
    },
}

/// Column names that a sentence lists; a file by mistake may have a thousand.
const NAMES_LISTED_MAX: usize = 20;

/// Joins column names to a list that can be read.
fn listed(columns: &[String]) -> String {
    let first = columns
        .iter()
        .take(NAMES_LISTED_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>();
    match columns.len().saturating_sub(NAMES_LISTED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_columns_are_cut() {
        let columns: Vec<String> = (1..=22).map(|n| n.to_string()).collect();
        let sentence = TextError::LabelColumnMissing { columns }.to_string();
        assert!(sentence.ends_with("18, 19, 20 and 2 more"), "{sentence}");
    }
}
