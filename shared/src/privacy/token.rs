//! The mechanism `token`: noise on the token's embedding, then the nearest token.

use std::rc::Rc;

use super::eta::{Eta, PrivacyError};
use super::mechanism::{
    BottomInput, Material, Mechanism, MechanismEntry, NoiseLaw, Prepared, PrivateExample,
    PrivatizedTokenIds, Step, Strength, TokenEta,
};
use super::nearest::{ROWS, TokenTable};
use super::noise;

/// `argmin over w of ||E_w - (E_x + z)||` over the vocabulary without special tokens, one
/// independent draw z a token. Source: method.md, section 2.
///
/// # Guarantee
///
/// Metric differential privacy with parameter eta for one token, over the Euclidean distance of the
/// rows of the embedding table; all that follows is post-processing. With contribution eta differs
/// by token, and no single eta holds. Special tokens and the number of tokens are not protected.
#[derive(Debug)]
pub struct TokenMechanism {
    table: Rc<TokenTable>,
    eta: Rc<TokenEta>,
}

impl TokenMechanism {
    /// The mechanism over a table.
    pub fn new(table: Rc<TokenTable>, eta: TokenEta) -> Self {
        Self {
            table,
            eta: Rc::new(eta),
        }
    }

    async fn released(
        &self,
        examples: &mut [PrivateExample],
    ) -> Result<Vec<BottomInput>, PrivacyError> {
        let mut drawn = Vec::new(); // (example, position, eta) of every token that gets noise
        for (owner, example) in examples.iter().enumerate() {
            let positions = example.tokens.ids().iter().zip(example.tokens.special());
            for (at, (id, special)) in positions.enumerate() {
                let eta = self.eta.of(*id, example.class).filter(|_| !special);
                drawn.extend(eta.map(|eta| (owner, at, eta)));
            }
        }
        let mut after: Vec<Vec<u32>> = examples
            .iter()
            .map(|example| example.tokens.ids().to_vec())
            .collect();
        for drawn in drawn.chunks(ROWS) {
            let ids: Vec<u32> = drawn
                .iter()
                .map(|(owner, at, _)| examples[*owner].tokens.ids()[*at])
                .collect();
            let mut rows = self.table.rows(&ids).await?;
            let d_model = self.table.d_model();
            for (row, (owner, _, eta)) in rows.chunks_exact_mut(d_model).zip(drawn) {
                noise::add(row, *eta, &mut examples[*owner].rng);
            }
            let nearest = self.table.nearest(rows).await?;
            for ((owner, at, _), id) in drawn.iter().zip(nearest) {
                after[*owner][*at] = id;
            }
        }
        examples
            .iter()
            .zip(after)
            .map(|(example, ids)| {
                let privatized = PrivatizedTokenIds::in_place(&example.tokens, ids)?;
                Ok(BottomInput::Privatized(privatized))
            })
            .collect()
    }
}

impl Mechanism for TokenMechanism {
    fn parameters(&self) -> Vec<u8> {
        self.eta.parameters(1, 0.0)
    }

    fn privatize<'a>(&'a self, examples: &'a mut [PrivateExample]) -> Step<'a, Vec<BottomInput>> {
        Box::pin(self.released(examples))
    }

