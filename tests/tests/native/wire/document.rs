//! Reads docs/protocol.md: its hex blocks and its tables.

use std::collections::BTreeMap;

const PROTOCOL: &str = include_str!("../../../../docs/protocol.md");

/// The bytes of every block ```` ```wire NAME ````, by name. Each line is hex, a bar, and what it is.
pub(super) fn blocks() -> BTreeMap<&'static str, Vec<u8>> {
    let mut blocks = BTreeMap::new();
    let mut lines = PROTOCOL.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```wire ") else {
            continue;
        };
        let body = lines.by_ref().take_while(|line| *line != "```");
        let bytes = body.flat_map(annotated).collect();
        assert!(
            blocks.insert(name, bytes).is_none(),
            "{name} is documented twice"
        );
    }
    blocks
}

fn annotated(line: &str) -> Vec<u8> {
    let (hex, note) = line
        .split_once('|')
        .unwrap_or_else(|| panic!("no bar in {line:?}"));
    assert!(!note.trim().is_empty(), "nothing says what {hex} is");
    let bytes = hex
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16));
    bytes
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

/// The rows of the table whose head row begins with these cells, without backquotes.
pub(super) fn table(head: &[&str]) -> Vec<Vec<&'static str>> {
    let mut lines = PROTOCOL.lines();
    let found = lines
        .by_ref()
        .any(|line| cells(line).is_some_and(|cells| cells.starts_with(head)));
    assert!(found, "no table {head:?}");
    let rows: Vec<_> = lines.skip(1).map_while(cells).collect();
    assert!(!rows.is_empty(), "table {head:?} is empty");
    rows
}

fn cells(line: &'static str) -> Option<Vec<&'static str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(
        inner
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'))
            .collect(),
    )
}
