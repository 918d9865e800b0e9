//! Bytes to characters: UTF-8, UTF-16 with a byte-order mark, else Windows-1252; and what is no text at all.

use std::borrow::Cow;

use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde::{Serialize, Serializer};

use super::TextError;

/// Bytes that are looked at to tell text from other things.
const SNIFF_BYTES: usize = 64 * 1024;

/// Control characters among `CONTROL_SHARE` bytes that still pass for text.
const CONTROL_SHARE: usize = 50;

/// How the characters of a file were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextEncoding {
    /// UTF-8.
    Utf8,
    /// UTF-8 behind a byte-order mark.
    Utf8Bom,
    /// UTF-8 with a few broken bytes, each of which became U+FFFD.
    Utf8Damaged,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// Windows-1252, assumed because the bytes are not UTF-8.
    Windows1252,
}

impl TextEncoding {
    /// Returns the name that people know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf8Bom => "UTF-8 with byte-order mark",
            Self::Utf8Damaged => "UTF-8 with some broken characters",
            Self::Utf16Le => "UTF-16 (little-endian)",
            Self::Utf16Be => "UTF-16 (big-endian)",
            Self::Windows1252 => "Windows-1252 (assumed: the file is not UTF-8)",
        }
    }
}

impl Serialize for TextEncoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Files that are chosen by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryKind {
    /// xlsx, docx, ods or another zipped office file.
    Office,
    /// xls or doc of before 2007.
    OldOffice,
    /// Another zip archive.
    Zip,
    /// gzip, bzip2, xz, zstd or 7z.
    Compressed,
    /// PDF.
    Pdf,
    /// PNG, JPEG, GIF, TIFF or WebP.
    Image,
    /// Parquet or Arrow.
    ColumnFile,
    /// SQLite.
    Database,
    /// HTML.
    WebPage,
    /// RTF.
    RichText,
    /// UTF-16 without a byte-order mark.
    Utf16WithoutMark,
    /// Anything else that is not text.
    Unknown,
}

impl BinaryKind {
    /// Returns what to call it, with its article.
    pub fn name(self) -> &'static str {
        match self {
            Self::Office => "an Excel, Word or other office file",
            Self::OldOffice => "an old Excel or Word file",
            Self::Zip => "a zip archive",
            Self::Compressed => "compressed",
            Self::Pdf => "a PDF",
            Self::Image => "an image",
            Self::ColumnFile => "a Parquet or Arrow file",
            Self::Database => "a database",
            Self::WebPage => "a web page",
            Self::RichText => "a rich-text document",
            Self::Utf16WithoutMark => "UTF-16 without a byte-order mark",
            Self::Unknown => "binary data",
        }
    }

    /// Returns what its owner can do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Office | Self::OldOffice => "save the sheet as CSV and choose that",
            Self::Zip | Self::Compressed => "unpack it and choose the file inside",
            Self::Utf16WithoutMark => "save it as UTF-8 and choose that",
            Self::ColumnFile | Self::Database => "export it as CSV or JSON Lines and choose that",
            _ => "choose a CSV, TSV, JSON Lines or plain text file",
        }
    }
}

/// Returns the characters of a file, without byte-order mark.
///
/// # Errors
/// [`TextError::NotText`] for what is recognised as something else.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, TextEncoding), TextError> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Err(TextError::NotText {
            kind: BinaryKind::Unknown,
        }),
        [0xff, 0xfe, rest @ ..] => Ok((
            UTF_16LE.decode_without_bom_handling(rest).0,
            TextEncoding::Utf16Le,
        )),
        [0xfe, 0xff, rest @ ..] => Ok((
            UTF_16BE.decode_without_bom_handling(rest).0,
            TextEncoding::Utf16Be,
        )),
        [0xef, 0xbb, 0xbf, rest @ ..] => {
            refuse_binary(rest)?;
            let (text, encoding) = decode_bytes(rest);
            let marked = if encoding == TextEncoding::Utf8 {
                TextEncoding::Utf8Bom
            } else {
                encoding
            };
            Ok((text, marked))
        }
        _ => {
            refuse_binary(bytes)?;
            Ok(decode_bytes(bytes))
        }
    }
}

/// Decodes bytes without a mark.
fn decode_bytes(bytes: &[u8]) -> (Cow<'_, str>, TextEncoding) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (Cow::Borrowed(text), TextEncoding::Utf8);
    }
    let (mut broken, mut sound) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        broken += usize::from(!chunk.invalid().is_empty());
        sound += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
    }
    // Windows-1252 text is hardly ever valid UTF-8 beyond ASCII: many sound characters prove UTF-8.
    if sound >= 10 * broken {
        (String::from_utf8_lossy(bytes), TextEncoding::Utf8Damaged)
    } else {
        (
            WINDOWS_1252.decode_without_bom_handling(bytes).0,
            TextEncoding::Windows1252,
        )
    }
}

