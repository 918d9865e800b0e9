//! An attribute of the authors in place of the label: what the client protects stays set up by the
//! label, what is inferred is the attribute.

use anyhow::{Context, bail};
use client_wasm::client::Client;
use client_wasm::client::audit::OwnedExample;
use client_wasm::file::{ChosenColumns, LabelledFile};

use crate::connection::Connection;
use crate::input::OwnedFile;

/// The attribute of each example of a file, as a number.
pub(super) struct Attribute(Vec<u32>);

impl Attribute {
    /// Reads a column of a file whose examples are those of `columns`.
    ///
    /// # Errors
    ///
    /// When there is no such column, it has one value only, or is empty in some row.
    pub(super) fn read(
        file: &OwnedFile,
        columns: &ChosenColumns,
        name: &str,
    ) -> anyhow::Result<Self> {
        let choose = |chosen: &ChosenColumns| {
            let mut labelled = LabelledFile::read(&file.name, &file.bytes)?;
            labelled.choose(chosen)?;
            anyhow::Ok(labelled)
        };
        let by_attribute = choose(&ChosenColumns {
            label: Some(name.to_owned()),
            ..columns.clone()
        })
        .with_context(|| format!("the attribute {name} cannot be read"))?;
        let by_label = choose(columns)?;
        let attributes = by_attribute.dataset()?.examples();
        let examples = by_label.dataset()?.examples();
        let same = attributes.len() == examples.len()
            && attributes
                .iter()
                .zip(examples)
                .all(|(one, other)| one.text == other.text && one.pair == other.pair);
        if !same {
            bail!("some row has a label but no {name}, or the other way round: leave it out");
        }
        Ok(Self(attributes.iter().map(|row| row.label).collect()))
    }
}

/// Rows with what only their owner knows of them; their class is the attribute, where there is one.
///
/// # Errors
///
/// When a text has no token, or the device fails.
pub(super) async fn owned(
    client: &Client<Connection>,
    rows: &[usize],
    attribute: Option<&Attribute>,
) -> anyhow::Result<Vec<OwnedExample>> {
    let mut examples = client.private_examples(rows).await?;
    if let Some(Attribute(classes)) = attribute {
        for (example, class) in examples
            .iter_mut()
            .zip(rows.iter().map(|row| classes[*row]))
        {
            example.label = class;
        }
    }
    Ok(examples)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(last: &str) -> OwnedFile {
        let row = |n: usize| format!("text number {n},{},{}\n", ["no", "yes"][n % 2], n / 6);
        let rows: String = (0..12).map(row).collect();
        OwnedFile {
            name: "a.csv".to_owned(),
            bytes: format!("text,label,city\n{rows}the last text,yes,{last}\n").into_bytes(),
        }
    }

    /// Breaks when the label is taken for the attribute, or rows are mixed up.
    #[test]
    fn the_attribute_is_that_of_the_row() {
        let columns = ChosenColumns {
            text: Some("text".to_owned()),
            label: Some("label".to_owned()),
            ..ChosenColumns::default()
        };
        let read = |last| Attribute::read(&file(last), &columns, "city");
        assert_eq!(
            read("1").unwrap().0,
            [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
        );
        let error = read("").err().unwrap();
        assert!(
            error.to_string().contains("has a label but no city"),
            "{error}"
        );
        assert!(Attribute::read(&file("1"), &columns, "country").is_err());
    }
}
