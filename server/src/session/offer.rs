//! What the server offers to every session, and whether a `Hello` agrees with it.

use shared::protocol::limits::Limits;
use shared::protocol::message::{Hello, PROTOCOL_VERSION};

use crate::error::Fault;

/// What the server offers to every session.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The model's name in the catalogue.
    pub model_id: String,
    /// Width of an activation.
    pub d_model: u32,
    /// The cuts, each with its bottoms.
    pub cuts: Vec<CutOffer>,
    /// What a session may ask for.
    pub limits: Limits,
    /// What the trainer computes on.
    pub device: String,
    /// Whether the dense layer of the task head is trained.
    pub trains_dense: bool,
}

/// One cut that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOffer {
    /// Blocks that the client runs.
    pub cut: u32,
    /// sha256 of its bottom, one a precision.
    pub bottom_sha256: Vec<[u8; 32]>,
}

impl Offer {
    /// Holds a `Hello` against the offer.
    ///
    /// # Errors
    ///
    /// The first disagreement: version, model, cut, bottom, settings.
    pub fn check(&self, hello: &Hello) -> Result<(), Fault> {
        if hello.protocol_version != PROTOCOL_VERSION {
            let (expected, actual) = (PROTOCOL_VERSION, hello.protocol_version);
            return Err(Fault::WrongVersion { expected, actual });
        }
        if hello.model_id != self.model_id {
            return Err(Fault::UnknownModel {
                offered: self.model_id.clone(),
            });
        }
        let cut = hello.cut;
        let Some(offer) = self.cuts.iter().find(|offer| offer.cut == cut) else {
            return Err(Fault::UnknownCut { actual: cut });
        };
        if !offer.bottom_sha256.contains(&hello.bottom_sha256) {
            return Err(Fault::WrongBottom { cut });
        }
        Ok(hello.check(&self.limits)?)
    }
}