    fn noise(&self) -> NoiseLaw {
        NoiseLaw::Embedding(Rc::clone(&self.eta))
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "token",
    title: "Replace words",
    about: "Words are exchanged for others before the model sees them. The server can work out \
        the exchanged words, not the ones you wrote.",
    level: "Share of words that are expected to change. More protection costs accuracy.",
    guarantee: "Metric differential privacy for each word, with parameter eta over the distance \
        of word embeddings: the nearer two words are in meaning, the harder it is to tell which \
        of them was written. Words that come out unchanged are not hidden.",
    takes_contribution: true,
    ranks_tokens: false,
    why: "It stands first because it promises something for every word, and whatever the server \
        computes, it learns no more of your texts than the replaced words.",
    prepare: |material, strength| Box::pin(std::future::ready(prepare(material, strength))),
};

fn prepare(material: &Material<'_>, strength: Strength) -> Result<Prepared, PrivacyError> {
    let factor = |id: u32| {
        let contribution = material.contribution;
        contribution.map_or(1.0, |contribution| contribution.multiplier(id, None))
    };
    let curve = material.curve.weighted(factor);
    let eta: Eta = match strength {
        Strength::Eta(eta) => eta,
        Strength::Level(level) => curve.eta(level)?,
    };
    let share = curve.share_changed(eta);
    let sentence = format!(
        "About {:.0} % of the words are replaced before anything leaves (eta {:.1}).",
        100.0 * share,
        eta.get()
    );
    let mechanism = TokenMechanism::new(Rc::clone(material.table), material.token_eta(eta));
    Ok(Prepared {
        mechanism: Rc::new(mechanism),
        eta: Some(eta),
        level: Some(share),
        sentence,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use futures_util::FutureExt;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use rand_distr::{Distribution, StandardNormal};

    use burn::tensor::{Device, Tensor, TensorData};

    use super::super::contribution::tests::table as contributing;
    use super::super::contribution::{Contribution, LabelPolicy, Reading};
    use super::*;
    use crate::text::TokenIds;

    pub(in crate::privacy) const VOCAB: usize = 60;
    pub(in crate::privacy) const DIM: usize = 16;
    const SPECIAL: [u32; 2] = [0, 1];

    pub(in crate::privacy) fn table() -> Vec<f32> {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let normal = |_| -> f32 { StandardNormal.sample(&mut rng) };
        (0..VOCAB * DIM).map(normal).collect()
    }

    pub(in crate::privacy) fn token_table() -> Rc<TokenTable> {
        let data = TensorData::new(table(), [VOCAB, DIM]);
        let table = Tensor::<2>::from_data(data, &Device::flex());
        let table = TokenTable::over(table, &SPECIAL).now_or_never();
        Rc::new(table.unwrap().unwrap())
    }

    pub(in crate::privacy) fn example(ids: &[u32], seed: u64) -> PrivateExample {
        let special = ids.iter().map(|id| SPECIAL.contains(id)).collect();
        PrivateExample {
            tokens: TokenIds::new(ids.to_vec(), vec![0; ids.len()], special).unwrap(),
            class: None,
            rng: ChaCha20Rng::seed_from_u64(seed),
        }
    }

    /// What a mechanism makes of one example.
    pub(in crate::privacy) fn released(
        mechanism: &dyn Mechanism,
        ids: &[u32],
        seed: u64,
    ) -> TokenIds {
        let mut examples = [example(ids, seed)];
        let inputs = mechanism.privatize(&mut examples).now_or_never();
        inputs.unwrap().unwrap()[0].token_ids().clone()
    }

    pub(in crate::privacy) fn privatized(ids: &[u32], eta: f64, seed: u64) -> TokenIds {
        let eta = TokenEta::uniform(Eta::new(eta).unwrap());
        released(&TokenMechanism::new(token_table(), eta), ids, seed)
    }

    /// Fails with another distance, another order of draws, or noise shared between tokens.
    #[test]
    fn the_nearest_token_to_the_noisy_embedding_comes_out() {
        let ids: Vec<u32> = (2..VOCAB as u32).collect();
        let eta = Eta::new(6.0).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        let table = table();
        let row = |id: u32| &table[id as usize * DIM..(id as usize + 1) * DIM];
        let expected: Vec<u32> = ids
            .iter()
            .map(|id| {
                let mut noisy = row(*id).to_vec();
                noise::add(&mut noisy, eta, &mut rng);
                let distance = |other: u32| -> f32 {
                    row(other)
                        .iter()
                        .zip(&noisy)
                        .map(|(a, b)| (a - b) * (a - b))
                        .sum()
                };
                let others = (0..VOCAB as u32).filter(|other| !SPECIAL.contains(other));
                others
                    .min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
                    .unwrap()
            })
            .collect();
        assert_eq!(privatized(&ids, 6.0, 9).ids(), expected);
        assert_ne!(ids, expected);
    }

    #[test]
    fn special_tokens_stay_and_never_come_out() {
        let ids: Vec<u32> = [0].into_iter().chain(2..VOCAB as u32).chain([1]).collect();
        let released = privatized(&ids, 0.1, 3);
        let (first, rest) = released.ids().split_first().unwrap();
        let (last, inner) = rest.split_last().unwrap();
        assert_eq!((*first, *last), (0, 1));
        assert!(inner.iter().all(|id| !SPECIAL.contains(id)));
    }

    #[test]
    fn with_almost_no_noise_nothing_changes() {
        assert_eq!(privatized(&[2, 3, 4], 1e6, 1).ids(), [2, 3, 4]);
    }

    /// Fails when contribution does not reach the noise, or reaches the wrong tokens.
    #[test]
    fn contributing_tokens_are_left_and_the_others_change() {
        let reading = Reading::TopShare { rho: 0.2 };
        let contribution = Contribution::new(contributing(), reading, LabelPolicy::LabelFree);
        let eta = TokenEta {
            eta: Eta::new(0.01).unwrap(),
            contribution: Some(Rc::new(contribution.unwrap())),
        };
        let mechanism = TokenMechanism::new(token_table(), eta);
        let after = released(&mechanism, &[2, 3, 4, 5, 4, 5, 4, 5], 3);
        assert_eq!(after.ids()[..2], [2, 3]);
        assert_ne!(after.ids()[2..], [4, 5, 4, 5, 4, 5]);
    }
}
