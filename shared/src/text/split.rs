//! A data set to its training and validation sides.

use std::collections::{BTreeMap, HashMap};

use rand::{Rng, seq::SliceRandom};

use super::dataset::Dataset;

impl Dataset {
    /// Draws the training and the validation side, as rising indices into the examples.
    ///
    /// Every label gives its share; equal texts (in any case, since many models read no case) stay on one side, so that
    /// nothing is measured on a text that was trained on. A label with two different texts or more is on both sides
    /// whenever the share is above 0, so a share of 1 still leaves something to train on.
    pub fn split(&self, validation_share: f64, rng: &mut impl Rng) -> (Vec<usize>, Vec<usize>) {
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for mut groups in self.groups_by_label().into_values() {
            groups.shuffle(rng);
            let total: usize = groups.iter().map(Vec::len).sum();
            let wanted = share_of(total, validation_share);
            let mut taken = 0;
            let last = groups.len() - 1;
            for (at, group) in groups.into_iter().enumerate() {
                // Taken while it brings the side nearer to its size; the last group always trains.
                let nearer = taken + group.len().div_ceil(2) <= wanted || taken == 0 && wanted > 0;
                if at < last && nearer {
                    taken += group.len();
                    validation.extend(group);
                } else {
                    train.extend(group);
                }
            }
        }
        train.sort_unstable();
        validation.sort_unstable();
        (train, validation)
    }

    /// Indices of equal texts, under the label of the first of them.
    fn groups_by_label(&self) -> BTreeMap<u32, Vec<Vec<usize>>> {
        let mut place: HashMap<(String, Option<String>), (u32, usize)> = HashMap::new();
        let mut groups: BTreeMap<u32, Vec<Vec<usize>>> = BTreeMap::new();
        for (index, example) in self.examples().iter().enumerate() {
            let pair = example
                .pair
                .as_ref()
                .map(|pair| pair.expose().to_lowercase());
            let key = (example.text.expose().to_lowercase(), pair);
            let &mut (label, at) = place.entry(key).or_insert_with(|| {
                let of_label = groups.entry(example.label).or_default();
                of_label.push(Vec::new());
                (example.label, of_label.len() - 1)
            });
            groups.entry(label).or_default()[at].push(index);
        }
        groups
    }
}

/// Examples of a label that the validation side should have; at least one unless the share is 0 (or not a number).
fn share_of(total: usize, share: f64) -> usize {
    if share > 0.0 {
        ((total as f64 * share.min(1.0)).round() as usize).max(1)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::text::{Columns, DatasetLimits, Table};

    fn dataset(rows: impl Iterator<Item = (String, &'static str)>) -> Dataset {
        let body: String = rows
            .map(|(text, label)| format!("{text},{label}\n"))
            .collect();
        let table = Table::read("a.csv", format!("text,label\n{body}").as_bytes()).unwrap();
        let columns = Columns {
            text: 0,
            pair: None,
            label: Some(1),
        };
        Dataset::from_table(&table, &columns, &DatasetLimits::default()).unwrap()
    }

    fn rng(seed: u64) -> ChaCha20Rng {
        ChaCha20Rng::seed_from_u64(seed)
    }

    #[test]
    fn every_label_gives_its_share() {
        let data = dataset((0..100).map(|n| (format!("text {n}"), if n < 80 { "a" } else { "b" })));
        let (train, validation) = data.split(0.2, &mut rng(1));
        let of = |side: &[usize], label| {
            side.iter()
                .filter(|&&i| data.examples()[i].label == label)
                .count()
        };
        assert_eq!((of(&validation, 0), of(&validation, 1)), (16, 4));
        assert_eq!((of(&train, 0), of(&train, 1)), (64, 16));
        let all: BTreeSet<usize> = train.into_iter().chain(validation).collect();
        assert!(all.into_iter().eq(0..100));
    }

    #[test]
    fn equal_texts_stay_on_one_side_even_with_different_labels() {
        let text = |n: usize| {
            if n.is_multiple_of(3) {
                format!("Text {}", n % 24)
            } else {
                format!("text {n}")
            }
        };
        let data = dataset((0..96).map(|n| (text(n), if n % 2 == 0 { "a" } else { "b" })));
        for seed in 0..20 {
            let (train, validation) = data.split(0.3, &mut rng(seed));
            let texts = |side: &[usize]| -> BTreeSet<String> {
                side.iter()
                    .map(|&i| data.examples()[i].text.expose().to_lowercase())
                    .collect()
            };
            assert!(texts(&train).is_disjoint(&texts(&validation)));
            assert!(
                (20..=38).contains(&validation.len()),
                "{}",
                validation.len()
            );
        }
    }

    #[test]
    fn the_draw_depends_on_the_generator_only() {
        let data =
            dataset((0..40).map(|n| (format!("text {n}"), if n % 2 == 0 { "a" } else { "b" })));
        assert_eq!(data.split(0.25, &mut rng(7)), data.split(0.25, &mut rng(7)));
        assert_ne!(data.split(0.25, &mut rng(7)), data.split(0.25, &mut rng(8)));
    }

    #[test]
    fn rare_labels_are_on_both_sides_where_they_can_be() {
        let label = |n| match n {
            0 => "once",
            1 | 2 => "twice",
            _ => "often",
        };
        let data = dataset((0..30).map(|n| (format!("text {n}"), label(n))));
        let (train, validation) = data.split(0.1, &mut rng(3));
        let once = data.labels().iter().position(|l| l == "once").unwrap() as u32;
        let twice = data.labels().iter().position(|l| l == "twice").unwrap() as u32;
        let has = |side: &[usize], label| side.iter().any(|&i| data.examples()[i].label == label);
        assert!(has(&train, once) && has(&train, twice) && has(&validation, twice));
    }

    #[test]
    fn odd_shares_are_taken_as_far_as_possible() {
        let data =
            dataset((0..20).map(|n| (format!("text {n}"), if n % 2 == 0 { "a" } else { "b" })));
        for share in [0.0, -1.0, f64::NAN] {
            assert_eq!(data.split(share, &mut rng(1)).1.len(), 0);
        }
        for share in [1.0, 7.0, f64::INFINITY] {
            assert_eq!(data.split(share, &mut rng(1)).0.len(), 2);
        }
    }
}
