//! A client as the page and the command line use it: connect, read a file, choose protection, look,
//! train, predict.

use std::cell::Cell;
use std::rc::Rc;

use futures_channel::mpsc::UnboundedReceiver;
use rand::SeedableRng;
use rand::rngs::SysRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::metrics::Confusion;
use shared::model::{BottomModel, CutLayer, ModelConfig};
use shared::privacy::calibration::{TokenCurve, vector_eta};
use shared::privacy::vector::{CLIP, mean_norm};
use shared::privacy::{Eta, Protection, VectorPrivatizer, ordinary_ids};
use shared::protocol::message::{Hello, PROTOCOL_VERSION, Split, TrainDone};
use shared::text::{ColumnChoice, Columns, Dataset, Example, RawText, Table, Tokenizer};

use crate::artifacts::{self, Catalogue};
use crate::device;
use crate::error::ClientError;
use crate::events::{Event, LoadingStage};
use crate::file::{ChosenColumns, FileReport, LabelledFile};
use crate::job::{Command, Job, Labelled, Traffic};
use crate::options::{
    ConnectOptions, MechanismName, PrivacyOptions, SEQ_LENGTH_DEFAULT, TrainOptions, UploadDtype,
};
use crate::pipeline::{Mechanism, Pipeline, TextPair};
use crate::preview::Preview;
use crate::release::ReleaseKey;
use crate::transport::Transport;

/// Everything that a person's session at the client holds.
#[derive(Debug)]
pub struct Client<T> {
    catalogue: Catalogue,
    bottom_sha256: [u8; 32],
    pipeline: Pipeline,
    curve: Option<TokenCurve>,
    file: Option<LabelledFile>,
    trained: Option<Trained<T>>,
    traffic: Rc<Cell<Traffic>>,
}

/// A job whose adapter predicts.
#[derive(Debug)]
struct Trained<T> {
    job: Job<T>,
    labels: Vec<String>,
    class_counts: Vec<usize>,
    sent_as: SentAs,
}

/// What fixes an upload: under other options the examples have to be sent again.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SentAs {
    dtype: UploadDtype,
    validation_share: f64,
}

impl From<&TrainOptions> for SentAs {
    fn from(options: &TrainOptions) -> Self {
        Self {
            dtype: options.dtype,
            validation_share: options.validation_share,
        }
    }
}

/// What a mechanism was set to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivacyReport {
    /// Which mechanism.
    pub mechanism: MechanismName,
    /// Its parameter; none without a mechanism.
    pub eta: Option<f64>,
    /// The protection level that this eta means.
    pub protection: Option<f64>,
    /// For people.
    pub sentence: String,
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
        *self.job.adapter() == options.adapter() && self.sent_as == options.into()
    }
}

impl<T: Transport> Client<T> {
    /// Fetches and verifies what the server offers, and prepares the bottom.
    ///
    /// # Errors
    ///
    /// When a file cannot be fetched or is not the announced one, or no device can be used.
    pub async fn connect(
        server: &str,
        options: &ConnectOptions,
        key: ReleaseKey,
        mut on_event: impl FnMut(Event),
    ) -> Result<Self, ClientError> {
        let mut loading = |stage, bytes, bytes_total| {
            on_event(Event::Loading {
                stage,
                bytes,
                bytes_total,
            });
        };
        loading(LoadingStage::Catalogue, 0, 0);
        let catalogue = artifacts::catalogue(server).await?;
        let (cut, bottom) = catalogue.bottom(options.cut, options.precision.name())?;
        let config = artifacts::file(
            server,
            &catalogue.config,
            LoadingStage::Catalogue,
            |_, _| {},
        )
        .await?;
        let config = ModelConfig::from_json(&config)?;
        let tokenizer = artifacts::file(
            server,
            &catalogue.tokenizer,
            LoadingStage::Tokenizer,
            |bytes, total| loading(LoadingStage::Tokenizer, bytes, total),
        )
        .await?;
        let weights = artifacts::file(
            server,
            &bottom.file,
            LoadingStage::Bottom,
            |bytes, total| {
                loading(LoadingStage::Bottom, bytes, total);
            },
        )
        .await?;
        loading(LoadingStage::Device, 0, 0);
        let table_bytes = 4 * config.vocab_size as u64 * config.d_model as u64;
        let opened = device::open(options.device, table_bytes).await?;
        let cut = CutLayer::new(cut as usize, &config)?;
        let bottom_model = BottomModel::load(&config, &weights, cut, &opened.device)?;
        drop(weights);
        let asked = match options.seq_length_max {
            0 => SEQ_LENGTH_DEFAULT,
            asked => asked,
        };
        let seq_length_max = asked.min(catalogue.seq_length_max) as usize;
        let tokenizer =
            Tokenizer::from_json(&tokenizer, seq_length_max.min(config.seq_length_max))?;
        loading(LoadingStage::Warmup, 0, 0);
        let pipeline = Box::pin(Pipeline::new(tokenizer, bottom_model, key)).await?;
        mean_norm(&pipeline.bottom).await?; // the first pass compiles the shaders
        let device::OpenDevice {
            kind, name, notice, ..
        } = opened;
        on_event(Event::Device { kind, name, notice });
        let bottom_sha256 = bottom.file.digest()?;
        Ok(Self {
            catalogue,
            bottom_sha256,
            pipeline,
            curve: None,
            file: None,
            trained: None,
            traffic: Rc::default(),
        })
    }

