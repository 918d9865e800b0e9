//! The bytes of an activation store's index file.
//!
//! A header, then one record an append, in the order of appends. All numbers are little-endian; a
//! checksum is the first 8 bytes of the sha256 of what stands before it, of the same header or
//! record.
//!
//! | header, at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `CUTINDEX` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | `d_model` |
//! | 16 | 8 | checksum |
//!
//! | record, at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | bytes of the body, `16 + 12 n` |
//! | 4 | 8 | body: where the payload begins in the file of activations |
//! | 12 | 4 | body: rows of the payload |
//! | 16 | 1 | body: dtype, 0 f32, 1 f16, 2 int8, 255 for examples without activations |
//! | 17 | 3 | body: zero |
//! | 20 | 12 n | body: the examples |
//! | 20 + 12 n | 8 | checksum |
//!
//! | example, at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `example_id` |
//! | 4 | 4 | label; 0 where there is none |
//! | 8 | 2 | `seq_length` |
//! | 10 | 1 | split, 0 train, 1 validation |
//! | 11 | 1 | 1 if there is a label, else 0 |
//!
//! The payload itself lies in the file of activations exactly as it came, one payload behind the
//! other, without anything between.
//!
//! In a store that is sealed the header is another ([`super::sealing`]), a record is the length of
//! what follows, its number (8 bytes, from 0) and its body as a piece, without a checksum, and a
//! payload is its blocks.

use sha2::{Digest, Sha256};
use shared::protocol::message::{ExampleHeader, Split};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use super::error::StoreError;
use super::sealing::{STORE_HEAD_BYTES, STORE_MAGIC, SealError, Sealing, StoreSeal};

/// Bytes before the first record, where nothing is sealed.
const HEADER_BYTES: usize = 24;

const MAGIC: [u8; 8] = *b"CUTINDEX";
const VERSION: u32 = 1;
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 8;
/// Of a record's body, before its examples.
const BODY_HEAD_BYTES: usize = 16;
const EXAMPLE_BYTES: usize = 12;
const NO_ACTIVATIONS: u8 = 255;

/// What one append adds.
#[derive(Clone, PartialEq)]
pub(super) struct Record {
    /// Where its payload begins.
    pub(super) offset: u64,
    /// None where the client computes activations for each batch anew.
    pub(super) tensor: Option<TensorDescriptor>,
    pub(super) examples: Vec<ExampleHeader>,
}

impl Record {
    /// Bytes of the payload; none if they cannot be counted.
    pub(super) fn payload_bytes(&self) -> Option<u64> {
        let bytes = self.tensor.map_or(Some(0), |tensor| tensor.payload_bytes());
        bytes.and_then(|bytes| u64::try_from(bytes).ok())
    }

    /// Bytes of the record in the index.
    pub(super) fn record_bytes(&self, seal: &StoreSeal) -> usize {
        let body_bytes = BODY_HEAD_BYTES + EXAMPLE_BYTES * self.examples.len();
        LENGTH_BYTES + body_bytes + seal.record_bytes().unwrap_or(CHECKSUM_BYTES)
    }

