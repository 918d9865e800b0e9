//! Which column of a table is the text, its pair and the label: found by name and content, or chosen by name.

use std::collections::BTreeSet;

use super::{TextError, names, table::Table};

/// Rows that are looked at, evenly spread over the table, since files are often sorted by label.
const SAMPLE_ROWS: usize = 5_000;

/// Most distinct values of a column that looks like labels though its name does not say so.
const GUESSED_CLASSES_MAX: usize = 50;

/// Most distinct values of a column whose name says that it holds labels.
const NAMED_CLASSES_MAX: usize = 1_000;

/// Most characters of a label.
pub(super) const LABEL_CHARS_MAX: usize = 100;

/// Which columns serve what, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// The text.
    pub text: usize,
    /// The second text of a pair.
    pub pair: Option<usize>,
    /// The label.
    pub label: Option<usize>,
}

/// What a person chose by name; the rest is found.
///
/// A name is one of the file's, or a position: `column 2` or `2`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ColumnChoice<'n> {
    /// The text.
    pub text: Option<&'n str>,
    /// The second text of a pair.
    pub pair: Option<&'n str>,
    /// The label.
    pub label: Option<&'n str>,
}

impl Columns {
    /// Finds the columns of a table.
    ///
    /// # Errors
    /// [`TextError::TextColumnMissing`] when nothing looks like text. A missing label is no error here.
    pub fn detect(table: &Table) -> Result<Self, TextError> {
        Self::choose(table, &ColumnChoice::default())
    }

    /// Takes the columns that were chosen and finds the others.
    ///
    /// A pair is found only where the names of both its columns say so, and the text was not chosen to be another column.
    ///
    /// # Errors
    /// [`TextError::ColumnUnknown`], [`TextError::ColumnTwice`], [`TextError::TextColumnMissing`].
    pub fn choose(table: &Table, choice: &ColumnChoice<'_>) -> Result<Self, TextError> {
        let named = |name: Option<&str>| name.map(|name| position(table, name)).transpose();
        let (text, pair, label) = (
            named(choice.text)?,
            named(choice.pair)?,
            named(choice.label)?,
        );
        let stats = column_stats(table);
        let free = |column: &usize| Some(*column) != label;
        let named_pair = names::pair(&table.columns)
            .filter(|(first, second)| free(first) && free(second) && pair.is_none())
            .filter(|(first, _)| text.is_none_or(|text| text == *first));
        let (text, pair) = match (named_pair, text) {
            (Some((first, second)), _) => (first, Some(second)),
            (None, Some(text)) => (text, pair),
            (None, None) => {
                let taken = [pair, label];
                (
                    find_text(table, &stats, taken).ok_or_else(|| text_missing(table))?,
                    pair,
                )
            }
        };
        let label = label.or_else(|| find_label(table, &stats, [Some(text), pair]));
        let columns = Self { text, pair, label };
        columns.check(table)?;
        Ok(columns)
    }

