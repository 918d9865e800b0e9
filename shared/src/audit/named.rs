//! Which tokens belong to names and numbers: a rough reading, for counting what survives.
//!
//! It knows no language. A word counts when it holds a digit, when it is written in capitals, or
//! when it has a capital initial and does not begin a sentence. Text without capitals gives numbers
//! only; a language that capitalises every noun gives too much.

use std::collections::HashSet;

use crate::text::{Piece, TokenIds};

/// Positions of a text's tokens that belong to names and numbers. `pieces` are those of `tokens`.
pub fn named_positions(texts: &[&str], tokens: &TokenIds, pieces: &[Piece]) -> Vec<usize> {
    let named: HashSet<String> = texts.iter().flat_map(|text| named_words(text)).collect();
    let mut positions = Vec::new();
    let mut word = Vec::new();
    let mut spelled = String::new();
    let ordinary = pieces.iter().zip(tokens.special()).enumerate();
    for (position, (piece, special)) in ordinary {
        if *special || !piece.continues {
            close(&mut word, &mut spelled, &named, &mut positions);
        }
        if !special {
            word.push(position);
            spelled += &piece.text.to_lowercase();
        }
    }
    close(&mut word, &mut spelled, &named, &mut positions);
    positions
}

fn close(
    word: &mut Vec<usize>,
    spelled: &mut String,
    named: &HashSet<String>,
    positions: &mut Vec<usize>,
) {
    let has_digit = spelled.chars().any(|c| c.is_ascii_digit());
    if has_digit || named.contains(spelled.trim()) {
        positions.append(word);
    }
    word.clear();
    spelled.clear();
}

/// The words that count, in lower case.
fn named_words(text: &str) -> Vec<String> {
    let mut begins_sentence = true;
    let mut words = Vec::new();
    for part in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_alphanumeric());
        if !word.is_empty() {
            let initial = word.chars().next().is_some_and(char::is_uppercase);
            let capitals = word.chars().count() > 1 && word.chars().all(char::is_uppercase);
            if capitals || (initial && !begins_sentence) {
                words.push(word.to_lowercase());
            }
            begins_sentence = false;
        }
        begins_sentence |= part.ends_with(['.', '!', '?', '\n']);
    }
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_piece_by_piece() {
        let text = "The film by Anna Karlsson cost 12 dollars. It won in the USA";
        let pieces = [
            ("", false),
            ("the", false),
            ("film", false),
            ("by", false),
            ("anna", false),
            ("karl", false),
            ("sson", true),
            ("cost", false),
            ("12", false),
            ("dollars", false),
            (".", false),
            ("it", false),
            ("won", false),
            ("in", false),
            ("the", false),
            ("usa", false),
            ("", false),
        ];
        let pieces = pieces.map(|(text, continues)| Piece {
            text: text.to_owned(),
            continues,
        });
        let n = pieces.len();
        let special = (0..n).map(|at| at == 0 || at == n - 1).collect();
        let tokens = TokenIds::new(vec![0; n], vec![0; n], special).unwrap();
        // "The" and "It" begin sentences; "the" is a word like others.
        assert_eq!(named_positions(&[text], &tokens, &pieces), [4, 5, 6, 8, 15]);
    }
}
