//! EIA-bayes: the likeliest token for a known noise law and a prior from public text.
//!
//! `argmax over v of -eta_v ||h - C_v|| + dim ln eta_v + ln p(v)` where the noise lies on the
//! activations; `argmax of ln p(v) + ln Pr[M(v) = w]` where the mechanism replaced token v by w.
//! The stronger form replaces `p(v)` by pairs of neighbours. Source: method.md, section 4.

use super::nearest::expected;
use crate::audit::attack::{
    Attack, Attacker, AuditError, Guesses, NoiseLaw, Pending, TOP, TokenEta,
};
use crate::audit::channel::{Originals, by_counting, by_law};
use crate::audit::prior::{Bigrams, Unigrams};
use crate::audit::released::Released;
use crate::audit::search::{Pair, Scored, best, tokens_of};
use crate::text::TokenIds;

/// Candidates of a row that the language of the neighbours chooses among.
const BEAM: usize = 24;

/// Eta that stands for no noise: any distance that rounding does not explain decides.
const ETA_WITHOUT_NOISE: f64 = 1e3;

/// Inversion by Bayes' rule.
#[derive(Debug)]
pub(super) struct Bayes {
    id: &'static str,
    about: &'static str,
    neighbours: bool,
}

/// Each word by itself.
pub(super) const WORDS: Bayes = Bayes {
    id: "eia-bayes",
    about: "Knows the law of the noise and how frequent words are: takes the likeliest word.",
    neighbours: false,
};

/// With its neighbours.
pub(super) const PAIRS: Bayes = Bayes {
    id: "eia-bayes-pairs",
    about: "The same, and knows which words follow each other: takes the likeliest text.",
    neighbours: true,
};

impl Bayes {
    async fn guesses(
        &self,
        attacker: &Attacker<'_>,
        observed: &Released,
    ) -> Result<Guesses, AuditError> {
        let prior = Unigrams::of(attacker.public, attacker.bottom.config().vocab_size);
        let keep = if self.neighbours { BEAM } else { TOP };
        let rows = likely(attacker, observed, &prior, keep).await?;
        let bigrams = self
            .neighbours
            .then(|| Bigrams::of(attacker.public, prior.clone()));
        let example = |rows: Vec<Vec<Scored>>| {
            let rows = match &bigrams {
                Some(bigrams) => with_neighbours(&rows, &prior, bigrams),
                None => rows,
            };
            rows.iter().map(|row| tokens_of(row, TOP)).collect()
        };
        Ok(Guesses::Rows(rows.into_iter().map(example).collect()))
    }
}

impl Attack for Bayes {
    fn id(&self) -> &'static str {
        self.id
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn run<'a>(
        &'a self,
        attacker: &'a Attacker<'a>,
        observed: &'a Released,
    ) -> Pending<'a, Guesses> {
        Box::pin(self.guesses(attacker, observed))
    }
}

/// The likeliest tokens of each row, with prior and likelihood together as their score.
async fn likely(
    attacker: &Attacker<'_>,
    observed: &Released,
    prior: &Unigrams,
    keep: usize,
) -> Result<Vec<Vec<Vec<Scored>>>, AuditError> {
    let law = attacker.simulator.noise();
    if let Some(sanitized) = &observed.sanitized {
        let originals = match &law {
            NoiseLaw::None | NoiseLaw::Cut { .. } => return Ok(as_they_are(sanitized)),
            NoiseLaw::Embedding { eta } => by_law(attacker, eta, prior, sanitized, keep).await?,
            NoiseLaw::Other => by_counting(attacker, prior, sanitized, keep).await?,
        };
        return Ok(looked_up(sanitized, &originals));
    }
    let (eta, norm_max) = match law {
        NoiseLaw::Cut { eta, norm_max } => (eta, norm_max as f32),
        NoiseLaw::None => (TokenEta::Same(ETA_WITHOUT_NOISE), f32::INFINITY),
        NoiseLaw::Embedding { .. } | NoiseLaw::Other => {
            let reason = "the law of the noise on the activations is not known";
            return Err(AuditError::NotApplicable { reason });
        }
    };
    let dim = observed.activations.d_model() as f64;
    let score = |pair: Pair| {
        let eta = eta.at(pair.token);
        let distance = f64::from(pair.clipped(norm_max).squared_distance()).sqrt();
        (-eta * distance + dim * eta.ln()) as f32 + prior.ln(pair.token)
    };
    best(&expected(attacker).await?, attacker, observed, keep, &score).await
}

