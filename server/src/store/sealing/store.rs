//! What an activation store is sealed with: its head, the records of its index, and the payloads in
//! blocks, each of which is opened by itself.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{Cipher, KeyId, Kind, PIECE_BYTES, SealError, Sealing, VERSION, draw, place};
use crate::store::error::StoreError;

/// Bytes of a payload that are sealed together.
pub const BLOCK_BYTES: usize = 16 * 1024;

/// The first bytes of an index that is sealed.
pub(in crate::store) const STORE_MAGIC: [u8; 8] = *b"CUTSEALX";
/// Bytes before the first record of an index that is sealed.
pub(in crate::store) const STORE_HEAD_BYTES: usize = 40 + PIECE_BYTES;
/// Of a record's number.
const NUMBER_BYTES: usize = 8;

impl Sealing {
    /// The seal of a new store.
    pub(in crate::store) fn new_store(&self) -> Result<StoreSeal, SealError> {
        let Some(cipher) = &self.0 else {
            return Ok(StoreSeal::CLEAR);
        };
        let mut store = [0; 16];
        draw(&mut store)?;
        let cipher = cipher.clone();
        Ok(StoreSeal(Some(Sealed { cipher, store })))
    }

    /// The seal of a store whose index begins with these bytes, and its `d_model`.
    pub(in crate::store) fn open_store(
        &self,
        index: &[u8],
    ) -> Result<(StoreSeal, u32), StoreError> {
        let head = index.first_chunk::<STORE_HEAD_BYTES>();
        let (head, piece) = head.ok_or(StoreError::NotAStore)?.split_at(40);
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| head[at + byte]));
        let id = std::array::from_fn(|byte| head[32 + byte]);
        let cipher = self.cipher(KeyId(id))?.clone();
        let store = std::array::from_fn(|byte| head[16 + byte]);
        let opened = cipher.open(&place(Kind::StoreHead, &[head]), piece, &mut Vec::new());
        opened.map_err(|_| StoreError::NotAStore)?;
        match number(8) {
            VERSION => Ok((StoreSeal(Some(Sealed { cipher, store })), number(12))),
            actual => Err(StoreError::WrongVersion {
                expected: VERSION,
                actual,
            }),
        }
    }
}

/// What the records and payloads of one store are sealed with, or nothing.
#[derive(Clone)]
pub(in crate::store) struct StoreSeal(Option<Sealed>);

#[derive(Clone)]
struct Sealed {
    cipher: Arc<Cipher>,
    /// Drawn for each store, so that no piece of one passes for a piece of another.
    store: [u8; 16],
}

impl StoreSeal {
    /// Of a store that is not sealed.
    pub(in crate::store) const CLEAR: Self = Self(None);

    /// The head of an index that is sealed; none for one that is not.
    ///
    /// | head, at | bytes | what |
    /// |---|---|---|
    /// | 0 | 8 | `CUTSEALX` |
    /// | 8 | 4 | version, 1 |
    /// | 12 | 4 | `d_model` |
    /// | 16 | 16 | store id |
    /// | 32 | 8 | key id |
    /// | 40 | 40 | a piece without bytes |
    pub(in crate::store) fn head(&self, d_model: u32) -> Result<Option<Vec<u8>>, SealError> {
        let Some(Sealed { cipher, store }) = &self.0 else {
            return Ok(None);
        };
        let mut head = Vec::with_capacity(STORE_HEAD_BYTES);
        head.extend(STORE_MAGIC);
        head.extend(VERSION.to_le_bytes());
        head.extend(d_model.to_le_bytes());
        head.extend(store);
        head.extend(cipher.id.0);
        let place = place(Kind::StoreHead, &[&head]);
        cipher.seal(&place, &[], &mut head)?;
        Ok(Some(head))
    }

    /// Bytes that a record's body takes beside itself; none where it is not sealed.
    pub(in crate::store) fn record_bytes(&self) -> Option<usize> {
        self.0.as_ref().map(|_| NUMBER_BYTES + PIECE_BYTES)
    }

