//! The attacks: a file and a line of [`ATTACKS`] each.

mod as_is;
mod average;
mod bayes;
mod nearest;
mod relaxation;

pub use average::Average;

use super::attack::Attack;

/// Every attack that the audit knows, in the order of the report.
pub const ATTACKS: &[&dyn Attack] = &[
    &as_is::AsIs,
    &nearest::DISTANCE,
    &nearest::ANGLE,
    &nearest::TABLE,
    &bayes::WORDS,
    &bayes::PAIRS,
    &relaxation::Relaxation,
];

/// The attacks of some names.
///
/// # Errors
///
/// The first name that no attack has.
pub fn named(names: &[String]) -> Result<Vec<&'static dyn Attack>, String> {
    let find = |name: &String| {
        let attack = ATTACKS.iter().find(|attack| attack.id() == name);
        attack.copied().ok_or_else(|| name.clone())
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let ids: Vec<String> = ATTACKS
            .iter()
            .map(|attack| attack.id().to_owned())
            .collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        let found = named(&ids).map(|found| found.len());
        assert_eq!(found, Ok(ids.len()));
        let unknown = named(&["no-such".to_owned()]).map(|found| found.len());
        assert_eq!(unknown, Err("no-such".to_owned()));
    }
}
