mod sealed;

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
    assert!(matches!(wrong_rows, Err(StoreError::Misfit { .. })));
    let wrong_bytes = store.append(&one, tensor(ActivationDtype::F32, 1), &payload[..7]);
    assert!(matches!(wrong_bytes, Err(StoreError::Misfit { .. })));
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
    assert_eq!(store.append_headers(&headers).unwrap(), 2);
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
    let path = store.home.path();
    store.remove().unwrap();
    assert!(!path.exists());
    assert_eq!(store.read(&[0]).unwrap().activations.values, [1.0, 2.0]);
}

#[test]
fn is_deleted_on_drop() {
    let store = store();
    let path = store.home.path();
    assert!(path.exists());
    drop(store);
    assert!(!path.exists());
}

/// Breaks when a store that was moved is deleted with its session, or its old place is.
#[test]
fn a_store_that_is_kept_moves_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    let temporary = tempfile::tempdir_in(root.path()).unwrap();
    let before = temporary.path().to_owned();
    let store = ActivationStore::create(temporary, 2).unwrap();
    let one = |id| [header(id, Split::Train, 0, 1)];
    let tensor = tensor(ActivationDtype::F32, 1);
    let append = |id, values: &[f32]| {
        let payload = f32_bytes(values);
        store.append(&one(id), tensor, &payload).unwrap();
    };
    append(1, &[1.0, 2.0]);
    store.keep(&first).unwrap();
    append(2, &[3.0, 4.0]);
    store.keep(&second).unwrap();
    assert!(!before.exists() && !first.exists());
    // Somebody else's by now.
    fs::create_dir(&before).unwrap();
    drop(store);
    assert!(before.exists());
    let store = ActivationStore::open(&second).unwrap();
    let batch = store.read(&[0, 1]).unwrap();
    assert_eq!(batch.activations.values, [1.0, 2.0, 3.0, 4.0]);
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

/// Three appends to a kept store: two examples of f32, one without activations, one of f16.
fn kept(directory: &Path) -> ActivationStore {
    let beside = tempfile::tempdir_in(directory.parent().unwrap()).unwrap();
    let store = ActivationStore::create(beside, 2).unwrap();
    store.keep(directory).unwrap();
    let first = [
        header(9, Split::Train, 1, 1),
        header(4, Split::Validation, 0, 2),
    ];
    let payload = f32_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let f32s = tensor(ActivationDtype::F32, 3);
    store.append(&first, f32s, &payload).unwrap();
    let label_less = ExampleHeader {
        label: None,
        ..header(3, Split::Train, 0, 7)
    };
    store.append_headers(&[label_less]).unwrap();
    store
}

fn append_third(store: &ActivationStore) -> Result<usize, StoreError> {
    let third = [header(5, Split::Train, 2, 1)];
    let f16s = tensor(ActivationDtype::F16, 1);
    store.append(&third, f16s, &[0x00, 0x3c, 0x00, 0xc0])
}

/// What `kept` has appended is there, and `len` examples altogether.
fn assert_kept(store: &ActivationStore, len: usize) {
    assert_eq!((store.len(), store.d_model()), (len, 2));
    let batch = store.read(&[1, 0]).unwrap();
    assert_eq!(batch.activations.values, [3.0, 4.0, 5.0, 6.0, 1.0, 2.0]);
    assert_eq!(batch.labels, [0, 1]);
    let [label_less] = store.headers(&[2]).unwrap()[..] else {
        panic!("one was asked for")
    };
    assert_eq!((label_less.example_id, label_less.label), (3, None));
}

fn assert_third(store: &ActivationStore) {
    let third = store.read(&[3]).unwrap();
    assert_eq!(third.activations.values, [1.0, -2.0]);
    assert_eq!(third.labels, [2]);
}

/// Copies a store, so that the copy can be cut.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in [PAYLOADS, RECORDS] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn cut(path: &Path, bytes: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

#[test]
fn a_kept_store_stays_and_is_opened_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("job");
    drop(kept(&directory));
    for _ in 0..2 {
        let store = ActivationStore::open(&directory).unwrap();
        assert_kept(&store, 3);
    }
    let store = ActivationStore::open(&directory).unwrap();
    assert_eq!(append_third(&store).unwrap(), 4);
    drop(store);
    let store = ActivationStore::open(&directory).unwrap();
    assert_kept(&store, 4);
    assert_third(&store);
    // Two stores do not share a place.
    let other = self::store();
    assert!(other.keep(&directory).is_err());
    assert_kept(&store, 4);
    // Activations: 6 * 4 + 2 * 2 bytes. Index: a header of 24 bytes, three records of
    // 4 + 16 + 8 bytes, four examples of 12.
    assert_eq!(store.remove().unwrap(), 28 + 24 + 3 * 28 + 4 * 12);
    assert!(!directory.exists());
    assert!(matches!(
        ActivationStore::open(&directory),
        Err(StoreError::Io { .. })
    ));
}

