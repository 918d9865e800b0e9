//! Encryption at rest: what lies in the data directory under a key that does not.
//!
//! Files go through [`Sealing`], which is a key or none; with none every byte is what it would be
//! without this module. The cipher is XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), which
//! encrypts and authenticates. What is sealed together is a **piece**:
//!
//! | piece, at | bytes | what |
//! |---|---|---|
//! | 0 | 24 | nonce, drawn from the system's generator |
//! | 24 | n | the bytes, encrypted |
//! | 24 + n | 16 | tag |
//!
//! A piece is bound to its place: its associated data are `cutlayer` and a byte for its [`Kind`],
//! then what names the place. So a piece is refused where it was not written, too.
//!
//! | kind | names the place | length |
//! |---|---|---|
//! | head of a store | version, `d_model`, store id, key id | no bytes, the tag only |
//! | record of an index | store id, number of the record | all of the record's body |
//! | block of a payload | store id, number of the record, number of the block, bytes of the payload | [`BLOCK_BYTES`], the last one less |
//! | checkpoint, adapter | whose it is, by the caller's word | the file |
//!
//! Blocks, because a batch is examples from anywhere: whoever reads some rows of a payload opens the
//! blocks that they lie in and no others, at most two blocks more than the rows are long for each
//! range. A block more or less costs 16 KiB of a cipher that does about a gigabyte a second; a
//! smaller block costs more for its 40 bytes.
//!
//! # Guarantee
//!
//! Without the key nothing of what is sealed can be read but its length and when it was written, and
//! nothing can be put in its place that was not there before. Not covered: an older file put back in
//! place of a newer one, or the last records of an index cut off, since the key's holder does not
//! remember what was last; file names; the state, which holds no activation.

mod key;

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use rand::rngs::SysRng;

use super::error::StoreError;
pub use key::{KEY_VARIABLE, KeyError, KeyId, StoreKey};

/// Bytes of a payload that are sealed together.
pub const BLOCK_BYTES: usize = 16 * 1024;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What a piece is longer than what is in it.
const PIECE_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Of a record's number.
const NUMBER_BYTES: usize = 8;

/// The first bytes of a store's index that is sealed.
pub(super) const STORE_MAGIC: [u8; 8] = *b"CUTSEALX";
/// Bytes before the first record of an index that is sealed.
pub(super) const STORE_HEAD_BYTES: usize = 40 + PIECE_BYTES;
const FILE_MAGIC: [u8; 8] = *b"CUTSEALF";
/// Before the piece of a file.
const FILE_HEAD_BYTES: usize = 20;
const VERSION: u32 = 1;

/// What is sealed cannot be opened, or nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Another key was set when it was written.
    #[error("it was sealed with the key {actual}; the key that is set is {expected}")]
    WrongKey {
        /// Of the key that is set.
        expected: KeyId,
        /// Of the key that it was written with.
        actual: KeyId,
    },
    /// A key was set when it was written, and none is now.
    #[error("it was sealed with the key {actual}; no key is set ({KEY_VARIABLE})")]
    KeyMissing {
        /// Of the key that it was written with.
        actual: KeyId,
    },
    /// A key is set, and this was written without one.
    #[error("a key is set, and it was written without one")]
    NotSealed,
    /// The bytes are not those that were written, or were written elsewhere.
    #[error("its bytes are not those that were sealed here")]
    Tampered,
    /// Another version wrote it.
    #[error("expected version {expected} of what is sealed; got {actual}")]
    WrongVersion {
        /// Ours.
        expected: u32,
        /// The file's.
        actual: u32,
    },
    /// The system has no randomness for a nonce.
    #[error("the system has no randomness")]
    NoRandomness,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    StoreHead = 1,
    Record = 2,
    Block = 3,
    Checkpoint = 4,
    Adapter = 5,
}

/// A file that is sealed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedFile {
    /// A checkpoint of a run.
    Checkpoint,
    /// A file of an adapter.
    Adapter,
}

impl SealedFile {
    fn kind(self) -> Kind {
        match self {
            Self::Checkpoint => Kind::Checkpoint,
            Self::Adapter => Kind::Adapter,
        }
    }
}

