//! Every message and every tensor survives its own encoding.

use proptest::collection::vec;
use proptest::num::f32::{INFINITE, NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
use proptest::prelude::*;
use proptest::sample::select;
use shared::protocol::codec::{decode_client, decode_server, encode_client, encode_server};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    Acknowledged, AdapterInUse, AdapterSettings, AdapterTarget, Batch, BatchActivations,
    BottomTraining, ClientMessage, CutGradient, DoneReason, ExampleHeader, Hello, Judgement,
    LabelPlace, Pooled, PooledGradient, PooledPrediction, Predict, Prediction, RefusalCode,
    Refused, ServerMessage, Split, StepReport, TrainDone, TrainSettings, Upload, UseAdapter,
    ValidationReport, Verdict, Welcome,
};
use shared::protocol::resume::{Received, Resume};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    }
}

/// Everything that equals itself: on the wire, a number need not be sensible.
fn number() -> impl Strategy<Value = f32> {
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO | INFINITE
}

fn adapter() -> impl Strategy<Value = AdapterSettings> {
    let targets = vec(
        select(vec![
            AdapterTarget::Query,
            AdapterTarget::Key,
            AdapterTarget::Value,
            AdapterTarget::AttentionOutput,
            AdapterTarget::FeedForwardUp,
            AdapterTarget::FeedForwardDown,
        ]),
        0..8,
    );
    (any::<u32>(), number(), number(), targets).prop_map(|(rank, alpha, dropout, targets)| {
        AdapterSettings {
            rank,
            alpha,
            dropout,
            targets,
        }
    })
}

fn hello() -> impl Strategy<Value = ClientMessage> {
    let labels = select(vec![LabelPlace::Server, LabelPlace::Client]);
    let bottom = select(vec![BottomTraining::Frozen, BottomTraining::Lora]);
    let fields = any::<(u16, String, [u8; 32], u32, u32)>();
    (fields, adapter(), labels, bottom).prop_map(|(fields, adapter, labels, bottom)| {
        let (protocol_version, model_id, bottom_sha256, cut, n_classes) = fields;
        let hello = Hello {
            protocol_version,
            model_id,
            bottom_sha256,
            cut,
            n_classes,
            adapter,
            labels,
            bottom,
        };
        ClientMessage::Hello(hello)
    })
}

fn dtype() -> impl Strategy<Value = ActivationDtype> {
    select(vec![
        ActivationDtype::F32,
        ActivationDtype::F16,
        ActivationDtype::Int8,
    ])
}

fn tensor() -> impl Strategy<Value = TensorDescriptor> {
    (dtype(), any::<(u32, u32)>()).prop_map(|(dtype, (rows, columns))| TensorDescriptor {
        dtype,
        rows,
        columns,
    })
}

fn split() -> impl Strategy<Value = Split> {
    select(vec![Split::Train, Split::Validation])
}

fn square() -> impl Strategy<Value = Option<f32>> {
    proptest::option::of(number())
}

fn example() -> impl Strategy<Value = ExampleHeader> {
    (any::<(u32, Option<u32>, u16)>(), split()).prop_map(
        |((example_id, label, seq_length), split)| ExampleHeader {
            example_id,
            split,
            label,
            seq_length,
        },
    )
}

fn train() -> impl Strategy<Value = ClientMessage> {
    let counts = any::<(u32, u32, u32, u32)>();
    let numbers = (number(), number(), number(), number());
    (counts, numbers, vec(number(), 0..9)).prop_map(|(counts, numbers, class_weights)| {
        let (epochs, batch_size, patience, validations_per_epoch) = counts;
        let (learning_rate, warmup_share, weight_decay, gradient_norm_max) = numbers;
        ClientMessage::Train(TrainSettings {
            epochs,
            batch_size,
            learning_rate,
            warmup_share,
            weight_decay,
            gradient_norm_max,
            class_weights,
            patience,
            validations_per_epoch,
        })
    })
}

/// A message and, where there may be one, a payload.
fn client_message() -> impl Strategy<Value = (ClientMessage, Vec<u8>)> {
    let upload = (vec(example(), 0..300), tensor()).prop_map(|(examples, activations)| {
        ClientMessage::Upload(Upload {
            examples,
            activations,
        })
    });
    let predict = (any::<u32>(), vec(any::<u16>(), 0..300), tensor()).prop_map(
        |(request_id, seq_lengths, activations)| {
            ClientMessage::Predict(Predict {
                request_id,
                seq_lengths,
                activations,
            })
        },
    );
    let empty = select(vec![
        ClientMessage::Pause,
        ClientMessage::Continue,
        ClientMessage::Cancel,
        ClientMessage::Goodbye,
    ]);
    let judgement = select(vec![
        Judgement::Unfinished,
        Judgement::Best,
        Judgement::NotBest,
        Judgement::Stop,
    ]);
    let verdict = (any::<u32>(), judgement)
        .prop_map(|(step, judgement)| ClientMessage::Verdict(Verdict { step, judgement }));
    let adapter = any::<Option<[u8; 16]>>()
        .prop_map(|adapter| ClientMessage::UseAdapter(UseAdapter { adapter }));
    let resume = any::<([u8; 16], u64)>().prop_map(|(session_token, received)| {
        ClientMessage::Resume(Resume {
            session_token,
            received,
        })
    });
    let received = received().prop_map(ClientMessage::Received);
    let connection = prop_oneof![resume, received];
    prop_oneof![
        (
            prop_oneof![hello(), train(), empty, verdict, connection, adapter],
            Just(vec![])
        ),
        (
            prop_oneof![upload, predict, answer()],
            vec(any::<u8>(), 0..100)
        ),
    ]
}

