use std::fs::{self, File};
use std::io;

use super::*;
use crate::store::error::StoreError;

fn key(digit: &str) -> Sealing {
    Sealing::from(StoreKey::parse(&digit.repeat(64)))
}

/// draft-irtf-cfrg-xchacha-03, A.3.1: the cipher is the one that is promised.
#[test]
fn the_cipher_gives_the_bytes_of_its_specification() {
    let key: [u8; 32] = std::array::from_fn(|at| 0x80 + at as u8);
    let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + at as u8);
    let cipher = XChaCha20Poly1305::new(&key.into());
    let mut text = *b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
        tip for the future, sunscreen would be it.";
    let place = [
        0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
    ];
    let tag = cipher
        .encrypt_in_place_detached(&XNonce::from(nonce), &place, &mut text)
        .unwrap();
    assert_eq!(text[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
    assert_eq!(tag[..4], [0xc0, 0x87, 0x59, 0x24]);
}

#[test]
fn without_a_key_a_file_is_its_bytes() {
    let none = Sealing::default();
    let bytes = none.seal_file(SealedFile::Adapter, b"a", b"bytes").unwrap();
    assert_eq!(*bytes, *b"bytes");
    let bytes = none.open_file(SealedFile::Adapter, b"b", b"bytes").unwrap();
    assert_eq!(*bytes, *b"bytes");
    assert_eq!(format!("{none:?}"), "Sealing(none)");
}

#[test]
fn a_file_is_opened_where_it_was_sealed_and_nowhere_else() {
    let sealing = key("a");
    let seal = || {
        sealing
            .seal_file(SealedFile::Adapter, b"job", b"secret")
            .unwrap()
    };
    let sealed = seal();
    assert_eq!(sealed.len(), 20 + 40 + 6);
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
    assert_ne!(sealed, seal()); // another nonce
    let open = |sealing: &Sealing, file, of: &[u8]| {
        sealing.open_file(file, of, &sealed).map(Cow::into_owned)
    };
    assert_eq!(
        open(&sealing, SealedFile::Adapter, b"job").unwrap(),
        b"secret"
    );
    let elsewhere = open(&sealing, SealedFile::Adapter, b"jo");
    assert_eq!(elsewhere, Err(SealError::Tampered));
    let as_another = open(&sealing, SealedFile::Checkpoint, b"job");
    assert_eq!(as_another, Err(SealError::Tampered));

    let (expected, actual) = (key("b").key_id().unwrap(), sealing.key_id().unwrap());
    let with_another = open(&key("b"), SealedFile::Adapter, b"job");
    assert_eq!(with_another, Err(SealError::WrongKey { expected, actual }));
    let without = open(&Sealing::default(), SealedFile::Adapter, b"job");
    assert_eq!(without, Err(SealError::KeyMissing { actual }));
    let clear = sealing.open_file(SealedFile::Adapter, b"job", b"secret");
    assert_eq!(clear, Err(SealError::NotSealed));
}

#[test]
fn any_other_byte_or_length_of_a_file_is_refused() {
    let sealing = key("a");
    let sealed = sealing
        .seal_file(SealedFile::Checkpoint, b"", b"12")
        .unwrap();
    let open = |bytes: &[u8]| {
        let opened = sealing.open_file(SealedFile::Checkpoint, b"", bytes);
        opened.map(Cow::into_owned)
    };
    assert_eq!(open(&sealed).unwrap(), b"12");
    for at in 0..sealed.len() {
        let mut flipped = sealed.to_vec();
        flipped[at] ^= 1;
        let refused = open(&flipped).unwrap_err();
        let is_expected = match at {
            0..8 => refused == SealError::NotSealed,
            8..12 => matches!(refused, SealError::WrongVersion { expected: 1, .. }),
            12..20 => matches!(refused, SealError::WrongKey { .. }),
            _ => refused == SealError::Tampered,
        };
        assert!(is_expected, "{at}: {refused:?}");
    }
    for length in 0..sealed.len() {
        assert!(open(&sealed[..length]).is_err(), "{length}");
    }
    assert_eq!(
        open(&[&sealed[..], &[0]].concat()),
        Err(SealError::Tampered)
    );
}

/// A payload of three blocks, and so many bytes.
fn payload() -> Vec<u8> {
    (0..2 * BLOCK_BYTES + 100)
        .map(|at| (at % 251) as u8)
        .collect()
}

fn written(stored: &[u8]) -> File {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("payload");
    fs::write(&path, stored).unwrap();
    File::open(path).unwrap() // stays readable without its name
}

#[test]
fn a_range_is_read_wherever_it_lies() {
    let payload = payload();
    for sealing in [Sealing::default(), key("a")] {
        let seal = sealing.new_store().unwrap();
        let stored = seal.seal_payload(7, &payload).unwrap();
        assert_eq!(
            seal.stored_bytes(payload.len() as u64),
            Some(stored.len() as u64)
        );
        let file = written(&[b"before", &stored[..]].concat());
        let (block, all) = (BLOCK_BYTES, payload.len());
        for range in [
            0..0,
            0..1,
            block - 1..block + 1,
            block..2 * block,
            1..all,
            2 * block + 99..all,
            0..all,
        ] {
            let read = seal.read_payload(&file, 6, 7, all, range.clone());
            assert!(read.unwrap() == payload[range.clone()], "{range:?}");
        }
    }
}

/// Breaks when more of an upload is opened than the blocks that were asked for.
#[test]
fn a_block_that_is_not_asked_for_is_not_opened() {
    let payload = payload();
    let seal = key("a").new_store().unwrap();
    let mut stored = seal.seal_payload(0, &payload).unwrap().into_owned();
    stored[100] ^= 1;
    let file = written(&stored);
    let read = |range| seal.read_payload(&file, 0, 0, payload.len(), range);
    let behind = read(BLOCK_BYTES..BLOCK_BYTES + 5).unwrap();
    assert_eq!(behind, payload[BLOCK_BYTES..BLOCK_BYTES + 5]);
    assert_tampered(read(0..5));
    assert_tampered(read(BLOCK_BYTES - 1..BLOCK_BYTES + 1));
}

#[track_caller]
fn assert_tampered(read: io::Result<Vec<u8>>) {
    let error = read.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    assert!(
        matches!(inner, Some(StoreError::Sealed(SealError::Tampered))),
        "{error}"
    );
}

/// Breaks when whoever can write to the disk can exchange blocks, records or stores.
#[test]
fn a_block_is_refused_at_every_other_place() {
    let payload = payload();
    let sealing = key("a");
    let seal = sealing.new_store().unwrap();
    let stored = seal.seal_payload(0, &payload).unwrap();
    let all = payload.len();
    let piece = BLOCK_BYTES + PIECE_BYTES;
    let exchanged = [
        &stored[piece..2 * piece],
        &stored[..piece],
        &stored[2 * piece..],
    ]
    .concat();
    let file = written(&exchanged);
    assert_tampered(seal.read_payload(&file, 0, 0, all, 0..1));
    let file = written(&stored);
    assert_tampered(seal.read_payload(&file, 0, 1, all, 0..1));
    assert_tampered(seal.read_payload(&file, 0, 0, all - 1, 0..1));
    let other = sealing.new_store().unwrap();
    assert_tampered(other.read_payload(&file, 0, 0, all, 0..1));
    assert!(seal.read_payload(&file, 0, 0, all, 0..1).is_ok());

    let record = seal.seal_record(3, b"body").unwrap().unwrap();
    assert_eq!(seal.open_record(&record).unwrap(), (3, b"body".to_vec()));
    assert!(other.open_record(&record).is_none());
    let mut renumbered = record;
    renumbered[0] = 4;
    assert!(seal.open_record(&renumbered).is_none());
}
