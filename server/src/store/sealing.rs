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
//! A piece is bound to its place: its associated data are `cutlayer` and a byte for its kind,
//! then what names the place. So a piece is refused where it was not written, too.
//!
//! | kind | names the place | length |
//! |---|---|---|
//! | head of a store | version, `d_model`, store id, key id | no bytes, the tag only |
//! | record of an index | store id, number of the record | all of the record's body |
//! | block of a payload | store id, record, block, bytes of the payload | [`BLOCK_BYTES`] or less |
//! | checkpoint, adapter | whose it is, by the caller's word | the file |
//!
//! Blocks, because a batch is examples from anywhere: whoever reads some rows of a payload opens the
//! blocks that they lie in and no others, less than two blocks more than the rows are long for each
//! range. A larger block costs time for bytes that nobody asked for, a smaller one disk for its 40
//! bytes.
//!
//! # Guarantee
//!
//! Without the key nothing of what is sealed can be read but its length and when it was written, and
//! nothing can be put in its place that was not there before. Not covered: an older file put back in
//! place of a newer one, or the last records of an index cut off, since the key's holder does not
//! remember what was last; file names; the state, which holds no activation.

mod key;
mod store;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use rand::TryRng;
use rand::rngs::SysRng;

pub use key::{KEY_VARIABLE, KeyError, KeyId, StoreKey};
pub use store::BLOCK_BYTES;
pub(super) use store::{STORE_HEAD_BYTES, STORE_MAGIC, StoreSeal};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What a piece is longer than what is in it.
const PIECE_BYTES: usize = NONCE_BYTES + TAG_BYTES;
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
