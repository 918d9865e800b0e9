//! docs/protocol.md against the code.

use std::collections::BTreeSet;

use shared::protocol::codec::{decode_client, decode_server, encode_client, encode_server};
use shared::protocol::limits::{
    ANSWER_SECS_MAX, CLIENT_HEADER_BYTES_MAX, HANDSHAKE_SECS_MAX, Limits, MODEL_ID_BYTES_MAX,
    SERVER_HEADER_BYTES_MAX,
};
use shared::protocol::message::RefusalCode;
use shared::protocol::phase::Phase;
use shared::protocol::refusal;
use shared::protocol::resume::{CONFIRM_BYTES, CONFIRM_MESSAGES};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use super::document::{blocks, table};
use tests::messages as samples;

/// The variant number, at the beginning of the header.
fn number(frame: &[u8]) -> String {
    u32::from_le_bytes(frame[16..20].try_into().unwrap()).to_string()
}

#[test]
fn every_client_message_is_the_documented_bytes() {
    let blocks = blocks();
    for sample in samples::client() {
        let documented = &blocks[format!("client {}", sample.name).as_str()];
        let payload = sample.payload();
        let frame = encode_client(sample.sequence, &sample.message, &payload).unwrap();
        assert_eq!(frame, *documented, "{}", sample.name);
        let read = decode_client(documented, &Limits::default()).unwrap();
        assert_eq!(read.sequence, sample.sequence);
        assert_eq!(read.message, sample.message);
        assert_eq!(read.payload, payload);
        if let Some(tensor) = samples::activations(&read.message) {
            assert_eq!(
                tensor.decode(read.payload).unwrap(),
                sample.values,
                "{}",
                sample.name
            );
        }
    }
}

#[test]
fn every_server_message_is_the_documented_bytes() {
    let blocks = blocks();
    for sample in samples::server() {
        let documented = &blocks[format!("server {}", sample.name).as_str()];
        let payload = sample.payload();
        let frame = encode_server(sample.sequence, &sample.message, &payload).unwrap();
        assert_eq!(frame, *documented, "{}", sample.name);
        let read = decode_server(documented, &Limits::default()).unwrap();
        assert_eq!(read.sequence, sample.sequence);
        assert_eq!(read.message, sample.message);
        assert_eq!(read.payload, payload);
        if let Some(tensor) = samples::shown(&read.message) {
            let values = tensor.decode(read.payload).unwrap();
            assert_eq!(values, sample.values, "{}", sample.name);
        }
    }
}

#[test]
fn every_dtype_is_the_documented_bytes() {
    let blocks = blocks();
    let values = [127.0, -3.0, 254.0, 4.0];
    for dtype in [
        ActivationDtype::F32,
        ActivationDtype::F16,
        ActivationDtype::Int8,
    ] {
        let documented = &blocks[format!("tensor {dtype:?}").as_str()];
        let (tensor, payload) = TensorDescriptor::encode_rows(dtype, 2, &values).unwrap();
        assert_eq!(payload, *documented, "{dtype:?}");
        assert_eq!(tensor.decode(documented).unwrap(), values, "{dtype:?}");
    }
}

#[test]
fn nothing_is_documented_that_is_not_in_the_code() {
    let clients = samples::client()
        .into_iter()
        .map(|sample| format!("client {}", sample.name));
    let servers = samples::server()
        .into_iter()
        .map(|sample| format!("server {}", sample.name));
    let tensors = ["F32", "F16", "Int8"].map(|dtype| format!("tensor {dtype}"));
    let in_code: BTreeSet<String> = clients.chain(servers).chain(tensors).collect();
    let in_document: BTreeSet<String> = blocks().into_keys().map(String::from).collect();
    assert_eq!(in_document, in_code);
}

