//! What a frame that is sent says, read back from its bytes, for the person who watches.
//!
//! Not what the code meant to send: the same decoder reads the frame that the server will use. A
//! description has no field that could hold a text, a token, the name of a label or a secret; it
//! counts, names shapes, and repeats the first numbers of a tensor.

use std::fmt;

use serde::Serialize;
use shared::protocol::codec::decode_client;
use shared::protocol::limits::Limits;
use shared::protocol::message::{ClientMessage, ExampleHeader, LabelPlace, Split};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

/// Numbers of a tensor that are shown: enough to compare with a recording, too few to fill a page.
const NUMBERS_MAX: usize = 6;

/// The name of the request that opens a WebSocket.
const CONNECTION: &str = "Connection";

/// The name of a frame that is none of the protocol; its length counts all the same.
const UNREADABLE: &str = "Unreadable";

/// What left in one piece.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "left")]
pub struct Outgoing {
    /// The message's name in docs/protocol.md, `Connection`, or `Unreadable`.
    pub message: &'static str,
    /// Length of the frame; 0 for a connection, whose headers the browser writes.
    pub bytes: usize,
    /// What the message says, in numbers.
    pub counts: Vec<Count>,
    /// What lies behind the header.
    pub tensor: Option<SentTensor>,
}

/// A number of a message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Count {
    /// What is counted.
    pub name: &'static str,
    /// How many, or how large.
    pub value: f64,
}

/// A tensor that was sent. Its `Debug` shows none of its numbers.
#[derive(Clone, PartialEq, Serialize)]
pub struct SentTensor {
    /// `f32`, `f16` or `int8`.
    pub dtype: &'static str,
    /// As the header says.
    pub rows: u32,
    /// As the header says.
    pub columns: u32,
    /// Bytes behind the header.
    pub bytes: usize,
    /// The first numbers of the first row, as the server will read them.
    pub first: Vec<f32>,
}

impl fmt::Debug for SentTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SentTensor({} x {})", self.rows, self.columns)
    }
}

impl Outgoing {
    /// The request for a WebSocket: the browser writes it, and it has no body.
    pub fn connection() -> Self {
        Self {
            message: CONNECTION,
            bytes: 0,
            counts: Vec::new(),
            tensor: None,
        }
    }

    /// Reads a frame that is about to be sent.
    pub fn of(frame: &[u8]) -> Self {
        // Whether a server takes so much is the session's question; here nothing may go unread.
        let limits = Limits {
            frame_bytes_max: u32::MAX,
            ..Limits::default()
        };
        let Ok(read) = decode_client(frame, &limits) else {
            return Self {
                message: UNREADABLE,
                bytes: frame.len(),
                ..Self::connection()
            };
        };
        let (counts, tensor) = describe(&read.message);
        Self {
            message: read.message.name(),
            bytes: frame.len(),
            counts,
            tensor: tensor.map(|tensor| SentTensor::read(tensor, read.payload)),
        }
    }
}

impl SentTensor {
    fn read(tensor: TensorDescriptor, payload: &[u8]) -> Self {
        Self {
            dtype: match tensor.dtype {
                ActivationDtype::F32 => "f32",
                ActivationDtype::F16 => "f16",
                ActivationDtype::Int8 => "int8",
            },
            rows: tensor.rows,
            columns: tensor.columns,
            bytes: payload.len(),
            first: first_numbers(tensor, payload).unwrap_or_default(),
        }
    }
}

/// None where there is no row, or the payload is not what its header says.
fn first_numbers(tensor: TensorDescriptor, payload: &[u8]) -> Option<Vec<f32>> {
    let row = tensor.row_bytes(0..1).ok()?;
    let (scales, values) = (payload.get(row.scales)?, payload.get(row.values)?);
    let mut numbers = tensor.decode_rows(1, scales, values).ok()?;
    numbers.truncate(NUMBERS_MAX);
    Some(numbers)
}

