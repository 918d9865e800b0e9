//! A file of the owner as columns and rows of cells, still uninterpreted.
//!
//! It finds encoding, format and header. What a column means is `columns`' matter, what a cell means `rows`'.

use std::fmt;

use csv::StringRecord;

use super::{
    TextError,
    delimited::Dialect,
    encoding::{self, TextEncoding},
    format::{self, FileFormat},
    readers,
    rows::BadRows,
};

/// Largest file: its bytes, its characters and its rows share the 32-bit address space of a browser tab.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Most rows of a file: the server takes no more examples in one session.
pub const ROWS_MAX: usize = 1_000_000;

/// Most columns of a file: every column is measured to find the text and the label.
pub const COLUMNS_MAX: usize = 1_000;

/// Columns and rows of a file.
pub struct Table {
    pub(super) format: FileFormat,
    pub(super) encoding: TextEncoding,
    pub(super) has_header: bool,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Rows that could not be read as rows.
    pub(super) bad: BadRows,
}

/// One row of a file.
pub(super) struct Row {
    /// Line of the file on which it begins, from 1.
    pub(super) line: u32,
    cells: StringRecord,
}

impl Row {
    /// Returns a cell as it stands in the file; empty where the row has none.
    pub(super) fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or_default()
    }
}

/// Refuses a file by its size, before it is read into memory.
///
/// # Errors
/// [`TextError::FileTooLarge`] above [`FILE_BYTES_MAX`].
pub fn check_file_bytes(bytes: u64) -> Result<(), TextError> {
    if bytes > FILE_BYTES_MAX {
        return Err(TextError::FileTooLarge {
            bytes,
            bytes_max: FILE_BYTES_MAX,
        });
    }
    Ok(())
}

impl Table {
    /// Reads the rows of a file; `file_name` helps only where the content allows several formats.
    ///
    /// # Errors
    /// A [`TextError`] for a file that is too large, empty, no text, malformed, or has no rows.
    pub fn read(file_name: &str, bytes: &[u8]) -> Result<Self, TextError> {
        check_file_bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let (text, encoding) = encoding::decode(bytes)?;
        if text.trim().is_empty() {
            return Err(TextError::FileEmpty);
        }
        let format = format::detect(file_name, &text)?;
        let table = match format {
            FileFormat::Delimited { separator, quoting } => {
                readers::read_delimited(&text, Dialect { separator, quoting }, format)
            }
            FileFormat::JsonLines => readers::read_json_lines(&text),
            FileFormat::JsonList => readers::read_json_list(&text),
            FileFormat::LabelThenText | FileFormat::TextAtLabel => {
                readers::read_labelled_lines(&text, format)
            }
            FileFormat::Lines => readers::read_lines(&text),
        }?;
        if table.rows.is_empty() {
            return Err(TextError::NoRows);
        }
        Ok(Self { encoding, ..table })
    }

    /// Returns how the rows are written.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// Returns how the characters are written.
    pub fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// Whether the column names come from the file; else they are `column 1`, `column 2`, ...
    pub fn has_header(&self) -> bool {
        self.has_header
    }

    /// Returns the names of the columns.
    pub fn column_names(&self) -> &[String] {
        &self.columns
    }

