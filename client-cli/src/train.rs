//! `cutlayer train`: from a file of labelled texts to a classifier, and what can be done with it.

use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::thread;

use anyhow::bail;
use client_wasm::client::Client;
use client_wasm::error::ClientError;
use client_wasm::events::Event;
use client_wasm::options::{Bottom, LabelsAt, PrivacyOptions, TrainOptions, UploadDtype};
use shared::text::RawText;
use tokio::sync::mpsc::{Receiver, channel};

use crate::args::{Common, TrainArgs, Training};
use crate::client_side::ClientSide;
use crate::connection::Connection;
use crate::input::{OwnedFile, check_writable, read_texts};
use crate::interrupt::Interrupt;
use crate::output::{Line, Output};
use crate::predict;
use crate::record::{self, Recorder, Release};
use crate::setup::{self, Ready};

/// Runs the command.
///
/// # Errors
///
/// When a file cannot be used, the server refuses, or the connection ends.
pub(crate) async fn run(args: &TrainArgs, output: &mut Output) -> anyhow::Result<()> {
    let columns = args.common.columns();
    let file = OwnedFile::read_labelled(&args.file, &columns)?;
    let test = args.test.as_deref().map(OwnedFile::read).transpose()?;
    let texts = args.predict_file.as_deref();
    let texts = texts.map(|path| read_texts(path, &columns)).transpose()?;
    args.out.as_deref().map_or(Ok(()), check_writable)?;
    if let Some(path) = &args.client_side {
        check_client_side(path, &args.training.options())?;
    }

    let record = args.record.as_deref();
    let mut trained = Trained::new(&args.common, &args.training, &file, record, output).await?;
    if let Some(path) = &args.client_side {
        trained.side(&args.common, &args.training)?.write(path)?;
        output.note(&format!("Wrote what stays here to {}.", path.display()));
    }
    let client = &mut trained.client;
    if let Some(test) = test {
        let evaluation = client.evaluate(&test.name, &test.bytes, &columns).await?;
        let labels = client.labels()?;
        output.line(&Line::Evaluation {
            labels,
            evaluation: &evaluation,
        })?;
    }
    for (text, line) in args.predict.iter().zip(1..) {
        let text = trained.typed(text);
        trained.answer(text, line, output).await?;
    }
    if let Some(texts) = texts {
        predict::classify(&mut trained.client, &texts, args.out.as_deref(), output).await?;
    }
    if args.interactive {
        trained.talk(output).await?;
    }
    trained.client.goodbye().await;
    Ok(())
}

/// What `--seed` costs where something is sent.
pub(crate) const PREDICTABLE: &str = "WARNING: --seed makes the noise predictable: whoever guesses the seed \
                           can take it away. It is for experiments, never for private text.";

/// A client with a trained adapter.
pub(crate) struct Trained {
    pub(crate) client: Client<Connection>,
    pairs: bool,
    /// How texts were protected, with the eta that calibration found.
    privacy: PrivacyOptions,
}

impl Trained {
    /// Trains on a file and prints how well it went; `record` keeps what travels.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, the server refuses, the connection ends, or what
    /// travels cannot be kept.
    pub(crate) async fn new(
        common: &Common,
        training: &Training,
        file: &OwnedFile,
        record: Option<&Path>,
        output: &mut Output,
    ) -> anyhow::Result<Self> {
        if common.seed.is_some() {
            output.warning(PREDICTABLE);
        }
        let mut recorder = record.map(Recorder::new).transpose()?;
        let Ready {
            mut client,
            file: report,
            privacy,
        } = Box::pin(setup::client(common, file, output)).await?;
        let interrupt = Interrupt::watch()?;
        let mut commands = interrupt.listen();
        let mut best = None;
        let on_event = |event: Event| {
            output.event(&event);
            if matches!(event, Event::Validation { best: true, .. }) {
                best = Some(event);
            }
        };
        let server = common.server();
        let connect = || Connection::open(&server, recorder.take());
        let options = training.options();
        let done = Box::pin(client.train(connect, &options, &mut commands, on_event)).await;
        interrupt.stop_listening();
        output.clear();
        done?;
        let privacy = PrivacyOptions {
            eta: privacy.eta, // the one that calibration found
            ..common.privacy.options()
        };
        if let Some(directory) = record {
            keep_truth(directory, &client, privacy.clone(), options.dtype, output).await?;
        }
        let traffic = client.traffic().get();
        if let Some(Event::Validation {
            accuracy,
            macro_f1,
            confusion,
            ..
        }) = best
        {
            output.line(&Line::Result {
                labels: client.labels()?,
                accuracy,
                macro_f1,
                confusion: &confusion,
                bytes_sent: traffic.bytes_sent,
                bytes_received: traffic.bytes_received,
            })?;
        } else {
            output.note("Nothing was measured: there was no validation.");
        }
        Ok(Self {
            client,
            pairs: report.pair_column.is_some(),
            privacy,
        })
    }

