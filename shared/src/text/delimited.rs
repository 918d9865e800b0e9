//! Records of CSV and TSV files, and how to find out their separator and whether quotes mean anything.

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder, StringRecord};

use super::{format::Separator, names};

/// Records that are looked at to find the separator.
const SAMPLE_RECORDS: usize = 1_000;

/// How a delimited file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: Separator,
    /// Whether `"` encloses fields; else it is a character like any other.
    pub(super) quoting: bool,
}

/// What reading a text in one dialect gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Survey {
    /// Fields of most records.
    pub(super) columns: usize,
    /// Records with that many fields.
    pub(super) regular: usize,
    /// All records.
    pub(super) records: usize,
}

impl Survey {
    /// Whether at least this share of the records, in percent, has the usual number of fields, two or more.
    fn is_table(self, percent: usize) -> bool {
        self.columns >= 2 && self.regular * 100 >= self.records * percent
    }

    /// Whether a larger share is regular than in another survey; a tie goes to the one with more columns.
    fn beats(self, other: Self) -> bool {
        let (mine, others) = (self.regular * other.records, other.regular * self.records);
        (mine, self.columns) > (others, other.columns)
    }
}

/// Finds the dialect of a text, if it is a table at all.
///
/// `named_so`: the file's name says that it is delimited, so that an uneven table is believed too. Without that, a text
/// whose separators are followed by blanks is prose, unless its first line holds well-known column names.
pub(super) fn sniff(text: &str, named_so: bool) -> Option<Dialect> {
    let mut best: Option<(Dialect, Survey)> = None;
    for separator in [Separator::Tab, Separator::Comma, Separator::Semicolon] {
        if !named_so && is_prose(text, separator) {
            continue;
        }
        for quoting in [true, false] {
            let dialect = Dialect { separator, quoting };
            let survey = survey(text, dialect, SAMPLE_RECORDS);
            if survey.is_table(if named_so { 50 } else { 90 })
                && best.is_none_or(|(_, known)| survey.beats(known))
            {
                best = Some((dialect, survey));
            }
        }
    }
    let separator = best?.0.separator;
    let quoting = quotes_enclose(text, separator);
    Some(Dialect { separator, quoting })
}

/// Whether `"` encloses fields: every quote that opens a field is closed at the end of one, or reading it so leaves no
/// fewer regular records. A raw quote at the start of a field would swallow separators and line breaks up to the next.
fn quotes_enclose(text: &str, separator: Separator) -> bool {
    let regular = |quoting| {
        let survey = survey(text, Dialect { separator, quoting }, usize::MAX);
        if survey.columns >= 2 {
            survey.regular
        } else {
            0
        }
    };
    quotes_match(text, separator) || regular(true) >= regular(false)
}

/// Whether every quote that opens a field is closed, with the end of the field behind it.
fn quotes_match(text: &str, separator: Separator) -> bool {
    let ends_field = |byte: u8| byte == separator.byte() || matches!(byte, b'\r' | b'\n');
    let bytes = text.as_bytes();
    let (mut at, mut begins_field) = (0, true);
    while let Some(&byte) = bytes.get(at) {
        if begins_field && byte == b'"' {
            let Some(end) = closing_quote(bytes, at + 1) else {
                return false;
            };
            if bytes.get(end + 1).is_some_and(|&next| !ends_field(next)) {
                return false;
            }
            at = end;
        }
        begins_field = ends_field(byte);
        at += 1;
    }
    true
}

/// Returns the position of the quote that closes a field; a doubled quote is one character of the field.
fn closing_quote(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', Some(b'"')) => at += 2,
            (b'"', _) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// Counts the fields of the first records.
pub(super) fn survey(text: &str, dialect: Dialect, records_max: usize) -> Survey {
    let mut reader = reader(dialect).from_reader(text.as_bytes());
    let mut record = ByteRecord::new();
    let mut by_fields: BTreeMap<usize, usize> = BTreeMap::new();
    let mut records = 0;
    while records < records_max && reader.read_byte_record(&mut record).unwrap_or(false) {
        if record.iter().all(|field| field.trim_ascii().is_empty()) {
            continue;
        }
        *by_fields.entry(record.len()).or_default() += 1;
        records += 1;
    }
    let usual = by_fields
        .into_iter()
        .max_by_key(|&(fields, count)| (count, fields));
    let (columns, regular) = usual.unwrap_or_default();
    Survey {
        columns,
        regular,
        records,
    }
}

/// Returns the records of a text with the line (from 1) on which each begins; blank ones are left out.
pub(super) fn records(text: &str, dialect: Dialect) -> impl Iterator<Item = (u32, StringRecord)> {
    let mut reader = reader(dialect).from_reader(text.as_bytes());
    let mut lines = LineCounter::new(text);
    std::iter::from_fn(move || {
        loop {
            let mut record = StringRecord::new();
            // Every field is a slice of valid UTF-8 cut at ASCII, and memory cannot fail to be read.
            if !reader.read_record(&mut record).unwrap_or(false) {
                return None;
            }
            let begin = record.position().map_or(0, |position| position.byte());
            if !record.iter().all(|field| field.trim().is_empty()) {
                return Some((
                    lines.line_at(usize::try_from(begin).unwrap_or(usize::MAX)),
                    record,
                ));
            }
        }
    })
}

fn reader(dialect: Dialect) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder
        .delimiter(dialect.separator.byte())
        .quoting(dialect.quoting)
        .has_headers(false)
        .flexible(true);
    builder
}

