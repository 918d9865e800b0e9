//! The mechanism `exponential`: a word is drawn from the vocabulary, near words more often.

use std::rc::Rc;

use rand::RngExt;

use super::eta::{Eta, PrivacyError, Protection};
use super::mechanism::{
    BottomInput, Material, Mechanism, MechanismEntry, Prepared, PrivateExample, PrivatizedTokenIds,
    Step, Strength, TokenEta,
};
use super::nearest::TokenTable;

/// Rows of the `[rows, vocab_size]` matrix of distances that are held at a time.
const ROWS: usize = 64;

/// `Pr[M(x) = y] ~ exp(-eta ||E_x - E_y|| / 2)` over the vocabulary without special tokens: the
/// exponential mechanism with the distance as its score. Source: McSherry and Talwar, FOCS 2007;
/// for text SANTEXT, arXiv 2106.01221, section 4.
///
/// # Guarantee
///
/// Metric differential privacy with parameter eta for one token, over the Euclidean distance of the
/// rows of the embedding table; all that follows is post-processing. It needs no noise in all
/// dimensions, so that the same share of words changes at a much smaller eta than with `token`.
#[derive(Debug)]
pub struct ExponentialMechanism {
    table: Rc<TokenTable>,
    eta: TokenEta,
}

impl ExponentialMechanism {
    async fn released(
        &self,
        examples: &mut [PrivateExample],
    ) -> Result<Vec<BottomInput>, PrivacyError> {
        let mut released = Vec::with_capacity(examples.len());
        for example in examples {
            let mut ids = example.tokens.ids().to_vec();
            let positions = ids.iter().zip(example.tokens.special()).enumerate();
            let drawn: Vec<(usize, Eta)> = positions
                .filter(|(_, (_, special))| !**special)
                .filter_map(|(at, (id, _))| Some((at, self.eta.of(*id, example.class)?)))
                .collect();
            for drawn in drawn.chunks(ROWS) {
                let before: Vec<u32> = drawn.iter().map(|(at, _)| ids[*at]).collect();
                let distances = distances(&self.table, &before).await?;
                let lines = distances.chunks_exact(self.table.vocab_size());
                for ((at, eta), line) in drawn.iter().zip(lines) {
                    ids[*at] = draw(line, *eta, example.rng.random());
                }
            }
            let privatized = PrivatizedTokenIds::in_place(&example.tokens, ids)?;
            released.push(BottomInput::Privatized(privatized));
        }
        Ok(released)
    }
}

/// `||E_w - E_x||` of every token w and each of `ids`, row-major; infinite for special tokens.
async fn distances(table: &TokenTable, ids: &[u32]) -> Result<Vec<f32>, PrivacyError> {
    let rows = table.rows(ids).await?;
    let norms: Vec<f32> = rows
        .chunks_exact(table.d_model())
        .map(|row| row.iter().map(|v| v * v).sum())
        .collect();
    let mut distances = table.distances(rows).await?;
    for (line, norm) in distances.chunks_exact_mut(table.vocab_size()).zip(norms) {
        for value in line {
            *value = if TokenTable::is_excluded(*value) {
                f32::INFINITY
            } else {
                (*value + norm).max(0.0).sqrt()
            };
        }
    }
    Ok(distances)
}

/// `exp(-eta d / 2)`; 1 for the token itself.
fn weight(distance: f32, eta: Eta) -> f64 {
    f64::from((-0.5 * eta.get() as f32 * distance).exp())
}

