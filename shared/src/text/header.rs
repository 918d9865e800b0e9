//! Whether the first record of a delimited file holds column names.

use csv::StringRecord;

use super::names;

/// Most characters of a column name.
const NAME_CHARS_MAX: usize = 64;

/// Most words of a column name.
const NAME_WORDS_MAX: usize = 4;

/// Records that the first one is compared with.
const SAMPLE_RECORDS: usize = 1_000;

/// Decides whether the first record is a header: it could be one, and it is a known name or differs in kind from what
/// stands below it.
pub(super) fn is_header(first: &StringRecord, body: &[(u32, StringRecord)]) -> bool {
    if !could_be_names(first) {
        return false;
    }
    if first.iter().any(names::is_known) {
        return true;
    }
    let body = &body[..body.len().min(SAMPLE_RECORDS)];
    let mut columns = first
        .iter()
        .map(str::trim)
        .enumerate()
        .filter(|(_, name)| !name.is_empty());
    if columns
        .clone()
        .any(|(column, name)| body.iter().any(|(_, r)| cell(r, column) == name))
    {
        return false;
    }
    columns.any(|(column, name)| differs_in_kind(name, body, column))
}

/// Whether a record is short distinct words, at most one of them missing (the index that pandas writes has no name).
fn could_be_names(record: &StringRecord) -> bool {
    let names: Vec<&str> = record.iter().map(str::trim).collect();
    let filled = names.iter().filter(|name| !name.is_empty());
    let short = |name: &str| {
        name.chars().count() <= NAME_CHARS_MAX && name.split_whitespace().count() <= NAME_WORDS_MAX
    };
    let distinct = |at: usize, name: &str| name.is_empty() || !names[..at].contains(&name);
    filled.clone().count() + 1 >= names.len().max(2)
        && filled.clone().all(|name| short(name) && !is_number(name))
        && names
            .iter()
            .enumerate()
            .all(|(at, name)| distinct(at, name))
}

/// Whether the cells below a name are numbers, or much longer than the name.
fn differs_in_kind(name: &str, body: &[(u32, StringRecord)], column: usize) -> bool {
    let cells: Vec<&str> = body
        .iter()
        .map(|(_, r)| cell(r, column))
        .filter(|cell| !cell.is_empty())
        .collect();
    let numbers = cells.iter().filter(|cell| is_number(cell)).count();
    let chars: usize = cells.iter().map(|cell| cell.chars().count()).sum();
    let all_numbers = numbers * 10 >= cells.len() * 9;
    let much_longer = chars >= 3 * name.chars().count() * cells.len();
    !cells.is_empty() && (all_numbers || much_longer)
}

fn cell(record: &StringRecord, column: usize) -> &str {
    record.get(column).unwrap_or_default().trim()
}

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(records: &[&[&str]]) -> bool {
        let mut records = (1..).zip(records.iter().map(|r| StringRecord::from(r.to_vec())));
        let (_, first) = records.next().unwrap_or_default();
        is_header(&first, &records.collect::<Vec<_>>())
    }

    #[test]
    fn known_names_are_a_header() {
        assert!(header(&[&["Text", "x"], &["ab", "y"]]));
        assert!(header(&[&["", "review", "rating"], &["0", "fine", "good"]]));
    }

    #[test]
    fn words_over_numbers_or_long_texts_are_a_header() {
        assert!(header(&[&["foo", "bar"], &["abc", "1"], &["def", "2"]]));
        assert!(header(&[&["foo", "bar"], &["a much longer text", "x"]]));
    }

    #[test]
    fn data_is_no_header() {
        assert!(!header(&[
            &["a fine film", "good"],
            &["a bad film", "bad"],
            &["so so", "good"]
        ]));
        assert!(!header(&[&["fine", "1"], &["a much longer text", "2"]]));
        assert!(!header(&[&["foo", "foo"], &["a much longer text", "x"]]));
        assert!(!header(&[&["one two three four five", "x"], &["y", "1"]]));
    }
}