/// A key that files are sealed with, or none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sealing(Option<Arc<Cipher>>);

struct Cipher {
    cipher: XChaCha20Poly1305,
    id: KeyId,
}

impl From<Option<StoreKey>> for Sealing {
    fn from(key: Option<StoreKey>) -> Self {
        Self(key.map(|key| {
            let id = key.id();
            let cipher = XChaCha20Poly1305::new(&key.into_bytes().into());
            Arc::new(Cipher { cipher, id })
        }))
    }
}

impl Sealing {
    /// Which key it is, if there is one.
    pub fn key_id(&self) -> Option<KeyId> {
        self.0.as_ref().map(|cipher| cipher.id)
    }

    /// Seals the bytes of a file; `of` says whose file it is, and must be said again to open it.
    ///
    /// | file, at | bytes | what |
    /// |---|---|---|
    /// | 0 | 8 | `CUTSEALF` |
    /// | 8 | 4 | version, 1 |
    /// | 12 | 8 | key id |
    /// | 20 | 40 + n | the piece |
    ///
    /// # Errors
    ///
    /// `NoRandomness`.
    pub fn seal_file<'b>(
        &self,
        file: SealedFile,
        of: &[u8],
        bytes: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, SealError> {
        let Some(cipher) = &self.0 else {
            return Ok(Cow::Borrowed(bytes));
        };
        let mut sealed = Vec::with_capacity(FILE_HEAD_BYTES + PIECE_BYTES + bytes.len());
        sealed.extend(FILE_MAGIC);
        sealed.extend(VERSION.to_le_bytes());
        sealed.extend(cipher.id.0);
        cipher.seal(&place(file.kind(), &[of]), bytes, &mut sealed)?;
        Ok(Cow::Owned(sealed))
    }

    /// Opens what [`Self::seal_file`] has sealed.
    ///
    /// # Errors
    ///
    /// `KeyMissing`, `NotSealed`, `WrongKey`, `WrongVersion`; `Tampered` for anything that is not
    /// exactly what was sealed as this file of the same owner.
    pub fn open_file<'b>(
        &self,
        file: SealedFile,
        of: &[u8],
        bytes: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, SealError> {
        let head = bytes.split_first_chunk::<FILE_HEAD_BYTES>();
        let head = head.filter(|(head, _)| head[..8] == FILE_MAGIC);
        let Some((head, piece)) = head else {
            return match self.0 {
                Some(_) => Err(SealError::NotSealed),
                None => Ok(Cow::Borrowed(bytes)),
            };
        };
        let [.., v0, v1, v2, v3, i0, i1, i2, i3, i4, i5, i6, i7] = *head;
        let cipher = self.cipher(KeyId([i0, i1, i2, i3, i4, i5, i6, i7]))?;
        match u32::from_le_bytes([v0, v1, v2, v3]) {
            VERSION => {}
            actual => {
                let expected = VERSION;
                return Err(SealError::WrongVersion { expected, actual });
            }
        }
        let mut opened = Vec::with_capacity(piece.len());
        cipher.open(&place(file.kind(), &[of]), piece, &mut opened)?;
        Ok(Cow::Owned(opened))
    }

    /// The seal of a new store.
    pub(super) fn new_store(&self) -> Result<StoreSeal, SealError> {
        let Some(cipher) = &self.0 else {
            return Ok(StoreSeal::CLEAR);
        };
        let mut store = [0; 16];
        draw(&mut store)?;
        let cipher = cipher.clone();
        Ok(StoreSeal(Some(Sealed { cipher, store })))
    }

