//! EIA-nn: the token whose own vector is nearest to what was released.
//!
//! `argmin over v of ||C_v - h||`, or of the angle between them. `C_v` is what the attacker would
//! expect to see of token v. Source: method.md, section 4.

use crate::audit::attack::{Attack, Attacker, AuditError, Guesses, Pending, TOP};
use crate::audit::released::Released;
use crate::audit::search::{Candidates, Pair, best, centroids, tokens_of};

/// What stands for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// At cut 0 the bottom's own output at that position; above it the mean over public text.
    Bottom,
    /// Its row of the embedding table, whatever the cut: the paper's attack.
    Table,
}

/// Which candidate is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Distance,
    Angle,
}

/// Nearest-neighbour inversion.
#[derive(Debug)]
pub(super) struct Nearest {
    id: &'static str,
    about: &'static str,
    stands: Stands,
    measure: Measure,
}

/// By distance.
pub(super) const DISTANCE: Nearest = Nearest {
    id: "eia-nn",
    about: "Takes for each position the word whose own activation is nearest to the released one.",
    stands: Stands::Bottom,
    measure: Measure::Distance,
};

/// By angle, which clipping and a longer noise do not disturb.
pub(super) const ANGLE: Nearest = Nearest {
    id: "eia-nn-cosine",
    about: "The same by the angle between activations instead of their distance.",
    stands: Stands::Bottom,
    measure: Measure::Angle,
};

/// The paper's own.
pub(super) const TABLE: Nearest = Nearest {
    id: "eia-table",
    about: "The attack of the paper: compares the released activation with the model's raw word \
            vectors. It knows nothing of positions and blocks, so it is weak above the embeddings.",
    stands: Stands::Table,
    measure: Measure::Distance,
};

/// What the attacker compares with, for the cut of its bottom.
///
/// # Errors
///
/// Without public text above cut 0, or when the device fails.
pub(super) async fn expected(attacker: &Attacker<'_>) -> Result<Candidates, AuditError> {
    if attacker.bottom.cut().index() == 0 {
        Ok(Candidates::ByPosition)
    } else {
        centroids(attacker).await
    }
}

impl Nearest {
    async fn guesses(
        &self,
        attacker: &Attacker<'_>,
        observed: &Released,
    ) -> Result<Guesses, AuditError> {
        let candidates = match self.stands {
            Stands::Bottom => expected(attacker).await?,
            Stands::Table => {
                let vectors = attacker.bottom.word_table().clone();
                let tokens = (0..).take(attacker.bottom.config().vocab_size).collect();
                Candidates::Anywhere { vectors, tokens }
            }
        };
        let special = attacker.special_mask();
        let score = |pair: Pair| match self.measure {
            _ if special[pair.token as usize] => f32::NEG_INFINITY,
            Measure::Distance => -pair.squared_distance(),
            Measure::Angle => pair.inner / pair.candidate_square.sqrt().max(f32::MIN_POSITIVE),
        };
        let ranked = best(&candidates, attacker, observed, TOP, &score).await?;
        let rows = |rows: Vec<_>| {
            rows.iter()
                .map(|row: &Vec<_>| tokens_of(row, TOP))
                .collect()
        };
        Ok(Guesses::Rows(ranked.into_iter().map(rows).collect()))
    }
}

impl Attack for Nearest {
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
