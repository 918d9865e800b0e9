//! `cutlayer predict`: train on one file, classify another.

use std::fs;
use std::path::Path;

use anyhow::Context;
use client_wasm::client::{Answer, Client};
use shared::text::TextRow;

use crate::args::PredictArgs;
use crate::connection::Connection;
use crate::input::{OwnedFile, check_writable, read_texts};
use crate::output::{Line, Output};
use crate::tables::{csv_line, probability};
use crate::train::Trained;

/// Texts that are sent before the bar moves.
const BATCH: usize = 64;

/// Runs the command.
///
/// # Errors
///
/// When a file cannot be used, the server refuses, or the connection ends.
pub(crate) async fn run(args: &PredictArgs, output: &mut Output) -> anyhow::Result<()> {
    let columns = args.common.columns();
    let texts = read_texts(&args.file, &columns)?;
    let file = OwnedFile::read_labelled(&args.train, &columns)?;
    args.out.as_deref().map_or(Ok(()), check_writable)?;

    let mut trained = Trained::new(&args.common, &args.training, &file, None, output).await?;
    classify(&mut trained.client, &texts, args.out.as_deref(), output).await?;
    trained.client.goodbye().await;
    Ok(())
}

/// Classifies texts and writes the answers: to `out`, or to standard output.
///
/// # Errors
///
/// When a text has no token, the connection ends, or the answers cannot be written.
pub(crate) async fn classify(
    client: &mut Client<Connection>,
    texts: &[TextRow],
    out: Option<&Path>,
    output: &mut Output,
) -> anyhow::Result<()> {
    output.counting(
        "Classifying texts",
        u32::try_from(texts.len()).unwrap_or(u32::MAX),
    );
    let mut answers = Vec::with_capacity(texts.len());
    for batch in texts.chunks(BATCH) {
        let owned = |row: &TextRow| (row.text.clone(), row.pair.clone());
        let owned: Vec<_> = batch.iter().map(owned).collect();
        answers.extend(client.predict(&owned).await?);
        output.advance(batch.len());
    }
    output.clear();
    if let Some(out) = out {
        fs::write(out, csv(texts, &answers))
            .with_context(|| format!("{} cannot be written", out.display()))?;
        output.note(&format!(
            "Wrote {} predictions to {}.",
            answers.len(),
            out.display()
        ));
        return Ok(());
    }
    if output.is_json() {
        for (row, answer) in texts.iter().zip(&answers) {
            let line = row.row;
            output.line(&Line::Prediction { line, answer })?;
        }
        return Ok(());
    }
    Ok(output.text(&csv(texts, &answers))?)
}

/// The answers beside their texts. `line` is where the text begins in its file.
fn csv(texts: &[TextRow], answers: &[Answer]) -> String {
    let pairs = texts.iter().any(|row| row.pair.is_some());
    let header = ["line", "text"].into_iter().chain(pairs.then_some("pair"));
    let header: Vec<&str> = header.chain(["label", "probability"]).collect();
    let mut csv = csv_line(&header);
    for (row, answer) in texts.iter().zip(answers) {
        let line = row.row.to_string();
        let probability = format!("{:.4}", probability(answer));
        let pair = row.pair.as_ref().map_or("", |pair| pair.expose());
        let mut fields = vec![line.as_str(), row.text.expose()];
        fields.extend(pairs.then_some(pair));
        fields.extend([answer.label.as_str(), probability.as_str()]);
        csv += &csv_line(&fields);
    }
    csv
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use client_wasm::client::ClassProbability;
    use shared::text::RawText;

    use super::*;

    fn row(row: u32, text: &str, pair: Option<&str>) -> TextRow {
        let own = |text: &str| RawText::new(text.to_owned());
        TextRow {
            row,
            text: own(text),
            pair: pair.map(own),
        }
    }

    fn answer(label: &str, probability: f32) -> Answer {
        let class = |label: &str, probability| ClassProbability {
            label: label.to_owned(),
            probability,
        };
        Answer {
            label: label.to_owned(),
            probabilities: vec![class(label, probability), class("other", 1.0 - probability)],
        }
    }

    #[test]
    fn answers_stand_beside_their_texts() {
        let texts = [row(2, "a, b", None), row(5, "c", None)];
        let answers = [answer("yes", 0.75), answer("no", 0.5)];
        let expected = "line,text,label,probability\n2,\"a, b\",yes,0.7500\n5,c,no,0.5000\n";
        assert_eq!(csv(&texts, &answers), expected);
    }

    #[test]
    fn pairs_have_a_column_of_their_own() {
        let texts = [row(2, "a", Some("b"))];
        let expected = "line,text,pair,label,probability\n2,a,b,yes,0.7500\n";
        assert_eq!(csv(&texts, &[answer("yes", 0.75)]), expected);
    }
}
