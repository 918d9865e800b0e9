//! Everything that reads bytes of strangers, one input at a time: what the fuzz targets call, and the
//! test that feeds them the corpus.
//!
//! | decoder | bytes of whom | what must hold |
//! |---|---|---|
//! | `client_frame` | any client | no two frames mean the same; the payload is judged without a panic |
//! | `server_frame` | any server | as `client_frame` |
//! | `tensor` | any client | `check` and `decode` agree; what is decoded is finite and as many |
//! | `dataset` | a file that somebody was given | every row is an example or a bad row with a reason |
//! | `tokenizer` | the server's `tokenizer.json` | no text becomes more tokens than the model has positions |
//! | `model` | `config.json` and `model.safetensors` | a bottom that loads is cut out and loads again |
//! | `peft` | an adapter that somebody was given | what is read is written and read again |
//! | `store_index` | the disk | a store that opens gives what it says, and takes an append |
//! | `checkpoint` | the disk | what is read is written and read again |
//!
//! A decoder panics where one of these is broken, and returns whether the bytes were accepted. Bytes
//! that bear a checksum are read twice: as they are, and with the right checksum in its place, which
//! no fuzzer finds.

mod disk;
mod files;
mod frames;
pub mod seeds;
mod tiny;

pub use disk::{checkpoint, store_index};
pub use files::{dataset, model, peft, tokenizer};
pub use frames::{client_frame, read_client, read_server, server_frame, tensor};

/// Reads one input; whether it was accepted.
pub type Decoder = fn(&[u8]) -> bool;

/// Every decoder by the name of its fuzz target.
pub const DECODERS: [(&str, Decoder); 9] = [
    ("client_frame", client_frame),
    ("server_frame", server_frame),
    ("tensor", tensor),
    ("dataset", dataset),
    ("tokenizer", tokenizer),
    ("model", model),
    ("peft", peft),
    ("store_index", store_index),
    ("checkpoint", checkpoint),
];

/// Two bytes of length, so many bytes, and the rest; all of it is the rest where there is no length.
fn two_parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return (&[], bytes);
    };
    let length = usize::from(u16::from_le_bytes(*length));
    rest.split_at(length.min(rest.len()))
}

/// What [`two_parts`] takes apart.
fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u16::try_from(first.len()).expect("the first part of a seed is short");
    [&length.to_le_bytes(), first, second].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts_come_back_and_a_length_that_lies_is_bounded() {
        assert_eq!(two_parts(&joined(b"ab", b"c")), (&b"ab"[..], &b"c"[..]));
        assert_eq!(two_parts(&[9, 0, 1, 2]), (&[1, 2][..], &[][..]));
        assert_eq!(two_parts(&[7]), (&[][..], &[7][..]));
    }
}