    /// What stays here of the classifier.
    fn side(&self, common: &Common, training: &Training) -> anyhow::Result<ClientSide> {
        Ok(ClientSide {
            model_id: self.client.catalogue().model_id.clone(),
            cut: u32::try_from(self.client.cut())?,
            seq_length_max: common.connect().seq_length_max,
            labels: self.client.labels()?.to_vec(),
            privacy: self.privacy.clone(),
            dtype: training.options().dtype,
        })
    }

    /// What a person typed, as a text or as the two texts of a pair.
    fn typed(&self, text: &str) -> (RawText, Option<RawText>) {
        let own = |text: &str| RawText::new(text.to_owned());
        match text.split_once('\t') {
            Some((text, pair)) if self.pairs => (own(text), Some(own(pair))),
            _ => (own(text), None),
        }
    }

    /// Classifies one text and prints the answer.
    async fn answer(
        &mut self,
        text: (RawText, Option<RawText>),
        line: u32,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        for answer in &self.client.predict(&[text]).await? {
            output.line(&Line::Prediction { line, answer })?;
        }
        Ok(())
    }

    /// Classifies what is typed until the input ends.
    async fn talk(&mut self, output: &mut Output) -> anyhow::Result<()> {
        let prompted = io::stdin().is_terminal();
        if prompted {
            output.note("Type a text and press Enter; Ctrl-D ends.");
        }
        let mut lines = typed_lines()?;
        let mut line = 0;
        while let Some(text) = lines.recv().await {
            let text = text?;
            line += 1;
            if text.trim().is_empty() {
                continue;
            }
            let text = self.typed(&text);
            match self.answer(text, line, output).await {
                // A text that cannot be classified is no reason to lose the adapter.
                Err(error) if is_about_a_text(&error) => output.warning(&error.to_string()),
                other => other?,
            }
        }
        Ok(())
    }
}

/// Finds out before a run whether there will be something to write down, and a place for it.
fn check_client_side(path: &Path, options: &TrainOptions) -> anyhow::Result<()> {
    if options.labels == LabelsAt::Client || options.bottom == Bottom::Lora {
        bail!(
            "--client-side: with --labels client or --bottom lora a part of the adapter is here, and \
             the server keeps none"
        );
    }
    if path.exists() {
        bail!("{} is there already", path.display());
    }
    check_writable(path)
}

/// Writes what only the owner knows beside the frames that were sent.
async fn keep_truth(
    directory: &Path,
    client: &Client<Connection>,
    privacy: PrivacyOptions,
    dtype: UploadDtype,
    output: &Output,
) -> anyhow::Result<()> {
    let examples = client.private_examples(client.sent_rows()?).await?;
    let release = Release {
        model_id: client.catalogue().model_id.clone(),
        cut: u32::try_from(client.cut())?,
        privacy,
        dtype,
    };
    record::write_truth(directory, release, &examples)?;
    output.warning(&format!(
        "WARNING: {} holds the tokens of every text. It is for `cutlayer audit` on this machine \
         only; delete it afterwards.",
        directory.display()
    ));
    Ok(())
}

fn is_about_a_text(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClientError::Text(_)))
}

/// Lines of standard input, read by a thread: the connection must be served while a person thinks, and reading cannot
/// be called off when the program ends.
fn typed_lines() -> io::Result<Receiver<io::Result<String>>> {
    let (sender, receiver) = channel(1);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            for line in io::stdin().lock().lines() {
                let ended = line.is_err();
                if sender.blocking_send(line).is_err() || ended {
                    return;
                }
            }
        })?;
    Ok(receiver)
}