    /// Refuses indices that are not in the table, and one column for two purposes.
    ///
    /// # Errors
    /// [`TextError::ColumnUnknown`], [`TextError::ColumnTwice`].
    pub(super) fn check(&self, table: &Table) -> Result<(), TextError> {
        let used: Vec<usize> = [Some(self.text), self.pair, self.label]
            .into_iter()
            .flatten()
            .collect();
        for (at, &column) in used.iter().enumerate() {
            let Some(name) = table.columns.get(column) else {
                let wanted = format!("column {}", column.saturating_add(1));
                return Err(TextError::ColumnUnknown {
                    wanted,
                    columns: table.columns.clone(),
                });
            };
            if used[..at].contains(&column) {
                return Err(TextError::ColumnTwice {
                    column: name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Returns the columns that could be the label, for a person to choose from.
pub(super) fn label_candidates(table: &Table, text: usize) -> Vec<usize> {
    let stats = column_stats(table);
    let could_be = |column: &usize| *column != text && label_kind(table, &stats, *column).is_some();
    (0..table.columns.len()).filter(could_be).collect()
}

/// What a sample of a column's cells shows.
#[derive(Debug, Default)]
struct ColumnStats {
    filled: usize,
    chars: usize,
    words: usize,
    chars_max: usize,
    /// Capped above `NAMED_CLASSES_MAX`.
    distinct: usize,
}

impl ColumnStats {
    /// Whether the cells have blanks between words, or are written without any.
    fn is_free_text(&self) -> bool {
        2 * self.words > 3 * self.filled
    }

    fn chars_mean(&self) -> usize {
        self.chars / self.filled.max(1)
    }
}

fn column_stats(table: &Table) -> Vec<ColumnStats> {
    let stride = table.rows.len().div_ceil(SAMPLE_ROWS).max(1);
    let stats = |column| {
        let mut stats = ColumnStats::default();
        let mut distinct = BTreeSet::new();
        let sample = table.rows.iter().step_by(stride);
        for cell in sample
            .map(|row| row.cell(column).trim())
            .filter(|cell| !cell.is_empty())
        {
            let chars = cell.chars().count();
            stats.filled += 1;
            stats.chars += chars;
            stats.chars_max = stats.chars_max.max(chars);
            // Scripts that are written without blanks have about two characters a word.
            let unspaced = cell.chars().filter(|&c| c >= '\u{2e80}').count();
            stats.words += cell.split_whitespace().count() + unspaced / 2;
            if distinct.len() <= NAMED_CLASSES_MAX {
                distinct.insert(cell);
            }
        }
        stats.distinct = distinct.len();
        stats
    };
    (0..table.columns.len()).map(stats).collect()
}

/// The longest free text; a column that is named like a text and half as long is preferred.
fn find_text(table: &Table, stats: &[ColumnStats], taken: [Option<usize>; 2]) -> Option<usize> {
    let open = || (0..stats.len()).filter(|column| !taken.contains(&Some(*column)));
    if open().count() == 1 {
        return open().next();
    }
    let free = || open().filter(|&column| stats[column].is_free_text());
    let longest = free().max_by_key(|&column| (stats[column].chars_mean(), usize::MAX - column));
    let half = longest.map_or(0, |column| stats[column].chars_mean() / 2);
    let named = open().find(|&column| {
        names::is_text(&table.columns[column])
            && stats[column].filled > 0
            && stats[column].chars_mean() >= half
    });
    named.or(longest)
}

/// How a column could be the label, the better the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum LabelKind {
    /// By its name, the surest name first.
    Named(usize),
    /// By few distinct short values, the fewest first.
    Guessed(usize),
}

fn label_kind(table: &Table, stats: &[ColumnStats], column: usize) -> Option<LabelKind> {
    let stats = stats.get(column)?;
    if stats.chars_max > LABEL_CHARS_MAX || stats.filled == 0 {
        return None;
    }
    let halved = stats.distinct * 2 < stats.filled;
    let named = names::label_rank(&table.columns[column]).filter(|_| {
        stats.distinct <= GUESSED_CLASSES_MAX || stats.distinct <= NAMED_CLASSES_MAX && halved
    });
    let guessed = (2..=GUESSED_CLASSES_MAX).contains(&stats.distinct) && halved;
    named
        .map(LabelKind::Named)
        .or_else(|| guessed.then_some(LabelKind::Guessed(stats.distinct)))
}

fn find_label(table: &Table, stats: &[ColumnStats], taken: [Option<usize>; 2]) -> Option<usize> {
    let open = (0..stats.len()).filter(|column| !taken.contains(&Some(*column)));
    let candidates = open.filter_map(|column| Some((label_kind(table, stats, column)?, column)));
    candidates.min().map(|(_, column)| column)
}

/// Finds a column by its name, by its name in another case, or by its position.
fn position(table: &Table, wanted: &str) -> Result<usize, TextError> {
    let wanted = wanted.trim();
    let names = &table.columns;
    let exact = names.iter().position(|name| name == wanted);
    let folded = wanted.to_lowercase();
    let found = exact.or_else(|| names.iter().position(|name| name.to_lowercase() == folded));
    let by_number = || {
        let number = folded
            .strip_prefix("column ")
            .unwrap_or(&folded)
            .parse::<usize>()
            .ok()?;
        number.checked_sub(1).filter(|&column| column < names.len())
    };
    found
        .or_else(by_number)
        .ok_or_else(|| TextError::ColumnUnknown {
            wanted: wanted.to_owned(),
            columns: names.clone(),
        })
}

fn text_missing(table: &Table) -> TextError {
    TextError::TextColumnMissing {
        columns: table.columns.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn table(text: &str) -> Table {
        Table::read("a.csv", text.as_bytes()).unwrap()
    }

    fn detected(text: &str) -> (String, Option<String>, Option<String>) {
        let table = table(text);
        let columns = Columns::detect(&table).unwrap();
        let name = |column: usize| table.columns[column].clone();
        (
            name(columns.text),
            columns.pair.map(name),
            columns.label.map(name),
        )
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn reviews_have_text_and_rating() {
        let rows = "1,Adrug,pain,it works well for me,good,8-May-10,7\n\
            2,Bdrug,pain,it does not work at all,bad,9-May-11,8\n\
            3,Adrug,ache,it is neither here nor there,good,10-May-12,9\n";
        let text = format!(",drugName,condition,review,rating,date,usefulCount\n{rows}");
        assert_eq!(detected(&text), ("review".to_owned(), None, some("rating")));
    }

    #[test]
    fn without_names_the_content_decides() {
        let mut text = String::new();
        for row in 0..8 {
            text += &format!(
                "{row},this is a text number {row},{},http://example/{row}\n",
                row % 2
            );
        }
        assert_eq!(
            detected(&text),
            ("column 2".to_owned(), None, some("column 3"))
        );
    }

    #[test]
    fn a_url_is_no_text_however_long() {
        let url = "http://example.org/a/very/long/address/that/goes/on";
        let text = format!("a,b\nshort text here,{url}/1\nanother text here,{url}/2\n");
        assert_eq!(detected(&text).0, "a");
        let table = table(&format!("a,b\n{url}/1,{url}/2\n"));
        let columns = table.columns.clone();
        assert_eq!(
            Columns::detect(&table),
            Err(TextError::TextColumnMissing { columns })
        );
    }

    #[test]
    fn pairs_need_their_names() {
        let body = "1,one two three,one two four\n0,five six,seven eight nine ten\n";
        let expected = ("sentence1".to_owned(), some("sentence2"), some("label"));
        assert_eq!(
            detected(&format!("label,sentence1,sentence2\n{body}")),
            expected
        );
        assert_eq!(detected(&format!("label,left,right\n{body}")).1, None);
    }

    #[test]
    fn choices_win_and_positions_are_names_too() {
        let table = table("label,sentence1,sentence2\n1,a b,c d\n0,e f,g h\n");
        let choose =
            |text, pair, label| Columns::choose(&table, &ColumnChoice { text, pair, label });
        let columns = |text, pair, label| Ok(Columns { text, pair, label });
        assert_eq!(
            choose(Some("SENTENCE2"), None, None),
            columns(2, None, Some(0))
        );
        assert_eq!(
            choose(Some("2"), Some("column 3"), Some("1")),
            columns(1, Some(2), Some(0))
        );
        let error = choose(Some("body"), None, None).unwrap_err().to_string();
        let expected = "there is no column \"body\"; the file has: label, sentence1, sentence2";
        assert_eq!(error, expected);
        let twice = TextError::ColumnTwice {
            column: "label".to_owned(),
        };
        assert_eq!(choose(Some("label"), None, Some("label")), Err(twice));
        assert!(choose(Some("4"), None, None).is_err() && choose(Some("0"), None, None).is_err());
    }

    #[test]
    fn sorted_files_show_all_their_labels() {
        let rows = |label: &str| {
            (0..6_000)
                .map(|n| format!("some text {n},{label}\n"))
                .collect::<String>()
        };
        let text = format!("a,b\n{}{}", rows("x"), rows("y"));
        assert_eq!(detected(&text).2, some("b"));
    }

    #[test]
    fn label_candidates_are_listed_without_the_text() {
        let table = table("text,kind,id\na b,x,1\nc d,y,2\ne f,x,3\ng h,y,4\ni j,x,5\n");
        assert_eq!(label_candidates(&table, 0), [1]);
    }
}