    /// What the server offers.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Blocks that run here.
    pub fn cut(&self) -> usize {
        self.pipeline.bottom.cut().index()
    }

    /// Bytes and frames of the current run; can be read while it lasts.
    pub fn traffic(&self) -> Rc<Cell<Traffic>> {
        Rc::clone(&self.traffic)
    }

    /// The classes of the file, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// When there is no file that can be trained on.
    pub fn labels(&self) -> Result<&[String], ClientError> {
        Ok(self.dataset()?.labels())
    }

    /// Reads a file of labelled texts, in place of an earlier one.
    ///
    /// # Errors
    ///
    /// When it is not a file of texts; the earlier one is then kept.
    pub fn read_file(&mut self, name: &str, bytes: &[u8]) -> Result<FileReport, ClientError> {
        let file = LabelledFile::read(name, bytes)?;
        let report = file.report()?;
        self.file = Some(file);
        self.curve = None;
        self.trained = None;
        Ok(report)
    }

    /// Chooses which columns mean what.
    ///
    /// # Errors
    ///
    /// When there is no file or no such column; the earlier choice is then kept.
    pub fn choose_columns(&mut self, chosen: &ChosenColumns) -> Result<FileReport, ClientError> {
        let file = self.file.as_mut().ok_or(NO_FILE)?;
        file.choose(chosen)?;
        let report = file.report()?;
        self.curve = None;
        self.trained = None;
        Ok(report)
    }

    /// Chooses the mechanism and its strength for everything that is released from now on.
    ///
    /// # Errors
    ///
    /// When a parameter is out of range, or the file has no text to calibrate with.
    pub async fn set_privacy(
        &mut self,
        options: &PrivacyOptions,
    ) -> Result<PrivacyReport, ClientError> {
        let (mechanism, eta, protection, sentence) = match options.mechanism {
            MechanismName::None => {
                let sentence = "No protection: whoever runs the server can read every text.";
                (Mechanism::None, None, None, sentence.to_owned())
            }
            MechanismName::Token => {
                let curve = self.curve().await?;
                let eta = match options.eta {
                    Some(eta) => Eta::new(eta)?,
                    None => curve.eta(protection(options)?)?,
                };
                let share = curve.share_changed(eta);
                let sentence = format!(
                    "About {:.0} % of the words are replaced before anything leaves (eta {:.1}).",
                    100.0 * share,
                    eta.get()
                );
                (Mechanism::Token(eta), Some(eta), Some(share), sentence)
            }
            MechanismName::Vector => {
                let dim = self.pipeline.bottom.config().d_model;
                let norm = mean_norm(&self.pipeline.bottom).await?;
                let eta = match options.eta {
                    Some(eta) => Eta::new(eta)?,
                    None => vector_eta(protection(options)?, dim, norm)?,
                };
                let relative = dim as f64 / eta.get() / norm;
                let sentence = format!(
                    "Every activation gets noise {:.0} % as long as itself (eta {:.1}).",
                    100.0 * relative,
                    eta.get()
                );
                let vector = VectorPrivatizer {
                    eta,
                    norm_max: CLIP * norm,
                };
                (
                    Mechanism::Vector(vector),
                    Some(eta),
                    Some(relative),
                    sentence,
                )
            }
        };
        self.pipeline.set_mechanism(mechanism);
        self.trained = None;
        let eta = eta.map(Eta::get);
        Ok(PrivacyReport {
            mechanism: options.mechanism,
            eta,
            protection,
            sentence,
        })
    }

    /// The first `shown` texts beside what the server would see, and the shares over the data.
    ///
    /// # Errors
    ///
    /// When there is no file, or the device fails.
    pub async fn preview(&self, shown: usize) -> Result<Preview, ClientError> {
        let texts: Vec<_> = self.dataset()?.examples().iter().map(text_pair).collect();
        self.pipeline.preview(&texts, shown).await
    }

