//! Uploads that were really sent, as the server got them.

use super::attack::AuditError;
use super::released::Released;
use crate::model::CutActivations;
use crate::protocol::codec::decode_client;
use crate::protocol::limits::Limits;
use crate::protocol::message::ClientMessage;

/// What the uploads of a session say, example by example.
#[derive(Debug, Clone, PartialEq)]
pub struct Uploaded {
    /// The ids under which they were sent.
    pub example_ids: Vec<u32>,
    /// Rows of each.
    pub seq_lengths: Vec<u16>,
    /// Their activations; none where the bottom is trained, which sends them batch by batch.
    pub released: Option<Released>,
}

/// The examples of all uploads among some frames of a client.
///
/// # Errors
///
/// When a frame is damaged, or there is no upload.
pub fn uploaded<'f>(frames: impl IntoIterator<Item = &'f [u8]>) -> Result<Uploaded, AuditError> {
    let (mut example_ids, mut seq_lengths) = (Vec::new(), Vec::new());
    let (mut values, mut d_model) = (Vec::new(), 0);
    for bytes in frames {
        let frame = decode_client(bytes, &limits())?;
        let ClientMessage::Upload(upload) = frame.message else {
            continue;
        };
        values.extend(upload.activations.decode(frame.payload)?);
        d_model = upload.activations.columns as usize;
        example_ids.extend(upload.examples.iter().map(|example| example.example_id));
        seq_lengths.extend(upload.examples.iter().map(|example| example.seq_length));
    }
    if example_ids.is_empty() {
        return Err(AuditError::NotApplicable {
            reason: "the recorded frames hold no upload",
        });
    }
    let rows: usize = seq_lengths.iter().map(|length| usize::from(*length)).sum();
    if !values.is_empty() && values.len() != rows * d_model {
        return Err(AuditError::Answers {
            of: "recorded numbers",
            expected: rows * d_model,
            actual: values.len(),
        });
    }
    let released = (!values.is_empty()).then(|| {
        Released::new(CutActivations {
            values,
            seq_lengths: seq_lengths.clone(),
            d_model,
        })
    });
    Ok(Uploaded {
        example_ids,
        seq_lengths,
        released,
    })
}

/// The bytes were accepted once; what they may be is not asked again.
pub(super) fn limits() -> Limits {
    Limits {
        frame_bytes_max: u32::MAX,
        ..Limits::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::released::tests::released;
    use crate::protocol::codec::encode_client;
    use crate::protocol::message::{ExampleHeader, Split, Upload};
    use crate::protocol::tensor::{ActivationDtype, TensorDescriptor};

    fn frame(id: u32, sent: &Released) -> Vec<u8> {
        let (activations, payload) = sent.activations.to_payload(ActivationDtype::F32).unwrap();
        let upload = Upload {
            examples: vec![ExampleHeader {
                example_id: id,
                split: Split::Train,
                label: Some(0),
                seq_length: sent.activations.seq_lengths()[0],
            }],
            activations,
        };
        encode_client(u64::from(id), &ClientMessage::Upload(upload), &payload).unwrap()
    }

    #[test]
    fn what_was_sent_is_read_back() {
        let (first, second) = (released(&[1], &[1., 2.]), released(&[2], &[3., 4., 5., 6.]));
        let other = encode_client(9, &ClientMessage::Goodbye, &[]).unwrap();
        let frames = [frame(4, &first), other.clone(), frame(2, &second)];
        let found = uploaded(frames.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(found.example_ids, [4, 2]);
        assert_eq!(found.seq_lengths, [1, 2]);
        assert_eq!(found.released, Some(first.join(second)));
        assert!(uploaded([other.as_slice()]).is_err());
        assert!(uploaded([&frames[0][..frames[0].len() - 1]]).is_err());
    }

    #[test]
    fn an_upload_without_activations_says_who_is_there() {
        let (activations, _) = TensorDescriptor::encode_rows(ActivationDtype::F16, 2, &[]).unwrap();
        let upload = Upload {
            examples: vec![ExampleHeader {
                example_id: 7,
                split: Split::Train,
                label: None,
                seq_length: 3,
            }],
            activations,
        };
        let frame = encode_client(1, &ClientMessage::Upload(upload), &[]).unwrap();
        let found = uploaded([frame.as_slice()]).unwrap();
        assert_eq!((found.example_ids, found.seq_lengths), (vec![7], vec![3]));
        assert_eq!(found.released, None);
    }
}
