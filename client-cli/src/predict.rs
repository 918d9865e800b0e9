//! `cutlayer predict`: train on one file and classify another, or classify with what the server keeps.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use client_wasm::client::{Answer, Client};
use client_wasm::options::UploadDtype;
use serde_json::Value;
use shared::text::TextRow;

use crate::adapters;
use crate::api::Api;
use crate::args::PredictArgs;
use crate::client_side::ClientSide;
use crate::connection::Connection;
use crate::input::{OwnedFile, check_writable, read_texts};
use crate::output::{Line, Output};
use crate::setup;
use crate::tables::{csv_line, probability};
use crate::train::{PREDICTABLE, Trained};

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
    args.out.as_deref().map_or(Ok(()), check_writable)?;
    let Some(train) = &args.train else {
        return with_adapter(args, &texts, output).await;
    };
    let file = OwnedFile::read_labelled(train, &columns)?;
    let mut trained = Trained::new(&args.common, &args.training, &file, None, output).await?;
    classify(&mut trained.client, &texts, args.out.as_deref(), output).await?;
    trained.client.goodbye().await;
    Ok(())
}

/// What is said where the client's side of an adapter is missing.
const NO_CLIENT_SIDE: &str = "The server does not know what the classes of an adapter are called, nor \
    how texts were protected when it was trained. Without --client-side classes are numbered, and \
    the protection is the one of this command line: it should be the one of the training.";

/// Classifies with an adapter that the server keeps.
async fn with_adapter(
    args: &PredictArgs,
    texts: &[TextRow],
    output: &mut Output,
) -> anyhow::Result<()> {
    if args.common.seed.is_some() {
        output.warning(PREDICTABLE);
    }
    let side = args
        .client_side
        .as_deref()
        .map(ClientSide::read)
        .transpose()?;
    let cut = side.as_ref().map(|side| side.cut).or(args.common.cut());
    let api = Api::new(args.common.server());
    let adapter = match args.adapter.as_deref() {
        Some("default") | None => adapters::find_default(&api, cut)?,
        Some(wanted) => adapters::find(&api, wanted)?,
    };
    let adapter = KeptAdapter::try_from(&adapter)?;
    let (common, labels, dtype) = match side {
        Some(side) => {
            adapter.check(&side)?;
            (args.common.as_trained(&side), side.labels, side.dtype)
        }
        None => {
            output.warning(NO_CLIENT_SIDE);
            let labels = (0..adapter.n_classes).map(|class| format!("class {class}"));
            let common = args.common.with_cut(adapter.cut);
            (common, labels.collect(), UploadDtype::default())
        }
    };
    let mut client = Box::pin(setup::client_for(&common, texts, output)).await?;
    let server = common.server();
    let connect = || Connection::open(&server, None);
    let used = client.use_adapter(connect, Some(adapter.key), labels, dtype);
    Box::pin(used).await?;
    classify(&mut client, texts, args.out.as_deref(), output).await?;
    client.goodbye().await;
    Ok(())
}

/// What has to be known of an adapter before it can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeptAdapter {
    key: [u8; 16],
    cut: u32,
    n_classes: usize,
}

impl TryFrom<&Value> for KeptAdapter {
    type Error = anyhow::Error;

    fn try_from(adapter: &Value) -> anyhow::Result<Self> {
        let read = || {
            let cut = u32::try_from(adapter["cut"].as_u64()?).ok()?;
            let n_classes = usize::try_from(adapter["n_classes"].as_u64()?).ok()?;
            let key = u128::from_str_radix(adapter["id"].as_str()?, 16).ok()?;
            let fits = (2..=CLASSES_MAX).contains(&n_classes);
            fits.then_some(Self {
                key: key.to_be_bytes(),
                cut,
                n_classes,
            })
        };
        read().context("what the server says of the adapter cannot be read")
    }
}

/// More classes than a server should have; names are made up for each.
const CLASSES_MAX: usize = 100_000;

impl KeptAdapter {
    /// Holds what stayed here against the adapter.
    fn check(self, side: &ClientSide) -> anyhow::Result<()> {
        let Self { cut, n_classes, .. } = self;
        if side.cut != cut || side.labels.len() != n_classes {
            bail!(
                "--client-side is of another adapter: it has cut {} and {} classes, the adapter has \
                 cut {cut} and {n_classes} classes",
                side.cut,
                side.labels.len()
            );
        }
        Ok(())
    }
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
    fn an_adapter_is_held_against_what_stayed_here() {
        let id = "000102030405060708090a0b0c0d0eff";
        let shown = serde_json::json!({ "id": id, "cut": 1, "n_classes": 2 });
        let adapter = KeptAdapter::try_from(&shown).unwrap();
        assert_eq!((adapter.key[1], adapter.key[15]), (1, 255));
        let side = |cut, labels: &[&str]| ClientSide {
            model_id: "m".to_owned(),
            cut,
            seq_length_max: 128,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            privacy: client_wasm::options::PrivacyOptions::default(),
            dtype: UploadDtype::default(),
        };
        adapter.check(&side(1, &["no", "yes"])).unwrap();
        assert!(adapter.check(&side(0, &["no", "yes"])).is_err());
        assert!(adapter.check(&side(1, &["no"])).is_err());
        for wrong in [
            serde_json::json!({ "id": "x", "cut": 1, "n_classes": 2 }),
            serde_json::json!({ "id": id, "cut": 1, "n_classes": 1u64 << 40 }),
            serde_json::json!({}),
        ] {
            assert!(KeptAdapter::try_from(&wrong).is_err());
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