    /// Returns the number of rows that could be read, header excluded.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// An empty table, of which only the encoding is not known yet.
    pub(super) fn new(format: FileFormat, has_header: bool, columns: Vec<String>) -> Self {
        let encoding = TextEncoding::Utf8;
        Self {
            format,
            encoding,
            has_header,
            columns,
            rows: Vec::new(),
            bad: BadRows::default(),
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`TextError::TooManyRows`] above [`ROWS_MAX`].
    pub(super) fn push(&mut self, line: u32, cells: StringRecord) -> Result<(), TextError> {
        if self.rows.len() + self.bad.total() >= ROWS_MAX {
            return Err(TextError::TooManyRows { rows_max: ROWS_MAX });
        }
        self.rows.push(Row { line, cells });
        Ok(())
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Table({} columns, {} rows)",
            self.columns.len(),
            self.rows.len()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::text::BadReason;

    fn table(file_name: &str, text: &str) -> Table {
        Table::read(file_name, text.as_bytes()).unwrap()
    }

    fn cells(table: &Table) -> Vec<(u32, Vec<&str>)> {
        let cells = |row| {
            (0..table.columns.len())
                .map(|c| Row::cell(row, c))
                .collect()
        };
        table
            .rows
            .iter()
            .map(|row| (row.line, cells(row)))
            .collect()
    }

    #[test]
    fn csv_with_header_and_uneven_rows() {
        let read = table(
            "a.csv",
            "text,label\na b,x\nonly one\n\"c,\nd\",y,,\ne,f,g\n",
        );
        assert_eq!(read.columns, ["text", "label"]);
        assert!(read.has_header);
        assert_eq!(
            cells(&read),
            [(2, vec!["a b", "x"]), (4, vec!["c,\nd", "y"])]
        );
        let bad: Vec<_> = read
            .bad
            .first()
            .iter()
            .map(|bad| (bad.row, bad.reason))
            .collect();
        assert_eq!(
            bad,
            [
                (3, BadReason::WrongColumnCount),
                (6, BadReason::WrongColumnCount)
            ]
        );
    }

    #[test]
    fn tsv_without_header_is_named_by_position() {
        let read = table("a.tsv", "a fine film\t1\na bad film\t0\n");
        assert_eq!(read.columns, ["column 1", "column 2"]);
        assert!(!read.has_header);
        assert_eq!(read.row_count(), 2);
    }

    #[test]
    fn pair_tsv_with_mark_and_raw_quotes() {
        let text = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n\
            1\t10\t11\t\"We won,\" he said.\tHe said \"we won\".\r\n\
            0\t12\t13\t\"Open quote\tAnother one\r\n1\t14\t15\tPlain\tPlain too\r\n";
        let read = table("x.txt", text);
        assert_eq!(read.encoding, TextEncoding::Utf8Bom);
        assert_eq!(read.format.name(), "TSV, quotes literal");
        assert_eq!(
            read.columns,
            ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
        );
        assert_eq!(read.rows.len(), 3);
        assert_eq!(read.rows[0].cell(3), "\"We won,\" he said.");
        assert_eq!(read.rows[1].cell(3), "\"Open quote");
    }

    #[test]
    fn labelled_lines() {
        let read = table("a.txt", "0 bad one\r\n\r\n1 good one\r\n");
        assert_eq!(
            cells(&read),
            [(1, vec!["0", "bad one"]), (3, vec!["1", "good one"])]
        );
        let read = table(
            "a.txt",
            "costs @ 5@neutral\nfell@negative\nno label\n"
                .repeat(9)
                .as_str(),
        );
        assert_eq!(read.format, FileFormat::Lines); // a third without label is no text@label file
        let read = table("a.txt", "costs @ 5@neutral\nfell@negative");
        assert_eq!(
            cells(&read),
            [
                (1, vec!["neutral", "costs @ 5"]),
                (2, vec!["negative", "fell"])
            ]
        );
    }

    #[test]
    fn json_lines_with_keys_that_come_and_go() {
        let read = table(
            "a.jsonl",
            "{\"text\": \"a\"}\n\nnot json\n{\"label\": 1, \"text\": \"b\"}\n",
        );
        assert_eq!(read.columns, ["text", "label"]);
        assert_eq!(cells(&read), [(1, vec!["a", ""]), (4, vec!["b", "1"])]);
        assert_eq!(read.bad.first()[0].reason, BadReason::NotAnObject);
    }

    #[test]
    fn json_list_over_several_lines() {
        let read = table(
            "a.json",
            "[\n {\n  \"t\": \"a\",\n  \"spans\": [{\"t\": 1}]\n },\n {\"t\": 2}]",
        );
        assert_eq!(read.columns, ["t"]);
        assert_eq!(cells(&read), [(2, vec!["a"]), (6, vec!["2"])]);
    }

    #[test]
    fn plain_lines_with_and_without_name() {
        let read = table("a.txt", "Sentence\nfine, yes\n");
        assert_eq!(
            (read.columns[0].as_str(), read.row_count()),
            ("Sentence", 1)
        );
        let read = table("a.txt", "fine, yes\nno\n");
        assert_eq!(
            (read.columns[0].as_str(), read.row_count()),
            ("column 1", 2)
        );
    }

    #[test]
    fn nothing_to_read_is_said() {
        let error = |name, bytes: &[u8]| Table::read(name, bytes).unwrap_err();
        assert_eq!(error("a.csv", b""), TextError::FileEmpty);
        assert_eq!(error("a.csv", b"\xef\xbb\xbf \r\n\t"), TextError::FileEmpty);
        assert_eq!(error("a.csv", b"text,label\n"), TextError::NoRows);
        assert_eq!(error("a.json", b"[]"), TextError::JsonShape);
        assert_eq!(error("a.json", b"{\"a\": [1]}"), TextError::JsonShape);
        let bytes = FILE_BYTES_MAX + 1;
        let sentence = check_file_bytes(bytes).unwrap_err().to_string();
        assert!(
            sentence.starts_with("the file has 257 MB, at most 256 MB"),
            "{sentence}"
        );
    }

    #[test]
    fn too_many_rows_and_columns_are_refused() {
        let rows = "a,1\n".repeat(ROWS_MAX + 1);
        let error = Table::read("a.csv", rows.as_bytes()).unwrap_err();
        assert_eq!(error, TextError::TooManyRows { rows_max: ROWS_MAX });
        let columns = format!("{0}x\n{0}y\n", "a,".repeat(COLUMNS_MAX));
        let error = Table::read("a.csv", columns.as_bytes()).unwrap_err();
        assert_eq!(
            error,
            TextError::TooManyColumns {
                columns: 1_001,
                columns_max: COLUMNS_MAX
            }
        );
    }
}
