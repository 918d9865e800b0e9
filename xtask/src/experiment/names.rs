//! Which names, numbers and addresses are still there, word for word, after the mechanism.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::data::Spans;

/// The types together.
pub(crate) const ALL: &str = "ALL";

/// A word or a part of one, as `cutlayer preview --json` prints it.
#[derive(Clone, PartialEq, Eq)]
struct Piece {
    text: String,
    seen: String,
    special: bool,
}

/// Counts the spans of which every token, in their order, is in what the server would read.
///
/// `values` and `texts` are the lines of two previews: of the spans' own texts without a mechanism,
/// which tells how the tokenizer spells them, and of the texts with one. A span that the tokenizer
/// cut off is not counted.
///
/// # Errors
/// When a preview does not show every row.
pub(crate) fn survivors(values: &[Value], texts: &[Value], spans: &Spans) -> Result<Value> {
    let (values, texts) = (shown(values)?, shown(texts)?);
    ensure!(
        texts.len() == spans.texts && values.len() == spans.values,
        "The preview left rows out: {} of {} texts and {} of {} spans were shown.",
        texts.len(),
        spans.texts,
        values.len(),
        spans.values
    );
    let mut counts: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for span in &spans.list {
        let wanted: Vec<&str> = spelled(&values[span.value], |piece| &piece.text).collect();
        let before: Vec<&str> = spelled(&texts[span.row], |piece| &piece.text).collect();
        if wanted.is_empty() || !contains(&before, &wanted) {
            continue;
        }
        let after: Vec<&str> = spelled(&texts[span.row], |piece| &piece.seen).collect();
        let survives = u64::from(contains(&after, &wanted));
        for entity in [span.entity.as_str(), ALL] {
            let [total, survived] = counts.entry(entity).or_default();
            *total += 1;
            *survived += survives;
        }
    }
    let share = |[total, survived]: [u64; 2]| {
        let share = survived as f64 / total as f64;
        json!({ "spans": total, "survived": survived, "share": share })
    };
    let shares = counts
        .into_iter()
        .map(|(entity, counts)| (entity.to_owned(), share(counts)));
    Ok(Value::Object(shares.collect::<Map<_, _>>()))
}

/// The rows that a preview shows.
fn shown(lines: &[Value]) -> Result<Vec<Vec<Piece>>> {
    let preview = lines.iter().find(|line| line["type"] == "preview");
    let examples = preview.and_then(|preview| preview["examples"].as_array());
    let examples = examples.context("`cutlayer preview` printed no examples: report it.")?;
    let piece = |token: &Value| Piece {
        text: token["text"].as_str().unwrap_or_default().to_owned(),
        seen: token["seen"].as_str().unwrap_or_default().to_owned(),
        special: token["kind"] == "special",
    };
    let row = |example: &Value| {
        let tokens = example["tokens"].as_array();
        tokens.map(|tokens| tokens.iter().map(piece).collect())
    };
    let rows = examples.iter().map(row).collect::<Option<_>>();
    rows.context("`cutlayer preview` printed an example without tokens: report it.")
}

/// The words of a row, special tokens left out.
fn spelled(pieces: &[Piece], word: fn(&Piece) -> &String) -> impl Iterator<Item = &str> {
    let ordinary = pieces.iter().filter(|piece| !piece.special);
    ordinary.map(move |piece| word(piece).as_str())
}

fn contains(words: &[&str], wanted: &[&str]) -> bool {
    words.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::data::Span;
    use super::*;

    /// A preview of rows of `text` or `text>seen` words.
    fn preview(rows: &[&str]) -> Vec<Value> {
        let token = |word: &str| {
            let (text, seen) = word.split_once('>').unwrap_or((word, word));
            let kind = if text == "[CLS]" {
                "special"
            } else {
                "unchanged"
            };
            json!({ "text": text, "seen": seen, "kind": kind, "continues": false })
        };
        let example =
            |row: &&str| json!({ "tokens": row.split(' ').map(token).collect::<Vec<_>>() });
        let examples: Vec<Value> = rows.iter().map(example).collect();
        vec![
            json!({ "type": "privacy" }),
            json!({ "type": "preview", "examples": examples }),
        ]
    }

    fn spans(list: &[(usize, &str, usize)], texts: usize, values: usize) -> Spans {
        let span = |(row, entity, value): &(usize, &str, usize)| Span {
            row: *row,
            entity: (*entity).to_owned(),
            value: *value,
        };
        Spans {
            list: list.iter().map(span).collect(),
            texts,
            values,
        }
    }

    #[test]
    fn a_span_survives_only_as_a_whole() {
        let values = preview(&["[CLS] ann example", "[CLS] 12 34"]);
        let texts = preview(&[
            "[CLS] i am ann example",
            "[CLS] i>we am ann example>sample",
            "[CLS] card 12> 34 .",
            "[CLS] the card was cut off",
        ]);
        let list = [
            (0, "PERSON", 0),
            (1, "PERSON", 0),
            (2, "CARD", 1),
            (3, "CARD", 1),
        ];
        let shares = survivors(&values, &texts, &spans(&list, 4, 2)).unwrap();
        assert_eq!(
            shares["PERSON"],
            json!({ "spans": 2, "survived": 1, "share": 0.5 })
        );
        assert_eq!(
            shares["CARD"],
            json!({ "spans": 1, "survived": 0, "share": 0.0 })
        );
        assert_eq!(shares[ALL]["spans"], 3);
    }

    #[test]
    fn a_preview_that_left_rows_out_is_no_measurement() {
        let values = preview(&["[CLS] ann"]);
        let texts = preview(&["[CLS] ann"]);
        let spans = spans(&[(0, "PERSON", 0)], 2, 1);
        let error = survivors(&values, &texts, &spans).unwrap_err();
        assert!(error.to_string().contains("1 of 2 texts"), "{error}");
        assert!(survivors(&[], &texts, &spans).is_err());
    }
}
