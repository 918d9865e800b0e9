//! Labelled examples for training and measuring.
//!
//! It reads a [`Table`]; it does not tokenize, and it has no way out of this device.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use super::{
    TextError,
    columns::Columns,
    report::{Counts, DatasetReport, LabelCount},
    rows::{BadReason, BadRows, CleanRow, clean_rows},
    table::Table,
    token_ids::RawText,
};

/// What a data set must have to be worth a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetLimits {
    /// Least number of examples: below it, neither side of a split means anything.
    pub examples_min: usize,
    /// Most classes: what the server takes.
    pub classes_max: usize,
}

impl Default for DatasetLimits {
    fn default() -> Self {
        Self {
            examples_min: 10,
            classes_max: 1_000,
        }
    }
}

/// One labelled text or pair.
#[derive(Clone)]
pub struct Example {
    /// The text.
    pub text: RawText,
    /// The second text of a pair.
    pub pair: Option<RawText>,
    /// Index into the labels of the data set.
    pub label: u32,
}

impl fmt::Debug for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Example")
            .field("text", &self.text)
            .field("pair", &self.pair)
            .finish_non_exhaustive()
    }
}

/// Labelled examples of one task.
pub struct Dataset {
    examples: Vec<Example>,
    labels: Vec<String>,
    counts: Vec<usize>,
    report: DatasetReport,
}

impl Dataset {
    /// Reads the examples of a table for training; the labels are those that occur, sorted (as numbers if all are).
    ///
    /// # Errors
    /// [`TextError::LabelColumnMissing`] without a label column, [`TextError::ExamplesTooFew`],
    /// [`TextError::OneClassOnly`], [`TextError::ClassesTooMany`], [`TextError::LabelsNotRepeated`], and what
    /// [`Columns::choose`] says of wrong columns.
    pub fn from_table(
        table: &Table,
        columns: &Columns,
        limits: &DatasetLimits,
    ) -> Result<Self, TextError> {
        let column = label_column(table, columns)?;
        let (rows, bad) = clean_rows(table, columns);
        let labels = sorted_labels(&rows);
        let (classes, examples) = (labels.len(), rows.len());
        let expected = limits.examples_min.max(1);
        if examples < expected {
            return Err(TextError::ExamplesTooFew {
                expected,
                actual: examples,
            });
        }
        if classes < 2 {
            return Err(TextError::OneClassOnly { column });
        }
        if classes > limits.classes_max {
            let expected = limits.classes_max;
            return Err(TextError::ClassesTooMany {
                column,
                expected,
                actual: classes,
            });
        }
        if classes > 2 && classes * 2 > examples {
            return Err(TextError::LabelsNotRepeated {
                column,
                classes,
                examples,
            });
        }
        Ok(Self::assemble(table, columns, rows, bad, labels))
    }

    /// Reads the examples of a table for measuring a model that knows these labels, in this order; a row with another
    /// label is a bad row.
    ///
    /// # Errors
    /// [`TextError::LabelColumnMissing`] without a label column, [`TextError::ExamplesTooFew`] when no row is usable,
    /// and what [`Columns::choose`] says of wrong columns.
    pub fn with_labels(
        table: &Table,
        columns: &Columns,
        labels: &[String],
    ) -> Result<Self, TextError> {
        label_column(table, columns)?;
        let (rows, bad) = clean_rows(table, columns);
        let dataset = Self::assemble(table, columns, rows, bad, labels.to_vec());
        if dataset.examples.is_empty() {
            return Err(TextError::ExamplesTooFew {
                expected: 1,
                actual: 0,
            });
        }
        Ok(dataset)
    }