    /// Writes the record as the one of a number in its store.
    ///
    /// # Errors
    ///
    /// `TooMany` if it has more examples than its length can say; `Sealed` where it cannot be
    /// sealed.
    pub(super) fn write(&self, seal: &StoreSeal, number: u64) -> Result<Vec<u8>, StoreError> {
        let examples = self.examples.len();
        // Less than the record has: the body without what seals it.
        u32::try_from(self.record_bytes(seal)).map_err(|_| StoreError::TooMany { examples })?;
        let body = self.body();
        let sealed = seal.seal_record(number, &body)?;
        let is_sealed = sealed.is_some();
        let body = sealed.unwrap_or(body);
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + body.len() + CHECKSUM_BYTES);
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        if !is_sealed {
            bytes.extend(checksum(&bytes));
        }
        Ok(bytes)
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_HEAD_BYTES + EXAMPLE_BYTES * self.examples.len());
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.tensor.map_or(0, |tensor| tensor.rows).to_le_bytes());
        bytes.push(match self.tensor.map(|tensor| tensor.dtype) {
            Some(ActivationDtype::F32) => 0,
            Some(ActivationDtype::F16) => 1,
            Some(ActivationDtype::Int8) => 2,
            None => NO_ACTIVATIONS,
        });
        bytes.extend([0; 3]);
        for example in &self.examples {
            bytes.extend(example.example_id.to_le_bytes());
            bytes.extend(example.label.unwrap_or(0).to_le_bytes());
            bytes.extend(example.seq_length.to_le_bytes());
            bytes.push(match example.split {
                Split::Train => 0,
                Split::Validation => 1,
            });
            bytes.push(u8::from(example.label.is_some()));
        }
        bytes
    }

    /// Reads the record that these bytes begin with; none if they do not begin with a whole one, or
    /// with one whose number is known to be another.
    pub(super) fn read(
        bytes: &[u8],
        d_model: u32,
        seal: &StoreSeal,
        number: Option<u64>,
    ) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let stored = rest.get(..length)?;
        if let Some(sealing_bytes) = seal.record_bytes() {
            let example_bytes = length.checked_sub(sealing_bytes + BODY_HEAD_BYTES)?;
            let fits = example_bytes.is_multiple_of(EXAMPLE_BYTES);
            let (found, body) = fits.then(|| seal.open_record(stored))??;
            let is_this = number.is_none_or(|number| number == found);
            return is_this.then(|| Self::of_body(&body, d_model))?;
        }
        let record = Self::of_body(stored, d_model)?;
        // Last what costs: a search for a record asks this at every byte.
        let (written, after) = bytes.split_at_checked(LENGTH_BYTES + length)?;
        (after.get(..CHECKSUM_BYTES)? == checksum(written)).then_some(record)
    }

    fn of_body(body: &[u8], d_model: u32) -> Option<Self> {
        let (head, examples) = body.split_first_chunk::<BODY_HEAD_BYTES>()?;
        let (offset, head) = head.split_first_chunk::<8>()?;
        let (rows, head) = head.split_first_chunk::<4>()?;
        let dtype = match head {
            [0, 0, 0, 0] => Some(ActivationDtype::F32),
            [1, 0, 0, 0] => Some(ActivationDtype::F16),
            [2, 0, 0, 0] => Some(ActivationDtype::Int8),
            [NO_ACTIVATIONS, 0, 0, 0] => None,
            _ => return None,
        };
        let rows = u32::from_le_bytes(*rows);
        let tensor = dtype.map(|dtype| TensorDescriptor {
            dtype,
            rows,
            columns: d_model,
        });
        let (examples, rest) = examples.as_chunks::<EXAMPLE_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let examples: Option<Vec<_>> = examples.iter().map(read_example).collect();
        let record = Self {
            offset: u64::from_le_bytes(*offset),
            tensor,
            examples: examples?,
        };
        let fits = tensor.is_none() || example_rows(&record.examples) == u64::from(rows);
        (fits && record.payload_bytes().is_some()).then_some(record)
    }
}

/// Rows of some examples together.
pub(super) fn example_rows(examples: &[ExampleHeader]) -> u64 {
    let rows = examples.iter();
    rows.map(|example| u64::from(example.seq_length)).sum()
}

fn read_example(bytes: &[u8; EXAMPLE_BYTES]) -> Option<ExampleHeader> {
    let [i0, i1, i2, i3, l0, l1, l2, l3, s0, s1, split, labelled] = *bytes;
    let label = u32::from_le_bytes([l0, l1, l2, l3]);
    Some(ExampleHeader {
        example_id: u32::from_le_bytes([i0, i1, i2, i3]),
        split: match split {
            0 => Split::Train,
            1 => Split::Validation,
            _ => return None,
        },
        label: match labelled {
            0 => None,
            1 => Some(label),
            _ => return None,
        },
        seq_length: u16::from_le_bytes([s0, s1]),
    })
}

/// Bytes before the first record.
pub(super) fn header_bytes(seal: &StoreSeal) -> usize {
    match seal.record_bytes() {
        Some(_) => STORE_HEAD_BYTES,
        None => HEADER_BYTES,
    }
}

