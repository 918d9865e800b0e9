//! Stores that are sealed with a key.

use super::*;
use crate::store::StoreKey;
use crate::store::sealing::SealError;

fn key(digit: &str) -> Sealing {
    Sealing::from(StoreKey::parse(&digit.repeat(64)))
}

/// A sealed store of three appends, and a copy of its files, as a process that died leaves them.
fn sealed() -> (TempDir, ActivationStore) {
    let root = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir_in(root.path()).unwrap();
    let path = home.path().to_owned();
    let store = ActivationStore::create_sealed(home, 2, &key("a")).unwrap();
    let first = [
        header(9, Split::Train, 1, 1),
        header(4, Split::Validation, 0, 2),
    ];
    let payload = f32_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let f32s = tensor(ActivationDtype::F32, 3);
    store.append(&first, f32s, &payload).unwrap();
    store
        .append_headers(&[header(3, Split::Train, 7, 7)])
        .unwrap();
    append_third(&store).unwrap();
    copy(&path, &root.path().join("left"));
    (root, store)
}

#[track_caller]
fn assert_whole(store: &ActivationStore) {
    assert_eq!((store.len(), store.d_model()), (4, 2));
    let batch = store.read(&[1, 0]).unwrap();
    assert_eq!(batch.activations.values, [3.0, 4.0, 5.0, 6.0, 1.0, 2.0]);
    assert_eq!(batch.labels, [0, 1]);
    assert_eq!(store.label(2), Some(7));
    assert_third(store);
}

#[test]
fn a_sealed_store_is_read_before_and_after_it_is_opened_again() {
    let (root, store) = sealed();
    assert_whole(&store);
    let left = root.path().join("left");
    for len in [4, 5] {
        let opened = ActivationStore::open_sealed(&left, &key("a")).unwrap();
        assert_eq!(opened.len(), len);
        assert_eq!(opened.read(&[3]).unwrap().activations.values, [1.0, -2.0]);
        append_third(&opened).unwrap();
    }
    let opened = ActivationStore::open_sealed(&left, &key("a")).unwrap();
    assert_eq!(opened.read(&[5]).unwrap().activations.values, [1.0, -2.0]);
    // Head; then records of 4 + 8 + 40 + 16 bytes and 12 an example; payloads of 24, 4, 4 and 4
    // bytes with 40 each.
    let bytes = 80 + 5 * 68 + 6 * 12 + 24 + 3 * 4 + 4 * 40;
    assert_eq!(opened.remove().unwrap(), bytes);
}

/// Breaks when activations or labels lie in the clear although there is a key.
#[test]
fn nothing_of_it_lies_in_the_clear() {
    let (root, _store) = sealed();
    let left = root.path().join("left");
    let bytes = [PAYLOADS, RECORDS].map(|name| fs::read(left.join(name)).unwrap());
    let bytes = bytes.concat();
    // 3.0, 4.0 as f32; 1.0, -2.0 as f16; an example's id, label and length.
    let payload = f32_bytes(&[3.0, 4.0]);
    let record = [9, 0, 0, 0, 1, 0, 0, 0, 1, 0];
    for clear in [&payload[..], &[0x00, 0x3c, 0x00, 0xc0], &record] {
        assert!(!bytes.windows(clear.len()).any(|window| window == clear));
    }
}

#[test]
fn another_key_or_none_is_refused_by_name() {
    let (root, _store) = sealed();
    let left = root.path().join("left");
    let wrong = ActivationStore::open_sealed(&left, &key("b"));
    assert!(
        matches!(wrong, Err(StoreError::Sealed(SealError::WrongKey { .. }))),
        "{wrong:?}"
    );
    let none = ActivationStore::open(&left);
    assert!(
        matches!(none, Err(StoreError::Sealed(SealError::KeyMissing { .. }))),
        "{none:?}"
    );
    assert_whole(&ActivationStore::open_sealed(&left, &key("a")).unwrap());

    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_owned();
    let _clear = ActivationStore::create(home, 2).unwrap();
    let clear = ActivationStore::open_sealed(&path, &key("a"));
    assert!(
        matches!(clear, Err(StoreError::Sealed(SealError::NotSealed))),
        "{clear:?}"
    );
}