    /// One text beside what the server would see.
    ///
    /// # Errors
    ///
    /// When it has no token, or the device fails.
    pub async fn preview_text(&self, text: &RawText) -> Result<Preview, ClientError> {
        self.pipeline
            .preview(&[TextPair { text, pair: None }], 1)
            .await
    }

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
        let settings = options.settings(&trained.class_counts);
        let done = trained.job.train(settings, commands, &mut on_event).await;
        if done.is_err() {
            self.trained = None;
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
        let dataset = self.dataset()?;
        let labels = dataset.labels().to_vec();
        let mut rng = system_rng()?;
        let (train, validation) = dataset.split(options.validation_share, &mut rng);
        let hello = Hello {
            protocol_version: PROTOCOL_VERSION,
            model_id: self.catalogue.model_id.clone(),
            bottom_sha256: self.bottom_sha256,
            cut: u32::try_from(self.cut()).unwrap_or(u32::MAX),
            n_classes: u32::try_from(labels.len()).unwrap_or(u32::MAX),
            adapter: options.adapter(),
        };
        let traffic = Rc::clone(&self.traffic);
        let mut job = Job::open(transport, hello, options.dtype.into(), traffic).await?;
        let mut examples = labelled(dataset, &train, &validation);
        examples.shuffle(&mut rng);
        job.upload(&self.pipeline, &examples, commands, on_event)
            .await?;
        let class_counts = class_counts(dataset, &train);
        Ok(Trained {
            job,
            labels,
            class_counts,
            sent_as: options.into(),
        })
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
        let trained = self.trained.as_mut().ok_or(NOTHING_TRAINED)?;
        let texts: Vec<_> = texts
            .iter()
            .map(|(text, pair)| TextPair {
                text,
                pair: pair.as_ref(),
            })
            .collect();
        let probabilities = trained.job.predict(&self.pipeline, &texts).await?;
        let answers = probabilities.chunks_exact(trained.labels.len());
        Ok(answers
            .map(|classes| answer(&trained.labels, classes))
            .collect())
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
        let trained = self.trained.as_mut().ok_or(NOTHING_TRAINED)?;
        let table = Table::read(name, bytes)?;
        let choice = ColumnChoice {
            text: chosen.text.as_deref(),
            pair: chosen.pair.as_deref(),
            label: chosen.label.as_deref(),
        };
        let columns = Columns::choose(&table, &choice)?;
        let dataset = Dataset::with_labels(&table, &columns, &trained.labels)?;
        let texts: Vec<_> = dataset.examples().iter().map(text_pair).collect();
        let probabilities = trained.job.predict(&self.pipeline, &texts).await?;
        let answers = probabilities.chunks_exact(trained.labels.len());
        let mut confusion = Confusion::new(trained.labels.len());
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

    /// The curve of the mechanism `token` on the file's own words, measured once.
    async fn curve(&mut self) -> Result<&TokenCurve, ClientError> {
        let curve = match self.curve.take() {
            Some(curve) => curve,
            None => {
                let ids = self.sample_ids()?;
                let privatizer = &self.pipeline.token_privatizer;
                TokenCurve::measure(privatizer, &ids, &mut system_rng()?).await?
            }
        };
        Ok(self.curve.insert(curve))
    }

    /// Tokens as they occur in the file.
    fn sample_ids(&self) -> Result<Vec<u32>, ClientError> {
        /// Texts that are tokenized for it, spread over the file.
        const TEXTS: usize = 256;
        let examples = self.dataset()?.examples();
        let stride = examples.len().div_ceil(TEXTS).max(1);
        let mut ids = Vec::new();
        for example in examples.iter().step_by(stride) {
            let tokens = self
                .pipeline
                .tokenizer
                .encode(&example.text, example.pair.as_ref())?;
            ids.extend(ordinary_ids(&tokens));
        }
        Ok(ids)
    }

    fn dataset(&self) -> Result<&Dataset, ClientError> {
        self.file.as_ref().ok_or(NO_FILE)?.dataset()
    }
}

const NO_FILE: ClientError = ClientError::NotYet("choose a file first");
const NOTHING_TRAINED: ClientError = ClientError::NotYet("train first; nothing can predict yet");

/// Randomness that protects: for a calibration sample and the split.
fn system_rng() -> Result<ChaCha20Rng, ClientError> {
    ChaCha20Rng::try_from_rng(&mut SysRng).map_err(|_| ClientError::NoRandomness)
}

fn protection(options: &PrivacyOptions) -> Result<Protection, ClientError> {
    Ok(Protection::new(options.protection.unwrap_or_default())?)
}

fn check(options: &TrainOptions) -> Result<(), ClientError> {
    if (0.0..=0.9).contains(&options.validation_share) {
        Ok(())
    } else {
        let problem = "a share from 0 to 0.9 is possible".to_owned();
        Err(ClientError::Option {
            name: "validation share",
            problem,
        })
    }
}

fn text_pair(example: &Example) -> TextPair<'_> {
    TextPair {
        text: &example.text,
        pair: example.pair.as_ref(),
    }
}

fn labelled<'a>(dataset: &'a Dataset, train: &[usize], validation: &[usize]) -> Vec<Labelled<'a>> {
    let of = |index: &usize, split| {
        let example = &dataset.examples()[*index];
        Labelled {
            text: text_pair(example),
            split,
            label: example.label,
        }
    };
    let train = train.iter().map(|index| of(index, Split::Train));
    train
        .chain(validation.iter().map(|index| of(index, Split::Validation)))
        .collect()
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