fn received() -> impl Strategy<Value = Received> {
    any::<u64>().prop_map(|received| Received { received })
}

/// What answers a run with a tensor.
fn answer() -> impl Strategy<Value = ClientMessage> {
    let lengths = vec(any::<u16>(), 0..300);
    let activations = (any::<u32>(), lengths, tensor(), square()).prop_map(
        |(step, seq_lengths, activations, gradient_square)| {
            ClientMessage::BatchActivations(BatchActivations {
                step,
                seq_lengths,
                activations,
                gradient_square,
            })
        },
    );
    let gradient =
        (any::<u32>(), tensor(), square()).prop_map(|(step, gradient, gradient_square)| {
            ClientMessage::PooledGradient(PooledGradient {
                step,
                gradient,
                gradient_square,
            })
        });
    prop_oneof![activations, gradient]
}

fn limits() -> impl Strategy<Value = Limits> {
    any::<(u32, u32, u16, u32, u64, u16, u32, u32)>().prop_map(|fields| Limits {
        frame_bytes_max: fields.0,
        batch_examples_max: fields.1,
        seq_length_max: fields.2,
        examples_max: fields.3,
        store_bytes_max: fields.4,
        uploads_in_flight_max: fields.5,
        n_classes_max: fields.6,
        steps_max: fields.7,
    })
}

fn welcome() -> impl Strategy<Value = ServerMessage> {
    let fields = any::<(u16, [u8; 16], String, [u8; 32], u32, u32)>();
    let others = any::<(String, bool)>();
    (fields, limits(), others).prop_map(|(fields, limits, (device, trains_dense))| {
        let (protocol_version, session_token, model_id, bottom_sha256, cut, d_model) = fields;
        ServerMessage::Welcome(Welcome {
            protocol_version,
            session_token,
            model_id,
            bottom_sha256,
            cut,
            d_model,
            limits,
            device,
            trains_dense,
        })
    })
}

fn report() -> impl Strategy<Value = ServerMessage> {
    let step = (any::<(u32, u32, u32)>(), square(), number()).prop_map(
        |((step, epoch, step_millis), loss, learning_rate)| {
            ServerMessage::Step(StepReport {
                step,
                epoch,
                loss,
                learning_rate,
                step_millis,
            })
        },
    );
    let numbers = (number(), number(), number());
    let confusion = vec(any::<u32>(), 0..100);
    let validation = (any::<(u32, bool)>(), numbers, confusion).prop_map(
        |((step, best), (loss, accuracy, macro_f1), confusion)| {
            let report = ValidationReport {
                step,
                loss,
                accuracy,
                macro_f1,
                confusion,
                best,
            };
            ServerMessage::Validation(report)
        },
    );
    let reason = select(vec![
        DoneReason::Finished,
        DoneReason::StoppedEarly,
        DoneReason::Cancelled,
    ]);
    let done = (any::<(u32, u32)>(), reason).prop_map(|((steps, best_step), reason)| {
        ServerMessage::TrainDone(TrainDone {
            steps,
            best_step,
            reason,
        })
    });
    prop_oneof![step, validation, done]
}

/// What a run asks of the client, or shows it.
fn asked() -> impl Strategy<Value = ServerMessage> {
    let ids = || vec(any::<u32>(), 0..300);
    let batch = (any::<u32>(), split(), ids()).prop_map(|(step, split, example_ids)| {
        ServerMessage::Batch(Batch {
            step,
            split,
            example_ids,
        })
    });
    prop_oneof![batch, with_tensor()]
}

