//! Which format a file has: its content decides, its name only where the content allows several.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};

use super::{
    TextError,
    delimited::{self, Dialect},
    json,
};

/// Lines that are looked at to recognise a line format.
const SAMPLE_LINES: usize = 1_000;

/// Most characters of a label behind `@`.
const AT_LABEL_CHARS_MAX: usize = 32;

/// Most classes that a line format without any separator may have and still be believed.
const LINE_CLASSES_MAX: usize = 50;

/// What stands between the fields of a delimited file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Separator {
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// The tabulator.
    Tab,
}

impl Separator {
    /// Returns the character as a byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// Fields with a separator between them.
    Delimited {
        /// What stands between fields.
        separator: Separator,
        /// Whether `"` encloses fields.
        quoting: bool,
    },
    /// One JSON object a line.
    JsonLines,
    /// A JSON list of objects.
    JsonList,
    /// `LABEL text`: a whole number, one space, the text.
    LabelThenText,
    /// `text@label`, split at the last `@`.
    TextAtLabel,
    /// One text a line, without labels.
    Lines,
}

impl FileFormat {
    /// Returns the name that people know.
    pub fn name(self) -> &'static str {
        use Separator::{Comma, Semicolon, Tab};
        match self {
            Self::Delimited {
                separator: Comma,
                quoting: true,
            } => "CSV, comma",
            Self::Delimited {
                separator: Comma,
                quoting: false,
            } => "CSV, comma, quotes literal",
            Self::Delimited {
                separator: Semicolon,
                quoting: true,
            } => "CSV, semicolon",
            Self::Delimited {
                separator: Semicolon,
                quoting: false,
            } => "CSV, semicolon, quotes literal",
            Self::Delimited {
                separator: Tab,
                quoting: true,
            } => "TSV",
            Self::Delimited {
                separator: Tab,
                quoting: false,
            } => "TSV, quotes literal",
            Self::JsonLines => "JSON Lines",
            Self::JsonList => "JSON",
            Self::LabelThenText => "label and text on each line",
            Self::TextAtLabel => "text@label on each line",
            Self::Lines => "plain text, one text a line",
        }
    }
}

impl Serialize for FileFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Finds the format of a text that is not blank.
///
/// # Errors
/// [`TextError::JsonMalformed`] or [`TextError::JsonShape`] for what can only be meant as JSON and is none, or is not a
/// list of objects.
pub(super) fn detect(file_name: &str, text: &str) -> Result<FileFormat, TextError> {
    let extension = file_name
        .rsplit_once('.')
        .map(|(_, end)| end.to_ascii_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    let named_json = matches!(extension, "json" | "jsonl" | "ndjson");
    if let Some(format) = json::detect(text, named_json)? {
        return Ok(format);
    }
    if is_text_at_label(text) {
        return Ok(FileFormat::TextAtLabel);
    }
    if is_label_then_text(text) {
        return Ok(FileFormat::LabelThenText);
    }
    let named_delimited = matches!(extension, "csv" | "tsv" | "tab");
    if let Some(Dialect { separator, quoting }) = delimited::sniff(text, named_delimited) {
        return Ok(FileFormat::Delimited { separator, quoting });
    }
    if named_delimited && text.contains('"') {
        // One column of quoted texts.
        return Ok(FileFormat::Delimited {
            separator: Separator::Comma,
            quoting: true,
        });
    }
    Ok(FileFormat::Lines)
}

/// Splits `LABEL text`: a whole number of up to four digits, one space, a text that does not begin with a blank.
pub(super) fn split_label_then_text(line: &str) -> Option<(&str, &str)> {
    let (label, text) = line.split_once(' ')?;
    let digits = label.strip_prefix(['-', '+']).unwrap_or(label);
    let number = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (number && text.starts_with(|c: char| !c.is_whitespace())).then_some((label, text))
}

/// Splits `text@label` at the last `@`; the label is short and has no blank in it.
pub(super) fn split_text_at_label(line: &str) -> Option<(&str, &str)> {
    let (text, label) = line.trim_end().rsplit_once('@')?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.');
    let short = !label.is_empty() && label.chars().count() <= AT_LABEL_CHARS_MAX;
    (short && label.chars().all(plain) && !text.trim().is_empty()).then_some((text, label))
}

/// Lines that are not blank, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let old_mac = !text.contains('\n');
    let numbered = (1u32..).zip(text.split(if old_mac { '\r' } else { '\n' }));
    numbered.filter(|(_, line)| !line.trim().is_empty())
}

