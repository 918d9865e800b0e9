//! Records of JSON files: a list of flat objects, or one object a line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{TextError, delimited::LineCounter, format::FileFormat};

/// One object of a JSON file: its keys in order, with the values that a cell can hold.
///
/// Lists and objects inside it are left out, null gives an empty cell.
#[derive(Default)]
pub(super) struct FlatObject(pub(super) Vec<(String, String)>);

/// Finds out whether a text is JSON, and which kind.
///
/// # Errors
/// [`TextError::JsonMalformed`] and [`TextError::JsonShape`] for what can only be meant as JSON.
pub(super) fn detect(text: &str, named_json: bool) -> Result<Option<FileFormat>, TextError> {
    let start = text.trim_start();
    let line = line_of(text, start);
    let first_line = start.lines().next().unwrap_or_default();
    if start.starts_with('{') {
        if parse(first_line).is_some() {
            return Ok(Some(FileFormat::JsonLines));
        }
        // One object over several lines, or several of them without a list around them.
        return match objects(text) {
            Ok(found) if found.len() > 1 => Ok(Some(FileFormat::JsonList)),
            Ok(_) => Err(TextError::JsonShape),
            Err(error) if named_json => Err(error),
            Err(_) => Ok(None),
        };
    }
    let list_of_objects = start
        .strip_prefix('[')
        .is_some_and(|r| r.trim_start().starts_with('{'));
    match (list_of_objects, named_json) {
        (true, _) => Ok(Some(FileFormat::JsonList)),
        (false, false) => Ok(None),
        (false, true) if serde_json::from_str::<IgnoredAny>(first_line).is_ok() => {
            Err(TextError::JsonShape)
        }
        (false, true) if serde_json::from_str::<IgnoredAny>(start).is_ok() => {
            Err(TextError::JsonShape)
        }
        (false, true) => Err(TextError::JsonMalformed { line }),
    }
}

/// Reads one object; `None` when the text is not an object.
pub(super) fn parse(text: &str) -> Option<FlatObject> {
    serde_json::from_str(text).ok()
}

/// Cuts a text into the objects on its top level, each with the line (from 1) on which it begins.
///
/// # Errors
/// [`TextError::JsonShape`] when something else than an object stands there, [`TextError::JsonMalformed`] when the text
/// breaks off.
pub(super) fn objects(text: &str) -> Result<Vec<(u32, &str)>, TextError> {
    let mut lines = LineCounter::new(text);
    let mut found = Vec::new();
    let (mut depth, mut begin, mut lists_open) = (0usize, 0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match (byte, depth) {
            (b'{', 0) => (depth, begin) = (1, at),
            (b'{' | b'[', 1..) => depth += 1,
            (b'}' | b']', 1..) => {
                depth -= 1;
                if depth == 0 {
                    found.push((lines.line_at(begin), &text[begin..=at]));
                }
            }
            (b'"', 1..) => in_string = true,
            (_, 1..) => {}
            (b'[', 0) if lists_open == 0 && found.is_empty() => lists_open = 1,
            (b']', 0) if lists_open == 1 => lists_open = 0,
            (b',' | b' ' | b'\t' | b'\r' | b'\n', 0) => {}
            (_, 0) if found.is_empty() => return Err(TextError::JsonShape),
            (_, 0) => return Err(malformed(lines.line_at(at))),
        }
    }
    if depth > 0 {
        return Err(malformed(lines.line_at(begin)));
    }
    if lists_open > 0 {
        return Err(malformed(
            lines.line_at(text.trim_end().len().saturating_sub(1)),
        ));
    }
    Ok(found)
}

fn malformed(line: u32) -> TextError {
    TextError::JsonMalformed {
        line: usize::try_from(line).unwrap_or(usize::MAX),
    }
}

/// Returns the line on which a suffix of a text begins.
fn line_of(text: &str, suffix: &str) -> usize {
    text[..text.len() - suffix.len()].matches('\n').count() + 1
}

impl<'de> Deserialize<'de> for FlatObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = FlatObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FlatObject, A::Error> {
        let mut cells: Vec<(String, String)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Cell>()? {
            if let Some(text) = value.0 {
                cells.push((key, text));
            }
        }
        Ok(FlatObject(cells))
    }
}

/// A value as a cell; `None` for lists and objects.
struct Cell(Option<String>);

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, value: &str) -> Result<Cell, E> {
        Ok(Cell(Some(value.to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell(Some(value.to_string())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell(Some(value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(Cell(Some(value.to_string())))
    }

    /// Writes 5.0 as 5, so that a label is the same however a program wrote it.
    fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell(Some(value.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell(Some(String::new())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell(None))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn objects_keep_their_order_and_drop_what_is_nested() {
        let object = parse(r#"{"z": "a\nb", "a": 5.0, "n": null, "l": [1, {"x": 2}], "b": true}"#);
        let expected = [("z", "a\nb"), ("a", "5"), ("n", ""), ("b", "true")];
        let cells = object.unwrap().0;
        assert!(
            cells
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .eq(expected)
        );
        assert!(parse("[1]").is_none());
        assert!(parse("{\"a\": 1").is_none());
    }

    #[test]
    fn top_level_objects_are_cut_with_their_lines() {
        let text = "[\n {\"a\": \"}]\\\"{\"},\n\n {\"b\": {\"c\": [1]}}\n]\n";
        let found = objects(text).unwrap();
        assert_eq!(
            found,
            [(2, "{\"a\": \"}]\\\"{\"}"), (4, "{\"b\": {\"c\": [1]}}")]
        );
    }

    #[test]
    fn what_breaks_off_is_malformed_at_its_line() {
        let error = |text| objects(text).unwrap_err();
        assert_eq!(
            error("[\n{\"a\": 1},\n{\"a\":"),
            TextError::JsonMalformed { line: 3 }
        );
        assert_eq!(
            error("[\n{\"a\": 1},\n"),
            TextError::JsonMalformed { line: 2 }
        );
        assert_eq!(
            error("[{\"a\": 1}]\n?"),
            TextError::JsonMalformed { line: 2 }
        );
        assert_eq!(error("[1, 2]"), TextError::JsonShape);
    }

    #[test]
    fn kinds_of_json_are_told_apart() {
        let kind = |text| detect(text, true);
        assert_eq!(
            kind("\n{\"a\": 1}\n{\"a\": 2}"),
            Ok(Some(FileFormat::JsonLines))
        );
        assert_eq!(kind("[ {\"a\": 1}]"), Ok(Some(FileFormat::JsonList)));
        assert_eq!(
            kind("{\n\"a\": 1}\n{\n\"a\": 2}"),
            Ok(Some(FileFormat::JsonList))
        );
        assert_eq!(kind("{\n\"a\": [1, 2]\n}"), Err(TextError::JsonShape));
        assert_eq!(kind("[\"a\",\n\"b\"]"), Err(TextError::JsonShape));
        assert_eq!(kind("\n[\"a\","), Err(TextError::JsonMalformed { line: 2 }));
        assert_eq!(kind("plain"), Err(TextError::JsonMalformed { line: 1 }));
    }

    #[test]
    fn braces_alone_do_not_make_json() {
        assert_eq!(detect("{sic} he said", false), Ok(None));
        assert_eq!(detect("[1] see below", false), Ok(None));
    }
}