    /// The seal of a store whose index begins with these bytes, and its `d_model`.
    pub(super) fn open_store(&self, index: &[u8]) -> Result<(StoreSeal, u32), StoreError> {
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

    /// The cipher, if it is the one of that key.
    fn cipher(&self, actual: KeyId) -> Result<&Arc<Cipher>, SealError> {
        match &self.0 {
            None => Err(SealError::KeyMissing { actual }),
            Some(cipher) if cipher.id != actual => Err(SealError::WrongKey {
                expected: cipher.id,
                actual,
            }),
            Some(cipher) => Ok(cipher),
        }
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key_id() {
            Some(id) => write!(f, "Sealing(key {id})"),
            None => f.write_str("Sealing(none)"),
        }
    }
}

/// What the records and payloads of one store are sealed with, or nothing.
#[derive(Clone)]
pub(super) struct StoreSeal(Option<Sealed>);

#[derive(Clone)]
struct Sealed {
    cipher: Arc<Cipher>,
    /// Drawn for each store, so that no piece of one passes for a piece of another.
    store: [u8; 16],
}

impl StoreSeal {
    /// Of a store that is not sealed.
    pub(super) const CLEAR: Self = Self(None);

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
    pub(super) fn head(&self, d_model: u32) -> Result<Option<Vec<u8>>, SealError> {
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
    pub(super) fn record_bytes(&self) -> Option<usize> {
        self.0.as_ref().map(|_| NUMBER_BYTES + PIECE_BYTES)
    }

    /// The number of a record, and its body as a piece; none where nothing is sealed. The number is
    /// in the clear, so that a record is found again behind one that is damaged.
    pub(super) fn seal_record(
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
    pub(super) fn open_record(&self, sealed: &[u8]) -> Option<(u64, Vec<u8>)> {
        let Sealed { cipher, store } = self.0.as_ref()?;
        let (number, piece) = sealed.split_first_chunk::<NUMBER_BYTES>()?;
        let mut body = Vec::with_capacity(piece.len());
        let place = place(Kind::Record, &[store, number]);
        cipher.open(&place, piece, &mut body).ok()?;
        Some((u64::from_le_bytes(*number), body))
    }

    /// Bytes in the file of a payload of so many bytes; none if they cannot be counted.
    pub(super) fn stored_bytes(&self, payload_bytes: u64) -> Option<u64> {
        match self.0 {
            None => Some(payload_bytes),
            Some(_) => payload_bytes
                .div_ceil(BLOCK_BYTES as u64)
                .checked_mul(PIECE_BYTES as u64)?
                .checked_add(payload_bytes),
        }
    }

    /// The bytes of a payload as they lie in the file.
    pub(super) fn seal_payload<'b>(
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
    pub(super) fn read_payload(
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

impl Cipher {
    /// Appends a piece.
    fn seal(&self, place: &[u8], bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let mut nonce = [0; NONCE_BYTES];
        draw(&mut nonce)?;
        out.extend(nonce);
        let start = out.len();
        out.extend_from_slice(bytes);
        let nonce = XNonce::from(nonce);
        let sealed = self
            .cipher
            .encrypt_in_place_detached(&nonce, place, &mut out[start..]);
        let tag = sealed.expect("a piece lies in memory, and the cipher takes 256 GiB");
        out.extend(tag);
        Ok(())
    }

    /// Appends what is in a piece; nothing, if it is not what was sealed at this place.
    fn open(&self, place: &[u8], piece: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let parts = piece.split_first_chunk::<NONCE_BYTES>();
        let parts = parts.and_then(|(nonce, rest)| {
            let (bytes, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
            Some((nonce, bytes, tag))
        });
        let (nonce, bytes, tag) = parts.ok_or(SealError::Tampered)?;
        let start = out.len();
        out.extend_from_slice(bytes);
        let opened = self.cipher.decrypt_in_place_detached(
            &XNonce::from(*nonce),
            place,
            &mut out[start..],
            &Tag::from(*tag),
        );
        opened.map_err(|_| {
            out.truncate(start);
            SealError::Tampered
        })
    }
}

/// The associated data of a piece. All parts of a kind but the last have a fixed length, so two
/// places never have the same.
fn place(kind: Kind, parts: &[&[u8]]) -> Vec<u8> {
    let mut place = b"cutlayer".to_vec();
    place.push(kind as u8);
    for part in parts {
        place.extend_from_slice(part);
    }
    place
}

fn draw(bytes: &mut [u8]) -> Result<(), SealError> {
    SysRng
        .try_fill_bytes(bytes)
        .map_err(|_| SealError::NoRandomness)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
