//! The search finds what is planted, in each encoding: without this, finding nothing means nothing.

use tests::browser::Secrets;

const SENTENCE: &str = "The heron waited quietly by the river";
const IDS: [u32; 8] = [1996, 23352, 4741, 5168, 2011, 1996, 2314, 102];

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add_sentence("row", SENTENCE);
    secrets.add_text("word", "heron");
    secrets.add_ids("row", &IDS);
    secrets.add_ids("small", &[7, 8, 9, 10]);
    secrets
}

/// Whether bytes are found between others, at an odd place.
fn finds(planted: &[u8]) -> bool {
    let bytes = [b"\x01\x02GET /", planted, b" HTTP/1.1\r\n\xff"].concat();
    !secrets().found_in(&bytes).is_empty()
}

fn utf16(text: &str, encode: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(encode).collect()
}

#[test]
fn sentences_and_words_are_found_in_any_case_and_encoding() {
    for text in [
        SENTENCE,
        "HERON",
        "xHeRonx",
        "quietly by THE river",
        "the%20heron%20waited%20quietly",
        "waited+quietly+by+the",
    ] {
        assert!(finds(text.as_bytes()), "{text}");
    }
    for text in [SENTENCE, "HERON", "quietly by THE river"] {
        assert!(finds(&utf16(text, u16::to_le_bytes)), "{text} in UTF-16LE");
        assert!(finds(&utf16(text, u16::to_be_bytes)), "{text} in UTF-16BE");
    }
    for text in ["her on", "waited quietly by a", "hero n"] {
        assert!(!finds(text.as_bytes()), "{text}");
    }
}

type Encode = fn(u32) -> Vec<u8>;

const WIDTHS: [(&str, Encode); 8] = [
    ("u16 LE", |id| (id as u16).to_le_bytes().to_vec()),
    ("u16 BE", |id| (id as u16).to_be_bytes().to_vec()),
    ("u32 LE", |id| id.to_le_bytes().to_vec()),
    ("u32 BE", |id| id.to_be_bytes().to_vec()),
    ("u64 LE", |id| u64::from(id).to_le_bytes().to_vec()),
    ("u64 BE", |id| u64::from(id).to_be_bytes().to_vec()),
    ("f32 LE", |id| (id as f32).to_le_bytes().to_vec()),
    ("f32 BE", |id| (id as f32).to_be_bytes().to_vec()),
];

#[test]
fn four_ids_in_a_row_are_found_as_numbers_of_any_width() {
    for (width, encode) in WIDTHS {
        for run in IDS.windows(4) {
            let bytes: Vec<u8> = run.iter().flat_map(|id| encode(*id)).collect();
            assert!(finds(&bytes), "{width}");
        }
        let three: Vec<u8> = IDS[..3].iter().flat_map(|id| encode(*id)).collect();
        assert!(!finds(&three), "{width}: three ids are no sequence");
    }
    let low: Vec<u8> = IDS.iter().map(|id| *id as u8).collect();
    assert!(finds(&low), "low bytes");
    assert!(finds(&[7, 8, 9, 10]), "u8");
}

/// The vectors are written out: 1996 = 0xcc 0x0f in LEB128, 251 0xcc 0x07 in bincode's varint.
#[test]
fn ids_are_found_in_variable_lengths() {
    let mut secrets = Secrets::default();
    secrets.add_ids("row", &[1996, 1996, 5, 1996]);
    let leb128 = [0xcc, 0x0f, 0xcc, 0x0f, 5, 0xcc, 0x0f];
    assert_eq!(secrets.found_in(&leb128), ["ids of row as LEB128"]);
    let varint = [251, 0xcc, 7, 251, 0xcc, 7, 5, 251, 0xcc, 7];
    assert_eq!(secrets.found_in(&varint), ["ids of row as bincode varint"]);
}

#[test]
fn ids_are_found_as_text() {
    for text in [
        "[1996,23352,4741,5168]",
        "[4741, 5168, 2011, 1996]",
        "2011 1996 2314 102",
        "5168\n2011\n1996\n2314\n",
    ] {
        assert!(finds(text.as_bytes()), "{text}");
    }
    assert!(!finds(b"[1996,23352,4741,516]"));
}

#[test]
fn what_is_found_is_named_without_its_content() {
    let found = secrets().found_in(SENTENCE.as_bytes());
    assert!(found.contains(&"row, whole as UTF-8".to_owned()));
    let shown = format!("{found:?} {:?}", secrets()).to_lowercase();
    assert!(!shown.contains("heron") && !shown.contains("1996"));
}
