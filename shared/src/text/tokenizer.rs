//! `RawText -> TokenIds`, with the `tokenizer.json` that lies beside a model.
//!
//! It pads nothing (padding belongs to a batch, not to a text) and knows nothing of privacy.

use std::fmt;

use tokenizers::{
    EncodeInput, ModelWrapper, PostProcessor, TruncationDirection, TruncationParams,
    TruncationStrategy,
};

use super::{
    TextError,
    pieces::{Piece, PieceStyle},
    token_ids::{RawText, TokenIds},
};

/// Characters of raw text per position of the longest sequence: four to five is usual, so this cuts nothing that could
/// have been kept, and bounds the work on a text of any size.
const CHARS_PER_POSITION: usize = 20;

/// Characters on top of that, so that short sequences keep whole sentences too; the cut is moved back to a blank within
/// this distance, so that no word is halved.
const CUT_MARGIN_CHARS: usize = 256;

/// Turns texts into the tokens that the model was trained on.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    seq_length_max: usize,
    style: PieceStyle,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; its own padding and truncation are replaced by none and by `seq_length_max`.
    ///
    /// A text that spells a special token (`[MASK]`) is text like any other and is cut into ordinary tokens, so that
    /// nothing of the owner's can pass for a token that is not privatized. Hugging Face's default differs here.
    ///
    /// # Errors
    /// [`TextError::TokenizerFile`] for bytes that are no tokenizer, [`TextError::SequenceTooShort`] when
    /// `seq_length_max` has no room for the special tokens of a pair and one token of each text.
    pub fn from_json(bytes: &[u8], seq_length_max: usize) -> Result<Self, TextError> {
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|_| TextError::TokenizerFile)?;
        let added = inner
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(true));
        let needed = added + 2;
        if seq_length_max < needed {
            return Err(TextError::SequenceTooShort {
                needed,
                seq_length_max,
            });
        }
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        inner
            .with_truncation(Some(TruncationParams {
                direction: TruncationDirection::Right,
                max_length: seq_length_max,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
            }))
            .map_err(|_| TextError::TokenizerFile)?;
        let style = piece_style(&inner);
        Ok(Self {
            inner,
            seq_length_max,
            style,
        })
    }

    /// Returns the tokens of a text or of a pair, special tokens included, at most `seq_length_max` of them.
    ///
    /// # Errors
    /// [`TextError::Tokenize`] when the tokenizer refuses the text, for one because it has no token for unknown words.
    pub fn encode(&self, text: &RawText, pair: Option<&RawText>) -> Result<TokenIds, TextError> {
        let (text, text_cut) = self.bounded(text.expose());
        let (input, pair_cut) = match pair {
            None => (EncodeInput::from(text), false),
            Some(pair) => {
                let (pair, cut) = self.bounded(pair.expose());
                (EncodeInput::from((text, pair)), cut)
            }
        };
        let encoding = self
            .inner
            .encode_fast(input, true)
            .map_err(|_| TextError::Tokenize)?;
        let type_ids = encoding
            .get_type_ids()
            .iter()
            .map(|&id| u8::from(id != 0))
            .collect();
        let special = encoding
            .get_special_tokens_mask()
            .iter()
            .map(|&mark| mark != 0)
            .collect();
        let truncated = text_cut || pair_cut || !encoding.get_overflowing().is_empty();
        let ids = TokenIds::new(encoding.get_ids().to_vec(), type_ids, special)?;
        Ok(ids.with_truncated(truncated))
    }

    /// Returns the number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Returns the most positions that [`encode`](Self::encode) gives.
    pub fn seq_length_max(&self) -> usize {
        self.seq_length_max
    }

    /// Returns the ids of the tokens that are marked special (`[CLS]`, `[UNK]`, `<mask>`), in rising order.
    pub fn special_ids(&self) -> Vec<u32> {
        let added = self.inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special);
        let mut ids: Vec<u32> = special.map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns a token as the vocabulary spells it, markers included.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Returns a token as people read it: without markers, with a note whether it goes on with the word before it.
    pub fn piece(&self, id: u32) -> Option<Piece> {
        self.token_text(id).map(|token| self.style.piece(&token))
    }

    /// Returns the readable pieces of all positions; the first of a text never goes on with a word.
    ///
    /// An id outside the vocabulary gives an empty piece, so that positions and pieces always correspond.
    pub fn pieces(&self, tokens: &TokenIds) -> Vec<Piece> {
        let mut text_begins = true;
        let positions = tokens.ids().iter().zip(tokens.special());
        positions
            .map(|(&id, &special)| {
                let mut piece = self.piece(id).unwrap_or_default();
                piece.continues &= !special && !text_begins;
                text_begins = special;
                piece
            })
            .collect()
    }

    /// Returns the part of a text that can fill the sequence, and whether something was cut off.
    fn bounded<'t>(&self, text: &'t str) -> (&'t str, bool) {
        let chars_max = self
            .seq_length_max
            .saturating_mul(CHARS_PER_POSITION)
            .saturating_add(CUT_MARGIN_CHARS);
        let Some((end, _)) = text.char_indices().nth(chars_max) else {
            return (text, false);
        };
        let head = &text[..end];
        let recent = head.char_indices().rev().take(CUT_MARGIN_CHARS);
        let blank = recent.into_iter().find(|(_, c)| c.is_whitespace());
        (blank.map_or(head, |(at, _)| &head[..at]), true)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("seq_length_max", &self.seq_length_max)
            .finish_non_exhaustive()
    }
}

