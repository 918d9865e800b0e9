//! A file of labelled texts in the hands of a person: read, looked at, its columns chosen.

use serde::{Deserialize, Serialize};
use shared::text::{
    BadRow, ColumnChoice, Columns, Dataset, DatasetLimits, DatasetReport, LabelCount, Table,
    TextError, Texts,
};

use crate::error::ClientError;

/// Texts that are shown of a file.
const SHOWN: usize = 5;

/// A file, and what its columns mean.
#[derive(Debug)]
pub struct LabelledFile {
    table: Table,
    columns: Columns,
    dataset: Result<Dataset, TextError>,
}

/// Which columns a person chose, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChosenColumns {
    /// The text.
    pub text: Option<String>,
    /// The second text of a pair.
    pub pair: Option<String>,
    /// The label.
    pub label: Option<String>,
}

impl ChosenColumns {
    /// The choice as the reader of tables takes it.
    pub fn as_choice(&self) -> ColumnChoice<'_> {
        ColumnChoice {
            text: self.text.as_deref(),
            pair: self.pair.as_deref(),
            label: self.label.as_deref(),
        }
    }
}

/// A file as its owner sees it. Holds private text; stays on the device that made it.
#[derive(Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// How the rows are written.
    pub format: String,
    /// How the characters are written.
    pub encoding: String,
    /// Rows of the file.
    pub rows: usize,
    /// Names of all columns.
    pub columns: Vec<String>,
    /// The column that holds the text.
    pub text_column: String,
    /// The column that holds the second text.
    pub pair_column: Option<String>,
    /// The column that holds the label.
    pub label_column: Option<String>,
    /// The classes, in the order of their numbers.
    pub labels: Vec<LabelSummary>,
    /// The first rows that were left out.
    pub bad_rows: Vec<BadRowSummary>,
    /// How many were left out.
    pub bad_rows_total: usize,
    /// Why this file cannot be trained on, if it cannot.
    pub problem: Option<String>,
    /// The first examples.
    pub examples: Vec<ShownExample>,
}

impl std::fmt::Debug for FileReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileReport({} rows)", self.rows)
    }
}

/// A class and how many examples have it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct LabelSummary {
    /// As in the file.
    pub name: String,
    /// Examples.
    pub count: usize,
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRowSummary {
    /// Line of the file, from 1.
    pub row: u32,
    /// A sentence without content.
    pub reason: &'static str,
}

/// An example for the owner's eyes.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ShownExample {
    /// The text.
    pub text: String,
    /// The second text.
    pub pair: Option<String>,
    /// The label.
    pub label: Option<String>,
}

impl LabelledFile {
    /// Reads a file and finds its columns.
    ///
    /// # Errors
    ///
    /// When it is not a file of rows.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, ClientError> {
        let table = Table::read(name, bytes)?;
        let columns = Columns::detect(&table)?;
        Ok(Self::with_columns(table, columns))
    }

    /// Takes other columns; after an error the earlier ones still hold.
    ///
    /// # Errors
    ///
    /// When there is no such column.
    pub fn choose(&mut self, chosen: &ChosenColumns) -> Result<(), ClientError> {
        self.columns = Columns::choose(&self.table, &chosen.as_choice())?;
        self.dataset = Dataset::from_table(&self.table, &self.columns, &DatasetLimits::default());
        Ok(())
    }

    fn with_columns(table: Table, columns: Columns) -> Self {
        let dataset = Dataset::from_table(&table, &columns, &DatasetLimits::default());
        Self {
            table,
            columns,
            dataset,
        }
    }

    /// The examples, if the file can be trained on.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn dataset(&self) -> Result<&Dataset, ClientError> {
        self.dataset.as_ref().map_err(|error| error.clone().into())
    }

    /// What its owner sees of it.
    ///
    /// # Errors
    ///
    /// When it has no usable text at all.
    pub fn report(&self) -> Result<FileReport, ClientError> {
        match &self.dataset {
            Ok(dataset) => Ok(report(dataset.report(), dataset.display_texts(SHOWN), None)),
            Err(problem) => {
                let texts = Texts::from_table(&self.table, &self.columns)?;
                let shown = texts.display_texts(SHOWN);
                Ok(report(texts.report(), shown, Some(problem.to_string())))
            }
        }
    }
}

fn report(
    report: &DatasetReport,
    shown: Vec<(String, Option<String>, Option<String>)>,
    problem: Option<String>,
) -> FileReport {
    let label = |label: &LabelCount| LabelSummary {
        name: label.name.clone(),
        count: label.examples,
    };
    let bad = |bad: &BadRow| BadRowSummary {
        row: bad.row,
        reason: bad.sentence,
    };
    let example = |(text, pair, label)| ShownExample { text, pair, label };
    FileReport {
        format: report.format.name().to_owned(),
        encoding: report.encoding.name().to_owned(),
        rows: report.rows,
        columns: report.columns.clone(),
        text_column: report.text_column.clone(),
        pair_column: report.pair_column.clone(),
        label_column: report.label_column.clone(),
        labels: report.labels.iter().map(label).collect(),
        bad_rows: report.bad_rows.first().iter().map(bad).collect(),
        bad_rows_total: report.bad_rows.total(),
        problem,
        examples: shown.into_iter().map(example).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_one_class_is_shown_with_its_problem() {
        let rows: String = (0..12)
            .map(|row| format!("a sentence numbered {row},yes\n"))
            .collect();
        let file = LabelledFile::read("a.csv", format!("text,label\n{rows}").as_bytes()).unwrap();
        let report = file.report().unwrap();
        assert!(report.problem.is_some());
        assert_eq!(file.dataset().unwrap_err().name(), "OneClassOnly");
        assert_eq!(report.rows, 12);
    }
}
