//! A client as the page and the command line use it: connect, read a file, choose protection, look,
//! train, predict.

mod run;

use std::cell::Cell;
use std::rc::Rc;

use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha20Rng;
use serde::Serialize;
use shared::model::{BottomModel, CutLayer, ModelConfig};
use shared::privacy::calibration::{TokenCurve, vector_eta};
use shared::privacy::vector::{CLIP, mean_norm};
use shared::privacy::{Eta, Protection, VectorPrivatizer, ordinary_ids};
use shared::text::{Dataset, Example, RawText, Tokenizer};

use crate::artifacts::{self, Catalogue};
use crate::device;
use crate::error::ClientError;
use crate::events::{Event, LoadingStage};
use crate::file::{ChosenColumns, FileReport, LabelledFile};
use crate::job::Traffic;
use crate::options::{ConnectOptions, MechanismName, PrivacyOptions, SEQ_LENGTH_DEFAULT};
use crate::pipeline::{Mechanism, Pipeline, TextPair};
use crate::preview::Preview;
use crate::release::ReleaseKey;
use crate::transport::Transport;

use run::Trained;
pub use run::{Answer, ClassProbability, Evaluation};

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

/// Randomness that protects: for a calibration sample, the split, and noise on gradients.
pub(crate) fn system_rng() -> Result<ChaCha20Rng, ClientError> {
    ChaCha20Rng::try_from_rng(&mut SysRng).map_err(|_| ClientError::NoRandomness)
}

fn protection(options: &PrivacyOptions) -> Result<Protection, ClientError> {
    Ok(Protection::new(options.protection.unwrap_or_default())?)
}

fn text_pair(example: &Example) -> TextPair<'_> {
    TextPair {
        text: &example.text,
        pair: example.pair.as_ref(),
    }
}
