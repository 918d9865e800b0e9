//! What became of each token, for the eyes of its owner.

use std::collections::BTreeMap;

use super::eta::PrivacyError;
use super::mechanism::BottomInput;
use super::nearest::{ROWS, TokenTable};
use crate::text::TokenIds;

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// A special token; never perturbed.
    Special,
    /// The same token came out.
    Unchanged,
    /// One of its `NEIGHBOURS` nearest tokens came out.
    Near,
    /// Any other token came out.
    Far,
    /// Nothing came out, or a blank.
    Removed,
}

/// What came out at each position of the original, and what that means; `blank` is what stands where
/// nothing came out.
///
/// # Errors
///
/// When the device fails.
pub async fn changes(
    table: &TokenTable,
    before: &TokenIds,
    after: &BottomInput,
    blank: u32,
) -> Result<Vec<(u32, Change)>, PrivacyError> {
    let mut seen = vec![blank; before.len()];
    for (origin, id) in after.origins().into_iter().zip(after.token_ids().ids()) {
        if let Some(seen) = seen.get_mut(origin) {
            *seen = *id;
        }
    }
    let pairs = || before.ids().iter().zip(&seen).zip(before.special());
    let mut changed: Vec<u32> = pairs()
        .filter(|((old, new), special)| !**special && old != new && **new != blank)
        .map(|((old, _), _)| *old)
        .collect();
    changed.sort_unstable();
    changed.dedup();
    let mut neighbours = BTreeMap::new();
    for ids in changed.chunks(ROWS) {
        let rows = table.rows(ids).await?;
        neighbours.extend(ids.iter().copied().zip(table.neighbours(rows).await?));
    }
    Ok(pairs()
        .map(|((old, new), special)| {
            let change = match neighbours.get(old) {
                _ if *special => Change::Special,
                _ if old == new => Change::Unchanged,
                _ if *new == blank => Change::Removed,
                Some(near) if near.contains(new) => Change::Near,
                _ => Change::Far,
            };
            (*new, change)
        })
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::super::mechanism::PrivatizedTokenIds;
    use super::super::token::tests::{example, token_table};
    use super::*;

    fn kinds(before: &[u32], after: PrivatizedTokenIds) -> Vec<Change> {
        let before = example(before, 1).tokens;
        let table = token_table();
        let after = BottomInput::Privatized(after);
        let changes = changes(&table, &before, &after, 1);
        let changes = changes.now_or_never().unwrap().unwrap();
        changes.into_iter().map(|(_, change)| change).collect()
    }

    #[test]
    fn a_token_stays_moves_or_goes() {
        let before = example(&[0, 2, 3, 4], 1).tokens;
        let table = token_table();
        let rows = table.rows(&[3]).now_or_never().unwrap().unwrap();
        let neighbours = table.neighbours(rows).now_or_never().unwrap().unwrap();
        let near = *neighbours[0].iter().find(|id| **id != 3).unwrap();
        let far = (2..50).find(|id| !neighbours[0].contains(id)).unwrap();
        let blank = 1;
        for (id, expected) in [
            (near, Change::Near),
            (far, Change::Far),
            (blank, Change::Removed),
        ] {
            let after = PrivatizedTokenIds::in_place(&before, vec![0, 2, id, 4]).unwrap();
            let kinds = kinds(&[0, 2, 3, 4], after);
            let stays = Change::Unchanged;
            assert_eq!(kinds, [Change::Special, stays, expected, stays]);
        }
        let shorter = PrivatizedTokenIds::keeping(&before, vec![0, 3]).unwrap();
        let gone = Change::Removed;
        let kinds = kinds(&[0, 2, 3, 4], shorter);
        assert_eq!(kinds, [Change::Special, gone, gone, Change::Unchanged]);
    }
}