    /// The number of a record, and its body as a piece; none where nothing is sealed. The number is
    /// in the clear, so that a record is found again behind one that is damaged.
    pub(in crate::store) fn seal_record(
        &self,
        number: u64,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, SealError> {
        let Some(Sealed { cipher, store }) = &self.0 else {
            return Ok(None);
        };
        let number = number.to_le_bytes();
        let mut sealed = Vec::with_capacity(NUMBER_BYTES + PIECE_BYTES + body.len());
        sealed.extend(number);
        cipher.seal(&place(Kind::Record, &[store, &number]), body, &mut sealed)?;
        Ok(Some(sealed))
    }

    /// The number of a record and its body; none where they are not what was sealed.
    pub(in crate::store) fn open_record(&self, sealed: &[u8]) -> Option<(u64, Vec<u8>)> {
        let Sealed { cipher, store } = self.0.as_ref()?;
        let (number, piece) = sealed.split_first_chunk::<NUMBER_BYTES>()?;
        let mut body = Vec::with_capacity(piece.len());
        let place = place(Kind::Record, &[store, number]);
        cipher.open(&place, piece, &mut body).ok()?;
        Some((u64::from_le_bytes(*number), body))
    }

    /// Bytes in the file of a payload of so many bytes; none if they cannot be counted.
    pub(in crate::store) fn stored_bytes(&self, payload_bytes: u64) -> Option<u64> {
        match self.0 {
            None => Some(payload_bytes),
            Some(_) => payload_bytes
                .div_ceil(BLOCK_BYTES as u64)
                .checked_mul(PIECE_BYTES as u64)?
                .checked_add(payload_bytes),
        }
    }

    /// The bytes of a payload as they lie in the file.
    pub(in crate::store) fn seal_payload<'b>(
        &self,
        record: u64,
        payload: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, SealError> {
        let Some(sealed) = &self.0 else {
            return Ok(Cow::Borrowed(payload));
        };
        let blocks = payload.len().div_ceil(BLOCK_BYTES);
        let mut stored = Vec::with_capacity(payload.len() + blocks * PIECE_BYTES);
        for (number, block) in (0_u64..).zip(payload.chunks(BLOCK_BYTES)) {
            let place = sealed.block(record, number, payload.len() as u64);
            sealed.cipher.seal(&place, block, &mut stored)?;
        }
        Ok(Cow::Owned(stored))
    }

    /// Reads a range of a payload of so many bytes, which begins at `offset` of the file.
    ///
    /// # Errors
    ///
    /// `InvalidData` with [`StoreError::Sealed`] in it when a block is not the one that was written;
    /// otherwise the file system's reason.
    pub(in crate::store) fn read_payload(
        &self,
        file: &File,
        offset: u64,
        record: u64,
        payload_bytes: usize,
        range: Range<usize>,
    ) -> io::Result<Vec<u8>> {
        let Some(sealed) = &self.0 else {
            let mut bytes = vec![0; range.len()];
            file.read_exact_at(&mut bytes, offset + range.start as u64)?;
            return Ok(bytes);
        };
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (first, end) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
        let opened_bytes = payload_bytes.min(end * BLOCK_BYTES) - first * BLOCK_BYTES;
        let mut stored = vec![0; opened_bytes + (end - first) * PIECE_BYTES];
        let at = first as u64 * (BLOCK_BYTES + PIECE_BYTES) as u64;
        file.read_exact_at(&mut stored, offset + at)?;
        let mut opened = Vec::with_capacity(opened_bytes);
        for (number, piece) in (first as u64..).zip(stored.chunks(BLOCK_BYTES + PIECE_BYTES)) {
            let place = sealed.block(record, number, payload_bytes as u64);
            let block = sealed.cipher.open(&place, piece, &mut opened);
            block.map_err(StoreError::from)?;
        }
        let skipped = range.start - first * BLOCK_BYTES;
        opened.truncate(skipped + range.len());
        opened.drain(..skipped);
        Ok(opened)
    }
}

impl Sealed {
    fn block(&self, record: u64, number: u64, payload_bytes: u64) -> Vec<u8> {
        let numbers = [record, number, payload_bytes].map(u64::to_le_bytes);
        let [record, number, payload_bytes] = &numbers;
        place(Kind::Block, &[&self.store, record, number, payload_bytes])
    }
}