/// Recognises what is not text by its first bytes, else by control characters.
fn refuse_binary(bytes: &[u8]) -> Result<(), TextError> {
    let kind = signature(bytes).or_else(|| {
        let head = &bytes[..bytes.len().min(SNIFF_BYTES)];
        let nuls_at = |parity| {
            head.iter()
                .skip(parity)
                .step_by(2)
                .filter(|&&b| b == 0)
                .count()
        };
        let (even, odd) = (nuls_at(0), nuls_at(1));
        let control = |b: &&u8| matches!(b, 0..=8 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
        let controls = head.iter().filter(control).count();
        if even.max(odd) > head.len() / 5 && even.min(odd) == 0 {
            Some(BinaryKind::Utf16WithoutMark)
        } else if even + odd > 0 || controls * CONTROL_SHARE > head.len() {
            Some(BinaryKind::Unknown)
        } else {
            None
        }
    });
    kind.map_or(Ok(()), |kind| Err(TextError::NotText { kind }))
}

/// Looks the first bytes up among well-known ones.
fn signature(bytes: &[u8]) -> Option<BinaryKind> {
    const SIGNATURES: [(&[u8], BinaryKind); 21] = [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", BinaryKind::OldOffice),
        (b"\x1f\x8b", BinaryKind::Compressed),
        (b"BZh", BinaryKind::Compressed),
        (b"\xfd7zXZ\0", BinaryKind::Compressed),
        (b"\x28\xb5\x2f\xfd", BinaryKind::Compressed),
        (b"7z\xbc\xaf\x27\x1c", BinaryKind::Compressed),
        (b"%PDF-", BinaryKind::Pdf),
        (b"\x89PNG", BinaryKind::Image),
        (b"\xff\xd8\xff", BinaryKind::Image),
        (b"GIF87a", BinaryKind::Image),
        (b"GIF89a", BinaryKind::Image),
        (b"II*\0", BinaryKind::Image),
        (b"MM\0*", BinaryKind::Image),
        (b"PAR1", BinaryKind::ColumnFile),
        (b"ARROW1", BinaryKind::ColumnFile),
        (b"SQLite format 3\0", BinaryKind::Database),
        (b"{\\rtf", BinaryKind::RichText),
        (b"<!DOCTYPE html", BinaryKind::WebPage),
        (b"<!doctype html", BinaryKind::WebPage),
        (b"<html", BinaryKind::WebPage),
        (b"\x7fELF", BinaryKind::Unknown),
    ];
    if bytes.starts_with(b"PK\x03\x04") {
        // Office files name their content types, and OpenDocument its media type, in the first entry.
        let head = &bytes[..bytes.len().min(256)];
        let names = |needle: &[u8]| head.windows(needle.len()).any(|window| window == needle);
        let office = names(b"[Content_Types].xml") || names(b"opendocument") || names(b"_rels/");
        return Some(if office {
            BinaryKind::Office
        } else {
            BinaryKind::Zip
        });
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some(BinaryKind::Image);
    }
    SIGNATURES
        .iter()
        .find(|(start, _)| bytes.starts_with(start))
        .map(|&(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decoded(bytes: &[u8]) -> (String, TextEncoding) {
        let (text, encoding) = decode(bytes).unwrap();
        (text.into_owned(), encoding)
    }

    fn kind(bytes: &[u8]) -> BinaryKind {
        match decode(bytes).unwrap_err() {
            TextError::NotText { kind } => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn utf8_with_and_without_mark() {
        assert_eq!(
            decoded("é".as_bytes()),
            ("é".to_owned(), TextEncoding::Utf8)
        );
        assert_eq!(
            decoded(b"\xef\xbb\xbfab"),
            ("ab".to_owned(), TextEncoding::Utf8Bom)
        );
    }

    #[test]
    fn utf16_with_mark() {
        assert_eq!(
            decoded(b"\xff\xfea\0\xe9\0"),
            ("aé".to_owned(), TextEncoding::Utf16Le)
        );
        assert_eq!(
            decoded(b"\xfe\xff\0a\0\xe9"),
            ("aé".to_owned(), TextEncoding::Utf16Be)
        );
    }

    #[test]
    fn windows_1252_is_the_fallback() {
        // 0x80 is the euro sign and 0xe4 is a-umlaut.
        assert_eq!(
            decoded(b"\x80 5 \xe4"),
            ("€ 5 ä".to_owned(), TextEncoding::Windows1252)
        );
    }

    #[test]
    fn one_broken_byte_among_many_sound_characters_is_still_utf8() {
        let mut bytes = "é".repeat(10).into_bytes();
        bytes.push(0xff);
        let (text, encoding) = decoded(&bytes);
        assert_eq!(encoding, TextEncoding::Utf8Damaged);
        assert_eq!(text, format!("{}\u{fffd}", "é".repeat(10)));
    }

    #[test]
    fn things_chosen_by_mistake_are_recognised() {
        assert_eq!(
            kind(b"PK\x03\x04\x14\0[Content_Types].xml"),
            BinaryKind::Office
        );
        assert_eq!(kind(b"PK\x03\x04\x14\0data.csv"), BinaryKind::Zip);
        assert_eq!(kind(b"%PDF-1.7\n"), BinaryKind::Pdf);
        assert_eq!(kind(b"\x89PNG\r\n\x1a\n"), BinaryKind::Image);
        assert_eq!(kind(b"RIFF\x10\0\0\0WEBPVP8 "), BinaryKind::Image);
        assert_eq!(kind(b"a\0b\0c\0d\0"), BinaryKind::Utf16WithoutMark);
        assert_eq!(kind(b"text, text, text, \0 text"), BinaryKind::Unknown);
        assert_eq!(kind(b"\x01\x02\x03\x04\x05\xfa"), BinaryKind::Unknown);
        assert_eq!(kind(b"\xff\xfe\0\0a\0\0\0"), BinaryKind::Unknown);
    }

    #[test]
    fn the_sentence_says_what_to_do() {
        let sentence = decode(b"PK\x03\x04[Content_Types].xml")
            .unwrap_err()
            .to_string();
        assert_eq!(
            sentence,
            "the file is an Excel, Word or other office file and cannot be read as rows of text: \
             save the sheet as CSV and choose that"
        );
    }
}
