//! What the daemon finds on its own disk, where bytes are lost rather than invented.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use server::store::ActivationStore;
use server::trainer::checkpoint::Checkpoint;
use sha2::{Digest, Sha256};
use shared::protocol::message::{ExampleHeader, Split};

/// Bytes of the index before its first record, and where in them the checksum is.
const HEADER_BYTES: usize = 24;
const HEADER_CHECKSUM: Range<usize> = 16..HEADER_BYTES;
const CHECKSUM_BYTES: usize = 8;

/// Two bytes that say how long the file of activations is, then the index.
///
/// # Panics
///
/// When a store that opens does not give its examples, does not take one more, or has others when it
/// is opened again.
pub fn store_index(bytes: &[u8]) -> bool {
    let Some((payload_bytes, index)) = bytes.split_first_chunk::<2>() else {
        return false;
    };
    let payload_bytes = usize::from(u16::from_le_bytes(*payload_bytes));
    let as_it_is = is_store(payload_bytes, index);
    is_store(payload_bytes, &with_checksums(index)) || as_it_is
}

fn is_store(payload_bytes: usize, index: &[u8]) -> bool {
    let directory = tempfile::tempdir_in(in_memory()).expect("the memory has room for a file");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(directory.path().join(name), bytes).expect("the memory has room for a file");
    };
    write("index", index);
    write("activations", &vec![0; payload_bytes]);
    let Ok(store) = ActivationStore::open(directory.path()) else {
        return false;
    };
    let all: Vec<usize> = (0..store.len()).collect();
    let headers = store.headers(&all).expect("every example has a header");
    assert!(store.headers(&[store.len()]).is_err());
    for (index, header) in headers.iter().enumerate() {
        // An example without activations, and zeros as an int8 scale, are refused: not more.
        if let Ok(read) = store.read(&[index]) {
            let numbers = usize::from(header.seq_length) * store.d_model();
            assert_eq!(read.activations.values.len(), numbers);
        }
    }
    takes_one_more(&store, directory.path(), headers);
    true
}

fn takes_one_more(store: &ActivationStore, directory: &Path, mut headers: Vec<ExampleHeader>) {
    let added = ExampleHeader {
        example_id: 7,
        split: Split::Train,
        label: Some(1),
        seq_length: 3,
    };
    let length = store.append_headers(&[added]);
    headers.push(added);
    assert_eq!(length.ok(), Some(headers.len()));
    let again = ActivationStore::open(directory).expect("what was open can be opened");
    let all: Vec<usize> = (0..again.len()).collect();
    assert_eq!(again.headers(&all).ok(), Some(headers));
}

/// Where files cost nothing, if there is such a place.
fn in_memory() -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    match shared_memory.is_dir() {
        true => shared_memory.to_owned(),
        false => std::env::temp_dir(),
    }
}

/// An index with the right checksum behind its header and behind each record that is whole.
pub(super) fn with_checksums(index: &[u8]) -> Vec<u8> {
    let mut index = index.to_vec();
    if index.len() < HEADER_BYTES {
        return index;
    }
    let sum = checksum(&index[..HEADER_CHECKSUM.start]);
    index[HEADER_CHECKSUM].copy_from_slice(&sum);
    let mut at = HEADER_BYTES;
    while let Some(length) = index[at..].first_chunk::<4>() {
        let body = u32::from_le_bytes(*length) as usize;
        let written = 4_usize.saturating_add(body);
        let Some(sum) = index[at..].get(..written).map(checksum) else {
            break;
        };
        let behind = index[at + written..].get_mut(..CHECKSUM_BYTES);
        let Some(behind) = behind else { break };
        behind.copy_from_slice(&sum);
        at += written + CHECKSUM_BYTES;
    }
    index
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&Sha256::digest(bytes)[..CHECKSUM_BYTES]);
    sum
}

/// A checkpoint of a run.
///
/// # Panics
///
/// When what was read does not come back after it was written.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let as_it_is = is_checkpoint(bytes);
    is_checkpoint(&with_digest(bytes)) || as_it_is
}

fn is_checkpoint(bytes: &[u8]) -> bool {
    let Ok(checkpoint) = Checkpoint::from_bytes(bytes) else {
        return false;
    };
    let written = checkpoint.to_bytes().expect("what was read can be written");
    let again = Checkpoint::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.state(), checkpoint.state());
    true
}

/// A checkpoint with the right digest, if it has a place for one.
pub(super) fn with_digest(bytes: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"\"sha256\":\"";
    const DIGITS: usize = 64;
    let mut bytes = bytes.to_vec();
    let found = bytes.windows(KEY.len()).position(|window| window == KEY);
    let Some(start) = found.map(|at| at + KEY.len()) else {
        return bytes;
    };
    if let Some(digits) = bytes.get_mut(start..start + DIGITS) {
        digits.fill(b'0');
        let sum = Sha256::digest(&bytes);
        let digits: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        bytes[start..start + DIGITS].copy_from_slice(digits.as_bytes());
    }
    bytes
}
