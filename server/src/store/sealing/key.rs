//! The key of the store: where it comes from, and what it is called.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use crate::hex::{hex, unhex};

/// The environment variable that may hold the key. It is no flag: a command line is read by everyone
/// on the machine.
pub const KEY_VARIABLE: &str = "CUTLAYER_STORE_KEY";

const KEY_BYTES: usize = 32;

/// The key cannot be had. Says nothing of what was there.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not 32 bytes.
    #[error("{place}: a key is 32 bytes, as 64 hexadecimal digits or as base64")]
    Malformed {
        /// Where the text stands.
        place: String,
    },
    /// Two places have one.
    #[error("{KEY_VARIABLE} and --store-key-file are both set; one of them is enough")]
    Twice,
    /// The file cannot be read.
    #[error("the store's key {} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
}

/// Names a key without telling of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// 32 bytes that nobody can guess. Its `Debug` shows nothing of it.
pub struct StoreKey([u8; KEY_BYTES]);

impl StoreKey {
    /// The key of the daemon: of the variable or of the file, or none.
    ///
    /// # Errors
    ///
    /// When both are set, the file cannot be read, or the text is no key.
    pub fn find(variable: Option<OsString>, file: Option<&Path>) -> Result<Option<Self>, KeyError> {
        let (text, place) = match (variable, file) {
            (Some(_), Some(_)) => return Err(KeyError::Twice),
            (None, None) => return Ok(None),
            (Some(text), None) => {
                let text = text.into_string().unwrap_or_default();
                (text, KEY_VARIABLE.to_owned())
            }
            (None, Some(path)) => {
                let text = fs::read_to_string(path).map_err(|source| KeyError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                (text, path.display().to_string())
            }
        };
        let key = Self::parse(&text).ok_or(KeyError::Malformed { place })?;
        Ok(Some(key))
    }

    /// A key as `openssl rand -hex 32` or `openssl rand -base64 32` prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(bytes) = unhex(&text.to_ascii_lowercase()) {
            return Some(Self(bytes));
        }
        let bytes = BASE64.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// What it is called in files and errors: the first 8 bytes of a sha256 of it, which tell of 32
    /// random bytes nothing that helps to find them.
    pub(super) fn id(&self) -> KeyId {
        let mut hasher = Sha256::new();
        hasher.update(b"cutlayer store key id");
        hasher.update(self.0);
        let digest: [u8; 32] = hasher.finalize().into();
        KeyId(std::array::from_fn(|byte| digest[byte]))
    }

    pub(super) fn into_bytes(self) -> [u8; KEY_BYTES] {
        self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
    const BASE64_OF_IT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

    #[test]
    fn both_spellings_are_the_same_key() {
        for text in [HEX, &HEX.to_uppercase(), BASE64_OF_IT, &format!(" {HEX}\n")] {
            let key = StoreKey::parse(text).unwrap();
            assert_eq!((key.0[1], key.0[30], key.0[31]), (1, 30, 255), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        for wrong in [
            "",
            "canary",
            &HEX[2..],
            &BASE64_OF_IT[4..],
            &HEX.replace('f', "g"),
        ] {
            assert!(StoreKey::parse(wrong).is_none(), "{wrong}");
        }
        let error = StoreKey::find(Some("canary".into()), None).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(
            said.contains(KEY_VARIABLE) && !said.contains("canary"),
            "{said}"
        );
    }

    #[test]
    fn a_key_comes_from_one_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, HEX).unwrap();
        let of_file = StoreKey::find(None, Some(&path)).unwrap().unwrap();
        let of_variable = StoreKey::find(Some(HEX.into()), None).unwrap().unwrap();
        assert_eq!(of_file.id(), of_variable.id());
        assert!(StoreKey::find(None, None).unwrap().is_none());
        let twice = StoreKey::find(Some(HEX.into()), Some(&path));
        assert!(matches!(twice, Err(KeyError::Twice)));
        let missing = StoreKey::find(None, Some(Path::new("/nowhere/key")));
        assert!(missing.unwrap_err().to_string().contains("/nowhere/key"));
    }

    #[test]
    fn its_name_tells_two_keys_apart_and_its_debug_form_nothing() {
        let [first, second] = [[7; 32], [8; 32]].map(StoreKey);
        assert_ne!(first.id(), second.id());
        assert_eq!(format!("{first:?}"), "StoreKey(..)");
        assert_eq!(first.id().to_string().len(), 16);
    }
}