    fn assemble(
        table: &Table,
        columns: &Columns,
        rows: Vec<CleanRow>,
        mut bad_rows: BadRows,
        labels: Vec<String>,
    ) -> Self {
        let index: BTreeMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
        let mut counts = vec![0; labels.len()];
        let mut examples = Vec::with_capacity(rows.len());
        for CleanRow {
            line,
            text,
            pair,
            label,
        } in rows
        {
            let Some(&label) = index.get(label.as_str()) else {
                bad_rows.note(line, BadReason::LabelUnknown);
                continue;
            };
            counts[label as usize] += 1;
            examples.push(Example { text, pair, label });
        }
        let duplicates = duplicates(examples.iter().map(|e| (&e.text, e.pair.as_ref())));
        let named = labels.iter().zip(&counts);
        let label_counts = named
            .map(|(name, &examples)| LabelCount {
                name: name.clone(),
                examples,
            })
            .collect();
        let found = Counts {
            examples: examples.len(),
            duplicates,
            labels: label_counts,
            bad_rows,
        };
        Self {
            examples,
            labels,
            counts,
            report: DatasetReport::new(table, columns, found),
        }
    }

    /// Returns the examples in the order of the file.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// Gives the examples away, in the order of the file.
    pub fn into_examples(self) -> Vec<Example> {
        self.examples
    }

    /// Returns the names of the labels; an example's `label` is an index into them.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the number of examples of each label.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Returns what the page may show: names, counts and line numbers, no texts.
    pub fn report(&self) -> &DatasetReport {
        &self.report
    }

    /// Returns the first `n` texts with pair and label, for the owner's own screen only.
    pub fn display_texts(&self, n: usize) -> Vec<(String, Option<String>, Option<String>)> {
        let shown = |e: &Example| {
            let label = self.labels.get(e.label as usize).cloned();
            (
                e.text.expose().to_owned(),
                e.pair.as_ref().map(|p| p.expose().to_owned()),
                label,
            )
        };
        self.examples.iter().take(n).map(shown).collect()
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Dataset({} examples, {} classes)",
            self.examples.len(),
            self.labels.len()
        )
    }
}

/// Returns the name of the label column.
fn label_column(table: &Table, columns: &Columns) -> Result<String, TextError> {
    columns.check(table)?;
    let name = columns
        .label
        .and_then(|column| table.columns.get(column))
        .cloned();
    name.ok_or_else(|| TextError::LabelColumnMissing {
        columns: table.columns.clone(),
    })
}

/// Returns the labels that occur, by value if all are whole numbers, else by character.
fn sorted_labels(rows: &[CleanRow]) -> Vec<String> {
    let distinct: HashSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let mut labels: Vec<String> = distinct.into_iter().map(str::to_owned).collect();
    labels.sort_unstable();
    if labels.iter().all(|label| label.parse::<i64>().is_ok()) {
        labels.sort_by_key(|label| label.parse::<i64>().unwrap_or_default());
    }
    labels
}

