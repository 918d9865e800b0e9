//! Kept adapters in memory: as many as a budget of bytes allows, those that were asked last.
//!
//! An adapter's files stay where they are, so one that has to go is only dropped, and read again
//! when it is asked again. Adapters of runs are not counted here: a session holds at most one.

use std::io;

use burn::tensor::Device;
use shared::adapter::peft::{self, PeftFiles};
use shared::adapter::{Adapter, AdapterError, ParameterName};
use shared::model::{ModelConfig, TopModel};

use super::TrainerError;
use crate::state::AdapterKey;
use crate::store::AdapterFiles;

/// An adapter that is kept on disk, as the trainer needs to know it.
#[derive(Debug, Clone)]
pub struct KeptAdapter {
    /// Its name.
    pub key: AdapterKey,
    /// Where its files are.
    pub files: AdapterFiles,
    /// Blocks that the client runs.
    pub cut: usize,
    /// Classes of its head.
    pub n_classes: usize,
}

/// An adapter that somebody brought and that fits the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Classes of its head.
    pub n_classes: usize,
    /// It, as this program writes it: nothing else that was in the files.
    pub files: PeftFiles,
}

/// The adapters in memory.
#[derive(Debug)]
pub(super) struct AdapterCache {
    bytes_max: u64,
    /// Asked last is last.
    loaded: Vec<(AdapterKey, Adapter)>,
}

impl AdapterCache {
    /// Nothing is loaded.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            loaded: Vec::new(),
        }
    }

    /// Adapters in memory.
    pub(super) fn len(&self) -> usize {
        self.loaded.len()
    }

    /// Takes an adapter out of memory.
    pub(super) fn forget(&mut self, key: AdapterKey) {
        self.loaded.retain(|(loaded, _)| *loaded != key);
    }

    /// The adapter of that name, read by `load` where it is not in memory.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub(super) fn get_or_load(
        &mut self,
        key: AdapterKey,
        load: impl FnOnce() -> Result<Adapter, TrainerError>,
    ) -> Result<Adapter, TrainerError> {
        let adapter = match self.loaded.iter().position(|(loaded, _)| *loaded == key) {
            Some(place) => self.loaded.remove(place).1,
            None => load()?,
        };
        self.keep(key, adapter.clone());
        Ok(adapter)
    }

    /// Puts an adapter last, and drops the first ones until all fit. One that is larger than the
    /// budget does not stay: it is used once and read again.
    fn keep(&mut self, key: AdapterKey, adapter: Adapter) {
        if bytes_of(&adapter) > self.bytes_max {
            return;
        }
        self.loaded.push((key, adapter));
        let mut bytes: u64 = self.loaded.iter().map(|(_, one)| bytes_of(one)).sum();
        while bytes > self.bytes_max {
            bytes -= bytes_of(&self.loaded.remove(0).1);
        }
    }
}

/// Bytes of an adapter's numbers.
fn bytes_of(adapter: &Adapter) -> u64 {
    let numbers = adapter
        .parameters()
        .iter()
        .map(|p| p.dims().iter().product::<usize>());
    4 * numbers.sum::<usize>() as u64
}

/// Reads the files of a kept adapter.
///
/// # Errors
///
/// `UnknownAdapter` where they are gone; when they cannot be read or opened, or do not fit the
/// model.
pub(super) fn read(
    kept: &KeptAdapter,
    model: &ModelConfig,
    top: &TopModel,
    device: &Device,
) -> Result<Adapter, TrainerError> {
    let files = match kept.files.read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TrainerError::UnknownAdapter);
        }
        read => read?,
    };
    Ok(peft::read(&files, model, top, kept.n_classes, device)?)
}

/// Holds files that somebody brought against the model and the cut.
///
/// # Errors
///
/// `Adapter` where they do not fit.
pub(super) fn inspect(
    files: &PeftFiles,
    cut: usize,
    model: &ModelConfig,
    top: &TopModel,
    device: &Device,
) -> Result<Inspected, TrainerError> {
    let n_classes = files.n_classes(model)?;
    let adapter = peft::read(files, model, top, n_classes, device)?;
    let layers = adapter.names().filter_map(|name| match name {
        ParameterName::LoraA { layer, .. } => Some(layer),
        _ => None,
    });
    if let Some(layer) = layers.min().filter(|layer| *layer < cut) {
        return Err(AdapterError::BelowCut { layer, cut }.into());
    }
    let files = peft::write(&adapter, model)?;
    Ok(Inspected { n_classes, files })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use burn::tensor::Tensor;
    use shared::adapter::{LoraConfig, Target};

    use super::*;

    /// An adapter of two numbers, 8 bytes.
    fn adapter() -> Adapter {
        let config = LoraConfig::new(1, 1.0, 0.0, [Target::Query]).unwrap();
        let bias = Tensor::<2>::from_floats([[1.0, 2.0]], &Device::flex());
        Adapter::from_parameters(&config, [(ParameterName::ClassifierBias, bias)])
    }

    fn key(number: u8) -> AdapterKey {
        AdapterKey([number; 16])
    }

    /// Which of the asked adapters had to be read.
    fn read(cache: &mut AdapterCache, asked: &[u8]) -> Vec<u8> {
        let mut loads = Vec::new();
        for &number in asked {
            let was_read = Cell::new(false);
            let load = || {
                was_read.set(true);
                Ok(adapter())
            };
            cache.get_or_load(key(number), load).unwrap();
            loads.extend(was_read.get().then_some(number));
        }
        loads
    }

    #[test]
    fn what_was_asked_last_stays() {
        let mut cache = AdapterCache::new(16);
        // 1 is asked again before 3 comes, so 2 goes.
        assert_eq!(read(&mut cache, &[1, 2, 1, 3, 1, 3, 2]), [1, 2, 3, 2]);
        assert_eq!(cache.len(), 2);
        cache.forget(key(2));
        assert_eq!(cache.len(), 1);
        assert_eq!(read(&mut cache, &[2]), [2]);
    }

    #[test]
    fn a_budget_of_nothing_keeps_nothing_and_answers() {
        for bytes_max in [0, 7] {
            let mut cache = AdapterCache::new(bytes_max);
            assert_eq!(read(&mut cache, &[1, 1]), [1, 1]);
            assert_eq!(cache.len(), 0);
        }
    }

    #[test]
    fn an_adapter_that_cannot_be_read_is_not_kept() {
        let mut cache = AdapterCache::new(16);
        let failed = cache.get_or_load(key(1), || Err(TrainerError::UnknownAdapter));
        assert!(matches!(failed, Err(TrainerError::UnknownAdapter)));
        assert_eq!(cache.len(), 0);
    }
}