/// Counts line breaks once, front to back.
pub(super) struct LineCounter<'t> {
    bytes: &'t [u8],
    at: usize,
    line: u32,
}

impl<'t> LineCounter<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            line: 1,
        }
    }

    /// Returns the line of a byte position; line breaks on the position itself belong to blank lines before it.
    pub(super) fn line_at(&mut self, position: usize) -> u32 {
        while let Some(&byte) = self.bytes.get(self.at) {
            if self.at >= position && !matches!(byte, b'\n' | b'\r') {
                break;
            }
            let lone_return = byte == b'\r' && self.bytes.get(self.at + 1) != Some(&b'\n');
            self.line += u32::from(byte == b'\n' || lone_return);
            self.at += 1;
        }
        self.line
    }
}

/// Whether a text uses this separator as sentences do, with a blank behind it.
fn is_prose(text: &str, separator: Separator) -> bool {
    let first_line = text.trim_start().lines().next().unwrap_or_default();
    let mut fields = first_line.split(char::from(separator.byte()));
    if separator == Separator::Tab || fields.clone().count() > 1 && fields.all(names::is_known) {
        return false;
    }
    let sample = &text.as_bytes()[..text.len().min(64 * 1024)];
    let mut behind = sample
        .windows(2)
        .filter(|pair| pair[0] == separator.byte())
        .map(|pair| pair[1]);
    let (blank, other) = behind
        .by_ref()
        .fold((0usize, 0usize), |(blank, other), byte| {
            if byte == b' ' {
                (blank + 1, other)
            } else {
                (blank, other + 1)
            }
        });
    blank > other
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COMMA: Dialect = Dialect {
        separator: Separator::Comma,
        quoting: true,
    };

    fn read(text: &str, dialect: Dialect) -> Vec<(u32, Vec<String>)> {
        let owned = |record: StringRecord| record.iter().map(str::to_owned).collect();
        records(text, dialect)
            .map(|(line, record)| (line, owned(record)))
            .collect()
    }

    #[test]
    fn separators_are_found() {
        for (text, separator) in [
            ("text,label\na b,1\n", Separator::Comma),
            ("text;label\n\"a; b, c\";1\nd, e;2\n", Separator::Semicolon),
            ("text\tlabel\na, b\t1\nc, d\t2\n", Separator::Tab),
        ] {
            assert_eq!(
                sniff(text, false).unwrap(),
                Dialect {
                    separator,
                    quoting: true
                }
            );
        }
    }

    #[test]
    fn prose_is_no_table_and_an_uneven_table_needs_its_name() {
        assert_eq!(
            sniff("Well, yes.\nNo, never.\nPerhaps, then.\n", false),
            None
        );
        let uneven = "a,b\nc,d\ne,f\ng\n";
        assert_eq!(sniff(uneven, false), None);
        assert_eq!(sniff(uneven, true), Some(COMMA));
    }

    #[test]
    fn raw_quotes_are_taken_literally() {
        let raw = "1\t\"Yes,\" he said.\tyes\n0\t\"No\tno\n1\tmay\"be\tmaybe\n";
        let dialect = sniff(raw, true).unwrap();
        assert_eq!(
            dialect,
            Dialect {
                separator: Separator::Tab,
                quoting: false
            }
        );
        assert_eq!(read(raw, dialect)[1].1, ["0", "\"No", "no"]);
    }

    #[test]
    fn quotes_that_match_enclose_however_uneven_the_rows() {
        let match_commas = |text| quotes_match(text, Separator::Comma);
        assert!(match_commas("\"a,\nb\",\"\"\r\nc \"d\",\"e \"\"f\"\"\""));
        assert!(!match_commas("\"a\" b,c\n"));
        assert!(!match_commas("a,\"b\nc,d\n"));
        assert!(quotes_enclose(
            "a,b\n\"c,\nd\",e,,\n\"f,\ng\",h,,\n",
            Separator::Comma
        ));
    }

    #[test]
    fn quoted_fields_hold_separators_and_line_breaks_and_lines_are_counted() {
        let text = "text,label\r\n\r\n\"a,\r\nb\",x\r\n , \r\n\"c \"\"d\"\"\",y\r\n";
        let expected = [
            (1, vec!["text".to_owned(), "label".into()]),
            (3, vec!["a,\r\nb".to_owned(), "x".into()]),
            (6, vec!["c \"d\"".to_owned(), "y".into()]),
        ];
        assert_eq!(read(text, COMMA), expected);
    }

    #[test]
    fn old_line_ends_are_lines_too() {
        let lines: Vec<u32> = read("a,b\rc,d\r\re,f", COMMA)
            .into_iter()
            .map(|r| r.0)
            .collect();
        assert_eq!(lines, [1, 2, 4]);
    }
}