/// What a message says in numbers, and its tensor. Texts and keys of the header (the model's name,
/// the session's token) have no way out of here.
fn describe(message: &ClientMessage) -> (Vec<Count>, Option<TensorDescriptor>) {
    use ClientMessage as M;
    match message {
        M::Hello(hello) => {
            let labels_travel = hello.labels == LabelPlace::Server;
            let counts = vec![
                count("protocol_version", hello.protocol_version),
                count("blocks_here", hello.cut),
                count("classes", hello.n_classes),
                count("rank", hello.adapter.rank),
                count("labels_travel", u8::from(labels_travel)),
            ];
            (counts, None)
        }
        M::Upload(upload) => (of_examples(&upload.examples), Some(upload.activations)),
        M::Train(settings) => {
            let counts = vec![
                count("epochs", settings.epochs),
                count("batch_size", settings.batch_size),
                count("learning_rate", settings.learning_rate),
                length("class_weights", settings.class_weights.len()),
            ];
            (counts, None)
        }
        M::Predict(predict) => (
            of_lengths(&predict.seq_lengths).to_vec(),
            Some(predict.activations),
        ),
        M::BatchActivations(batch) => {
            let mut counts = vec![count("step", batch.step)];
            counts.extend(of_lengths(&batch.seq_lengths));
            (counts, Some(batch.activations))
        }
        M::PooledGradient(gradient) => {
            (vec![count("step", gradient.step)], Some(gradient.gradient))
        }
        M::Verdict(verdict) => (vec![count("step", verdict.step)], None),
        M::Resume(resume) => (vec![received(resume.received)], None),
        M::Received(it) => (vec![received(it.received)], None),
        M::Pause | M::Continue | M::Cancel | M::Goodbye | M::UseAdapter(_) => (Vec::new(), None),
    }
}

fn of_examples(examples: &[ExampleHeader]) -> Vec<Count> {
    let having = |what: fn(&ExampleHeader) -> bool| examples.iter().filter(|it| what(it)).count();
    let positions: u64 = examples.iter().map(|it| u64::from(it.seq_length)).sum();
    vec![
        length("examples", examples.len()),
        length("training", having(|it| it.split == Split::Train)),
        length("validation", having(|it| it.split == Split::Validation)),
        length("class_numbers", having(|it| it.label.is_some())),
        large("positions", positions),
    ]
}

fn of_lengths(seq_lengths: &[u16]) -> [Count; 2] {
    let positions: u64 = seq_lengths.iter().map(|it| u64::from(*it)).sum();
    [
        length("examples", seq_lengths.len()),
        large("positions", positions),
    ]
}

fn count(name: &'static str, value: impl Into<f64>) -> Count {
    Count {
        name,
        value: value.into(),
    }
}

fn length(name: &'static str, value: usize) -> Count {
    large(name, value as u64)
}

/// Exact up to 2^53, more than a session can send.
#[allow(clippy::cast_precision_loss)]
fn large(name: &'static str, value: u64) -> Count {
    count(name, value as f64)
}

