//! No mechanism: for public text, and as the reference of every measurement.

use std::rc::Rc;

use super::mechanism::{Mechanism, MechanismEntry, NoiseLaw, Prepared};

/// Leaves everything as it is.
///
/// # Guarantee
///
/// None: whoever has the bottom can read the text.
#[derive(Debug, Clone, Copy)]
pub struct NoMechanism;

impl Mechanism for NoMechanism {
    fn parameters(&self) -> Vec<u8> {
        vec![0; 17]
    }

    fn noise(&self) -> NoiseLaw {
        NoiseLaw::None
    }
}

/// The line of the table.
pub(super) const ENTRY: MechanismEntry = MechanismEntry {
    name: "none",
    title: "No protection",
    about: "For public text only: the server can read nearly every word.",
    level: "",
    guarantee: "None. Whoever has the bottom of the model can read the text.",
    takes_contribution: false,
    ranks_tokens: false,
    why: "",
    prepare: |_, _| {
        Box::pin(std::future::ready(Ok(Prepared {
            mechanism: Rc::new(NoMechanism),
            eta: None,
            level: None,
            sentence: "No protection: whoever runs the server can read every text.".to_owned(),
        })))
    },
};