/// Finds out how a tokenizer marks the pieces of a word.
fn piece_style(inner: &tokenizers::Tokenizer) -> PieceStyle {
    if let ModelWrapper::WordPiece(model) = inner.get_model() {
        return PieceStyle::Continuation(model.continuing_subword_prefix.clone());
    }
    let vocab = inner.get_vocab(false);
    let beginning_with = |marker| {
        vocab
            .keys()
            .filter(|token| token.starts_with(marker))
            .count()
    };
    let (byte_level, metaspace) = (beginning_with('Ġ'), beginning_with('▁'));
    match byte_level.max(metaspace) {
        0 => PieceStyle::Plain,
        most if most == byte_level => PieceStyle::ByteLevel,
        _ => PieceStyle::Metaspace,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{Duration, Instant};

    use super::*;

    /// Ten words, BERT's markers; the file asks for padding and truncation, which must both be ignored.
    const WORD_PIECE: &str = r###"{
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "OnlyFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 2, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true}
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "film": 5,
                "##s": 6, "a": 7, "[": 8, "]": 9, "sep": 10}}
    }"###;

    fn tokenizer(seq_length_max: usize) -> Tokenizer {
        Tokenizer::from_json(WORD_PIECE.as_bytes(), seq_length_max).unwrap()
    }

    fn text(text: &str) -> RawText {
        RawText::new(text.to_owned())
    }

    #[test]
    fn single_text_has_special_tokens_and_no_padding() {
        let ids = tokenizer(16).encode(&text("Good films"), None).unwrap();
        assert_eq!(ids.ids(), [2, 4, 5, 6, 3]);
        assert_eq!(ids.special(), [true, false, false, false, true]);
        assert_eq!(ids.type_ids(), [0; 5]);
        assert!(!ids.truncated());
    }

    #[test]
    fn pair_has_type_ids_and_loses_its_longer_side_first() {
        let ids = tokenizer(7)
            .encode(&text("good good good good good"), Some(&text("a")))
            .unwrap();
        assert_eq!(ids.ids(), [2, 4, 4, 4, 3, 7, 3]);
        assert_eq!(ids.type_ids(), [0, 0, 0, 0, 0, 1, 1]);
        assert!(ids.truncated());
    }

    #[test]
    fn a_text_that_spells_a_special_token_stays_text() {
        let ids = tokenizer(16).encode(&text("[SEP]"), None).unwrap();
        assert_eq!(ids.ids(), [2, 8, 10, 9, 3]);
        assert_eq!(ids.special(), [true, false, false, false, true]);
    }

    #[test]
    fn unknown_words_are_text_not_special_positions() {
        let ids = tokenizer(16).encode(&text("xyzzy"), None).unwrap();
        assert_eq!(ids.ids(), [2, 1, 3]);
        assert_eq!(ids.special(), [true, false, true]);
    }

    #[test]
    fn vocabulary_and_special_ids() {
        let tokenizer = tokenizer(16);
        assert_eq!(tokenizer.vocab_size(), 11);
        assert_eq!(tokenizer.special_ids(), [0, 1, 2, 3]);
        assert_eq!(tokenizer.token_text(6).unwrap(), "##s");
        assert_eq!(tokenizer.token_text(11), None);
        assert_eq!(
            tokenizer.piece(6).unwrap(),
            Piece {
                text: "s".into(),
                continues: true
            }
        );
    }

    #[test]
    fn pieces_begin_a_word_after_a_special_position() {
        let tokenizer = tokenizer(16);
        let tokens = tokenizer.encode(&text("films"), None).unwrap();
        let swapped = tokens.with_ids(vec![2, 6, 6, 99]).unwrap();
        let pieces = tokenizer.pieces(&swapped);
        let read: Vec<_> = pieces
            .iter()
            .map(|p| (p.text.as_str(), p.continues))
            .collect();
        assert_eq!(
            read,
            [("[CLS]", false), ("s", false), ("s", true), ("", false)]
        );
    }

    #[test]
    fn a_very_long_text_is_cut_before_it_costs_anything() {
        let tokenizer = tokenizer(512);
        let long = text(&"good film ".repeat(1_000_000));
        let begun = Instant::now();
        let ids = tokenizer.encode(&long, Some(&long)).unwrap();
        assert_eq!(ids.len(), 512);
        assert!(ids.truncated());
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "ten million characters were tokenized"
        );
    }

    #[test]
    fn the_cut_moves_back_to_a_blank_and_respects_characters() {
        let tokenizer = tokenizer(5); // 5 * 20 + 256 = 356 characters
        let (head, cut) = tokenizer.bounded("é").to_owned();
        assert_eq!((head, cut), ("é", false));
        let exact = "é".repeat(356);
        assert_eq!(tokenizer.bounded(&exact), (exact.as_str(), false));
        let over = "é".repeat(357);
        assert_eq!(tokenizer.bounded(&over), (exact.as_str(), true));
        let words = format!("{} {}", "é".repeat(300), "ü".repeat(300));
        assert_eq!(tokenizer.bounded(&words), ("é".repeat(300).as_str(), true));
    }

    #[test]
    fn wrong_files_and_lengths_are_refused() {
        for bytes in [&b""[..], b"{}", b"\xff\xfe", b"{\"model\": 3}"] {
            assert_eq!(
                Tokenizer::from_json(bytes, 16).unwrap_err(),
                TextError::TokenizerFile
            );
        }
        let error = Tokenizer::from_json(WORD_PIECE.as_bytes(), 4).unwrap_err();
        assert_eq!(
            error,
            TextError::SequenceTooShort {
                needed: 5,
                seq_length_max: 4
            }
        );
    }
}