fn is_label_then_text(text: &str) -> bool {
    let begins_so = lines(text)
        .next()
        .is_some_and(|(_, line)| split_label_then_text(line).is_some());
    begins_so
        && labels_repeat(text, |line| {
            split_label_then_text(line).map(|(label, _)| label)
        })
}

fn is_text_at_label(text: &str) -> bool {
    labels_repeat(text, |line| {
        split_text_at_label(line).map(|(_, label)| label)
    })
}

/// Whether at least nine lines in ten have a label and the labels repeat as classes do.
fn labels_repeat<'t>(text: &'t str, label: impl Fn(&'t str) -> Option<&'t str>) -> bool {
    let (mut sampled, mut labelled) = (0usize, 0usize);
    let mut distinct = BTreeSet::new();
    for (_, line) in lines(text).take(SAMPLE_LINES) {
        sampled += 1;
        if let Some(label) = label(line) {
            labelled += 1;
            distinct.insert(label);
        }
    }
    let repeat = distinct.len() * 2 <= labelled || labelled <= 4;
    labelled > 0 && labelled * 10 >= sampled * 9 && distinct.len() <= LINE_CLASSES_MAX && repeat
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn format(file_name: &str, text: &str) -> FileFormat {
        detect(file_name, text).unwrap()
    }

    #[test]
    fn line_formats_are_recognised_whatever_the_name() {
        assert_eq!(
            format("x.dev", "0 a bad one .\n1 a good , fine one .\n"),
            FileFormat::LabelThenText
        );
        let at = "Profit @ 3 rose , as said .@positive\nIt fell .@negative\r\nSame .@negative\n";
        assert_eq!(format("x.txt", at), FileFormat::TextAtLabel);
        assert_eq!(format("x.csv", at), FileFormat::TextAtLabel);
    }

    #[test]
    fn mail_addresses_are_no_labels() {
        let lines = "ask a@b.com\nask c@d.org\nask e@f.net\nask g@h.edu\nask i@j.info\n";
        assert_eq!(format("x.txt", lines), FileFormat::Lines);
    }

    #[test]
    fn a_number_in_front_needs_one_space_and_repeats() {
        assert_eq!(split_label_then_text("1 a b"), Some(("1", "a b")));
        assert_eq!(split_label_then_text("-1 a"), Some(("-1", "a")));
        for line in ["1  a", "12345 a", "1", "1 ", "x a", "1.5 a", " 1 a"] {
            assert_eq!(split_label_then_text(line), None, "{line}");
        }
        let years = "1990 was\n1991 was\n1992 was\n1993 was\n1994 was\n";
        assert_eq!(format("x.txt", years), FileFormat::Lines);
    }

    #[test]
    fn the_last_at_sign_splits() {
        assert_eq!(
            split_text_at_label("a @ b@neutral\r"),
            Some(("a @ b", "neutral"))
        );
        assert_eq!(split_text_at_label("@neutral"), None);
        assert_eq!(split_text_at_label("a@two words"), None);
        assert_eq!(split_text_at_label("a@"), None);
    }

    #[test]
    fn prose_is_plain_text_and_one_quoted_column_is_csv() {
        assert_eq!(format("x.txt", "Well, yes.\nNo.\n"), FileFormat::Lines);
        assert_eq!(format("x.csv", "text\nfine\nbad\n"), FileFormat::Lines);
        let one = FileFormat::Delimited {
            separator: Separator::Comma,
            quoting: true,
        };
        assert_eq!(format("x.csv", "text\n\"a, b\"\n\"c\"\n"), one);
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_left_out() {
        let read: Vec<_> = lines("a\n\n b \r\n").collect();
        assert_eq!(read, [(1, "a"), (3, " b \r")]);
        assert_eq!(lines("a\rb").collect::<Vec<_>>(), [(1, "a"), (2, "b")]);
    }
}