/// The process is killed while the third append is at work: at any byte of its payload, then at any
/// byte of its record. The examples of the first two are there, and the third can be sent again.
#[test]
fn an_append_that_was_cut_off_anywhere_takes_nothing_else_with_it() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    let store = kept(&whole);
    let before = {
        let contents = store.contents();
        (
            contents.index.payload_bytes(),
            contents.index.record_bytes(),
        )
    };
    append_third(&store).unwrap();
    let after = {
        let contents = store.contents();
        (
            contents.index.payload_bytes(),
            contents.index.record_bytes(),
        )
    };
    assert_eq!(after, (before.0 + 4, before.1 + 40));
    let payload_torn = (before.0..after.0).flat_map(|payload| {
        // No record yet; and, against the order of the writes, the whole record.
        [(payload, before.1), (payload, after.1)]
    });
    let record_torn = (before.1..after.1).map(|record| (after.0, record));
    for (case, (payload, record)) in payload_torn.chain(record_torn).enumerate() {
        let torn = root.path().join(case.to_string());
        copy(&whole, &torn);
        cut(&torn.join(PAYLOADS), payload);
        cut(&torn.join(RECORDS), record);
        let store = ActivationStore::open(&torn).unwrap();
        assert_kept(&store, 3);
        append_third(&store).unwrap();
        drop(store);
        let store = ActivationStore::open(&torn).unwrap();
        assert_kept(&store, 4);
        assert_third(&store);
    }
}

/// A file system may lengthen a file before it writes the bytes.
#[test]
fn a_tail_of_other_bytes_is_cut_off() {
    let root = tempfile::tempdir().unwrap();
    for (case, tail) in [&[0; 40][..], &[255; 40], &[28, 0, 0, 0, 1]]
        .iter()
        .enumerate()
    {
        let directory = root.path().join(case.to_string());
        drop(kept(&directory));
        for file in [PAYLOADS, RECORDS] {
            let mut bytes = fs::read(directory.join(file)).unwrap();
            bytes.extend_from_slice(tail);
            fs::write(directory.join(file), bytes).unwrap();
        }
        let store = ActivationStore::open(&directory).unwrap();
        assert_kept(&store, 3);
        append_third(&store).unwrap();
        drop(store);
        assert_third(&ActivationStore::open(&directory).unwrap());
    }
}

/// What was acknowledged is never given up in silence.
#[test]
fn damage_before_the_last_append_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    drop(kept(&whole));
    let index = fs::read(whole.join(RECORDS)).unwrap();
    let damaged = root.path().join("damaged");
    copy(&whole, &damaged);
    // The first record: 4 + 16 + 2 * 12 + 8 bytes behind the header.
    for at in 0..24 + 52 {
        let mut bytes = index.clone();
        bytes[at] ^= 4;
        fs::write(damaged.join(RECORDS), bytes).unwrap();
        match ActivationStore::open(&damaged) {
            Err(StoreError::NotAStore) if at < 24 => {}
            Err(StoreError::Damaged { byte: 24 }) if at >= 24 => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    fs::write(damaged.join(RECORDS), &index).unwrap();
    // The payload is that of the first append, and the second was acknowledged after it.
    cut(&damaged.join(PAYLOADS), 23);
    let lost = ActivationStore::open(&damaged);
    assert!(
        matches!(
            lost,
            Err(StoreError::PayloadLost {
                expected: 24,
                actual: 23
            })
        ),
        "{lost:?}"
    );
}

fn payloads(store: &mut ActivationStore) -> &mut File {
    &mut store.payloads
}

fn records(store: &mut ActivationStore) -> &mut File {
    &mut store.records
}

/// `/dev/full` takes no byte, and cannot be cut either.
#[test]
fn a_full_disk_is_an_error_of_its_own_and_the_store_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let files: [fn(&mut ActivationStore) -> &mut File; 2] = [payloads, records];
    for (case, file) in files.into_iter().enumerate() {
        let directory = root.path().join(case.to_string());
        let mut store = kept(&directory);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let working = std::mem::replace(file(&mut store), full);
        let refused = append_third(&store);
        assert!(
            matches!(refused, Err(StoreError::Full { .. })),
            "{refused:?}"
        );
        assert_eq!(store.len(), 3);
        *file(&mut store) = working;
        assert_kept(&store, 3);
        assert_eq!(append_third(&store).unwrap(), 4);
        drop(store);
        let store = ActivationStore::open(&directory).unwrap();
        assert_kept(&store, 4);
        assert_third(&store);
    }
}

#[test]
fn another_directory_is_no_store() {
    let root = tempfile::tempdir().unwrap();
    for file in [PAYLOADS, RECORDS] {
        fs::write(root.path().join(file), b"").unwrap();
    }
    let refused = ActivationStore::open(root.path());
    assert!(matches!(refused, Err(StoreError::NotAStore)), "{refused:?}");
}