/// The token at which the running sum of the weights passes `uniform` times their sum.
fn draw(distances: &[f32], eta: Eta, uniform: f64) -> u32 {
    let total: f64 = distances.iter().map(|d| weight(*d, eta)).sum();
    let mut left = uniform * total;
    let mut last = 0;
    for (id, distance) in distances.iter().enumerate() {
        let weight = weight(*distance, eta);
        if weight > 0.0 {
            last = id;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    u32::try_from(last).unwrap_or(0)
}

impl Mechanism for ExponentialMechanism {
    fn parameters(&self) -> Vec<u8> {
        self.eta.parameters(5, 0.0)
    }

    fn privatize<'a>(&'a self, examples: &'a mut [PrivateExample]) -> Step<'a, Vec<BottomInput>> {
        Box::pin(self.released(examples))
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "exponential",
    title: "Draw words",
    about: "Each word is drawn anew from the whole vocabulary, words of like meaning more often. \
        The server can work out the drawn words, not the ones you wrote.",
    level: "Share of words that are expected to change. More protection costs accuracy.",
    guarantee: "Metric differential privacy for each word, with parameter eta over the distance \
        of word embeddings. Words that come out unchanged are not hidden.",
    takes_contribution: true,
    ranks_tokens: false,
    why: "",
    prepare: |material, strength| Box::pin(prepare(material, strength)),
};

/// Tokens that the calibration looks at; the share is then exact to about 4 points.
const SAMPLE: usize = 128;

async fn prepare(material: &Material<'_>, strength: Strength) -> Result<Prepared, PrivacyError> {
    let sample: Vec<u32> = material.curve.sample().take(SAMPLE).collect();
    let mut lines = Vec::with_capacity(sample.len());
    for ids in sample.chunks(ROWS) {
        let distances = distances(material.table, ids).await?;
        let vocab_size = material.table.vocab_size();
        let own = |(id, line): (&u32, &[f32])| (*id, line.to_vec());
        lines.extend(ids.iter().zip(distances.chunks_exact(vocab_size)).map(own));
    }
    let share = |eta: Eta| -> f64 {
        let law = material.token_eta(eta);
        let changed = lines.iter().map(|(id, line)| match law.of(*id, None) {
            Some(eta) => 1.0 - 1.0 / line.iter().map(|d| weight(*d, eta)).sum::<f64>().max(1.0),
            None => 0.0,
        });
        changed.sum::<f64>() / lines.len().max(1) as f64
    };
    let eta = match strength {
        Strength::Eta(eta) => eta,
        Strength::Level(level) => bisect(level, share)?,
    };
    let share = share(eta);
    let sentence = format!(
        "About {:.0} % of the words are drawn anew before anything leaves (eta {:.1}).",
        100.0 * share,
        eta.get()
    );
    let mechanism = ExponentialMechanism {
        table: Rc::clone(material.table),
        eta: material.token_eta(eta),
    };
    Ok(Prepared {
        mechanism: Rc::new(mechanism),
        eta: Some(eta),
        level: Some(share),
        sentence,
    })
}

/// The eta at which a falling share passes the level.
fn bisect(level: Protection, share: impl Fn(Eta) -> f64) -> Result<Eta, PrivacyError> {
    let (mut low, mut high) = (1e-3, 1e4); // 1/distance; tables have distances of 0.1 to 100
    for _ in 0..40 {
        let middle = f64::sqrt(low * high);
        if share(Eta::new(middle)?) > level.get() {
            low = middle;
        } else {
            high = middle;
        }
    }
    Eta::new(f64::sqrt(low * high))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::token::tests::{VOCAB, released, token_table};
    use super::*;
    use futures_util::FutureExt;

    fn eta(value: f64) -> Eta {
        Eta::new(value).unwrap()
    }

    /// Weights 1, exp(-1) and 0 for distances 0, 1 and infinity at eta 2.
    #[test]
    fn the_draw_follows_the_weights() {
        let distances = [0.0, 1.0, f32::INFINITY];
        let own = 1.0 / (1.0 + (-1.0f64).exp()); // 0.731
        assert_eq!(draw(&distances, eta(2.0), own - 1e-4), 0);
        assert_eq!(draw(&distances, eta(2.0), own + 1e-4), 1);
        assert_eq!(draw(&distances, eta(2.0), 1.0 - 1e-12), 1);
    }

    /// The law itself, from many draws of one token: chi-squared over all tokens that can come out.
    #[test]
    fn tokens_come_out_as_often_as_the_law_says() {
        let table = token_table();
        let mechanism = ExponentialMechanism {
            table: Rc::clone(&table),
            eta: TokenEta::uniform(eta(1.0)),
        };
        let runs = 6_000;
        let after = released(&mechanism, &vec![7; runs], 5);
        let line = distances(&table, &[7]).now_or_never().unwrap().unwrap();
        let total: f64 = line.iter().map(|d| weight(*d, eta(1.0))).sum();
        let statistic: f64 = (2..VOCAB)
            .map(|id| {
                let expected = runs as f64 * weight(line[id], eta(1.0)) / total;
                let count = after
                    .ids()
                    .iter()
                    .filter(|out| **out as usize == id)
                    .count();
                (count as f64 - expected).powi(2) / expected
            })
            .sum();
        // 57 degrees of freedom, level 0.001: 96.
        assert!(statistic < 96.0, "{statistic}");
        assert!(after.ids().iter().all(|id| *id > 1)); // special tokens never come out
    }

    #[test]
    fn bisection_finds_where_the_share_passes() {
        let share = |eta: Eta| 1.0 / (1.0 + eta.get());
        let found = bisect(Protection::new(0.2).unwrap(), share).unwrap();
        assert!((found.get() - 4.0).abs() < 1e-3, "{found:?}");
    }
}
