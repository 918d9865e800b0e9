//! The published formats, each to a [`Sheet`]. Pure: text in, rows out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::sheet::{Sheet, hundredth};
use super::{ATTRIBUTES, Span};

/// The byte order mark that some editors put in front.
const BOM: char = '\u{feff}';

/// `LABEL text`: one blank, no header.
pub(super) fn sst(text: &str) -> Result<Sheet> {
    let mut sheet = Sheet::new(&["text", "label"]);
    for (line, number) in lines(text) {
        let (label, text) = line.split_once(' ').with_context(|| bad("SST", number))?;
        sheet.rows.push(vec![text.to_owned(), label.to_owned()]);
    }
    Ok(sheet)
}

/// `sentence@label`: a sentence may hold an `@` too, so the last one counts.
pub(super) fn phrasebank(text: &str) -> Result<Sheet> {
    let mut sheet = Sheet::new(&["text", "label"]);
    for (line, number) in lines(text) {
        let (text, label) = line
            .rsplit_once('@')
            .with_context(|| bad("Financial PhraseBank", number))?;
        sheet
            .rows
            .push(vec![text.trim_end().to_owned(), label.to_owned()]);
    }
    Ok(sheet)
}

/// Five columns between tabs under a header. A quotation mark is a character like any other.
pub(super) fn mrpc(text: &str) -> Result<Sheet> {
    let mut sheet = Sheet::new(&["text1", "text2", "label"]);
    for (line, number) in lines(text.trim_start_matches(BOM)).skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [label, _, _, first, second] = cells[..] else {
            anyhow::bail!(bad("MRPC", number));
        };
        sheet
            .rows
            .push([first, second, label].map(str::to_owned).to_vec());
    }
    Ok(sheet)
}

/// CSV with a header; the task is `social`, what the authors would not say are the attributes.
pub(super) fn happydb(bytes: &[u8]) -> Result<Sheet> {
    let mut columns = vec!["text", "label"];
    columns.extend(ATTRIBUTES.iter().map(|(name, _)| *name));
    let mut sheet = Sheet::new(&columns);
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader
        .headers()
        .context("HappyDB has no header: take it as published.")?;
    let sources = columns.iter().map(|column| match *column {
        "text" => "moment",
        "label" => "social",
        other => other,
    });
    let places = sources
        .map(|name| {
            let place = header.iter().position(|column| column == name);
            place.with_context(|| format!("HappyDB has no column {name}: take it as published."))
        })
        .collect::<Result<Vec<usize>>>()?;
    for record in reader.records() {
        let record = record.context("A row of HappyDB is no CSV: take it as published.")?;
        let cell = |place: &usize| record.get(*place).unwrap_or_default().to_owned();
        sheet.rows.push(places.iter().map(cell).collect());
    }
    Ok(sheet)
}

/// What is made of the synthetic sentences.
pub(super) struct Synthetic {
    /// Texts whose spans are looked for.
    pub(super) texts: Sheet,
    /// Texts of other templates, for an attacker.
    pub(super) public: Sheet,
    /// The text of each span, once, under its type.
    pub(super) values: Sheet,
    /// Where the values stand.
    pub(super) spans: Vec<Span>,
}

/// JSON: texts with spans, made from templates. Those repeat, so that a template is on one side: of
/// an odd hundredth it is the attacker's. Only every `step`-th text is taken.
pub(super) fn presidio(text: &str, step: usize) -> Result<Synthetic> {
    let entries: Vec<Value> =
        serde_json::from_str(text).context("The synthetic sentences are no JSON list.")?;
    let mut texts = Sheet::new(&["text", "label"]);
    let mut public = Sheet::new(&["text", "source"]);
    let mut values = Sheet::new(&["text", "label"]);
    let mut known = BTreeMap::new();
    let mut spans = Vec::new();
    for (entry, number) in entries.iter().zip(1..).step_by(step.max(1)) {
        let wrong = || bad("the synthetic sentences", number);
        let text = entry["full_text"].as_str().with_context(wrong)?;
        let template = entry["template_id"].as_i64().with_context(wrong)?;
        if hundredth(&template.to_string()) % 2 == 1 {
            public
                .rows
                .push(vec![text.to_owned(), "presidio".to_owned()]);
            continue;
        }
        let mut names_person = false;
        for span in entry["spans"].as_array().with_context(wrong)? {
            let entity = span["entity_type"].as_str().with_context(wrong)?;
            let value = span["entity_value"].as_str().with_context(wrong)?;
            names_person |= entity == "PERSON";
            let next = values.rows.len();
            let at = *known.entry(value.to_owned()).or_insert(next);
            if at == next {
                values.rows.push(vec![value.to_owned(), entity.to_owned()]);
            }
            spans.push(Span {
                row: texts.rows.len(),
                entity: entity.to_owned(),
                value: at,
            });
        }
        // A task of some kind is needed to rank words by: does the text name a person?
        let label = if names_person { "person" } else { "none" };
        texts.rows.push(vec![text.to_owned(), label.to_owned()]);
    }
    ensure!(
        !spans.is_empty(),
        "The synthetic sentences have no span: take them as published."
    );
    Ok(Synthetic {
        texts,
        public,
        values,
        spans,
    })
}

