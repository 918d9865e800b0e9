//! What every attack on this client needs: rows, their names and numbers, and the law of the noise.

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use shared::audit::named::named_positions;
use shared::audit::{NoiseLaw, TokenEta};
use shared::privacy::{Eta, Mechanism, PrivateExample, mechanism};
use shared::text::{Example, Piece, RawText, TokenIds};

use super::{Client, text_pair};
use crate::error::ClientError;
use crate::pipeline::{Pipeline, TextPair};
use crate::seed::Draw;

impl<T> Client<T> {
    /// Some rows of the file, drawn at random, and the others.
    ///
    /// # Errors
    ///
    /// When there is no file.
    pub fn draw_rows(&self, count: usize) -> Result<(Vec<usize>, Vec<usize>), ClientError> {
        self.draw(self.dataset()?.examples().len(), count)
    }

    /// `count` of `total` numbers, drawn at random, and the others; both ascending.
    ///
    /// # Errors
    ///
    /// When the system has no generator.
    pub fn draw(
        &self,
        total: usize,
        count: usize,
    ) -> Result<(Vec<usize>, Vec<usize>), ClientError> {
        Ok(drawn(total, count, &mut self.rng(Draw::Attacked)?))
    }

    /// Tokens that no text consists of.
    pub fn special_ids(&self) -> Vec<u32> {
        self.pipeline.tokenizer.special_ids()
    }
}

fn drawn(total: usize, count: usize, rng: &mut impl Rng) -> (Vec<usize>, Vec<usize>) {
    let mut drawn = index::sample(rng, total, count.min(total)).into_vec();
    drawn.sort_unstable();
    let others = (0..total).filter(|row| drawn.binary_search(row).is_err());
    let others = others.collect();
    (drawn, others)
}

/// A row as an upload would release it for training.
pub(super) fn training_text(example: &Example) -> TextPair<'_> {
    TextPair {
        class: Some(example.label),
        ..text_pair(example)
    }
}

/// Positions of a row's names and numbers, and all its tokens as people read them.
pub(super) fn named(
    pipeline: &Pipeline,
    example: &Example,
    tokens: &TokenIds,
) -> (Vec<usize>, Vec<Piece>) {
    let texts = [Some(&example.text), example.pair.as_ref()];
    let texts: Vec<&str> = texts.into_iter().flatten().map(RawText::expose).collect();
    let pieces = pipeline.tokenizer.pieces(tokens);
    (named_positions(&texts, tokens, &pieces), pieces)
}

/// Texts of an attacker, each with a generator of the attacker's own.
pub(super) fn attackers_examples(
    texts: &[TokenIds],
    seeds: &mut ChaCha20Rng,
) -> Vec<PrivateExample> {
    let own = |tokens: &TokenIds| PrivateExample {
        tokens: tokens.clone(),
        class: None,
        rng: ChaCha20Rng::from_rng(seeds),
    };
    texts.iter().map(own).collect()
}

/// The law of a mechanism, in numbers.
pub(super) fn law(pipeline: &Pipeline, mechanism: &dyn Mechanism) -> NoiseLaw {
    let of = |eta: &mechanism::TokenEta| match &eta.contribution {
        None => TokenEta::Same(eta.eta.get()),
        Some(_) => {
            let ids = (0..pipeline.table.vocab_size()).filter_map(|id| u32::try_from(id).ok());
            let eta = |id| eta.of(id, None).map_or(f64::INFINITY, Eta::get);
            TokenEta::PerToken(ids.map(eta).collect())
        }
    };
    match mechanism.noise() {
        mechanism::NoiseLaw::None => NoiseLaw::None,
        mechanism::NoiseLaw::Embedding(eta) => NoiseLaw::Embedding { eta: of(&eta) },
        mechanism::NoiseLaw::Cut { eta, norm_max } => NoiseLaw::Cut {
            eta: of(&eta),
            norm_max,
        },
        mechanism::NoiseLaw::Other => NoiseLaw::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_once_and_the_others_are_left() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let (drawn, others) = super::drawn(10, 4, &mut rng);
        assert_eq!((drawn.len(), others.len()), (4, 6));
        let mut all = [drawn, others].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(super::drawn(3, 9, &mut rng).0, [0, 1, 2]);
    }
}
