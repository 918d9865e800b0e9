//! The activations of one session or job: two append-only files, and their index in memory.
//!
//! | file | what |
//! |---|---|
//! | `activations` | payload bytes exactly as they came (f32, f16 or int8), one behind the other |
//! | `index` | which examples there are and where; its bytes are in `record` |
//!
//! An append is acknowledged when its payload and then its record are on disk, each by `fdatasync`.
//! What an append that was not acknowledged has left is cut off when the store is opened.
//!
//! Payloads are decoded when a batch is read. Reads are positional, so the trainer may read while
//! nothing is shared but the file. What the bytes mean, and whether they are acceptable, was settled
//! by the session before they get here.
//!
//! A store that was created with a key is sealed: both files hold what the table says as
//! [`super::sealing`] seals it, and a byte of a payload that has changed is noticed when it is read.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use shared::protocol::message::{ExampleHeader, Split};
use shared::protocol::tensor::TensorDescriptor;
use tempfile::TempDir;

use super::durable;
use super::error::StoreError;
use super::home::Home;
use super::index::{Index, Located};
use super::record::{Record, example_rows, write_header};
use super::sealing::{Sealing, StoreSeal};
use crate::trainer::ActivationBatch;

const PAYLOADS: &str = "activations";
const RECORDS: &str = "index";

/// Some examples, read back for training or validation.
#[derive(Clone, PartialEq)]
pub struct LabelledBatch {
    /// Their activations, in the order asked for.
    pub activations: ActivationBatch,
    /// Their labels, in the same order; empty where labels stay at the client.
    pub labels: Vec<u32>,
}

impl fmt::Debug for LabelledBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelledBatch")
            .field("examples", &self.activations.seq_lengths.len())
            .finish_non_exhaustive()
    }
}

/// The examples of one session or job, on disk.
pub struct ActivationStore {
    payloads: File,
    records: File,
    d_model: usize,
    /// As the index has it, for readers that do not hold the lock.
    seal: StoreSeal,
    contents: RwLock<Contents>,
    home: Home,
}

struct Contents {
    index: Index,
    /// Whether the files may be longer than the index says: an append has failed, and what it left
    /// could not be cut off.
    is_torn: bool,
}

