//! What a client does with its file: release it, train on it, predict and measure.

use std::rc::Rc;

use futures_channel::mpsc::UnboundedReceiver;
use rand::seq::SliceRandom;
use serde::Serialize;
use shared::metrics::Confusion;
use shared::protocol::message::{Hello, PROTOCOL_VERSION, Split, TrainDone};
use shared::text::{Columns, Dataset, RawText, Table};

use super::protection::Sides;
use super::{Client, owned_pairs, text_pair};
use crate::error::ClientError;
use crate::events::Event;
use crate::file::ChosenColumns;
use crate::job::{Command, Job, Labelled, Plan};
use crate::options::{Bottom, LABEL_NOISE_MAX, LabelsAt, TrainOptions, UploadDtype};
use crate::pipeline::TextPair;
use crate::seed::Draw;
use crate::transport::Transport;

/// A job whose adapter predicts.
#[derive(Debug)]
pub(super) struct Trained<T> {
    job: Job<T>,
    labels: Vec<String>,
    class_counts: Vec<usize>,
    /// None where nothing was sent: an adapter that the server keeps predicts.
    sent_as: Option<SentAs>,
    /// Rows of the file in the order of their example ids.
    sent_rows: Vec<usize>,
}

/// What fixes an upload: under other options the examples have to be sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SentAs {
    dtype: UploadDtype,
    validation_share: f64,
    labels: LabelsAt,
    bottom: Bottom,
}

impl From<&TrainOptions> for SentAs {
    fn from(options: &TrainOptions) -> Self {
        Self {
            dtype: options.dtype,
            validation_share: options.validation_share,
            labels: options.labels,
            bottom: options.bottom,
        }
    }
}

/// An answer for one text.
#[derive(Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The most probable class.
    pub label: String,
    /// All classes.
    pub probabilities: Vec<ClassProbability>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} classes)", self.probabilities.len())
    }
}

/// A class and its probability.
#[derive(Clone, PartialEq, Serialize)]
pub struct ClassProbability {
    /// As in the file.
    pub label: String,
    /// 0 to 1.
    pub probability: f32,
}

/// How well the adapter does on a file that it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Texts that were classified.
    pub examples: usize,
    /// Rows that were left out, those with an unknown label among them.
    pub bad_rows_total: usize,
    /// 0 to 1.
    pub accuracy: f32,
    /// 0 to 1.
    pub macro_f1: f32,
    /// `confusion[truth * n_classes + answer]`
    pub confusion: Vec<u32>,
}

impl<T: Transport> Trained<T> {
    /// Whether a run with these options can use what was sent.
    fn serves(&self, options: &TrainOptions) -> bool {
        *self.job.adapter() == options.adapter() && self.sent_as == Some(options.into())
    }
}

impl<T: Transport> Client<T> {
    /// Releases the file, trains, and keeps the connection for predictions.
    ///
    /// `connect` opens a transport when one is needed: a second run with the same adapter settings
    /// uses the first one's and sends no example again.
    ///
    /// # Errors
    ///
    /// When there is no file, the server refuses, the connection ends, or the person stops during
    /// the upload.
    pub async fn train<F: Future<Output = Result<T, ClientError>>>(
        &mut self,
        connect: impl FnOnce() -> F,
        options: &TrainOptions,
        commands: &mut UnboundedReceiver<Command>,
        mut on_event: impl FnMut(Event),
    ) -> Result<TrainDone, ClientError> {
        check(options)?;
        if options.bottom == Bottom::Lora && self.pipeline.mechanism.perturbs_activations() {
            return Err(ClientError::RepeatedRelease);
        }
        if options.bottom == Bottom::Lora && self.cut() == 0 {
            let problem = "an adapter stands beside blocks, and cut 0 has none in the bottom";
            return Err(ClientError::Option {
                name: "bottom",
                problem: problem.to_owned(),
            });
        }
        let trained = match self.trained.take() {
            Some(trained) if trained.serves(options) => trained,
            other => {
                if let Some(other) = other {
                    other.job.goodbye().await;
                }
                self.upload(connect().await?, options, commands, &mut on_event)
                    .await?
            }
        };
        let trained = self.trained.insert(trained);
        let plan = Plan {
            settings: options.settings(&trained.class_counts),
            label_noise: options.label_noise,
            seed: self.seed,
        };
        let run = trained
            .job
            .train(&self.pipeline, plan, commands, &mut on_event);
        let done = Box::pin(run).await;
        if done.is_err()
            && let Some(failed) = self.trained.take()
        {
            // Not a lost connection: the server need not wait for anybody.
            failed.job.goodbye().await;
        }
        done
    }

