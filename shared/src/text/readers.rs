//! One reader for each format: text to the rows of a [`Table`], with bad rows noted.

use std::collections::HashMap;

use csv::StringRecord;

use super::{
    TextError,
    delimited::{self, Dialect},
    format::{self, FileFormat},
    header, json, names,
    rows::BadReason,
    table::{COLUMNS_MAX, Table},
};

/// Reads CSV and TSV; rows with another number of fields than most are bad.
pub(super) fn read_delimited(
    text: &str,
    dialect: Dialect,
    format: FileFormat,
) -> Result<Table, TextError> {
    let survey = delimited::survey(text, dialect, usize::MAX);
    let columns = survey.columns;
    if columns > COLUMNS_MAX {
        return Err(TextError::TooManyColumns {
            columns,
            columns_max: COLUMNS_MAX,
        });
    }
    let mut records = delimited::records(text, dialect).peekable();
    let Some((_, first)) = records.peek().cloned() else {
        return Err(TextError::FileEmpty);
    };
    let sample: Vec<_> = delimited::records(text, dialect)
        .skip(1)
        .take(1_000)
        .collect();
    let has_header = first.len() == columns && header::is_header(&first, &sample);
    let names = if has_header {
        records.next();
        unique_names(first.iter())
    } else {
        unique_names(std::iter::repeat_n("", columns))
    };
    let mut table = Table::new(format, has_header, names);
    for (line, mut record) in records {
        let beyond = record.iter().skip(columns);
        if record.len() > columns && beyond.clone().all(|cell| cell.trim().is_empty()) {
            record.truncate(columns); // separators at the end of a line, as spreadsheets write them
        }
        if record.len() == columns {
            table.push(line, record)?;
        } else {
            table.bad.note(line, BadReason::WrongColumnCount);
        }
    }
    Ok(table)
}

/// Reads one object a line; other lines are bad rows.
pub(super) fn read_json_lines(text: &str) -> Result<Table, TextError> {
    let mut objects = ObjectRows::new(FileFormat::JsonLines);
    for (line, source) in format::lines(text) {
        objects.push(line, source)?;
    }
    objects.finish()
}

/// Reads a list of objects, or objects one after the other.
pub(super) fn read_json_list(text: &str) -> Result<Table, TextError> {
    let mut objects = ObjectRows::new(FileFormat::JsonList);
    for (line, source) in json::objects(text)? {
        objects.push(line, source)?;
    }
    objects.finish()
}

/// Gives every key of the objects a column, in the order in which they first occur.
struct ObjectRows {
    table: Table,
    column_of: HashMap<String, usize>,
}

impl ObjectRows {
    fn new(format: FileFormat) -> Self {
        Self {
            table: Table::new(format, true, Vec::new()),
            column_of: HashMap::new(),
        }
    }

    fn push(&mut self, line: u32, source: &str) -> Result<(), TextError> {
        let Some(object) = json::parse(source) else {
            self.table.bad.note(line, BadReason::NotAnObject);
            return Ok(());
        };
        let mut cells: Vec<String> = vec![String::new(); self.table.columns.len()];
        for (key, value) in object.0 {
            let column = *self.column_of.entry(key).or_insert_with_key(|key| {
                self.table.columns.push(key.clone());
                cells.push(String::new());
                self.table.columns.len() - 1
            });
            cells[column] = value;
        }
        let columns = self.table.columns.len();
        if columns > COLUMNS_MAX {
            return Err(TextError::TooManyColumns {
                columns,
                columns_max: COLUMNS_MAX,
            });
        }
        self.table.push(line, StringRecord::from(cells))
    }

    fn finish(mut self) -> Result<Table, TextError> {
        if self.table.columns.is_empty() {
            return Err(TextError::JsonShape);
        }
        self.table.columns = unique_names(self.table.columns.iter().map(String::as_str));
        Ok(self.table)
    }
}

/// Reads `LABEL text` or `text@label`; lines without label are bad rows.
pub(super) fn read_labelled_lines(text: &str, format: FileFormat) -> Result<Table, TextError> {
    let mut table = Table::new(format, false, vec!["label".to_owned(), "text".to_owned()]);
    for (line, content) in format::lines(text) {
        let content = content.trim_end();
        let fields = match format {
            FileFormat::LabelThenText => format::split_label_then_text(content),
            _ => format::split_text_at_label(content).map(|(text, label)| (label, text)),
        };
        match fields {
            Some((label, text)) => table.push(line, StringRecord::from(vec![label, text]))?,
            None => table.bad.note(line, BadReason::WrongColumnCount),
        }
    }
    Ok(table)
}

/// Reads one text a line; a first line that is a well-known name of texts is the column's name.
pub(super) fn read_lines(text: &str) -> Result<Table, TextError> {
    let mut lines = format::lines(text).peekable();
    let header = lines.next_if(|(_, line)| names::is_text(line));
    let name = header.map_or("", |(_, line)| line);
    let mut table = Table::new(
        FileFormat::Lines,
        header.is_some(),
        unique_names([name].into_iter()),
    );
    for (line, content) in lines {
        table.push(line, StringRecord::from(vec![content.trim_end()]))?;
    }
    Ok(table)
}

/// Names every column: blank ones by their position, repeated ones by a number behind the name.
fn unique_names<'n>(names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for (name, position) in names.zip(1..) {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let name = if name.is_empty() {
            format!("column {position}")
        } else {
            name
        };
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        unique.extend(candidates.find(|candidate| !unique.contains(candidate)));
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_and_made_unique() {
        let names = unique_names(["", "a", " a ", "column 1", "b\nc"].into_iter());
        assert_eq!(names, ["column 1", "a", "a (2)", "column 1 (2)", "b c"]);
    }
}
