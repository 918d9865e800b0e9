//! `RawText -> TokenIds`, with the `tokenizer.json` that lies beside a model.
//!
//! It pads nothing (padding belongs to a batch, not to a text) and knows nothing of privacy.

use std::fmt;

use tokenizers::{
    Encoding, ModelWrapper, PostProcessor, TruncationDirection, TruncationParams,
    TruncationStrategy, truncate_encodings,
};

use super::{
    TextError,
    pieces::{Piece, PieceStyle},
    token_ids::{RawText, TokenIds},
    tokenizer_file,
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
        let mut inner = tokenizer_file::read(bytes).ok_or(TextError::TokenizerFile)?;
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
            .with_truncation(None)
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
    /// What does not fit is taken off the end of the longer text, as Hugging Face's `longest_first` does.
    ///
    /// # Errors
    /// [`TextError::Tokenize`] when the tokenizer refuses the text, for one because it has no token for unknown words.
    pub fn encode(&self, text: &RawText, pair: Option<&RawText>) -> Result<TokenIds, TextError> {
        let (text, text_cut) = self.encode_one(text)?;
        let (pair, pair_cut) = match pair {
            None => (None, false),
            Some(pair) => self.encode_one(pair).map(|(pair, cut)| (Some(pair), cut))?,
        };
        let room = self
            .seq_length_max
            .saturating_sub(added_tokens(&self.inner, pair.is_some()));
        let tokens = text.len() + pair.as_ref().map_or(0, Encoding::len);
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: room,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        let encoding = truncate_encodings(text, pair, &truncation)
            .and_then(|(text, pair)| self.inner.post_process(text, pair, true))
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
        let ids = TokenIds::new(encoding.get_ids().to_vec(), type_ids, special)?;
        Ok(ids.with_truncated(text_cut || pair_cut || tokens > room))
    }

    /// Encodes one text without special tokens, and says whether its end was cut off before.
    ///
    /// The library's own truncation is not set: it stops reading at the limit, so that it would not know which text of a
    /// pair is the longer one, nor whether anything was left out.
    fn encode_one(&self, text: &RawText) -> Result<(Encoding, bool), TextError> {
        let (text, cut) = self.bounded(text.expose());
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|_| TextError::Tokenize)?;
        Ok((encoding, cut))
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

    /// Returns the token that stands for a blank (`[MASK]`, `<mask>`), where the model has one.
    pub fn mask_id(&self) -> Option<u32> {
        let spelled = ["[MASK]", "<mask>"];
        spelled
            .iter()
            .find_map(|token| self.inner.token_to_id(token))
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

/// Returns the number of special tokens around a text or a pair.
fn added_tokens(inner: &tokenizers::Tokenizer, is_pair: bool) -> usize {
    inner
        .get_post_processor()
        .map_or(0, |processor| processor.added_tokens(is_pair))
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
    use crate::text::test_tokenizers::{byte_level_tokenizer, tokenizer};

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

    /// The library's own truncation cuts each text at the limit first and then takes both for equally long.
    #[test]
    fn of_two_long_texts_the_longer_one_keeps_the_odd_token() {
        let texts = (text(&"good ".repeat(9)), text(&"a ".repeat(8)));
        let ids = tokenizer(8).encode(&texts.0, Some(&texts.1)).unwrap(); // 5 = 3 + 2
        assert_eq!(ids.ids(), [2, 4, 4, 4, 3, 7, 7, 3]);
        let ids = tokenizer(8).encode(&texts.1, Some(&texts.0)).unwrap();
        assert_eq!(ids.ids(), [2, 7, 7, 3, 4, 4, 4, 3]);
    }

    #[test]
    fn a_text_that_just_fits_is_not_truncated() {
        let exact = tokenizer(5).encode(&text("good films"), None).unwrap();
        assert_eq!((exact.len(), exact.truncated()), (5, false));
        let over = tokenizer(5).encode(&text("a good films"), None).unwrap();
        assert_eq!((over.ids(), over.truncated()), (&[2, 7, 4, 5, 3][..], true));
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

    /// Two separators between the texts of a pair, no second type.
    #[test]
    fn byte_level_pairs_as_roberta_has_them() {
        let tokenizer = byte_level_tokenizer(9).unwrap();
        let ids = tokenizer.encode(&text("ab b"), Some(&text("b b"))).unwrap();
        assert_eq!(ids.ids(), [0, 2, 3, 5, 1, 1, 3, 5, 1]);
        assert_eq!(ids.type_ids(), [0; 9]);
        assert_eq!(ids.special().iter().filter(|&&special| special).count(), 4);
        let pieces = tokenizer.pieces(&ids);
        let read: Vec<_> = pieces[1..4]
            .iter()
            .map(|p| (p.text.as_str(), p.continues))
            .collect();
        assert_eq!(read, [("a", false), ("b", true), ("b", false)]);
        let error = byte_level_tokenizer(5).unwrap_err();
        assert_eq!(
            error,
            TextError::SequenceTooShort {
                needed: 6,
                seq_length_max: 5
            }
        );
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
    fn wrong_files_are_refused() {
        for bytes in [&b""[..], b"{}", b"\xff\xfe", b"{\"model\": 3}"] {
            assert_eq!(
                Tokenizer::from_json(bytes, 16).unwrap_err(),
                TextError::TokenizerFile
            );
        }
    }
}
