//! The mechanism `pool`: the activations of several words leave as one.

use std::rc::Rc;

use super::eta::PrivacyError;
use super::mechanism::{Mechanism, MechanismEntry, Prepared, PrivateExample, Strength};
use crate::model::CutActivations;

/// The mean over each window of positions, behind the first position, which stays as it is: the
/// task head reads it.
///
/// # Guarantee
///
/// None that is formal: what is sent is a function of the means of the windows, and different texts
/// can have equal means, but nothing bounds how well one can guess. It is measured by the audit
/// only. Places within a window and the exact number of words are hidden.
#[derive(Debug)]
pub struct PoolMechanism {
    window: usize,
}

impl Mechanism for PoolMechanism {
    fn parameters(&self) -> Vec<u8> {
        let window = (self.window as u64).to_le_bytes();
        std::iter::once(6).chain(window).collect()
    }

    fn perturb(
        &self,
        activations: CutActivations,
        _examples: &mut [PrivateExample],
    ) -> CutActivations {
        let d_model = activations.d_model;
        let mut pooled = Vec::with_capacity(activations.values.len());
        let mut seq_lengths = Vec::with_capacity(activations.seq_lengths.len());
        let mut rest = activations.values.as_slice();
        for length in &activations.seq_lengths {
            let (rows, others) = rest.split_at(usize::from(*length) * d_model);
            let (first, inner) = rows.split_at(d_model.min(rows.len()));
            let begin = pooled.len();
            pooled.extend_from_slice(first);
            for window in inner.chunks(self.window * d_model) {
                let count = (window.len() / d_model) as f32;
                let mean = |column| -> f32 {
                    let values = window.iter().skip(column).step_by(d_model);
                    values.sum::<f32>() / count
                };
                pooled.extend((0..d_model).map(mean));
            }
            let rows = (pooled.len() - begin) / d_model;
            seq_lengths.push(u16::try_from(rows).unwrap_or(u16::MAX));
            rest = others;
        }
        CutActivations {
            values: pooled,
            seq_lengths,
            d_model,
        }
    }

    fn keeps_positions(&self) -> bool {
        false
    }

    fn perturbs_activations(&self) -> bool {
        true
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "pool",
    title: "Average words",
    about: "The numbers of several neighbouring words are averaged into one before they leave. \
        Works best with some blocks of the model in this tab.",
    level: "Share of the positions that are averaged away. More protection costs accuracy.",
    guarantee: "None that is formal: averages hide which of many texts with like averages was \
        written, and only the audit tells how well.",
    takes_contribution: false,
    ranks_tokens: false,
    prepare: |_, strength| Box::pin(std::future::ready(prepare(strength))),
};

fn prepare(strength: Strength) -> Result<Prepared, PrivacyError> {
    let Strength::Level(level) = strength else {
        return Err(PrivacyError::NoEta);
    };
    // A window of w positions leaves a share 1/w of them.
    let window = (1.0 / (1.0 - level.get())).round().clamp(1.0, 1e6) as usize;
    let sentence = format!("The numbers of {window} neighbouring words leave as one.");
    Ok(Prepared {
        mechanism: Rc::new(PoolMechanism { window }),
        eta: None,
        level: Some(1.0 - 1.0 / window as f64),
        sentence,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_stays_and_windows_are_averaged() {
        let activations = CutActivations {
            values: vec![9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 8.0, 8.0],
            seq_lengths: vec![4, 1],
            d_model: 2,
        };
        let pooled = PoolMechanism { window: 2 }.perturb(activations, &mut []);
        assert_eq!(pooled.values, [9.0, 9.0, 2.0, 3.0, 5.0, 7.0, 8.0, 8.0]);
        assert_eq!(pooled.seq_lengths, [3, 1]);
    }
}
