//! What a server saw of a run whose labels or whose bottom were at the client, step by step: read
//! from the frames of both directions.
//!
//! Each side's frames come in order, and a client answers in order: the n-th `Batch` belongs to the
//! n-th `BatchActivations`, the n-th `Pooled` of training examples to the n-th `PooledGradient`.
//! Recordings of one run are read, not of several in one session.

use std::collections::{HashMap, VecDeque};

use super::attack::AuditError;
use super::learned::features::Features;
use super::pattern::{PatternReport, SeenBatch};
use super::recorded::limits;
use super::released::Released;
use crate::model::CutActivations;
use crate::protocol::codec::{decode_client, decode_server};
use crate::protocol::message::{
    Batch, BatchActivations, ClientMessage, PooledGradient, ServerMessage, Split,
};
use crate::protocol::tensor::TensorDescriptor;

/// Vectors of the training examples in one epoch.
#[derive(Clone, Default, PartialEq)]
pub struct Seen {
    /// Whose they are.
    pub example_ids: Vec<u32>,
    /// One each, all of one width.
    pub vectors: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seen({} examples)", self.example_ids.len())
    }
}

/// What the server saw, by epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// With labels at the client: the gradient of the loss with respect to what the head reads, as
    /// the client sent it. A gradient of a batch's mean loss; the share of its example.
    pub gradients: Vec<Seen>,
    /// With labels at the client: what the head reads, which the server computes.
    pub outputs: Vec<Seen>,
    /// With a trained bottom: mean row and first row of the activations of each batch.
    pub activations: Vec<Seen>,
    /// With a trained bottom: zeros and sizes of what travelled.
    pub pattern: Option<PatternReport>,
}

/// Reads the frames that a client has sent and received, each list in its order.
///
/// # Errors
///
/// When a frame is damaged, or the two lists are not those of one run.
pub fn transcript<'f>(
    sent: impl IntoIterator<Item = &'f [u8]>,
    received: impl IntoIterator<Item = &'f [u8]>,
) -> Result<Transcript, AuditError> {
    let mut reader = Reader::default();
    for bytes in received {
        let frame = decode_server(bytes, &limits())?;
        reader.asked(frame.message, frame.payload)?;
    }
    for bytes in sent {
        let frame = decode_client(bytes, &limits())?;
        reader.answered(frame.message, frame.payload)?;
    }
    Ok(Transcript {
        pattern: PatternReport::of(&reader.batches, &reader.seq_lengths, &reader.cut_gradients),
        gradients: reader.gradients.seen,
        outputs: reader.outputs.seen,
        activations: reader.activations.seen,
    })
}

/// The n-th time that an example is trained on is its n-th epoch: the client lets the server have
/// each once an epoch.
#[derive(Default)]
struct Epochs {
    turns: HashMap<u32, usize>,
    seen: Vec<Seen>,
}