/// Lines that hold something, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (&str, usize)> {
    text.lines()
        .zip(1..)
        .filter(|(line, _)| !line.trim().is_empty())
}

/// Never the line itself: it is somebody's text.
fn bad(what: &str, number: usize) -> String {
    format!("Entry {number} of {what} is not in its format: take the data set as published.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn sst_splits_at_the_first_blank() {
        let sheet = sst("1 a made-up line .\n0 another 1 here\n\n").unwrap();
        assert_eq!(sheet.rows[0], row(&["a made-up line .", "1"]));
        assert_eq!(sheet.rows[1], row(&["another 1 here", "0"]));
        assert_eq!(sheet.rows.len(), 2);
        let error = sst("1 fine\nnoblank\n").unwrap_err().to_string();
        assert!(
            error.contains("Entry 2") && !error.contains("noblank"),
            "{error}"
        );
    }

    #[test]
    fn phrasebank_splits_at_the_last_at_sign() {
        let sheet = phrasebank("write to a@b.example .@neutral\r\nprofit rose@positive\n").unwrap();
        assert_eq!(sheet.rows[0], row(&["write to a@b.example .", "neutral"]));
        assert_eq!(sheet.rows[1], row(&["profit rose", "positive"]));
        assert!(phrasebank("no label at all").is_err());
    }

    #[test]
    fn mrpc_is_read_behind_its_mark_and_without_quoting() {
        let text = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n\
                    1\t7\t8\the said \"no\" , twice\t\"No\" was said\r\n\
                    0\t9\t10\tan \"open quote\tand its end\"\r\n";
        let sheet = mrpc(text).unwrap();
        assert_eq!(
            sheet.rows[0],
            row(&["he said \"no\" , twice", "\"No\" was said", "1"])
        );
        assert_eq!(
            sheet.rows[1],
            row(&["an \"open quote", "and its end\"", "0"])
        );
        assert_eq!(sheet.rows.len(), 2);
        assert!(mrpc("header\n1\t2\t3\tonly four").is_err());
    }

    #[test]
    fn happydb_takes_text_task_and_attributes_by_name() {
        let text = "hmid,moment,social,age,country,gender,married,parenthood\n\
            1,\"he said \"\"yes\"\", and\nleft\",\"yes\",\"30\",\"USA\",\"m\",single,\"n\"\n";
        let sheet = happydb(text.as_bytes()).unwrap();
        assert_eq!(sheet.columns[..3], ["text", "label", "gender"]);
        let expected = [
            "he said \"yes\", and\nleft",
            "yes",
            "m",
            "single",
            "n",
            "USA",
        ];
        assert_eq!(sheet.rows, [row(&expected)]);
        assert!(happydb(b"\"moment\",\"age\"\n\"x\",\"3\"\n").is_err());
    }

    /// sha256("2") begins with d4735e3a265e16ee, an even number; sha256("1") with 6b86b273ff34fce1,
    /// an odd one, and 100 is even.
    #[test]
    fn a_template_is_on_one_side_and_a_value_stands_once() {
        let entry = |template: u32, text: &str, value: &str| {
            serde_json::json!({
                "full_text": text, "template_id": template,
                "spans": [{"entity_type": "PERSON", "entity_value": value}],
            })
        };
        let entries = [
            entry(2, "I am Ann Example", "Ann Example"),
            entry(1, "call Bob", "Bob"),
            entry(2, "I am Ann Example too", "Ann Example"),
        ];
        let made = presidio(&serde_json::to_string(&entries).unwrap(), 1).unwrap();
        assert_eq!(made.texts.rows.len(), 2);
        assert_eq!(made.texts.rows[0], row(&["I am Ann Example", "person"]));
        assert_eq!(made.public.rows, [row(&["call Bob", "presidio"])]);
        assert_eq!(made.values.rows, [row(&["Ann Example", "PERSON"])]);
        let places: Vec<_> = made
            .spans
            .iter()
            .map(|span| (span.row, span.value))
            .collect();
        assert_eq!(places, [(0, 0), (1, 0)]);
    }
}