    /// Opens a session and releases the file into it, in an order that tells nothing of the file's.
    async fn upload(
        &mut self,
        transport: T,
        options: &TrainOptions,
        commands: &mut UnboundedReceiver<Command>,
        on_event: impl FnMut(Event),
    ) -> Result<Trained<T>, ClientError> {
        let Sides {
            train, validation, ..
        } = self.sides(options).await?;
        let dataset = self.dataset()?;
        let labels = dataset.labels().to_vec();
        let hello = self.hello(labels.len(), options);
        let traffic = Rc::clone(&self.traffic);
        let mut job = Job::open(transport, hello, options.dtype.into(), traffic).await?;
        let mut order = with_split(&train, &validation);
        order.shuffle(&mut self.rng(Draw::Order)?);
        let examples = labelled(dataset, &order);
        let uploaded = job.upload(&self.pipeline, &examples, commands, on_event);
        if let Err(error) = uploaded.await {
            job.goodbye().await;
            return Err(error);
        }
        let class_counts = class_counts(dataset, &train);
        Ok(Trained {
            job,
            labels,
            class_counts,
            sent_as: Some(options.into()),
            sent_rows: order.into_iter().map(|(row, _)| row).collect(),
        })
    }

    fn hello(&self, n_classes: usize, options: &TrainOptions) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            model_id: self.catalogue.model_id.clone(),
            bottom_sha256: self.bottom_sha256,
            cut: u32::try_from(self.cut()).unwrap_or(u32::MAX),
            n_classes: u32::try_from(n_classes).unwrap_or(u32::MAX),
            adapter: options.adapter(),
            labels: options.labels.into(),
            bottom: options.bottom.into(),
        }
    }

    /// Opens a session in which an adapter that the server keeps predicts; its default without a
    /// key. `labels` are the names of its classes in order: the server does not know them.
    ///
    /// # Errors
    ///
    /// When the server has no such adapter, or one for something else, or the connection ends.
    pub async fn use_adapter<F: Future<Output = Result<T, ClientError>>>(
        &mut self,
        connect: impl FnOnce() -> F,
        adapter: Option<[u8; 16]>,
        labels: Vec<String>,
        dtype: UploadDtype,
    ) -> Result<[u8; 16], ClientError> {
        if let Some(other) = self.trained.take() {
            other.job.goodbye().await;
        }
        // Nothing is trained: of the options only those count that say where its parts are.
        let hello = self.hello(labels.len(), &TrainOptions::default());
        let traffic = Rc::clone(&self.traffic);
        let mut job = Job::open(connect().await?, hello, dtype.into(), traffic).await?;
        let used = match job.use_adapter(adapter).await {
            Ok(used) => used,
            Err(error) => {
                job.goodbye().await;
                return Err(error);
            }
        };
        self.trained = Some(Trained {
            job,
            labels,
            class_counts: Vec::new(),
            sent_as: None,
            sent_rows: Vec::new(),
        });
        Ok(used)
    }

    /// The rows of the file that the current session was sent, in the order of their example ids.
    ///
    /// # Errors
    ///
    /// When nothing was trained.
    pub fn sent_rows(&self) -> Result<&[usize], ClientError> {
        Ok(&self.trained.as_ref().ok_or(NOTHING_TRAINED)?.sent_rows)
    }

    /// Classifies texts with the adapter of the last run.
    ///
    /// # Errors
    ///
    /// When nothing was trained, a text has no token, or the connection ends.
    pub async fn predict(
        &mut self,
        texts: &[(RawText, Option<RawText>)],
    ) -> Result<Vec<Answer>, ClientError> {
        let probabilities = self.probabilities(&owned_pairs(texts)).await?;
        let trained = self.trained.as_ref().ok_or(NOTHING_TRAINED)?;
        let answers = probabilities.chunks_exact(trained.labels.len());
        Ok(answers
            .map(|classes| answer(&trained.labels, classes))
            .collect())
    }

    /// Class probabilities by the adapter of the last run.
    async fn probabilities(&mut self, texts: &[TextPair<'_>]) -> Result<Vec<f32>, ClientError> {
        let trained = self.trained.as_mut().ok_or(NOTHING_TRAINED)?;
        let found = trained.job.predict(&self.pipeline, texts).await;
        if matches!(found, Err(ClientError::SessionGone)) {
            self.trained = None; // and with it the adapter: the next run has a session of its own
        }
        found
    }

    /// Classifies a second labelled file with the adapter of the last run and counts the right
    /// answers.
    ///
    /// # Errors
    ///
    /// When nothing was trained, the file has no row with a label of the first, or the connection
    /// ends.
    pub async fn evaluate(
        &mut self,
        name: &str,
        bytes: &[u8],
        chosen: &ChosenColumns,
    ) -> Result<Evaluation, ClientError> {
        let trained = self.trained.as_ref().ok_or(NOTHING_TRAINED)?;
        let n_classes = trained.labels.len();
        let table = Table::read(name, bytes)?;
        let columns = Columns::choose(&table, &chosen.as_choice())?;
        let dataset = Dataset::with_labels(&table, &columns, &trained.labels)?;
        let texts: Vec<_> = dataset.examples().iter().map(text_pair).collect();
        let probabilities = self.probabilities(&texts).await?;
        let answers = probabilities.chunks_exact(n_classes);
        let mut confusion = Confusion::new(n_classes);
        for (example, answer) in dataset.examples().iter().zip(answers) {
            confusion.add(example.label as usize, best_class(answer).unwrap_or(0));
        }
        Ok(Evaluation {
            examples: texts.len(),
            bad_rows_total: dataset.report().bad_rows.total(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            confusion: confusion.counts().to_vec(),
        })
    }

    /// Ends the session at the server, which deletes what it stored for it.
    pub async fn goodbye(mut self) {
        if let Some(trained) = self.trained.take() {
            trained.job.goodbye().await;
        }
    }
}

const NOTHING_TRAINED: ClientError = ClientError::NotYet("train first; nothing can predict yet");

fn check(options: &TrainOptions) -> Result<(), ClientError> {
    let unusable = |name, problem: String| Err(ClientError::Option { name, problem });
    if !(0.0..=0.9).contains(&options.validation_share) {
        let problem = "a share from 0 to 0.9 is possible".to_owned();
        return unusable("validation share", problem);
    }
    if !(0.0..=LABEL_NOISE_MAX).contains(&options.label_noise) {
        let problem = format!("0 to {LABEL_NOISE_MAX} is possible");
        return unusable("label noise", problem);
    }
    if options.label_noise > 0.0 && options.labels == LabelsAt::Server {
        let problem = "labels travel to the server; noise hides them only where they stay here";
        return unusable("label noise", problem.to_owned());
    }
    Ok(())
}

/// Rows of the file with the part that each belongs to.
fn with_split(train: &[usize], validation: &[usize]) -> Vec<(usize, Split)> {
    let train = train.iter().map(|row| (*row, Split::Train));
    let validation = validation.iter().map(|row| (*row, Split::Validation));
    train.chain(validation).collect()
}

fn labelled<'a>(dataset: &'a Dataset, rows: &[(usize, Split)]) -> Vec<Labelled<'a>> {
    let of = |(row, split): &(usize, Split)| {
        let example = &dataset.examples()[*row];
        // As in a prediction, the class of a validation row is not known to the mechanism.
        let class = (*split == Split::Train).then_some(example.label);
        Labelled {
            text: TextPair {
                class,
                ..text_pair(example)
            },
            split: *split,
            label: example.label,
        }
    };
    rows.iter().map(of).collect()
}

fn class_counts(dataset: &Dataset, train: &[usize]) -> Vec<usize> {
    let mut counts = vec![0; dataset.labels().len()];
    for index in train {
        counts[dataset.examples()[*index].label as usize] += 1;
    }
    counts
}

/// The most probable class; none where there is no class.
fn best_class(probabilities: &[f32]) -> Option<usize> {
    let classes = probabilities.iter().enumerate();
    classes
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(class, _)| class)
}

fn answer(labels: &[String], probabilities: &[f32]) -> Answer {
    let class = |(label, probability): (&String, &f32)| ClassProbability {
        label: label.clone(),
        probability: *probability,
    };
    Answer {
        label: best_class(probabilities)
            .map(|class| labels[class].clone())
            .unwrap_or_default(),
        probabilities: labels.iter().zip(probabilities).map(class).collect(),
    }
}
