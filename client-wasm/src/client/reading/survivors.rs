//! Which names and numbers of a file would leave word for word. Pure counting.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::privacy::Change;
use shared::text::Piece;

/// Words that are shown.
const SHOWN: usize = 12;

/// What would leave word for word. Stays on the device that made it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Survivors {
    /// Words that look like names.
    pub names: Kept,
    /// Words that hold a digit.
    pub numbers: Kept,
    /// The most frequent of those that are kept, most frequent first.
    pub examples: Vec<Survivor>,
}

/// How many there are, and how many of them are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// In the texts that were looked at.
    pub total: usize,
    /// Those of which every token leaves as it is.
    pub kept: usize,
}

/// A name or number that is kept.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Survivor {
    /// As the model reads it.
    pub text: String,
    /// How often it is kept.
    pub times: usize,
}

impl std::fmt::Debug for Survivor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Survivor({} times)", self.times)
    }
}

/// A name or number of a text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Word {
    text: String,
    positions: Vec<usize>,
}

/// Puts the positions of a text's names and numbers together to words.
pub(super) fn words(named: &[usize], pieces: &[Piece]) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for position in named.iter().copied() {
        let Some(piece) = pieces.get(position) else {
            continue;
        };
        match words.last_mut() {
            Some(word)
                if piece.continues && word.positions.last() == position.checked_sub(1).as_ref() =>
            {
                word.positions.push(position);
                word.text += &piece.text;
            }
            _ => words.push(Word {
                text: piece.text.trim().to_owned(),
                positions: vec![position],
            }),
        }
    }
    words
}

/// Counts text by text.
#[derive(Default)]
pub(super) struct Tally {
    names: Kept,
    numbers: Kept,
    times: BTreeMap<String, usize>,
}

impl Tally {
    /// Adds the words of a text, given what became of each of its tokens.
    pub(super) fn add(&mut self, words: &[Word], seen: &[(u32, Change)]) {
        for word in words {
            let stays = |at: &usize| seen.get(*at).is_some_and(|(_, c)| *c == Change::Unchanged);
            let kept = word.positions.iter().all(stays);
            let is_number = word.text.contains(|c: char| c.is_ascii_digit());
            let count = match is_number {
                true => &mut self.numbers,
                false => &mut self.names,
            };
            count.total += 1;
            if kept {
                count.kept += 1;
                *self.times.entry(word.text.clone()).or_default() += 1;
            }
        }
    }

    pub(super) fn into_survivors(self) -> Survivors {
        let survivor = |(text, times)| Survivor { text, times };
        let mut examples: Vec<Survivor> = self.times.into_iter().map(survivor).collect();
        examples.sort_by_key(|survivor| std::cmp::Reverse(survivor.times)); // equal ones by text
        examples.truncate(SHOWN);
        Survivors {
            names: self.names,
            numbers: self.numbers,
            examples,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, continues: bool) -> Piece {
        Piece {
            text: text.to_owned(),
            continues,
        }
    }

    /// "anna karl-sson told 555": positions 1, 2 and 3, 5.
    fn example() -> Vec<Word> {
        let pieces = [
            piece("", false),
            piece("anna", false),
            piece("karl", false),
            piece("sson", true),
            piece("told", false),
            piece("555", false),
            piece("", false),
        ];
        words(&[1, 2, 3, 5], &pieces)
    }

    fn seen(changes: [Change; 5]) -> Vec<(u32, Change)> {
        let ends = [Change::Special];
        let all = ends.into_iter().chain(changes).chain(ends);
        all.map(|change| (7, change)).collect()
    }

    #[test]
    fn pieces_of_a_word_are_one_word_and_neighbours_are_two() {
        let words: Vec<_> = example()
            .into_iter()
            .map(|word| (word.text, word.positions))
            .collect();
        let word = |text: &str, positions: &[usize]| (text.to_owned(), positions.to_vec());
        let expected = [
            word("anna", &[1]),
            word("karlsson", &[2, 3]),
            word("555", &[5]),
        ];
        assert_eq!(words, expected);
        // A piece whose beginning does not count stands for itself.
        assert_eq!(
            super::words(&[1], &[piece("a", false), piece("7", true)]).len(),
            1
        );
        assert!(super::words(&[9], &[]).is_empty());
    }

    #[test]
    fn a_word_survives_with_all_its_pieces_or_not_at_all() {
        let mut tally = Tally::default();
        let (stays, moves, goes) = (Change::Unchanged, Change::Near, Change::Removed);
        tally.add(&example(), &seen([stays, stays, stays, moves, stays]));
        tally.add(&example(), &seen([goes, stays, moves, stays, stays]));
        let survivors = tally.into_survivors();
        assert_eq!(survivors.names, Kept { total: 4, kept: 2 });
        assert_eq!(survivors.numbers, Kept { total: 2, kept: 2 });
        let shown: Vec<_> = survivors
            .examples
            .iter()
            .map(|survivor| (&*survivor.text, survivor.times))
            .collect();
        assert_eq!(shown, [("555", 2), ("anna", 1), ("karlsson", 1)]);
        assert_eq!(format!("{:?}", survivors.examples[0]), "Survivor(2 times)");
    }
}
