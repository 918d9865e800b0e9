//! What crosses the wire: frames, the messages in them, the tensors behind them.

use shared::protocol::codec::{decode_client, decode_server, encode_client, encode_server};
use shared::protocol::examples::ExampleForm;
use shared::protocol::exchange::{Square, check_tensor};
use shared::protocol::limits::Limits;
use shared::protocol::message::{
    BottomTraining, ClientMessage, LabelPlace, RefusalCode, ServerMessage,
};
use shared::protocol::tensor::{ActivationDtype, TensorDescriptor};

const FORM: ExampleForm = ExampleForm {
    n_classes: 2,
    labels: LabelPlace::Server,
    bottom: BottomTraining::Frozen,
};

/// Reads a frame as the server does, payload included, and holds what was understood against the
/// bytes: no two frames mean the same. Activations have two columns.
///
/// # Errors
///
/// What the client would be told.
///
/// # Panics
///
/// When the message does not encode to the bytes that it was read from.
pub fn read_client(frame: &[u8]) -> Result<(), RefusalCode> {
    let limits = Limits::default();
    let read = decode_client(frame, &limits).map_err(|error| error.refusal_code())?;
    let written = encode_client(read.sequence, &read.message, read.payload);
    assert_eq!(written.as_deref(), Ok(frame));
    let square = |told: Option<f32>| Square::of(told.is_some(), true);
    match &read.message {
        // The sample has a label and an example without: each is right somewhere.
        ClientMessage::Upload(upload) => {
            let mut labelled = upload.clone();
            for example in &mut labelled.examples {
                example.label = Some(example.label.unwrap_or(1));
            }
            labelled
                .check(read.payload, 2, &FORM, &limits)
                .map_err(|error| error.refusal_code())
        }
        ClientMessage::Predict(predict) => predict
            .check(read.payload, 2, &limits)
            .map_err(|error| error.refusal_code()),
        ClientMessage::BatchActivations(answer) => answer
            .check(read.payload, 1, &[1, 2], square(answer.gradient_square), 2)
            .map_err(|error| error.refusal_code()),
        ClientMessage::PooledGradient(answer) => answer
            .check(read.payload, 1, 2, square(answer.gradient_square), 2)
            .map_err(|error| error.refusal_code()),
        _ => Ok(()),
    }
}

/// As [`read_client`], for the client.
///
/// # Errors
///
/// What the client makes of it.
///
/// # Panics
///
/// As of [`read_client`].
pub fn read_server(frame: &[u8]) -> Result<(), RefusalCode> {
    let read = decode_server(frame, &Limits::default()).map_err(|error| error.refusal_code())?;
    let written = encode_server(read.sequence, &read.message, read.payload);
    assert_eq!(written.as_deref(), Ok(frame));
    match &read.message {
        ServerMessage::Pooled(pooled) => check_tensor(&pooled.pooled, read.payload, 2, 2),
        ServerMessage::CutGradient(gradient) => {
            let square = Square::of(gradient.gradient_square.is_some(), true);
            gradient.read(read.payload, 1, 3, square, 2).map(drop)
        }
        ServerMessage::PooledPrediction(shown) => check_tensor(&shown.pooled, read.payload, 1, 2),
        _ => Ok(()),
    }
    .map_err(|error| error.refusal_code())
}

/// A frame from a client, all of it.
///
/// # Panics
///
/// As of [`read_client`].
pub fn client_frame(bytes: &[u8]) -> bool {
    read_client(bytes).is_ok()
}

/// A frame from a server, all of it.
///
/// # Panics
///
/// As of [`read_client`].
pub fn server_frame(bytes: &[u8]) -> bool {
    read_server(bytes).is_ok()
}

/// A descriptor and its payload: dtype 1 byte, rows 4, columns 4, payload.
///
/// Rows of 0 mean as many as the payload fills, so that numbers are met in every other input.
///
/// # Panics
///
/// When `check` and `decode` do not agree, or what is decoded is not what the descriptor says.
pub fn tensor(bytes: &[u8]) -> bool {
    let Some((head, payload)) = bytes.split_first_chunk::<9>() else {
        return false;
    };
    let [dtype, r0, r1, r2, r3, c0, c1, c2, c3] = *head;
    let dtype = match dtype % 3 {
        0 => ActivationDtype::F32,
        1 => ActivationDtype::F16,
        _ => ActivationDtype::Int8,
    };
    let stated = TensorDescriptor {
        dtype,
        rows: u32::from_le_bytes([r0, r1, r2, r3]),
        columns: u32::from_le_bytes([c0, c1, c2, c3]),
    };
    if stated.rows != 0 {
        return is_consistent(stated, payload);
    }
    let columns = stated.columns % 64 + 1;
    let one = TensorDescriptor {
        dtype,
        rows: 1,
        columns,
    };
    let row_bytes = one.payload_bytes().expect("64 numbers can be counted");
    let rows = payload.len() / row_bytes;
    let fitted = TensorDescriptor {
        rows: u32::try_from(rows).expect("an input has fewer bytes than a u32 counts"),
        ..one
    };
    is_consistent(fitted, &payload[..rows * row_bytes])
}

fn is_consistent(tensor: TensorDescriptor, payload: &[u8]) -> bool {
    let decoded = tensor.decode(payload);
    assert_eq!(tensor.check(payload).err(), decoded.as_ref().err().copied());
    let Ok(numbers) = decoded else {
        return false;
    };
    let (rows, columns) = (tensor.rows as usize, tensor.columns as usize);
    assert_eq!(numbers.len(), rows * columns);
    assert!(numbers.iter().all(|number| number.is_finite()));
    // Row by row it is the same as at once.
    for row in 0..tensor.rows.min(8) {
        let lies = tensor.row_bytes(row..row + 1).expect("the row is there");
        let alone = tensor.decode_rows(1, &payload[lies.scales], &payload[lies.values]);
        let at = row as usize * columns;
        assert_eq!(alone.as_deref(), Ok(&numbers[at..at + columns]));
    }
    true
}
