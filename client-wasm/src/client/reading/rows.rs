//! Which rows of a file a reading looks at: some of each kind, bounded, and spread over all of them.

use rand::Rng;
use shared::text::{Example, TokenIds};

use super::course::Course;
use crate::client::Client;
use crate::client::attacked::training_text;
use crate::error::ClientError;
use crate::events::Event;
use crate::pipeline::TextPair;
use crate::seed::Draw;

/// Tokens that are attacked; the share is then exact to about a point.
const ATTACKED_TOKENS_MAX: usize = 1_500;

/// Rows that the attacker learns from which words are common, and their tokens. Each is also run
/// through the mechanism at each level, so that they are bounded by time.
const PUBLIC_ROWS_MAX: usize = 400;
const PUBLIC_TOKENS_MAX: usize = 3_000;

/// Rows that are tokenized between two rests.
const TOKENIZED_ROWS: usize = 64;

/// The rows of a reading.
pub(super) struct Rows<'a> {
    pub(super) attacked: Vec<TextPair<'a>>,
    /// Tokens of other rows.
    pub(super) public: Vec<TokenIds>,
    pub(super) special_ids: Vec<u32>,
    pub(super) seed: u64,
}

impl<T> Client<T> {
    /// Draws the rows that are attacked, and reads others as the attacker's.
    pub(super) async fn rows_of_reading(
        &self,
        count: usize,
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<Rows<'_>, ClientError> {
        let examples = self.dataset()?.examples();
        // The attacker needs some rows too.
        let count = count.min(examples.len().div_ceil(2));
        let (attacked, others) = self.draw_rows(count)?;
        let attacked = self.tokenized(&attacked, course).await?;
        let attacked = fitting(attacked, ATTACKED_TOKENS_MAX, |(_, tokens)| tokens.len());
        let others = spread(others, PUBLIC_ROWS_MAX);
        let others = self.tokenized(&others, course).await?;
        let public = others.into_iter().map(|(_, tokens)| tokens);
        let attacked = attacked.into_iter().map(|(row, _)| training_text(row));
        Ok(Rows {
            attacked: attacked.collect(),
            public: fitting(public.collect(), PUBLIC_TOKENS_MAX, TokenIds::len),
            special_ids: self.special_ids(),
            seed: self.rng(Draw::Attacked)?.next_u64(),
        })
    }

    /// Some rows and their tokens.
    pub(super) async fn tokenized(
        &self,
        rows: &[usize],
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<Vec<(&Example, TokenIds)>, ClientError> {
        let examples = self.dataset()?.examples();
        let mut tokenized = Vec::with_capacity(rows.len());
        for rows in rows.chunks(TOKENIZED_ROWS) {
            course.rest().await?;
            let rows: Vec<&Example> = rows.iter().filter_map(|row| examples.get(*row)).collect();
            let texts: Vec<_> = rows.iter().map(|row| training_text(row)).collect();
            tokenized.extend(rows.into_iter().zip(self.pipeline.tokens(&texts)?));
        }
        Ok(tokenized)
    }
}

/// At most `count` of some things, spread evenly over all of them.
pub(super) fn spread<V>(all: Vec<V>, count: usize) -> Vec<V> {
    let total = all.len();
    let is_kept = |at: usize| total <= count || (at + 1) * count / total > at * count / total;
    let kept = all.into_iter().enumerate().filter(|(at, _)| is_kept(*at));
    kept.map(|(_, thing)| thing).collect()
}

/// As many of some texts, spread over all of them, as hold about `tokens_max` tokens; one at least.
pub(super) fn fitting<V>(
    all: Vec<V>,
    tokens_max: usize,
    tokens_of: impl Fn(&V) -> usize,
) -> Vec<V> {
    let tokens: usize = all.iter().map(tokens_of).sum();
    if tokens <= tokens_max {
        return all;
    }
    let count = all.len() * tokens_max / tokens;
    spread(all, count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_spread_over_all() {
        let all = || (0..10).collect::<Vec<_>>();
        assert_eq!(spread(all(), 10), all());
        assert_eq!(spread(all(), 99), all());
        assert_eq!(spread(all(), 5), [1, 3, 5, 7, 9]);
        assert_eq!(spread(all(), 3), [3, 6, 9]);
        assert_eq!(spread(all(), 1), [9]);
        assert!(spread(all(), 0).is_empty());
        assert!(spread(Vec::<u32>::new(), 3).is_empty());
    }

    #[test]
    fn texts_fit_by_their_tokens() {
        let texts = || vec![4, 4, 4, 4];
        assert_eq!(fitting(texts(), 16, |tokens| *tokens).len(), 4);
        assert_eq!(fitting(texts(), 15, |tokens| *tokens).len(), 3);
        assert_eq!(fitting(texts(), 8, |tokens| *tokens).len(), 2);
        // A single text that is too long is better than none.
        assert_eq!(fitting(texts(), 3, |tokens| *tokens).len(), 1);
    }
}
