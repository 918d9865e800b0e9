//! What must not leave the browser, in every encoding in which it could, and the search for it.
//!
//! It does not find what is compressed or encrypted: that no frame is, is for the caller to show.

use std::collections::HashMap;
use std::fmt;

/// Fewest token ids in a row that count as a sequence.
pub const IDS_MIN: usize = 4;

/// Low bytes of ids in a row that count as a sequence; four bytes of anything occur by chance.
const LOW_BYTES_MIN: usize = 2 * IDS_MIN;

/// Words in a row that count as a part of a sentence.
const WORDS_MIN: usize = 4;

/// Bytes by which patterns are looked up; no pattern is shorter.
const KEY_BYTES: usize = 4;

/// Patterns to look for. Says of what it finds which one it was, never the content.
#[derive(Default)]
pub struct Secrets {
    exact: Index,
    /// Looked for in lower case.
    caseless: Index,
}

type Index = HashMap<[u8; KEY_BYTES], Vec<Pattern>>;

struct Pattern {
    bytes: Vec<u8>,
    name: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: usize = self
            .exact
            .values()
            .chain(self.caseless.values())
            .map(Vec::len)
            .sum();
        write!(f, "Secrets({patterns} patterns)")
    }
}

impl Secrets {
    /// Adds a sentence, and each part of it of some words.
    pub fn add_sentence(&mut self, name: &str, sentence: &str) {
        self.add_text(&format!("{name}, whole"), sentence);
        let words: Vec<_> = sentence.split_whitespace().collect();
        for part in words.windows(WORDS_MIN) {
            self.add_text(&format!("{name}, {WORDS_MIN} words"), &part.join(" "));
        }
    }

    /// Adds a text as it is: in UTF-8, UTF-16 and as a part of an address, in any case.
    ///
    /// # Panics
    ///
    /// When it is shorter than `KEY_BYTES`.
    pub fn add_text(&mut self, name: &str, text: &str) {
        let text = text.to_ascii_lowercase();
        let utf16 = || text.encode_utf16();
        let encoded = percent_encoded(&text).to_ascii_lowercase();
        let patterns = [
            ("UTF-8", text.clone().into_bytes()),
            ("UTF-16LE", utf16().flat_map(u16::to_le_bytes).collect()),
            ("UTF-16BE", utf16().flat_map(u16::to_be_bytes).collect()),
            ("in an address", encoded.clone().into_bytes()),
            ("in a form", encoded.replace("%20", "+").into_bytes()),
        ];
        for (encoding, bytes) in patterns {
            insert(&mut self.caseless, format!("{name} as {encoding}"), bytes);
        }
    }

    /// Adds every run of [`IDS_MIN`] of these ids: as numbers of every width and order, as text.
    pub fn add_ids(&mut self, name: &str, ids: &[u32]) {
        for run in ids.windows(IDS_MIN) {
            for (encoding, encode) in NUMBERS {
                let bytes: Vec<u8> = run.iter().flat_map(|id| encode(*id)).collect();
                insert(
                    &mut self.exact,
                    format!("ids of {name} as {encoding}"),
                    bytes,
                );
            }
            for separator in [",", ", ", " ", "\n"] {
                let decimals: Vec<_> = run.iter().map(u32::to_string).collect();
                let text = decimals.join(separator).into_bytes();
                insert(&mut self.exact, format!("ids of {name} as text"), text);
            }
            if run.iter().all(|id| *id < 256) {
                insert(
                    &mut self.exact,
                    format!("ids of {name} as u8"),
                    low_bytes(run),
                );
            }
        }
        for run in ids.windows(LOW_BYTES_MIN) {
            insert(
                &mut self.exact,
                format!("low bytes of ids of {name}"),
                low_bytes(run),
            );
        }
    }

    /// Names all patterns that occur in some bytes, each once.
    pub fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = search(&self.exact, bytes);
        found.extend(search(&self.caseless, &bytes.to_ascii_lowercase()));
        found.sort_unstable();
        found.dedup();
        found
    }
}

type Encode = fn(u32) -> Vec<u8>;

/// How a program could write an id. The last ones are those of tensors of floats and of bincode.
const NUMBERS: [(&str, Encode); 10] = [
    ("u16 LE", |id| (id as u16).to_le_bytes().to_vec()),
    ("u16 BE", |id| (id as u16).to_be_bytes().to_vec()),
    ("u32 LE", |id| id.to_le_bytes().to_vec()),
    ("u32 BE", |id| id.to_be_bytes().to_vec()),
    ("u64 LE", |id| u64::from(id).to_le_bytes().to_vec()),
    ("u64 BE", |id| u64::from(id).to_be_bytes().to_vec()),
    ("f32 LE", |id| (id as f32).to_le_bytes().to_vec()),
    ("f32 BE", |id| (id as f32).to_be_bytes().to_vec()),
    ("LEB128", leb128),
    ("bincode varint", bincode_varint),
];

fn low_bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().map(|id| *id as u8).collect()
}

fn leb128(mut id: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while id >= 0x80 {
        bytes.push(id as u8 | 0x80);
        id >>= 7;
    }
    bytes.push(id as u8);
    bytes
}

fn bincode_varint(id: u32) -> Vec<u8> {
    match (u8::try_from(id), u16::try_from(id)) {
        (Ok(byte), _) if byte < 251 => vec![byte],
        (_, Ok(short)) => [&[251][..], &short.to_le_bytes()].concat(),
        _ => [&[252][..], &id.to_le_bytes()].concat(),
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn insert(index: &mut Index, name: String, bytes: Vec<u8>) {
    let key = bytes
        .first_chunk()
        .expect("a shorter secret would be found anywhere");
    index.entry(*key).or_default().push(Pattern { bytes, name });
}

fn search(index: &Index, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for (start, key) in bytes.windows(KEY_BYTES).enumerate() {
        let candidates = index.get(key).into_iter().flatten();
        let here = candidates.filter(|pattern| bytes[start..].starts_with(&pattern.bytes));
        found.extend(here.map(|pattern| pattern.name.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_lengths_are_those_of_their_specifications() {
        assert_eq!(leb128(624_485), [0xe5, 0x8e, 0x26]);
        assert_eq!(bincode_varint(250), [250]);
        assert_eq!(bincode_varint(251), [251, 251, 0]);
        assert_eq!(bincode_varint(65_536), [252, 0, 0, 1, 0]);
    }

    #[test]
    fn an_address_holds_no_blanks() {
        assert_eq!(percent_encoded("a é-1"), "a%20%C3%A9-1");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let mut secrets = Secrets::default();
        secrets.add_sentence("row", "one two three four five");
        secrets.add_ids("row", &[1000, 2000, 3000, 4000]);
        let other = b"one two three fiver; 1000, 2000, 3000; one%20two";
        assert_eq!(secrets.found_in(other), Vec::<String>::new());
    }
}
