//! Tokens as people read them: markers off, with a note whether a piece goes on with the word before it.
//!
//! For the owner's own screen only. It does not join pieces to sentences: that is a matter of layout.

use std::fmt;

/// A token as people read it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// The token without its markers.
    pub text: String,
    /// Whether it goes on with the word of the piece before it.
    pub continues: bool,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Piece({} bytes, continues: {})",
            self.text.len(),
            self.continues
        )
    }
}

/// How a tokenizer marks the pieces of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PieceStyle {
    /// BERT: a prefix (`##`) means "goes on".
    Continuation(String),
    /// GPT-2 and RoBERTa: every byte has a printable character, a blank is `Ġ`.
    ByteLevel,
    /// SentencePiece: a blank is `▁`.
    Metaspace,
    /// No marker is known.
    Plain,
}

impl PieceStyle {
    /// Reads a token of the vocabulary.
    pub(super) fn piece(&self, token: &str) -> Piece {
        let (text, continues) = match self {
            Self::Continuation(prefix) if prefix.is_empty() => (token.to_owned(), false),
            Self::Continuation(prefix) => match token.strip_prefix(prefix.as_str()) {
                Some(rest) if !rest.is_empty() => (rest.to_owned(), true),
                _ => (token.to_owned(), false),
            },
            Self::ByteLevel => blank_first(&byte_level_text(token)),
            Self::Metaspace => blank_first(&token.replace('▁', " ")),
            Self::Plain => (token.to_owned(), false),
        };
        Piece { text, continues }
    }
}

/// Reads a piece whose leading blank begins a word; a piece of nothing but a blank keeps it.
fn blank_first(text: &str) -> (String, bool) {
    match text.strip_prefix(' ') {
        Some("") => (" ".to_owned(), false),
        Some(rest) => (rest.to_owned(), false),
        None => (text.to_owned(), true),
    }
}

/// Undoes the byte alphabet of GPT-2; part of a character gives U+FFFD, a token outside the alphabet is left alone.
fn byte_level_text(token: &str) -> String {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.map_or_else(
        || token.to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// Returns the byte behind a character of GPT-2's alphabet: printable Latin-1 stands for itself, and the other 68 bytes
/// follow from U+0100 on in rising order. Source: `bytes_to_unicode` of GPT-2's `encoder.py`.
fn byte_of(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(), // 0x00..=0x20
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(), // 0x7f..=0xa0
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(style: &PieceStyle, token: &str) -> (String, bool) {
        let piece = style.piece(token);
        (piece.text, piece.continues)
    }

    #[test]
    fn bert_pieces() {
        let style = PieceStyle::Continuation("##".to_owned());
        assert_eq!(read(&style, "film"), ("film".to_owned(), false));
        assert_eq!(read(&style, "##s"), ("s".to_owned(), true));
        assert_eq!(read(&style, "##"), ("##".to_owned(), false));
    }

    #[test]
    fn byte_level_pieces() {
        let style = PieceStyle::ByteLevel;
        assert_eq!(read(&style, "Ġfilm"), ("film".to_owned(), false));
        assert_eq!(read(&style, "s"), ("s".to_owned(), true));
        assert_eq!(read(&style, "ĠcafÃ©"), ("café".to_owned(), false));
        assert_eq!(read(&style, "Ã"), ("\u{fffd}".to_owned(), true));
        assert_eq!(read(&style, "Ġ"), (" ".to_owned(), false));
    }

    #[test]
    fn metaspace_pieces() {
        assert_eq!(
            read(&PieceStyle::Metaspace, "▁film"),
            ("film".to_owned(), false)
        );
        assert_eq!(read(&PieceStyle::Metaspace, "s"), ("s".to_owned(), true));
    }

    #[test]
    fn the_byte_alphabet_covers_every_byte_once() {
        let bytes: Vec<u8> = (0..0x200)
            .filter_map(char::from_u32)
            .filter_map(byte_of)
            .collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!(bytes.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
    }

    #[test]
    fn debug_shows_no_text() {
        let piece = Piece {
            text: "secret".to_owned(),
            continues: true,
        };
        assert_eq!(format!("{piece:?}"), "Piece(6 bytes, continues: true)");
    }
}