fn received(value: u64) -> Count {
    large("confirmed", value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::protocol::codec::encode_client;
    use shared::protocol::message::{Predict, Received, Resume, Upload};
    use shared::protocol::resume::UNCOUNTED;

    use super::*;

    fn header(example_id: u32, split: Split, label: Option<u32>) -> ExampleHeader {
        ExampleHeader {
            example_id,
            split,
            label,
            seq_length: 1,
        }
    }

    fn value(sent: &Outgoing, name: &str) -> f64 {
        let mut named = sent.counts.iter().filter(|count| count.name == name);
        named.next().unwrap().value
    }

    /// Two rows of three numbers: 1, 2, 3 and 4, 5, 6.
    fn tensor(dtype: ActivationDtype) -> (TensorDescriptor, Vec<u8>) {
        TensorDescriptor::encode_rows(dtype, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap()
    }

    #[test]
    fn an_upload_is_told_by_its_shape_its_counts_and_its_first_row() {
        let (activations, payload) = tensor(ActivationDtype::F16);
        let examples = vec![
            header(0, Split::Train, Some(7)),
            header(1, Split::Validation, None),
        ];
        let message = ClientMessage::Upload(Upload {
            examples,
            activations,
        });
        let frame = encode_client(2, &message, &payload).unwrap();
        let sent = Outgoing::of(&frame);
        assert_eq!((sent.message, sent.bytes), ("Upload", frame.len()));
        for (name, expected) in [
            ("examples", 2.0),
            ("training", 1.0),
            ("validation", 1.0),
            ("class_numbers", 1.0), // how many, not which
            ("positions", 2.0),
        ] {
            assert_eq!(value(&sent, name), expected, "{name}");
        }
        let expected = SentTensor {
            dtype: "f16",
            rows: 2,
            columns: 3,
            bytes: 12,
            first: vec![1.0, 2.0, 3.0],
        };
        assert_eq!(sent.tensor, Some(expected));
    }

    /// Breaks when the numbers shown are not those of the bytes: one is changed on its way.
    #[test]
    fn the_numbers_are_those_of_the_frame() {
        for dtype in [
            ActivationDtype::F32,
            ActivationDtype::F16,
            ActivationDtype::Int8,
        ] {
            let (activations, mut payload) = tensor(dtype);
            let message = ClientMessage::Predict(Predict {
                request_id: 1,
                seq_lengths: vec![2],
                activations,
            });
            let frame = |payload: &[u8]| encode_client(9, &message, payload).unwrap();
            let before = Outgoing::of(&frame(&payload)).tensor.unwrap().first;
            assert!((before[2] - 3.0).abs() < 0.01, "{dtype:?}");
            let values = activations.row_bytes(0..1).unwrap().values;
            payload[values].fill(0);
            let after = Outgoing::of(&frame(&payload)).tensor.unwrap().first;
            assert_eq!(after, [0.0, 0.0, 0.0], "{dtype:?}");
        }
    }

    #[test]
    fn a_long_row_is_shown_by_its_beginning() {
        let (activations, payload) =
            TensorDescriptor::encode_rows(ActivationDtype::F32, 8, &[0.5; 16]).unwrap();
        let message = ClientMessage::Predict(Predict {
            request_id: 1,
            seq_lengths: vec![2],
            activations,
        });
        let frame = encode_client(1, &message, &payload).unwrap();
        assert_eq!(
            Outgoing::of(&frame).tensor.unwrap().first.len(),
            NUMBERS_MAX
        );
    }

    #[test]
    fn what_cannot_be_read_is_counted_all_the_same() {
        let sent = Outgoing::of(b"my private sentence");
        assert_eq!((sent.message, sent.bytes), (UNREADABLE, 19));
        assert!(sent.counts.is_empty() && sent.tensor.is_none());
    }

    #[test]
    fn a_sessions_token_is_not_told() {
        let resume = ClientMessage::Resume(Resume {
            session_token: [0xab; 16],
            received: 5,
        });
        let frame = encode_client(UNCOUNTED, &resume, &[]).unwrap();
        let told = serde_json::to_string(&Outgoing::of(&frame)).unwrap();
        let expected = format!(
            "{{\"type\":\"left\",\"message\":\"Resume\",\"bytes\":{},\
             \"counts\":[{{\"name\":\"confirmed\",\"value\":5.0}}],\"tensor\":null}}",
            frame.len()
        );
        assert_eq!(told, expected);
        let received = ClientMessage::Received(Received { received: 5 });
        let frame = encode_client(UNCOUNTED, &received, &[]).unwrap();
        assert_eq!(Outgoing::of(&frame).message, "Received");
    }

    #[test]
    fn debug_shows_no_number_of_a_tensor() {
        let (activations, payload) = tensor(ActivationDtype::F32);
        let shown = format!("{:?}", SentTensor::read(activations, &payload));
        assert_eq!(shown, "SentTensor(2 x 3)");
    }
}
