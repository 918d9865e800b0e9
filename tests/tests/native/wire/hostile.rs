//! What bytes from a stranger can do: be refused, and nothing else.

use proptest::collection::vec;
use proptest::prelude::*;
use shared::protocol::codec::{CodecError, decode_client, encode_client, encode_server};
use shared::protocol::limits::{CLIENT_HEADER_BYTES_MAX, Limits};
use shared::protocol::message::{ClientMessage, Predict, RefusalCode, Refused, Upload};
use shared::protocol::refusal::CLOSE_POLICY;
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

use tests::decoders::{read_client, read_server};
use tests::messages as samples;

/// Where the header begins.
const HEADER: usize = 16;

fn client_frames() -> Vec<Vec<u8>> {
    let frame = |sample: &samples::ClientSample| {
        encode_client(sample.sequence, &sample.message, &sample.payload()).unwrap()
    };
    samples::client().iter().map(frame).collect()
}

fn server_frames() -> Vec<Vec<u8>> {
    let frame = |sample: &samples::ServerSample| {
        encode_server(sample.sequence, &sample.message, &sample.payload()).unwrap()
    };
    samples::server().iter().map(frame).collect()
}

type Reader = fn(&[u8]) -> Result<(), RefusalCode>;

fn all_frames() -> impl Iterator<Item = (Vec<u8>, Reader)> {
    let clients = client_frames()
        .into_iter()
        .map(|frame| (frame, read_client as Reader));
    let servers = server_frames()
        .into_iter()
        .map(|frame| (frame, read_server as Reader));
    clients.chain(servers)
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (mut frame, read) in all_frames() {
        read(&frame).unwrap();
        for length in 0..frame.len() {
            assert!(
                read(&frame[..length]).is_err(),
                "the first {length} bytes were accepted"
            );
        }
        frame.push(0);
        assert!(read(&frame).is_err(), "a byte more was accepted");
    }
}

