//! The activations of one session: one append-only file, and an index of headers in memory.
//!
//! The file holds payload bytes exactly as they came (f32, f16 or int8); they are decoded when a
//! batch is read. Reads are positional, so the trainer may read while nothing is shared but the
//! file. What the bytes mean, and whether they are acceptable, was settled by the session before
//! they get here.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use shared::protocol::message::{ExampleHeader, Split};
use shared::protocol::tensor::TensorDescriptor;
use tempfile::TempDir;

use crate::trainer::ActivationBatch;

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

/// The examples of one session, on disk. Deleted when dropped.
pub struct ActivationStore {
    file: File,
    d_model: usize,
    index: RwLock<Index>,
    directory: TempDir,
}

#[derive(Default)]
struct Index {
    chunks: Vec<Chunk>,
    entries: Vec<Entry>,
    /// Where the next chunk goes. Bytes after it belong to an append that failed.
    bytes: u64,
}

/// The payload of one upload.
#[derive(Clone, Copy)]
struct Chunk {
    offset: u64,
    tensor: TensorDescriptor,
}

/// One example.
#[derive(Clone, Copy)]
struct Entry {
    header: ExampleHeader,
    /// None where the client computes activations for each batch anew.
    place: Option<Place>,
}

/// Rows `first_row..first_row + header.seq_length` of a chunk.
#[derive(Clone, Copy)]
struct Place {
    chunk: u32,
    first_row: u32,
}

