//! A client as the page and the command line use it: connect, read a file, choose protection, look,
//! train, predict.

mod attacked;
#[cfg(not(target_arch = "wasm32"))]
pub mod audit;
mod protection;
pub mod reading;
mod run;

use std::cell::Cell;
use std::rc::Rc;

use rand::SeedableRng;
use rand::rngs::SysRng;
use rand_chacha::ChaCha20Rng;
use shared::model::{BottomModel, CutLayer, ModelConfig};
use shared::privacy::vector::mean_norm;
use shared::text::{Dataset, Example, RawText, Tokenizer};

use crate::artifacts::{self, Catalogue};
use crate::cache::Files;
use crate::cache::direct::Direct;
use crate::device;
use crate::error::ClientError;
use crate::events::{Event, LoadingStage};
use crate::file::{ChosenColumns, FileReport, LabelledFile};
use crate::job::Traffic;
use crate::options::{ConnectOptions, SEQ_LENGTH_DEFAULT};
use crate::pipeline::{Pipeline, TextPair};
use crate::release::ReleaseKey;
use crate::seed::{Draw, Seed};
use crate::server::Server;
use crate::transport::Transport;

use protection::Protected;
pub use protection::{ContributingWord, PrivacyReport};
use run::Trained;
pub use run::{Answer, ClassProbability, Evaluation};

/// Everything that a person's session at the client holds.
#[derive(Debug)]
pub struct Client<T> {
    catalogue: Catalogue,
    bottom_sha256: [u8; 32],
    pipeline: Pipeline,
    file: Option<LabelledFile>,
    protected: Protected,
    trained: Option<Trained<T>>,
    traffic: Rc<Cell<Traffic>>,
    seed: Option<Seed>,
}

impl<T: Transport> Client<T> {
    /// Fetches and verifies what the server offers, and prepares the bottom.
    ///
    /// # Errors
    ///
    /// When a file cannot be fetched or is not the announced one, or no device can be used.
    pub async fn connect(
        server: impl Into<Server>,
        options: &ConnectOptions,
        key: ReleaseKey,
        on_event: impl FnMut(Event),
    ) -> Result<Self, ClientError> {
        let files = Direct::new(&server.into());
        Self::connect_with(&files, options, key, on_event).await
    }

    /// The same with files that come another way, and may be kept.
    ///
    /// The device is opened before anything large is fetched: a GPU that was asked for and cannot
    /// hold the model is refused without a download.
    ///
    /// # Errors
    ///
    /// As `connect`.
    pub async fn connect_with(
        files: &impl Files,
        options: &ConnectOptions,
        key: ReleaseKey,
        mut on_event: impl FnMut(Event),
    ) -> Result<Self, ClientError> {
        on_event(loading(LoadingStage::Catalogue, 0, 0));
        let catalogue = artifacts::catalogue(files).await?;
        let (cut, bottom) = catalogue.bottom(options.cut, options.precision.name())?;
        let stage = LoadingStage::Catalogue;
        let config = catalogue.file(files, &catalogue.config, stage, |_, _| {});
        let config = ModelConfig::from_json(&config.await?)?;
        let cut = CutLayer::new(cut as usize, &config)?;
        on_event(loading(LoadingStage::Device, 0, 0));
        let opened = device::open(options.device, device::largest_tensor_bytes(&config)).await?;
        let device::OpenDevice {
            device,
            kind,
            name,
            notice,
        } = opened;
        on_event(Event::Device { kind, name, notice });
        let mut fetch = async |entry, stage| {
            let told = |bytes, total| on_event(loading(stage, bytes, total));
            catalogue.file(files, entry, stage, told).await
        };
        let tokenizer = fetch(&catalogue.tokenizer, LoadingStage::Tokenizer).await?;
        let weights = fetch(&bottom.file, LoadingStage::Bottom).await?;
        let bottom_model = BottomModel::load(&config, &weights, cut, &device)?;
        drop(weights);
        let asked = match options.seq_length_max {
            0 => SEQ_LENGTH_DEFAULT,
            asked => asked,
        };
        let seq_length_max = asked.min(catalogue.seq_length_max) as usize;
        let tokenizer =
            Tokenizer::from_json(&tokenizer, seq_length_max.min(config.seq_length_max))?;
        on_event(loading(LoadingStage::Warmup, 0, 0));
        let pipeline = Box::pin(Pipeline::new(tokenizer, bottom_model, key)).await?;
        mean_norm(&pipeline.bottom).await?; // the first pass compiles the shaders
        let bottom_sha256 = bottom.file.digest()?;
        Ok(Self {
            catalogue,
            bottom_sha256,
            pipeline,
            file: None,
            protected: Protected::default(),
            trained: None,
            traffic: Rc::default(),
            seed: None,
        })
    }

    /// Takes all draws from a seed from now on. For experiments: the key that the client was
    /// connected with should be [`Seed::release_key`].
    pub fn draw_from(&mut self, seed: Seed) {
        self.seed = Some(seed);
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
        self.protected = Protected::default();
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
        self.protected = Protected::default();
        self.trained = None;
        Ok(report)
    }
}

impl<T> Client<T> {
    /// The generator of a draw: the system's, except in experiments.
    fn rng(&self, draw: Draw) -> Result<ChaCha20Rng, ClientError> {
        self.seed.map_or_else(system_rng, |seed| Ok(seed.rng(draw)))
    }

    fn dataset(&self) -> Result<&Dataset, ClientError> {
        self.file.as_ref().ok_or(NO_FILE)?.dataset()
    }
}

fn loading(stage: LoadingStage, bytes: u64, bytes_total: u64) -> Event {
    Event::Loading {
        stage,
        bytes,
        bytes_total,
    }
}

const NO_FILE: ClientError = ClientError::NotYet("choose a file first");

/// Randomness that protects.
pub(crate) fn system_rng() -> Result<ChaCha20Rng, ClientError> {
    ChaCha20Rng::try_from_rng(&mut SysRng).map_err(|_| ClientError::NoRandomness)
}

/// Texts whose class nobody knows.
fn owned_pairs(texts: &[(RawText, Option<RawText>)]) -> Vec<TextPair<'_>> {
    texts
        .iter()
        .map(|(text, pair)| TextPair {
            text,
            pair: pair.as_ref(),
            class: None,
        })
        .collect()
}

fn text_pair(example: &Example) -> TextPair<'_> {
    TextPair {
        text: &example.text,
        pair: example.pair.as_ref(),
        class: None,
    }
}
