//! The tokens that public text holds. A trained attack can guess no other.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::matrix;
use crate::audit::AuditError;
use crate::model::BottomModel;
use crate::privacy::ordinary_ids;
use crate::text::TokenIds;

/// Public tokens, numbered from 0 in the order of their ids, and how often public text holds them.
///
/// What a private text holds besides is out of reach, as it is for any attacker who learns from
/// that public text.
#[derive(Clone)]
pub(crate) struct PublicVocabulary {
    ids: Vec<u32>,
    classes: HashMap<u32, u32>,
    tokens: Vec<u32>, // occurrences of each class
    texts: Vec<u32>,  // texts that hold each class
    n_texts: usize,
}

impl std::fmt::Debug for PublicVocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicVocabulary({} tokens)", self.ids.len())
    }
}

impl PublicVocabulary {
    /// Counts the ordinary tokens of public text.
    ///
    /// # Errors
    ///
    /// [`AuditError::NotApplicable`] when there is none.
    pub(crate) fn of(public: &[TokenIds]) -> Result<Self, AuditError> {
        let mut counts: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for text in public {
            let mut own: Vec<u32> = ordinary_ids(text).collect();
            own.sort_unstable();
            for same in own.chunk_by(|a, b| a == b) {
                let (tokens, texts) = counts.entry(same[0]).or_default();
                *tokens += u32::try_from(same.len()).unwrap_or(u32::MAX);
                *texts += 1;
            }
        }
        if counts.is_empty() {
            return Err(AuditError::NotApplicable {
                reason: "the attacker has no public text to learn from",
            });
        }
        Ok(Self {
            classes: counts.keys().copied().zip(0..).collect(),
            ids: counts.keys().copied().collect(),
            tokens: counts.values().map(|(tokens, _)| *tokens).collect(),
            texts: counts.values().map(|(_, texts)| *texts).collect(),
            n_texts: public.len(),
        })
    }

    /// Number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The number of a token.
    pub(crate) fn class(&self, id: u32) -> Option<u32> {
        self.classes.get(&id).copied()
    }

    /// Their rows of the embedding table, `[len, d_model]`.
    pub(crate) fn table(&self, bottom: &BottomModel) -> Tensor<2> {
        let ids: Vec<i32> = self.ids.iter().map(|id| id.cast_signed()).collect();
        let ids = TensorData::new(ids, [self.len()]);
        let ids = Tensor::<1, Int>::from_data(ids, bottom.device());
        bottom.word_table().clone().select(0, ids)
    }

    /// `ln p(v)`, p the share of v among the public tokens, `[1, len]`.
    pub(crate) fn log_unigram(&self, device: &Device) -> Tensor<2> {
        let total: f64 = self.tokens.iter().copied().map(f64::from).sum();
        let values = self.tokens.iter();
        let values = values.map(|count| (f64::from(*count) / total).ln() as f32);
        matrix(values.collect(), [1, self.len()], device)
    }

    /// `ln(p / (1 - p))`, p the share of the public texts that hold v, `[1, len]`.
    ///
    /// Half a text is added to both sides, so that a token of every text has a finite number.
    pub(crate) fn log_odds(&self, device: &Device) -> Tensor<2> {
        let values = self.texts.iter().map(|texts| {
            let with = f64::from(*texts) + 0.5;
            let without = self.n_texts as f64 - f64::from(*texts) + 0.5;
            (with / without).ln() as f32
        });
        matrix(values.collect(), [1, self.len()], device)
    }

    /// The ids of the highest scores, best first; the lower id where two are equal.
    pub(crate) fn best(&self, scores: &[f32], count: usize) -> Vec<u32> {
        let mut order: Vec<usize> = (0..scores.len().min(self.len())).collect();
        let by_score = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
        if count < order.len() {
            order.select_nth_unstable_by(count, by_score);
            order.truncate(count);
        }
        order.sort_unstable_by(by_score);
        order.into_iter().map(|class| self.ids[class]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::learned::read;

    fn text(ids: &[u32]) -> TokenIds {
        let special = ids.iter().map(|id| *id == 0).collect();
        TokenIds::new(ids.to_vec(), vec![0; ids.len()], special).unwrap()
    }

    fn vocabulary() -> PublicVocabulary {
        PublicVocabulary::of(&[text(&[0, 9, 9, 5, 0]), text(&[0, 9, 0])]).unwrap()
    }

    #[test]
    fn only_tokens_of_public_text_have_a_number() {
        let vocabulary = vocabulary();
        let classes: Vec<_> = [5, 9, 7, 0]
            .into_iter()
            .map(|id| vocabulary.class(id))
            .collect();
        assert_eq!(classes, [Some(0), Some(1), None, None]);
        assert!(PublicVocabulary::of(&[text(&[0, 0])]).is_err());
    }

    #[test]
    fn the_priors_are_those_of_the_counts() {
        let device = Device::flex();
        let unigram = read(vocabulary().log_unigram(&device)).unwrap();
        assert!((unigram[0] - 0.25f32.ln()).abs() < 1e-6, "{unigram:?}");
        assert!((unigram[1] - 0.75f32.ln()).abs() < 1e-6, "{unigram:?}");
        let odds = read(vocabulary().log_odds(&device)).unwrap();
        assert!(odds[0].abs() < 1e-6, "{odds:?}"); // one text of two
        assert!((odds[1] - 5.0f32.ln()).abs() < 1e-6, "{odds:?}"); // 2.5 / 0.5
    }

    #[test]
    fn the_best_come_first_and_ties_go_to_the_lower_id() {
        let public: Vec<u32> = (10..15).collect();
        let vocabulary = PublicVocabulary::of(&[text(&public)]).unwrap();
        let scores = [1.0, 3.0, 2.0, 3.0, -1.0];
        assert_eq!(vocabulary.best(&scores, 3), [11, 13, 12]);
        assert_eq!(vocabulary.best(&scores, 9), [11, 13, 12, 10, 14]);
    }
}
