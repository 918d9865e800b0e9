//! A cell of a file to the text that is meant: entities decoded, wrapping quotes off, blanks normalised.

/// Share of a column's filled cells, in percent, that must be wrapped in quotes before the quotes count as wrapping.
const WRAPPED_PERCENT: usize = 90;

/// How the cells of one column are cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cleaner {
    quotes_wrap: bool,
}

impl Cleaner {
    /// Looks at a column: where nearly every cell is in quotes, the quotes are an accident of some export; where a few
    /// are, they are speech and stay.
    pub(super) fn for_column<'c>(cells: impl Iterator<Item = &'c str>) -> Self {
        let (mut filled, mut wrapped) = (0usize, 0usize);
        for cell in cells.map(str::trim).filter(|cell| !cell.is_empty()) {
            filled += 1;
            wrapped += usize::from(unwrapped(cell, "\"").is_some());
        }
        Self {
            quotes_wrap: filled > 0 && wrapped * 100 >= filled * WRAPPED_PERCENT,
        }
    }

    /// Returns the text that a cell means.
    pub(super) fn clean(self, cell: &str) -> String {
        let mut inner = cell.trim();
        if let Some(rest) = unwrapped(inner, "\"\"\"") {
            inner = rest;
        } else if self.quotes_wrap {
            inner = unwrapped(inner, "\"").unwrap_or(inner);
        }
        normalise_blanks(&html_escape::decode_html_entities(inner))
    }
}

/// Takes the same mark off both ends.
fn unwrapped<'c>(cell: &'c str, mark: &str) -> Option<&'c str> {
    cell.strip_prefix(mark)?.strip_suffix(mark)
}

/// Joins runs of blanks, line breaks included, to one space; drops control characters and zero-width blanks.
fn normalise_blanks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank_pending = false;
    for c in text.chars() {
        if c.is_whitespace() {
            blank_pending = !out.is_empty();
        } else if !c.is_control() && !matches!(c, '\u{200b}' | '\u{feff}') {
            if blank_pending {
                out.push(' ');
                blank_pending = false;
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Cleaner = Cleaner { quotes_wrap: false };

    #[test]
    fn entities_are_decoded_once() {
        assert_eq!(
            PLAIN.clean("it&#039;s &quot;fine&quot; &amp;lt;"),
            "it's \"fine\" &lt;"
        );
        assert_eq!(PLAIN.clean("a&nbsp;b & c &unknown;"), "a b & c &unknown;");
    }

    #[test]
    fn blanks_are_normalised_and_control_characters_dropped() {
        assert_eq!(PLAIN.clean("  a\r\n\tb\u{a0} c\u{0}\u{feff} "), "a b c");
        assert_eq!(PLAIN.clean(" \u{200b} &#32; "), "");
    }

    #[test]
    fn triple_quotes_always_go_and_single_quotes_only_where_they_wrap_the_column() {
        assert_eq!(PLAIN.clean("\"\"\"a \"b\" c\"\"\""), "a \"b\" c");
        assert_eq!(PLAIN.clean("\"I quit.\""), "\"I quit.\"");
        let wrapping = Cleaner::for_column(["\"a\"", "", " \"b \"c\" d\" "].into_iter());
        assert_eq!(wrapping.clean("\"b \"c\" d\""), "b \"c\" d");
        let speech = Cleaner::for_column(["\"a\"", "b", "c"].into_iter());
        assert_eq!(speech, PLAIN);
    }

    #[test]
    fn a_lone_quote_is_not_a_wrapping_pair() {
        assert_eq!(Cleaner { quotes_wrap: true }.clean("\""), "\"");
        assert_eq!(Cleaner::for_column([""].into_iter()), PLAIN);
    }
}