/// Counts the texts that occur earlier.
pub(super) fn duplicates<'t>(
    texts: impl Iterator<Item = (&'t RawText, Option<&'t RawText>)>,
) -> usize {
    let mut seen = HashSet::new();
    texts.filter(|text| !seen.insert(*text)).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SMALL: DatasetLimits = DatasetLimits {
        examples_min: 2,
        classes_max: 3,
    };

    fn table(text: &str) -> Table {
        Table::read("a.csv", text.as_bytes()).unwrap()
    }

    fn dataset(text: &str, limits: &DatasetLimits) -> Result<Dataset, TextError> {
        let table = table(text);
        Dataset::from_table(&table, &Columns::detect(&table)?, limits)
    }

    #[test]
    fn examples_labels_and_report_agree() {
        let data = dataset("text,label\na b,10\nc d,9\na b,10\n,9\n", &SMALL).unwrap();
        assert_eq!(data.labels(), ["9", "10"]); // as numbers
        assert_eq!(data.counts(), [1, 2]);
        assert_eq!(
            data.examples().iter().map(|e| e.label).collect::<Vec<_>>(),
            [1, 0, 1]
        );
        let report = data.report();
        assert_eq!((report.rows, report.examples, report.duplicates), (4, 3, 1));
        assert_eq!(
            (report.text_column.as_str(), report.label_column.as_deref()),
            ("text", Some("label"))
        );
        assert_eq!(
            report.labels[1],
            LabelCount {
                name: "10".to_owned(),
                examples: 2
            }
        );
        assert_eq!(
            data.display_texts(1),
            [("a b".to_owned(), None, Some("10".to_owned()))]
        );
    }

    #[test]
    fn words_sort_by_character() {
        let data = dataset(
            "text,label\na b,b\nc d,10\ne f,a\n",
            &DatasetLimits {
                examples_min: 1,
                ..SMALL
            },
        );
        assert_eq!(
            data.unwrap_err(),
            TextError::LabelsNotRepeated {
                column: "label".to_owned(),
                classes: 3,
                examples: 3
            }
        );
        let data = dataset("text,label\na b,b\nc d,10\ne f,b\n", &SMALL).unwrap();
        assert_eq!(data.labels(), ["10", "b"]);
    }

    #[test]
    fn unfit_data_sets_are_refused_in_one_sentence() {
        let column = || "label".to_owned();
        let error = |text: &str| dataset(text, &SMALL).unwrap_err();
        assert_eq!(
            error("text,label\na b,x\nc d,x\n"),
            TextError::OneClassOnly { column: column() }
        );
        let few = TextError::ExamplesTooFew {
            expected: 2,
            actual: 1,
        };
        assert_eq!(error("text,label\na b,x\nc d,\n"), few);
        let many = "text,label\na b,1\nc d,2\ne f,3\ng h,4\n".to_owned() + &"i j,4\n".repeat(4);
        let too_many = TextError::ClassesTooMany {
            column: column(),
            expected: 3,
            actual: 4,
        };
        assert_eq!(error(&many), too_many);
        let columns = vec!["Sentence".to_owned()];
        assert_eq!(
            error("Sentence\nfine\nbad\n"),
            TextError::LabelColumnMissing { columns }
        );
        let sentence = dataset("text,label\na b,x\nc d,x\n", &SMALL)
            .unwrap_err()
            .to_string();
        assert_eq!(
            sentence,
            "the label column \"label\" has one value only: at least 2 are needed"
        );
    }

    #[test]
    fn known_labels_keep_their_order_and_unknown_ones_are_bad_rows() {
        let table = table("text,label\na b,neg\nc d,pos\ne f,odd\n");
        let columns = Columns {
            text: 0,
            pair: None,
            label: Some(1),
        };
        let labels = ["pos".to_owned(), "neg".to_owned(), "rare".to_owned()];
        let data = Dataset::with_labels(&table, &columns, &labels).unwrap();
        assert_eq!(
            data.examples().iter().map(|e| e.label).collect::<Vec<_>>(),
            [1, 0]
        );
        assert_eq!(data.counts(), [1, 1, 0]);
        let bad = data.report().bad_rows.first();
        assert_eq!((bad[0].row, bad[0].reason), (4, BadReason::LabelUnknown));
        assert!(Dataset::with_labels(&table, &columns, &["x".to_owned()]).is_err());
    }

    #[test]
    fn no_text_and_no_label_in_debug_report_or_errors() {
        let csv = "text,label\ncanarytext one,canarylabel\ncanarytext two,other\n,canarylabel\n";
        let data = dataset(csv, &SMALL).unwrap();
        let debug = format!(
            "{data:?} {:?} {:?} {:?}",
            table(csv),
            data.examples(),
            data.report()
        );
        assert!(!debug.contains("canary"), "{debug}");
        let json = serde_json::to_string(data.report()).unwrap();
        assert!(
            !json.contains("canarytext") && json.contains("canarylabel"),
            "{json}"
        );
        let text = "{\"text\": \"canary\"}\ncanary".repeat(9);
        let error = Table::read("a.json", text.replace("{", "[").as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("canary"));
    }
}
