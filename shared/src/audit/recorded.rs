//! Traffic that was really sent, as the server got it.

use super::attack::AuditError;
use super::released::Released;
use crate::model::CutActivations;
use crate::protocol::codec::decode_client;
use crate::protocol::limits::Limits;
use crate::protocol::message::ClientMessage;

/// The examples of all uploads among some frames, with the ids under which they were sent.
///
/// # Errors
///
/// When a frame is damaged, or there is no upload.
pub fn uploaded<'f>(
    frames: impl IntoIterator<Item = &'f [u8]>,
) -> Result<(Vec<u32>, Released), AuditError> {
    // The bytes were accepted once; what they may be is not asked again.
    let limits = Limits {
        frame_bytes_max: u32::MAX,
        ..Limits::default()
    };
    let mut ids = Vec::new();
    let mut all: Option<CutActivations> = None;
    for bytes in frames {
        let frame = decode_client(bytes, &limits)?;
        let ClientMessage::Upload(upload) = frame.message else {
            continue;
        };
        let values = upload.activations.decode(frame.payload)?;
        let rows: usize = upload
            .examples
            .iter()
            .map(|e| usize::from(e.seq_length))
            .sum();
        let d_model = upload.activations.columns as usize;
        if values.len() != rows * d_model {
            return Err(AuditError::Answers {
                of: "recorded numbers",
                expected: rows * d_model,
                actual: values.len(),
            });
        }
        let all = all.get_or_insert_with(|| CutActivations {
            values: Vec::new(),
            seq_lengths: Vec::new(),
            d_model,
        });
        ids.extend(upload.examples.iter().map(|example| example.example_id));
        all.seq_lengths
            .extend(upload.examples.iter().map(|example| example.seq_length));
        all.values.extend(values);
    }
    let reason = "the recorded frames hold no upload";
    let all = all.ok_or(AuditError::NotApplicable { reason })?;
    Ok((ids, Released::new(all)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::released::tests::released;
    use crate::protocol::codec::encode_client;
    use crate::protocol::message::{ExampleHeader, Split, Upload};
    use crate::protocol::tensor::ActivationDtype;

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
        let (ids, sent) = uploaded(frames.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(ids, [4, 2]);
        assert_eq!(sent, first.join(second));
        assert!(uploaded([other.as_slice()]).is_err());
        assert!(uploaded([&frames[0][..frames[0].len() - 1]]).is_err());
    }
}