impl ActivationStore {
    /// Creates an empty store in a directory that it will own and delete when it is dropped.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn create(directory: TempDir, d_model: usize) -> Result<Self, StoreError> {
        Self::create_sealed(directory, d_model, &Sealing::default())
    }

    /// As [`Self::create`], sealed where there is a key.
    ///
    /// # Errors
    ///
    /// As of [`Self::create`], and when the system has no randomness.
    pub fn create_sealed(
        directory: TempDir,
        d_model: usize,
        sealing: &Sealing,
    ) -> Result<Self, StoreError> {
        let home = Home::temporary(directory);
        let width =
            u32::try_from(d_model).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let new = |name| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).mode(0o600);
            options.open(home.path().join(name))
        };
        let (payloads, records) = (new(PAYLOADS)?, new(RECORDS)?);
        let seal = sealing.new_store()?;
        records.write_all_at(&write_header(width, &seal)?, 0)?;
        records.sync_all()?;
        durable::sync_directory(&home.path())?;
        Ok(Self::of(
            payloads,
            records,
            Index::empty(seal),
            d_model,
            home,
        ))
    }

    /// Moves the store to another place of the same file system, where it stays until
    /// [`Self::remove`]. Whoever reads or appends meanwhile does not notice.
    ///
    /// # Guarantee
    ///
    /// When this returns, the store with every append that was acknowledged survives a loss of
    /// power, and the process.
    ///
    /// # Errors
    ///
    /// When something is there already, or the file system refuses.
    pub fn keep(&self, directory: &Path) -> io::Result<()> {
        self.home.move_to(directory)
    }

    fn of(payloads: File, records: File, index: Index, d_model: usize, home: Home) -> Self {
        let is_torn = false;
        Self {
            payloads,
            records,
            d_model,
            seal: index.seal().clone(),
            contents: RwLock::new(Contents { index, is_torn }),
            home,
        }
    }

    /// Opens a store that was kept; it is kept again.
    ///
    /// # Guarantee
    ///
    /// Every append that was acknowledged is there, in the order of appends. What an append that was
    /// not acknowledged has left is cut off; where that append is whole on disk, and only its
    /// acknowledgement is missing, it is kept. Of the index every byte is checked; of the payloads
    /// only that they are there: against bytes that change on the disk the file system protects, or
    /// a seal.
    ///
    /// # Errors
    ///
    /// When the directory holds no store, anything but the last append is damaged, or the file
    /// system refuses.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_sealed(directory, &Sealing::default())
    }

    /// As [`Self::open`], for a store that was created with the same key.
    ///
    /// # Errors
    ///
    /// As of [`Self::open`], and `Sealed` where the store was created with another key, or one of
    /// the two has none.
    pub fn open_sealed(directory: &Path, sealing: &Sealing) -> Result<Self, StoreError> {
        let existing = |name| {
            let mut options = File::options();
            options.read(true).write(true).open(directory.join(name))
        };
        let (payloads, records) = (existing(PAYLOADS)?, existing(RECORDS)?);
        let bytes = fs::read(directory.join(RECORDS))?;
        let payload_bytes = payloads.metadata()?.len();
        let (index, d_model) = Index::read(&bytes, payload_bytes, sealing)?;
        let whole = index.record_bytes() == bytes.len() as u64;
        let whole = whole && index.payload_bytes() == payload_bytes;
        let home = Home::kept(directory);
        let store = Self::of(payloads, records, index, d_model as usize, home);
        if !whole {
            store.cut_off(&store.contents().index)?;
        }
        Ok(store)
    }

    /// Appends the examples of one upload.
    ///
    /// Returns the number of examples in the store.
    ///
    /// # Guarantee
    ///
    /// The examples survive a loss of power when this returns `Ok`. After a failure the store is as
    /// it was before and takes the next append.
    ///
    /// # Errors
    ///
    /// `Misfit` when headers, descriptor and payload do not fit together, `Full` when there is no
    /// room; otherwise the file system's reason.
    pub fn append(
        &self,
        examples: &[ExampleHeader],
        tensor: TensorDescriptor,
        payload: &[u8],
    ) -> Result<usize, StoreError> {
        let example_rows = example_rows(examples);
        let fits = example_rows == u64::from(tensor.rows)
            && tensor.columns as usize == self.d_model
            && tensor.payload_bytes() == Some(payload.len());
        if !fits {
            return Err(StoreError::Misfit {
                example_rows,
                d_model: self.d_model,
                rows: tensor.rows,
                columns: tensor.columns,
                payload_bytes: payload.len(),
            });
        }
        self.acknowledge(examples, Some(tensor), payload)
    }

    /// Adds examples whose activations come later, batch by batch, and are not stored.
    ///
    /// Returns the number of examples in the store.
    ///
    /// # Guarantee
    ///
    /// As of [`Self::append`].
    ///
    /// # Errors
    ///
    /// `Full` when there is no room; otherwise the file system's reason.
    pub fn append_headers(&self, examples: &[ExampleHeader]) -> Result<usize, StoreError> {
        self.acknowledge(examples, None, &[])
    }

    fn acknowledge(
        &self,
        examples: &[ExampleHeader],
        tensor: Option<TensorDescriptor>,
        payload: &[u8],
    ) -> Result<usize, StoreError> {
        let contents = self.contents.write();
        let mut contents = contents.unwrap_or_else(PoisonError::into_inner);
        if contents.is_torn {
            self.cut_off(&contents.index)?;
            contents.is_torn = false;
        }
        let record = Record {
            offset: contents.index.payload_bytes(),
            tensor,
            examples: examples.to_vec(),
        };
        let number = contents.index.records();
        let bytes = record.write(&self.seal, number)?;
        let payload = self.seal.seal_payload(number, payload)?;
        if let Err(source) = self.write(&contents.index, &payload, &bytes) {
            // At once: on a full disk the room is needed.
            contents.is_torn = self.cut_off(&contents.index).is_err();
            return Err(source.into());
        }
        contents.index.add(&record);
        Ok(contents.index.len())
    }

    /// Payload first: a record says that its payload is there.
    fn write(&self, index: &Index, payload: &[u8], record: &[u8]) -> io::Result<()> {
        if !payload.is_empty() {
            self.payloads.write_all_at(payload, index.payload_bytes())?;
            self.payloads.sync_data()?;
        }
        self.records.write_all_at(record, index.record_bytes())?;
        self.records.sync_data()
    }

    /// Cuts off what was not acknowledged. The record first, as above.
    fn cut_off(&self, index: &Index) -> io::Result<()> {
        self.records.set_len(index.record_bytes())?;
        self.records.sync_all()?;
        self.payloads.set_len(index.payload_bytes())?;
        self.payloads.sync_all()
    }

    /// The headers of some examples, in the order asked for.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an index that does not exist.
    pub fn headers(&self, indices: &[usize]) -> io::Result<Vec<ExampleHeader>> {
        let contents = self.contents();
        let headers = indices.iter().map(|i| contents.index.header(*i));
        let found: Option<Vec<_>> = headers.collect();
        found.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Reads some examples, in the order asked for.
    ///
    /// # Shapes
    ///
    /// `activations.values`: `[sum of seq_lengths, d_model]`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an index that does not exist or has no activations here; `InvalidData` with
    /// [`StoreError::Sealed`] in it for bytes that are not those that were sealed; otherwise the file
    /// system's reason.
    pub fn read(&self, indices: &[usize]) -> io::Result<LabelledBatch> {
        let found = self.locate(indices)?;
        let rows = found.iter().map(|at| usize::from(at.header.seq_length));
        let mut values = Vec::with_capacity(rows.sum::<usize>() * self.d_model);
        for located in &found {
            values.extend_from_slice(&self.read_example(located)?);
        }
        let headers = || found.iter().map(|located| located.header);
        let seq_lengths = headers().map(|header| header.seq_length).collect();
        let labels = headers().filter_map(|header| header.label).collect();
        Ok(LabelledBatch {
            activations: ActivationBatch {
                values,
                seq_lengths,
            },
            labels,
        })
    }

    /// The indices of one split's examples, in the order of upload.
    pub fn indices(&self, split: Split) -> Vec<usize> {
        self.contents().index.indices(split)
    }

    /// The label of an example, if there is such an example and its label is here.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.contents().index.header(index)?.label
    }

    /// The rows of an example, if there is such an example.
    pub fn seq_length(&self, index: usize) -> Option<u16> {
        let header = self.contents().index.header(index);
        header.map(|header| header.seq_length)
    }

    /// Width of an activation.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.contents().index.len()
    }

    /// Whether nothing was stored yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the store's directory at once, even while a run still holds the store.
    ///
    /// The open files stay readable for that run's last step and are gone when the last holder lets
    /// go. Returns the bytes that the files had.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<u64> {
        let bytes = self.payloads.metadata()?.len() + self.records.metadata()?.len();
        self.home.remove()?;
        Ok(bytes)
    }

    fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn locate(&self, indices: &[usize]) -> io::Result<Vec<Located>> {
        let contents = self.contents();
        let found: Option<Vec<_>> = indices.iter().map(|i| contents.index.locate(*i)).collect();
        found.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Reads the numbers of one example.
    fn read_example(&self, located: &Located) -> io::Result<Vec<f32>> {
        let Located {
            header,
            first_row,
            chunk,
        } = located;
        let rows = u32::from(header.seq_length);
        let lies = chunk.tensor.row_bytes(*first_row..first_row + rows);
        let lies = lies.map_err(|_| io::ErrorKind::InvalidData)?;
        let payload_bytes = chunk.tensor.payload_bytes();
        let payload_bytes = payload_bytes.ok_or(io::ErrorKind::InvalidData)?;
        let bytes = |range| {
            let (file, offset, record) = (&self.payloads, chunk.offset, chunk.record);
            self.seal
                .read_payload(file, offset, record, payload_bytes, range)
        };
        let (scales, values) = (bytes(lies.scales)?, bytes(lies.values)?);
        let numbers = chunk.tensor.decode_rows(rows, &scales, &values);
        numbers.map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

impl fmt::Debug for ActivationStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivationStore")
            .field("examples", &self.len())
            .field("d_model", &self.d_model)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