impl ActivationStore {
    /// Creates an empty store in a directory that it will own.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn create(directory: TempDir, d_model: usize) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(directory.path().join("activations"))?;
        Ok(Self {
            file,
            d_model,
            index: RwLock::default(),
            directory,
        })
    }

    /// Appends the examples of one upload; they are on disk when this returns.
    ///
    /// Returns the number of examples in the store. After a failure the store is as it was before.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when headers, descriptor and payload do not fit together; otherwise the file
    /// system's reason.
    pub fn append(
        &self,
        examples: &[ExampleHeader],
        tensor: TensorDescriptor,
        payload: &[u8],
    ) -> io::Result<usize> {
        let rows: u64 = examples
            .iter()
            .map(|example| u64::from(example.seq_length))
            .sum();
        let fits = rows == u64::from(tensor.rows)
            && tensor.columns as usize == self.d_model
            && tensor.payload_bytes() == Some(payload.len());
        if !fits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let offset = index.bytes;
        let chunk = u32::try_from(index.chunks.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.file.write_all_at(payload, offset)?;
        self.file.sync_data()?;
        index.bytes += payload.len() as u64;
        index.chunks.push(Chunk { offset, tensor });
        let mut first_row = 0;
        for header in examples {
            index.entries.push(Entry {
                header: *header,
                place: Some(Place { chunk, first_row }),
            });
            first_row += u32::from(header.seq_length);
        }
        Ok(index.entries.len())
    }

    /// Adds examples whose activations come later, batch by batch, and are not stored.
    ///
    /// Returns the number of examples in the store.
    pub fn append_headers(&self, examples: &[ExampleHeader]) -> usize {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let entry = |header: &ExampleHeader| Entry {
            header: *header,
            place: None,
        };
        index.entries.extend(examples.iter().map(entry));
        index.entries.len()
    }

    /// The headers of some examples, in the order asked for.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an index that does not exist.
    pub fn headers(&self, indices: &[usize]) -> io::Result<Vec<ExampleHeader>> {
        let index = self.index();
        let header = |i: &usize| Some(index.entries.get(*i)?.header);
        let found: Option<Vec<_>> = indices.iter().map(header).collect();
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
    /// `InvalidInput` for an index that does not exist or has no activations here; otherwise the file
    /// system's reason.
    pub fn read(&self, indices: &[usize]) -> io::Result<LabelledBatch> {
        let found = self.locate(indices)?;
        let rows: usize = found
            .iter()
            .map(|(header, ..)| usize::from(header.seq_length))
            .sum();
        let mut values = Vec::with_capacity(rows * self.d_model);
        for (header, first_row, chunk) in &found {
            values.extend_from_slice(&self.read_example(header, *first_row, *chunk)?);
        }
        let headers = || found.iter().map(|(header, ..)| header);
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
        let index = self.index();
        let of_split = |(i, entry): (usize, &Entry)| (entry.header.split == split).then_some(i);
        index
            .entries
            .iter()
            .enumerate()
            .filter_map(of_split)
            .collect()
    }

    /// The label of an example, if there is such an example and its label is here.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.index().entries.get(index)?.header.label
    }

    /// The rows of an example, if there is such an example.
    pub fn seq_length(&self, index: usize) -> Option<u16> {
        self.index()
            .entries
            .get(index)
            .map(|entry| entry.header.seq_length)
    }

    /// Width of an activation.
    pub fn d_model(&self) -> usize {
        self.d_model
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.index().entries.len()
    }

    /// Whether nothing was stored yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the store's directory at once, even while a run still holds the store.
    ///
    /// The open file stays readable for that run's last step and is gone when the last holder lets
    /// go.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(self.directory.path())
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Header, first row and chunk of some examples.
    fn locate(&self, indices: &[usize]) -> io::Result<Vec<(ExampleHeader, u32, Chunk)>> {
        let index = self.index();
        let find = |i: &usize| {
            let Entry { header, place } = *index.entries.get(*i)?;
            let Place { chunk, first_row } = place?;
            Some((header, first_row, *index.chunks.get(chunk as usize)?))
        };
        let found: Option<Vec<_>> = indices.iter().map(find).collect();
        found.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    /// Reads the numbers of one example.
    fn read_example(
        &self,
        header: &ExampleHeader,
        first_row: u32,
        chunk: Chunk,
    ) -> io::Result<Vec<f32>> {
        let rows = u32::from(header.seq_length);
        let range = first_row..first_row + rows;
        let lies = chunk
            .tensor
            .row_bytes(range)
            .map_err(|_| io::ErrorKind::InvalidData)?;
        let mut scales = vec![0; lies.scales.len()];
        let mut values = vec![0; lies.values.len()];
        self.file
            .read_exact_at(&mut scales, chunk.offset + lies.scales.start as u64)?;
        self.file
            .read_exact_at(&mut values, chunk.offset + lies.values.start as u64)?;
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
mod tests {
    use shared::protocol::tensor::ActivationDtype;

    use super::*;

    fn header(example_id: u32, split: Split, label: u32, seq_length: u16) -> ExampleHeader {
        ExampleHeader {
            example_id,
            split,
            label: Some(label),
            seq_length,
        }
    }

    fn tensor(dtype: ActivationDtype, rows: u32) -> TensorDescriptor {
        TensorDescriptor {
            dtype,
            rows,
            columns: 2,
        }
    }

    fn f32_bytes(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn store() -> ActivationStore {
        ActivationStore::create(tempfile::tempdir().unwrap(), 2).unwrap()
    }

    #[test]
    fn reads_back_in_the_order_asked_for() {
        let store = store();
        let examples = [
            header(9, Split::Train, 1, 1),
            header(4, Split::Validation, 0, 2),
        ];
        let payload = f32_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(
            store
                .append(&examples, tensor(ActivationDtype::F32, 3), &payload)
                .unwrap(),
            2
        );
        // binary16: 1.0 = 0x3c00, -2.0 = 0xc000.
        let halves = [0x00, 0x3c, 0x00, 0xc0];
        let third = [header(5, Split::Train, 2, 1)];
        assert_eq!(
            store
                .append(&third, tensor(ActivationDtype::F16, 1), &halves)
                .unwrap(),
            3
        );

        let batch = store.read(&[2, 1]).unwrap();
        assert_eq!(batch.activations.values, [1.0, -2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(batch.activations.seq_lengths, [1, 2]);
        assert_eq!(batch.labels, [2, 0]);
        assert_eq!(store.indices(Split::Train), [0, 2]);
        assert_eq!(store.indices(Split::Validation), [1]);
        assert_eq!((store.label(1), store.seq_length(1)), (Some(0), Some(2)));
        assert_eq!((store.label(3), store.seq_length(3)), (None, None));
    }

    #[test]
    fn int8_examples_keep_their_own_scales() {
        let store = store();
        let examples = [header(0, Split::Train, 0, 1), header(1, Split::Train, 1, 2)];
        let mut payload = f32_bytes(&[0.5, 2.0, 10.0]);
        payload.extend([1_i8, -1, 3, 4, 5, -127].map(|q| q.to_le_bytes()[0]));
        store
            .append(&examples, tensor(ActivationDtype::Int8, 3), &payload)
            .unwrap();
        let second = store.read(&[1]).unwrap();
        assert_eq!(second.activations.values, [6.0, 8.0, 50.0, -1270.0]);
        let first = store.read(&[0]).unwrap();
        assert_eq!(first.activations.values, [0.5, -0.5]);
    }

    #[test]
    fn refuses_what_does_not_fit_and_stays_as_it_was() {
        let store = store();
        let one = [header(0, Split::Train, 0, 1)];
        let payload = f32_bytes(&[1.0, 2.0]);
        let wrong_rows = store.append(&one, tensor(ActivationDtype::F32, 2), &payload);
        assert_eq!(wrong_rows.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let wrong_bytes = store.append(&one, tensor(ActivationDtype::F32, 1), &payload[..7]);
        assert_eq!(wrong_bytes.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(store.is_empty());
        assert_eq!(
            store.read(&[0]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn examples_without_activations_have_headers_and_nothing_to_read() {
        let store = store();
        let label_less = ExampleHeader {
            label: None,
            ..header(3, Split::Validation, 0, 7)
        };
        let headers = [header(9, Split::Train, 1, 4), label_less];
        assert_eq!(store.append_headers(&headers), 2);
        assert_eq!(store.headers(&[1, 0]).unwrap(), [headers[1], headers[0]]);
        assert_eq!((store.label(0), store.label(1)), (Some(1), None));
        assert_eq!(store.indices(Split::Train), [0]);
        for missing in [store.read(&[0]).err(), store.headers(&[2]).err()] {
            assert_eq!(missing.unwrap().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn labels_that_are_not_here_are_not_made_up() {
        let store = store();
        let label_less = ExampleHeader {
            label: None,
            ..header(0, Split::Train, 0, 1)
        };
        let payload = f32_bytes(&[1.0, 2.0]);
        store
            .append(&[label_less], tensor(ActivationDtype::F32, 1), &payload)
            .unwrap();
        let batch = store.read(&[0]).unwrap();
        assert_eq!((batch.activations.values.len(), batch.labels.len()), (2, 0));
    }

    #[test]
    fn removal_leaves_the_run_that_holds_the_store_able_to_read() {
        let store = store();
        let one = [header(0, Split::Train, 0, 1)];
        let payload = f32_bytes(&[1.0, 2.0]);
        store
            .append(&one, tensor(ActivationDtype::F32, 1), &payload)
            .unwrap();
        let path = store.directory.path().to_owned();
        store.remove().unwrap();
        assert!(!path.exists());
        assert_eq!(store.read(&[0]).unwrap().activations.values, [1.0, 2.0]);
    }

    #[test]
    fn is_deleted_on_drop() {
        let store = store();
        let path = store.directory.path().to_owned();
        assert!(path.exists());
        drop(store);
        assert!(!path.exists());
    }

    #[test]
    fn its_debug_form_holds_no_label() {
        let store = store();
        let one = [header(0, Split::Train, 777_313, 1)];
        store
            .append(
                &one,
                tensor(ActivationDtype::F32, 1),
                &f32_bytes(&[1.0, 2.0]),
            )
            .unwrap();
        let batch = store.read(&[0]).unwrap();
        assert!(!format!("{store:?} {batch:?}").contains("777313"));
    }
}