impl Epochs {
    fn add(&mut self, example_ids: &[u32], vectors: impl Iterator<Item = Vec<f32>>) {
        for (id, vector) in example_ids.iter().zip(vectors) {
            let turn = self.turns.entry(*id).or_default();
            if self.seen.len() == *turn {
                self.seen.push(Seen::default());
            }
            self.seen[*turn].example_ids.push(*id);
            self.seen[*turn].vectors.push(vector);
            *turn += 1;
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    seq_lengths: HashMap<u32, u16>,
    unanswered: VecDeque<Batch>,
    /// Step and examples of each `Pooled` of training examples that no gradient has answered yet.
    ungraded: VecDeque<(u32, Vec<u32>)>,
    gradients: Epochs,
    outputs: Epochs,
    activations: Epochs,
    batches: Vec<SeenBatch>,
    /// Rows of each `CutGradient`, and how many of them are zero.
    cut_gradients: Vec<(u64, usize)>,
}

impl Reader {
    fn asked(&mut self, message: ServerMessage, payload: &[u8]) -> Result<(), AuditError> {
        match message {
            ServerMessage::Batch(batch) => self.unanswered.push_back(batch),
            ServerMessage::Pooled(pooled) if pooled.split == Split::Train => {
                let rows = rows(&pooled.pooled, payload, pooled.example_ids.len())?;
                self.outputs.add(&pooled.example_ids, rows.into_iter());
                self.ungraded.push_back((pooled.step, pooled.example_ids));
            }
            ServerMessage::CutGradient(gradient) => {
                let values = gradient.gradient.decode(payload)?;
                let zeros = zero_rows(&values, gradient.gradient.columns);
                self.cut_gradients
                    .push((u64::from(gradient.gradient.rows), zeros));
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, message: ClientMessage, payload: &[u8]) -> Result<(), AuditError> {
        match message {
            ClientMessage::Upload(upload) => {
                let lengths = upload.examples.iter();
                self.seq_lengths
                    .extend(lengths.map(|example| (example.example_id, example.seq_length)));
                Ok(())
            }
            ClientMessage::BatchActivations(answer) => self.activations(&answer, payload),
            ClientMessage::PooledGradient(answer) => self.gradient(&answer, payload),
            _ => Ok(()),
        }
    }

    fn activations(&mut self, answer: &BatchActivations, payload: &[u8]) -> Result<(), AuditError> {
        let asked = self.unanswered.pop_front();
        let batch = asked.filter(|batch| {
            batch.step == answer.step && batch.example_ids.len() == answer.seq_lengths.len()
        });
        let what = "a batch of activations answers no batch that was asked for";
        let batch = batch.ok_or(AuditError::Recording { what })?;
        let values = answer.activations.decode(payload)?;
        let columns = answer.activations.columns;
        let zero_rows = zero_rows(&values, columns);
        let rows: u64 = answer.seq_lengths.iter().map(|rows| u64::from(*rows)).sum();
        if batch.split == Split::Train && rows == u64::from(answer.activations.rows) {
            let released = Released::new(CutActivations {
                values,
                seq_lengths: answer.seq_lengths.clone(),
                d_model: columns as usize,
            });
            let pooled = Features::pooled(&released);
            let vectors = pooled.rows().map(<[f32]>::to_vec);
            self.activations.add(&batch.example_ids, vectors);
        }
        self.batches.push(SeenBatch {
            rows: u64::from(answer.activations.rows),
            zero_rows,
            batch,
        });
        Ok(())
    }

    fn gradient(&mut self, answer: &PooledGradient, payload: &[u8]) -> Result<(), AuditError> {
        let shown = self.ungraded.pop_front();
        let what = "a gradient answers no outputs that were shown";
        let (_, ids) = shown
            .filter(|(step, _)| *step == answer.step)
            .ok_or(AuditError::Recording { what })?;
        let rows = rows(&answer.gradient, payload, ids.len())?;
        self.gradients.add(&ids, rows.into_iter());
        Ok(())
    }
}

/// The rows of a tensor, of which there have to be `expected`.
fn rows(
    tensor: &TensorDescriptor,
    payload: &[u8],
    expected: usize,
) -> Result<Vec<Vec<f32>>, AuditError> {
    let values = tensor.decode(payload)?;
    let rows = values.chunks_exact(tensor.columns.max(1) as usize);
    if rows.len() != expected {
        return Err(AuditError::Answers {
            of: "recorded examples",
            expected,
            actual: rows.len(),
        });
    }
    Ok(rows.map(<[f32]>::to_vec).collect())
}

/// Rows in which every number is exactly zero.
fn zero_rows(values: &[f32], columns: u32) -> usize {
    let rows = values.chunks_exact(columns.max(1) as usize);
    rows.filter(|row| row.iter().all(|value| *value == 0.0))
        .count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::protocol::codec::{encode_client, encode_server};
    use crate::protocol::message::{CutGradient, ExampleHeader, Pooled, Upload};
    use crate::protocol::tensor::ActivationDtype;

    fn tensor(values: &[f32]) -> (TensorDescriptor, Vec<u8>) {
        TensorDescriptor::encode_rows(ActivationDtype::F32, 2, values).unwrap()
    }

    fn pooled(step: u32, split: Split, ids: &[u32], values: &[f32]) -> Vec<u8> {
        let (pooled, payload) = tensor(values);
        let message = Pooled {
            step,
            split,
            example_ids: ids.to_vec(),
            pooled,
            gradient_square: None,
        };
        encode_server(1, &ServerMessage::Pooled(message), &payload).unwrap()
    }

    fn gradient(step: u32, values: &[f32]) -> Vec<u8> {
        let (gradient, payload) = tensor(values);
        let message = PooledGradient {
            step,
            gradient,
            gradient_square: None,
        };
        encode_client(1, &ClientMessage::PooledGradient(message), &payload).unwrap()
    }

    fn read(sent: &[Vec<u8>], received: &[Vec<u8>]) -> Result<Transcript, AuditError> {
        transcript(
            sent.iter().map(Vec::as_slice),
            received.iter().map(Vec::as_slice),
        )
    }

    /// Two epochs over examples 4 and 9, one a step; what validates is no evidence.
    #[test]
    fn the_second_gradient_of_an_example_is_that_of_the_second_epoch() {
        let train = Split::Train;
        let received = [
            pooled(1, train, &[9], &[1., 2.]),
            pooled(2, train, &[4], &[3., 4.]),
            pooled(2, Split::Validation, &[5], &[0., 0.]),
            pooled(3, train, &[4], &[5., 6.]),
            pooled(4, train, &[9], &[7., 8.]),
        ];
        let sent = [
            gradient(1, &[0.1, 0.]),
            gradient(2, &[0.2, 0.]),
            gradient(3, &[0.3, 0.]), // the run was stopped before the last answer
        ];
        let found = read(&sent, &received).unwrap();
        let seen = |ids: &[u32], vectors: &[[f32; 2]]| Seen {
            example_ids: ids.to_vec(),
            vectors: vectors.iter().map(|row| row.to_vec()).collect(),
        };
        let first = seen(&[9, 4], &[[0.1, 0.], [0.2, 0.]]);
        assert_eq!(found.gradients, [first, seen(&[4], &[[0.3, 0.]])]);
        assert_eq!(found.outputs[1], seen(&[4, 9], &[[5., 6.], [7., 8.]]));
        assert_eq!(found.pattern, None);
        assert!(read(&sent, &received[1..]).is_err()); // step 1 was shown by no frame
        let wide = [gradient(1, &[0.1, 0., 0., 0.])];
        assert!(read(&wide, &received).is_err()); // two rows for one example
    }

    #[test]
    fn activations_of_a_trained_bottom_are_pooled_and_their_zeros_counted() {
        let (nothing, _) = TensorDescriptor::encode_rows(ActivationDtype::F32, 2, &[]).unwrap();
        let upload = Upload {
            examples: vec![ExampleHeader {
                example_id: 3,
                split: Split::Train,
                label: None,
                seq_length: 2,
            }],
            activations: nothing,
        };
        let (activations, payload) = tensor(&[1., 2., 0., 0.]);
        let answer = BatchActivations {
            step: 1,
            seq_lengths: vec![2],
            activations,
            gradient_square: None,
        };
        let sent = [
            encode_client(1, &ClientMessage::Upload(upload), &[]).unwrap(),
            encode_client(2, &ClientMessage::BatchActivations(answer), &payload).unwrap(),
        ];
        let batch = Batch {
            step: 1,
            split: Split::Train,
            example_ids: vec![3],
        };
        let (cut, cut_payload) =
            CutGradient::write(1, ActivationDtype::F32, 2, &[1., 1., 2., 2.], None).unwrap();
        let received = [
            encode_server(1, &ServerMessage::Batch(batch), &[]).unwrap(),
            encode_server(2, &ServerMessage::CutGradient(cut), &cut_payload).unwrap(),
        ];
        let found = read(&sent, &received).unwrap();
        // Mean row (0.5, 1), first row (1, 2).
        assert_eq!(found.activations[0].vectors, [vec![0.5, 1., 1., 2.]]);
        let pattern = found.pattern.unwrap();
        assert_eq!((pattern.rows, pattern.zero_rows), (4, 1));
        assert!(!pattern.passed);
        assert!(read(&sent, &received[1..]).is_err());
    }
}