/// The bytes before the first record.
///
/// # Errors
///
/// `Sealed` where they cannot be sealed.
pub(super) fn write_header(d_model: u32, seal: &StoreSeal) -> Result<Vec<u8>, StoreError> {
    if let Some(head) = seal.head(d_model)? {
        return Ok(head);
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(d_model.to_le_bytes());
    bytes.extend(checksum(&bytes));
    Ok(bytes)
}

/// The seal of an index and its `d_model`, where it begins as one does.
///
/// # Errors
///
/// `NotAStore`, `WrongVersion` where everything else is right, or `Sealed` where the key that is set
/// is not the one of the store.
pub(super) fn read_header(bytes: &[u8], sealing: &Sealing) -> Result<(StoreSeal, u32), StoreError> {
    if bytes.starts_with(&STORE_MAGIC) {
        return sealing.open_store(bytes);
    }
    let header = bytes.first_chunk::<HEADER_BYTES>();
    let header = header.ok_or(StoreError::NotAStore)?;
    let (written, sum) = header.split_at(16);
    if written[..8] != MAGIC || sum != checksum(written) {
        return Err(StoreError::NotAStore);
    }
    if sealing.key_id().is_some() {
        return Err(SealError::NotSealed.into());
    }
    let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| written[at + byte]));
    match number(8) {
        VERSION => Ok((StoreSeal::CLEAR, number(12))),
        actual => Err(StoreError::WrongVersion {
            expected: VERSION,
            actual,
        }),
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::digest(bytes);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest[..CHECKSUM_BYTES]);
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CLEAR: StoreSeal = StoreSeal::CLEAR;

    fn read_header(bytes: &[u8]) -> Result<u32, StoreError> {
        let (_, d_model) = super::read_header(bytes, &Sealing::default())?;
        Ok(d_model)
    }

    fn record() -> Record {
        let header = |example_id, split, label, seq_length| ExampleHeader {
            example_id,
            split,
            label,
            seq_length,
        };
        Record {
            offset: 0x0102,
            tensor: Some(TensorDescriptor {
                dtype: ActivationDtype::F16,
                rows: 7,
                columns: 5,
            }),
            examples: vec![
                header(9, Split::Train, Some(3), 4),
                header(0x0a0b, Split::Validation, None, 3),
            ],
        }
    }

    /// Breaks when a field moves: files of an earlier build could not be read any more.
    #[test]
    fn a_record_has_the_bytes_of_the_table() {
        let bytes = record().write(&CLEAR, 0).unwrap();
        let body = [
            &[40, 0, 0, 0][..],                          // 16 + 2 * 12
            &[2, 1, 0, 0, 0, 0, 0, 0],                   // offset
            &[7, 0, 0, 0, 1, 0, 0, 0],                   // rows, dtype, zero
            &[9, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 1],       // train, labelled
            &[0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0], // validation, no label
        ]
        .concat();
        assert_eq!(bytes[..44], body);
        assert_eq!(bytes[44..], Sha256::digest(&body)[..8]);
        assert_eq!(bytes.len(), record().record_bytes(&CLEAR));
    }

    #[test]
    fn a_record_is_read_back_and_nothing_else_is() {
        let record = record();
        let bytes = record.write(&CLEAR, 0).unwrap();
        assert!(Record::read(&bytes, 5, &CLEAR, None) == Some(record.clone()));
        let followed = [&bytes[..], &[1, 2, 3]].concat();
        assert!(Record::read(&followed, 5, &CLEAR, None) == Some(record));
        for length in 0..bytes.len() {
            assert!(
                Record::read(&bytes[..length], 5, &CLEAR, None).is_none(),
                "{length}"
            );
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(Record::read(&flipped, 5, &CLEAR, None).is_none(), "{at}");
        }
    }

    #[test]
    fn examples_without_activations_have_no_payload() {
        let record = Record {
            tensor: None,
            ..record()
        };
        assert_eq!(record.payload_bytes(), Some(0));
        assert!(Record::read(&record.write(&CLEAR, 0).unwrap(), 5, &CLEAR, None) == Some(record));
    }

    #[test]
    fn the_header_says_width_and_version() {
        let bytes = write_header(768, &CLEAR).unwrap();
        assert_eq!(bytes.len(), header_bytes(&CLEAR));
        assert_eq!(bytes[..16], *b"CUTINDEX\x01\0\0\0\0\x03\0\0");
        assert_eq!(read_header(&bytes).unwrap(), 768);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(matches!(read_header(&flipped), Err(StoreError::NotAStore)));
        }
        let mut later = bytes;
        later[8] = 2;
        let sum = checksum(&later[..16]);
        later[16..].copy_from_slice(&sum);
        let refused = read_header(&later);
        assert!(
            matches!(
                refused,
                Err(StoreError::WrongVersion {
                    expected: 1,
                    actual: 2
                })
            ),
            "{refused:?}"
        );
    }
}