/// Messages that may have a payload.
fn with_tensor() -> impl Strategy<Value = ServerMessage> {
    let ids = vec(any::<u32>(), 0..300);
    let pooled = (any::<u32>(), split(), ids, tensor(), square()).prop_map(
        |(step, split, example_ids, pooled, gradient_square)| {
            ServerMessage::Pooled(Pooled {
                step,
                split,
                example_ids,
                pooled,
                gradient_square,
            })
        },
    );
    let gradient = (any::<u32>(), tensor(), number(), square()).prop_map(
        |(step, gradient, scale, gradient_square)| {
            ServerMessage::CutGradient(CutGradient {
                step,
                gradient,
                scale,
                gradient_square,
            })
        },
    );
    let prediction = (any::<u32>(), tensor()).prop_map(|(request_id, pooled)| {
        ServerMessage::PooledPrediction(PooledPrediction { request_id, pooled })
    });
    prop_oneof![pooled, gradient, prediction]
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let acknowledged = any::<(u64, u32)>().prop_map(|(sequence, examples_stored)| {
        ServerMessage::Acknowledged(Acknowledged {
            sequence,
            examples_stored,
        })
    });
    let started = any::<u32>().prop_map(|steps_total| ServerMessage::TrainStarted { steps_total });
    let prediction =
        (any::<u32>(), vec(number(), 0..300)).prop_map(|(request_id, probabilities)| {
            ServerMessage::Prediction(Prediction {
                request_id,
                probabilities,
            })
        });
    let refused = (
        any::<(Option<u64>, String, bool)>(),
        select(RefusalCode::ALL.to_vec()),
    )
        .prop_map(|((sequence, sentence, closes), code)| {
            ServerMessage::Refused(Refused {
                sequence,
                code,
                sentence,
                closes,
            })
        });
    let empty = select(vec![ServerMessage::Paused, ServerMessage::Continued]);
    let resumed = received().prop_map(ServerMessage::Resumed);
    let in_use =
        any::<[u8; 16]>().prop_map(|adapter| ServerMessage::AdapterInUse(AdapterInUse { adapter }));
    prop_oneof![
        resumed,
        in_use,
        received().prop_map(ServerMessage::Received),
        welcome(),
        report(),
        acknowledged,
        started,
        prediction,
        refused,
        empty,
        asked(),
    ]
}

#[test]
fn client_messages() {
    proptest!(config(), |(sequence in any::<u64>(), (message, payload) in client_message())| {
        let frame = encode_client(sequence, &message, &payload).unwrap();
        let read = decode_client(&frame, &Limits::default()).unwrap();
        prop_assert_eq!(read.sequence, sequence);
        prop_assert_eq!(read.message, message);
        prop_assert_eq!(read.payload, payload);
    });
}

#[test]
fn server_messages() {
    proptest!(config(), |(sequence in any::<u64>(), message in server_message())| {
        let frame = encode_server(sequence, &message, &[]).unwrap();
        let read = decode_server(&frame, &Limits::default()).unwrap();
        prop_assert_eq!(read.sequence, sequence);
        prop_assert_eq!(read.message, message);
    });
}

#[test]
fn server_messages_with_a_payload() {
    let payload = vec(any::<u8>(), 0..100);
    proptest!(config(), |(message in with_tensor(), payload in payload)| {
        let frame = encode_server(7, &message, &payload).unwrap();
        let read = decode_server(&frame, &Limits::default()).unwrap();
        prop_assert_eq!(read.message, message);
        prop_assert_eq!(read.payload, payload);
    });
}

/// Rows of activations, some tiny, some up to 60,000.
fn rows() -> impl Strategy<Value = (usize, Vec<f32>)> {
    (1_usize..9, 0_usize..9).prop_flat_map(|(columns, rows)| {
        let value = prop_oneof![4 => -10_f32..10.0, 1 => -6e4_f32..6e4, 1 => -1e-6_f32..1e-6];
        (Just(columns), vec(value, rows * columns))
    })
}

/// How far a number may move. binary16 keeps 11 bits, and steps of 2^-24 near zero; int8 moves by at
/// most half a scale, up to the rounding of the scale itself.
fn tolerance(dtype: ActivationDtype, value: f32, row: &[f32]) -> f32 {
    let magnitude_max = row.iter().fold(0_f32, |max, value| max.max(value.abs()));
    match dtype {
        ActivationDtype::F32 => 0.0,
        ActivationDtype::F16 => (value.abs() / 2048.0).max(2_f32.powi(-25)),
        ActivationDtype::Int8 => magnitude_max / 127.0 * 0.501,
    }
}

#[test]
fn tensors() {
    proptest!(config(), |(dtype in dtype(), (columns, values) in rows())| {
        let (tensor, payload) = TensorDescriptor::encode_rows(dtype, columns, &values).unwrap();
        prop_assert_eq!(tensor.payload_bytes(), Some(payload.len()));
        prop_assert!(tensor.check(&payload).is_ok());
        let read = tensor.decode(&payload).unwrap();
        prop_assert_eq!(read.len(), values.len());
        for (at, (value, read)) in values.iter().zip(&read).enumerate() {
            let row = &values[at / columns * columns..][..columns];
            let moved = (value - read).abs();
            prop_assert!(moved <= tolerance(dtype, *value, row), "{dtype:?}: moved by {moved}");
        }
    });
}

#[test]
fn any_rows_of_a_stored_tensor() {
    let case = (dtype(), rows(), 0_u32..9, 0_u32..9);
    proptest!(config(), |((dtype, (columns, values), one, other) in case)| {
        let (tensor, payload) = TensorDescriptor::encode_rows(dtype, columns, &values).unwrap();
        let (start, end) = (one.min(other).min(tensor.rows), one.max(other).min(tensor.rows));
        let pieces = tensor.row_bytes(start..end).unwrap();
        let (scales, numbers) = (&payload[pieces.scales], &payload[pieces.values]);
        let rows = tensor.decode_rows(end - start, scales, numbers).unwrap();
        let whole = tensor.decode(&payload).unwrap();
        prop_assert_eq!(&rows[..], &whole[start as usize * columns..end as usize * columns]);
    });
}
