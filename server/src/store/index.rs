//! The index of an activation store in memory: which examples there are, and where.

use shared::protocol::message::{ExampleHeader, Split};
use shared::protocol::tensor::TensorDescriptor;

use super::error::StoreError;
use super::record::{Record, header_bytes, read_header};
use super::sealing::{Sealing, StoreSeal};

/// What was acknowledged. Bytes behind `payload_bytes` and `record_bytes` in the two files belong to
/// an append that was not.
pub(super) struct Index {
    seal: StoreSeal,
    records: u64,
    chunks: Vec<Chunk>,
    entries: Vec<Entry>,
    payload_bytes: u64,
    record_bytes: u64,
}

/// The payload of one append.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    /// The number of its record.
    pub(super) record: u64,
    pub(super) offset: u64,
    pub(super) tensor: TensorDescriptor,
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
    chunk: usize,
    first_row: u32,
}

/// Where an example lies.
pub(super) struct Located {
    pub(super) header: ExampleHeader,
    pub(super) first_row: u32,
    pub(super) chunk: Chunk,
}

impl Index {
    /// The index of a store to which nothing was appended.
    pub(super) fn empty(seal: StoreSeal) -> Self {
        Self {
            record_bytes: header_bytes(&seal) as u64,
            seal,
            records: 0,
            chunks: Vec::new(),
            entries: Vec::new(),
            payload_bytes: 0,
        }
    }

    /// Reads an index file beside a file of activations of so many bytes; also gives `d_model`.
    ///
    /// At most one append can be at work when a process dies, so at most one is given up: a record
    /// that is not whole and that no other follows, or a last record whose payload is not whole.
    ///
    /// # Errors
    ///
    /// When the file is no index, is sealed with another key than is set, or anything but the last
    /// append is damaged.
    pub(super) fn read(
        bytes: &[u8],
        payload_bytes: u64,
        sealing: &Sealing,
    ) -> Result<(Self, u32), StoreError> {
        let (seal, d_model) = read_header(bytes, sealing)?;
        let record_at = |at: usize, number| Record::read(bytes.get(at..)?, d_model, &seal, number);
        let mut records: Vec<Record> = Vec::new();
        let (mut at, mut expected) = (header_bytes(&seal), 0_u64);
        while let Some(record) = record_at(at, Some(records.len() as u64)) {
            let end = stored_bytes(&record, &seal);
            let end = end.and_then(|payload| expected.checked_add(payload));
            match end.filter(|_| record.offset == expected) {
                Some(end) => expected = end,
                None => return Err(StoreError::Damaged { byte: at as u64 }),
            }
            at += record.record_bytes(&seal);
            records.push(record);
        }
        let is_torn = at < bytes.len();
        if is_torn && (at + 1..bytes.len()).any(|later| record_at(later, None).is_some()) {
            return Err(StoreError::Damaged { byte: at as u64 });
        }
        if payload_bytes < expected {
            let last = records.pop();
            if is_torn || last.is_none_or(|last| payload_bytes < last.offset) {
                return Err(StoreError::PayloadLost {
                    expected,
                    actual: payload_bytes,
                });
            }
        }
        let mut index = Self::empty(seal);
        for record in &records {
            index.add(record);
        }
        Ok((index, d_model))
    }

    /// Takes a record that lies behind all others; its payload, too.
    pub(super) fn add(&mut self, record: &Record) {
        let chunk = self.chunks.len();
        if let Some(tensor) = record.tensor {
            self.chunks.push(Chunk {
                record: self.records,
                offset: record.offset,
                tensor,
            });
        }
        let mut first_row = 0;
        for header in &record.examples {
            let place = record.tensor.map(|_| Place { chunk, first_row });
            self.entries.push(Entry {
                header: *header,
                place,
            });
            first_row = u32::saturating_add(first_row, u32::from(header.seq_length));
        }
        self.payload_bytes += stored_bytes(record, &self.seal).unwrap_or(0);
        self.record_bytes += record.record_bytes(&self.seal) as u64;
        self.records += 1;
    }

    /// What the next record and its payload are sealed with.
    pub(super) fn seal(&self) -> &StoreSeal {
        &self.seal
    }

    /// Number of records; the next one has it.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of the file of activations that were acknowledged.
    pub(super) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Bytes of the index file that were acknowledged.
    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes
    }

    /// Number of examples.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn header(&self, index: usize) -> Option<ExampleHeader> {
        Some(self.entries.get(index)?.header)
    }

    /// Where an example lies; none where there is no such example, or it has no activations here.
    pub(super) fn locate(&self, index: usize) -> Option<Located> {
        let Entry { header, place } = *self.entries.get(index)?;
        let Place { chunk, first_row } = place?;
        Some(Located {
            header,
            first_row,
            chunk: *self.chunks.get(chunk)?,
        })
    }

    /// The indices of one split's examples, in the order of upload.
    pub(super) fn indices(&self, split: Split) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        let of_split = entries.filter(|(_, entry)| entry.header.split == split);
        of_split.map(|(i, _)| i).collect()
    }
}

/// Bytes of a record's payload in its file; none if they cannot be counted.
fn stored_bytes(record: &Record, seal: &StoreSeal) -> Option<u64> {
    record
        .payload_bytes()
        .and_then(|bytes| seal.stored_bytes(bytes))
}