#[test]
fn messages_have_the_documented_numbers() {
    let blocks = blocks();
    for (side, last_column) in [("client", "answered by"), ("server", "sent")] {
        let rows = table(&["number", "message", "payload", last_column]);
        let names = blocks
            .keys()
            .filter(|name| name.starts_with(side) && !name.ends_with("at-the-door"));
        assert_eq!(rows.len(), names.count(), "{side}");
        for row in rows {
            let frame = &blocks[format!("{side} {}", row[1]).as_str()];
            assert_eq!(number(frame), row[0], "{side} {}", row[1]);
            let header_bytes = u32::from_le_bytes(frame[12..16].try_into().unwrap());
            let has_payload = frame.len() > 16 + header_bytes as usize;
            assert_eq!(has_payload, row[2] != "none", "{side} {}", row[1]);
        }
    }
}

#[test]
fn phases_allow_the_documented_messages() {
    let phases = Phase::ALL.map(|phase| format!("{phase:?}"));
    let mut head = vec!["message"];
    head.extend(phases.iter().map(String::as_str));
    let rows = table(&head);
    let samples = samples::client();
    assert_eq!(rows.len(), samples.len());
    for (row, sample) in rows.iter().zip(samples) {
        assert_eq!(row[0], sample.name);
        for (cell, phase) in row[1..].iter().zip(Phase::ALL) {
            assert_eq!(
                *cell == "yes",
                phase.allows(&sample.message),
                "{} {phase:?}",
                row[0]
            );
        }
    }
}

#[test]
fn limits_are_the_documented_ones() {
    let Limits {
        frame_bytes_max,
        batch_examples_max,
        seq_length_max,
        examples_max,
        store_bytes_max,
        uploads_in_flight_max,
        n_classes_max,
        steps_max,
    } = Limits::default();
    let expected = [
        ("frame_bytes_max", u64::from(frame_bytes_max)),
        ("batch_examples_max", u64::from(batch_examples_max)),
        ("seq_length_max", u64::from(seq_length_max)),
        ("examples_max", u64::from(examples_max)),
        ("store_bytes_max", store_bytes_max),
        ("uploads_in_flight_max", u64::from(uploads_in_flight_max)),
        ("n_classes_max", u64::from(n_classes_max)),
        ("steps_max", u64::from(steps_max)),
    ];
    assert_rows(&table(&["limit", "default"]), &expected);
    let expected = [
        (
            "header of a client's frame, bytes",
            u64::from(CLIENT_HEADER_BYTES_MAX),
        ),
        (
            "header of a server's frame, bytes",
            u64::from(SERVER_HEADER_BYTES_MAX),
        ),
        ("model_id`, bytes", MODEL_ID_BYTES_MAX as u64),
        ("handshake, seconds", HANDSHAKE_SECS_MAX),
        ("messages before `Received` is due", CONFIRM_MESSAGES),
        ("payload bytes before `Received` is due", CONFIRM_BYTES),
        ("answer to a run, seconds", ANSWER_SECS_MAX),
    ];
    assert_rows(&table(&["limit", "value"]), &expected);
}

fn assert_rows(rows: &[Vec<&str>], expected: &[(&str, u64)]) {
    let rows: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row[0], row[1].parse().unwrap()))
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn refusals_have_the_documented_numbers() {
    let rows = table(&["number", "code", "always closes"]);
    let codes: Vec<[String; 2]> = RefusalCode::ALL
        .iter()
        .map(|code| [code.number().to_string(), format!("{code:?}")])
        .collect();
    let documented: Vec<[String; 2]> = rows
        .iter()
        .map(|row| [row[0].to_owned(), row[1].to_owned()])
        .collect();
    assert_eq!(documented, codes);
    for (row, code) in rows.iter().zip(RefusalCode::ALL) {
        assert_eq!(row[2] == "yes", code.always_closes(), "{code:?}");
    }
}

#[test]
fn close_codes_are_the_documented_ones() {
    let rows = table(&["WebSocket close code"]);
    let documented: Vec<u16> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let codes = [
        refusal::CLOSE_DONE,
        refusal::CLOSE_GOING_AWAY,
        refusal::CLOSE_POLICY,
        refusal::CLOSE_TOO_LARGE,
        refusal::CLOSE_INTERNAL,
        refusal::CLOSE_RESTART,
        refusal::CLOSE_TRY_LATER,
    ];
    assert_eq!(documented, codes);
}