/// Without noise the sanitized tokens are the original ones.
fn as_they_are(sanitized: &[TokenIds]) -> Vec<Vec<Vec<Scored>>> {
    let row = |token: &u32| {
        vec![Scored {
            token: *token,
            score: 0.0,
        }]
    };
    let example = |tokens: &TokenIds| tokens.ids().iter().map(row).collect();
    sanitized.iter().map(example).collect()
}

fn looked_up(sanitized: &[TokenIds], originals: &Originals) -> Vec<Vec<Vec<Scored>>> {
    let row = |token: &u32| originals.get(token).cloned().unwrap_or_default();
    let example = |tokens: &TokenIds| tokens.ids().iter().map(row).collect();
    sanitized.iter().map(example).collect()
}

/// Scores each candidate by the best text that runs through it (Viterbi, forwards and backwards):
/// the first of each row is the likeliest text as a whole.
fn with_neighbours(rows: &[Vec<Scored>], prior: &Unigrams, bigrams: &Bigrams) -> Vec<Vec<Scored>> {
    let best_of = |scores: &[f32]| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let own: Vec<Vec<f32>> = rows
        .iter()
        .map(|row| row.iter().map(|s| s.score - prior.ln(s.token)).collect())
        .collect();
    // forward[i][k]: the best text up to and with candidate k of row i.
    let mut forward: Vec<Vec<f32>> = Vec::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        let before = at.checked_sub(1).filter(|before| !rows[*before].is_empty());
        let scores = row.iter().zip(&own[at]).map(|(scored, own)| match before {
            None => own + prior.ln(scored.token),
            Some(before) => {
                let from = rows[before].iter().zip(&forward[before]);
                let from: Vec<f32> = from
                    .map(|(other, score)| score + bigrams.ln(other.token, scored.token))
                    .collect();
                own + best_of(&from)
            }
        });
        forward.push(scores.collect());
    }
    // backward[i][k]: the best text behind candidate k of row i.
    let mut backward: Vec<Vec<f32>> = rows.iter().map(|row| vec![0.0; row.len()]).collect();
    for at in (0..rows.len().saturating_sub(1)).rev() {
        let after = at + 1;
        if rows[after].is_empty() {
            continue;
        }
        for (k, scored) in rows[at].iter().enumerate() {
            let to = rows[after].iter().zip(&own[after]).zip(&backward[after]);
            let to: Vec<f32> = to
                .map(|((other, own), behind)| bigrams.ln(scored.token, other.token) + own + behind)
                .collect();
            backward[at][k] = best_of(&to);
        }
    }
    let ranked = rows.iter().zip(forward).zip(backward);
    ranked
        .map(|((row, forward), backward)| {
            let scores = forward.iter().zip(&backward).map(|(a, b)| a + b);
            let scored = row
                .iter()
                .zip(scores)
                .map(|(scored, score)| Scored { score, ..*scored });
            let mut row: Vec<Scored> = scored.collect();
            row.sort_by(|a, b| b.score.total_cmp(&a.score));
            row
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(ids: &[u32]) -> TokenIds {
        TokenIds::new(ids.to_vec(), vec![0; ids.len()], vec![false; ids.len()]).unwrap()
    }

    /// Row 1 is undecided between 2 and 3; only 1, 2 was ever seen as a pair.
    #[test]
    fn the_neighbour_decides_where_the_row_does_not() {
        let public = [text(&[1, 2]), text(&[3, 4]), text(&[3, 4])];
        let prior = Unigrams::of(&public, 6);
        let bigrams = Bigrams::of(&public, prior.clone());
        let scored = |token, score: f32| Scored {
            token,
            score: score + prior.ln(token),
        };
        let rows = vec![vec![scored(1, 0.0)], vec![scored(3, 0.0), scored(2, 0.0)]];
        // Alone, 3 is the more frequent.
        assert!(rows[1][0].score > rows[1][1].score);
        let ranked = with_neighbours(&rows, &prior, &bigrams);
        assert_eq!(tokens_of(&ranked[1], TOP), [2, 3]);
        // The best text as a whole has one score, wherever it is read.
        assert!((ranked[0][0].score - ranked[1][0].score).abs() < 1e-5);
        // A row without candidates cuts the chain and does no harm.
        let cut = with_neighbours(&[vec![], rows[1].clone()], &prior, &bigrams);
        assert_eq!(tokens_of(&cut[1], TOP), [3, 2]);
    }
}