#[test]
fn no_corrupted_byte_panics_or_is_overlooked() {
    let (mut refused, mut accepted) = (0, 0);
    for (frame, read) in all_frames() {
        for at in 0..frame.len() {
            for flip in 1..=255 {
                let mut corrupted = frame.clone();
                corrupted[at] ^= flip;
                match read(&corrupted) {
                    Ok(()) => accepted += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    // Numbers may change unnoticed, structure may not: both must have been met.
    assert!(
        refused > 10_000 && accepted > 10_000,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn a_claim_in_any_place_of_a_header_is_survived() {
    for (frame, read) in all_frames() {
        for at in HEADER..frame.len().saturating_sub(7) {
            for claim in [1_u64 << 60, u64::MAX, u64::from(u32::MAX), 1 << 16] {
                let mut hostile = frame.clone();
                hostile[at..at + 8].copy_from_slice(&claim.to_le_bytes());
                let _ = read(&hostile);
            }
        }
    }
}

#[test]
fn a_list_that_claims_two_to_the_sixty_elements_is_not_a_message() {
    // After the variant: Hello has a version and a text, Upload a list, Predict an id and a list.
    for (sample, length_at) in [(0, HEADER + 6), (1, HEADER + 4), (6, HEADER + 8)] {
        let mut frame = client_frames().swap_remove(sample);
        let length = u64::from_le_bytes(frame[length_at..length_at + 8].try_into().unwrap());
        assert!(
            (1..=4).contains(&length),
            "the length is not where it was expected"
        );
        frame[length_at..length_at + 8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        let error = decode_client(&frame, &Limits::default()).unwrap_err();
        assert!(
            matches!(error, CodecError::HeaderUndecodable { .. }),
            "{error}"
        );
        let refused = Refused::from_codec(&frame, &error);
        assert_eq!(refused.code, RefusalCode::MalformedFrame);
        assert_eq!(refused.sequence, Some(sample as u64 + 1));
        assert!(refused.closes);
        assert_eq!(refused.code.close_code(), CLOSE_POLICY);
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_by_its_claim() {
    for claim in [u32::MAX, CLIENT_HEADER_BYTES_MAX + 1] {
        let mut frame = client_frames().swap_remove(0);
        frame[12..16].copy_from_slice(&claim.to_le_bytes());
        let (expected, actual) = (CLIENT_HEADER_BYTES_MAX as usize, claim as usize);
        let error = decode_client(&frame, &Limits::default()).unwrap_err();
        assert_eq!(error, CodecError::HeaderTooLong { expected, actual });
    }
    let mut frame = client_frames().swap_remove(0);
    let actual = frame.len() - HEADER;
    frame[12..16].copy_from_slice(&CLIENT_HEADER_BYTES_MAX.to_le_bytes());
    let error = decode_client(&frame, &Limits::default()).unwrap_err();
    let expected = CLIENT_HEADER_BYTES_MAX as usize;
    assert_eq!(error, CodecError::HeaderCut { expected, actual });
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_length() {
    let limits = Limits {
        frame_bytes_max: 64,
        ..Limits::default()
    };
    let error = decode_client(&[0; 65], &limits).unwrap_err();
    assert_eq!(
        error,
        CodecError::FrameTooLong {
            expected: 64,
            actual: 65
        }
    );
    assert_eq!(error.refusal_code(), RefusalCode::LimitExceeded);
}

#[test]
fn a_frame_of_another_version_is_told_its_version_whatever_follows() {
    for (frame, read) in all_frames() {
        for version in [0_u16, 2, u16::MAX] {
            let mut other = frame.clone();
            other[2..4].copy_from_slice(&version.to_le_bytes());
            for length in 4..=other.len() {
                assert_eq!(read(&other[..length]), Err(RefusalCode::WrongVersion));
            }
        }
    }
}

#[test]
fn a_message_without_a_tensor_takes_no_payload() {
    let samples = samples::client();
    let upload = samples
        .iter()
        .find(|sample| sample.name == "Upload")
        .unwrap();
    for message in samples.iter().filter(|sample| sample.values.is_empty()) {
        let error = encode_client(1, &message.message, &upload.payload()).unwrap_err();
        assert!(
            matches!(error, CodecError::PayloadUnexpected { .. }),
            "{}",
            message.name
        );
    }
}

/// One row of two columns; the second number is not finite.
fn poisoned() -> Vec<(ActivationDtype, Vec<u8>)> {
    let mut payloads = Vec::new();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        payloads.push((
            ActivationDtype::F32,
            [1_f32.to_le_bytes(), bad.to_le_bytes()].concat(),
        ));
        // A scale spoils its row, even where it is multiplied with 0.
        payloads.push((
            ActivationDtype::Int8,
            [&bad.to_le_bytes()[..], &[0, 0]].concat(),
        ));
    }
    // binary16: NaN, infinity, minus infinity.
    for bad in [0x7e00_u16, 0x7c00, 0xfc00] {
        payloads.push((
            ActivationDtype::F16,
            [0x3c00_u16.to_le_bytes(), bad.to_le_bytes()].concat(),
        ));
    }
    // A finite scale with an infinite product.
    payloads.push((
        ActivationDtype::Int8,
        [&f32::MAX.to_le_bytes()[..], &[1, 2]].concat(),
    ));
    payloads
}

#[test]
fn numbers_that_are_not_finite_are_refused_from_uploads_and_predictions() {
    let samples = samples::client();
    let ClientMessage::Upload(upload) = &samples[1].message else {
        panic!("Upload is second")
    };
    for (dtype, payload) in poisoned() {
        let activations = TensorDescriptor {
            dtype,
            rows: 1,
            columns: 2,
        };
        let upload = Upload {
            examples: upload.examples[..1].to_vec(),
            activations,
        };
        let predict = Predict {
            request_id: 1,
            seq_lengths: vec![1],
            activations,
        };
        for message in [
            ClientMessage::Upload(upload),
            ClientMessage::Predict(predict),
        ] {
            let frame = encode_client(2, &message, &payload).unwrap();
            assert_eq!(
                read_client(&frame),
                Err(RefusalCode::NotFinite),
                "{dtype:?}"
            );
        }
        assert!(activations.decode(&payload).is_err(), "{dtype:?}");
    }
}

#[test]
fn noise_is_survived() {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2_000)
    };
    let number = prop_oneof![0_u32..10, any::<u32>()];
    proptest!(config, |(noise in vec(any::<u8>(), 0..200), number in number, whole in any::<bool>())| {
        let _ = read_client(&noise);
        let _ = read_server(&noise);
        // Noise behind a good envelope and a variant that may exist.
        let header = [&number.to_le_bytes()[..], &noise].concat();
        let header_bytes = if whole { header.len() } else { header.len() / 2 } as u32;
        let envelope = [&b"CL\x01\0"[..], &1_u64.to_le_bytes(), &header_bytes.to_le_bytes()].concat();
        let frame = [envelope, header].concat();
        let _ = read_client(&frame);
        let _ = read_server(&frame);
    });
}
