//! What the shares of a reading are compared with: no mechanism at all, and no attack at all.

use serde::Serialize;
use shared::audit::prior::frequent;
use shared::audit::score::score;
use shared::audit::{Guesses, Truth};
use shared::text::TokenIds;

use super::course::Course;
use super::rows::Rows;
use crate::client::Client;
use crate::error::ClientError;
use crate::events::Event;
use crate::options::PrivacyOptions;

/// The mechanism that does nothing, by its name in the table of mechanisms.
const UNDEFENDED: &str = "none";

/// What the attacks recover where nothing is protected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Undefended {
    /// As [`super::ReadingPoint::nn`].
    pub nn: f64,
    /// As [`super::ReadingPoint::bayes`].
    pub bayes: Option<f64>,
}

impl<T> Client<T> {
    /// What the attacks recover where nothing is protected, and what frequencies alone recover under
    /// the mechanism that is set. Without these two no share of an attack says anything.
    pub(super) async fn without_mechanism(
        &self,
        rows: &Rows<'_>,
        course: &Course<'_, impl FnMut(Event)>,
    ) -> Result<(Undefended, f64), ClientError> {
        let undefended = PrivacyOptions {
            mechanism: UNDEFENDED.to_owned(),
            ..PrivacyOptions::default()
        };
        let ready = course.drive(self.prepare(&undefended)).await??;
        let (point, _) = self.point(0.0, &ready, rows, course).await?;
        let undefended = Undefended {
            nn: point.nn,
            bayes: point.bayes,
        };
        let tokens = self.pipeline.tokens(&rows.attacked)?;
        let truth = Truth {
            tokens: &tokens,
            named: &[],
            classes: &[],
            keeps_positions: self.pipeline.mechanism.keeps_positions(),
        };
        let guesses = constant(&truth, rows, self.pipeline.table.vocab_size());
        Ok((undefended, score(&guesses, &truth)?.success()))
    }
}

/// The guess of somebody who has seen nothing: the most frequent tokens of the attacker's own text.
fn constant(truth: &Truth<'_>, rows: &Rows<'_>, vocab_size: usize) -> Guesses {
    let tokens = truth.tokens;
    let longest = tokens.iter().map(TokenIds::len).max().unwrap_or_default();
    let frequent = frequent(&rows.public, vocab_size, &rows.special_ids, longest);
    if truth.keeps_positions {
        let first: Vec<u32> = frequent.into_iter().take(1).collect();
        let guess = |tokens: &TokenIds| vec![first.clone(); tokens.len()];
        Guesses::Rows(tokens.iter().map(guess).collect())
    } else {
        Guesses::Bags(vec![frequent; tokens.len()])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(ids: &[u32]) -> TokenIds {
        TokenIds::new(ids.to_vec(), vec![0; ids.len()], vec![false; ids.len()]).unwrap()
    }

    /// The attacker's text has 7 twice and 8 once; of three tokens one is a 7.
    #[test]
    fn who_has_seen_nothing_is_right_as_often_as_the_most_frequent_word_occurs() {
        let rows = Rows {
            attacked: Vec::new(),
            public: vec![text(&[7, 7, 8, 0, 0, 0])],
            special_ids: vec![0],
            seed: 0,
        };
        let tokens = [text(&[7, 9, 8])];
        let success = |keeps_positions| {
            let truth = Truth {
                tokens: &tokens,
                named: &[],
                classes: &[],
                keeps_positions,
            };
            score(&constant(&truth, &rows, 10), &truth)
                .unwrap()
                .success()
        };
        assert!((success(true) - 1.0 / 3.0).abs() < 1e-9);
        // In no order: 7 and 8 are both named, and both occur.
        assert!((success(false) - 2.0 / 3.0).abs() < 1e-9);
    }
}