/// Of the index a changed byte is noticed when the store is opened: in the last record as an append
/// that was cut off, as without a key. Of the payloads it is noticed when they are read.
#[test]
fn every_flipped_byte_is_refused() {
    let (root, _store) = sealed();
    let left = root.path().join("left");
    let [payload, index] = [PAYLOADS, RECORDS].map(|name| fs::read(left.join(name)).unwrap());
    let last_record = index.len() - (68 + 12);
    for at in 0..index.len() {
        let mut flipped = index.clone();
        flipped[at] ^= 1;
        fs::write(left.join(PAYLOADS), &payload).unwrap();
        fs::write(left.join(RECORDS), flipped).unwrap();
        match ActivationStore::open_sealed(&left, &key("a")) {
            Err(StoreError::NotAStore) if at < 80 => {}
            Err(StoreError::Sealed(SealError::WrongKey { .. })) if (32..40).contains(&at) => {}
            Err(StoreError::Damaged { .. }) if (80..last_record).contains(&at) => {}
            Ok(store) if at >= last_record => assert_eq!(store.len(), 3),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    fs::write(left.join(RECORDS), &index).unwrap();
    for at in 0..payload.len() {
        let mut flipped = payload.clone();
        flipped[at] ^= 1;
        fs::write(left.join(PAYLOADS), flipped).unwrap();
        let store = ActivationStore::open_sealed(&left, &key("a")).unwrap();
        let read = [0, 3].map(|index| store.read(&[index]));
        let (bad, good) = if at < 64 { (0, 1) } else { (1, 0) };
        assert!(read[good].is_ok(), "byte {at}");
        let error = read[bad].as_ref().unwrap_err();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        assert!(
            matches!(inner, Some(StoreError::Sealed(SealError::Tampered))),
            "byte {at}: {error}"
        );
    }
}

/// As without a key: the process is killed at any byte of the third append.
#[test]
fn a_torn_append_is_cut_off_and_can_be_sent_again() {
    let (root, _store) = sealed();
    let whole = root.path().join("left");
    let sizes = [PAYLOADS, RECORDS].map(|name| fs::metadata(whole.join(name)).unwrap().len());
    // Of the third append: 4 bytes and 40; 68 bytes and an example.
    let before = (sizes[0] - 44, sizes[1] - 80);
    let payload_torn = (before.0..sizes[0]).map(|payload| (payload, before.1));
    let record_torn = (before.1..sizes[1]).map(|record| (sizes[0], record));
    for (case, (payload, record)) in payload_torn.chain(record_torn).enumerate() {
        let torn = root.path().join(case.to_string());
        copy(&whole, &torn);
        cut(&torn.join(PAYLOADS), payload);
        cut(&torn.join(RECORDS), record);
        let store = ActivationStore::open_sealed(&torn, &key("a")).unwrap();
        assert_eq!(store.len(), 3, "{case}");
        append_third(&store).unwrap();
        drop(store);
        assert_whole(&ActivationStore::open_sealed(&torn, &key("a")).unwrap());
    }
}

/// A batch from an upload of several blocks is the one that was uploaded.
#[test]
fn examples_that_cross_blocks_are_read_whole() {
    let columns = 64;
    let seal = key("a");
    let clear = Sealing::default();
    let stores = [&seal, &clear].map(|sealing| {
        let home = tempfile::tempdir().unwrap();
        ActivationStore::create_sealed(home, columns as usize, sealing).unwrap()
    });
    // 40 examples of 5 rows: 12 800 numbers, 51 200 bytes, four blocks.
    let examples: Vec<_> = (0..40).map(|id| header(id, Split::Train, 0, 5)).collect();
    let (rows, dtype) = (200, ActivationDtype::F32);
    let numbers: Vec<_> = (0..rows * columns).map(|number| number as f32).collect();
    let tensor = TensorDescriptor {
        dtype,
        rows,
        columns,
    };
    for store in &stores {
        store
            .append(&examples, tensor, &f32_bytes(&numbers))
            .unwrap();
    }
    let indices = [39, 0, 12, 13, 25];
    let [sealed, clear] = stores.map(|store| store.read(&indices).unwrap());
    assert!(sealed == clear);
    assert_eq!(sealed.activations.values[0], (195 * columns) as f32);
}
