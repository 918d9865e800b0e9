//! Pages of lists: how many, and where the next one begins.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use super::refusal::ApiError;
use crate::state::UnixMillis;

/// Entries of a page where the query does not say.
const LIMIT_DEFAULT: u32 = 50;

/// Entries of a page, whatever the query says.
pub(super) const LIMIT_MAX: u32 = 200;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Entries at most; above 200 it is 200.
    limit: Option<u32>,
    /// `next` of the page before; the newest entries without it.
    after: Option<String>,
}

/// A query, or that it cannot be read. What was wrong is not repeated.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|_| ApiError::Query)
}

/// How many entries were asked for, in bounds.
pub(super) fn limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}

impl PageQuery {
    /// How many entries.
    pub(super) fn limit(&self) -> u32 {
        limit(self.limit)
    }

    /// Behind which entry the page begins.
    ///
    /// # Errors
    ///
    /// `Query` for what no page gave out.
    pub(super) fn after<K: std::str::FromStr>(&self) -> Result<Option<(UnixMillis, K)>, ApiError> {
        let Some(place) = &self.after else {
            return Ok(None);
        };
        let (created, key) = place.split_once('-').ok_or(ApiError::Query)?;
        let created = created.parse().map_err(|_| ApiError::Query)?;
        let key = key.parse().map_err(|_| ApiError::Query)?;
        Ok(Some((UnixMillis(created), key)))
    }
}

/// Where the page behind an entry begins.
pub(super) fn place(UnixMillis(created): UnixMillis, key: &impl std::fmt::Display) -> String {
    format!("{created}-{key}")
}

/// Cuts what was fetched, one more than asked for, to the page, and says behind which entry the next
/// one begins.
pub(super) fn cut<T>(
    mut found: Vec<T>,
    limit: u32,
    place: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let is_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| is_more).map(place);
    (found, next)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::state::JobKey;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let key = JobKey([7; 16]);
        let query = |after: &str| PageQuery {
            limit: None,
            after: Some(after.to_owned()),
        };
        let written = place(UnixMillis(12), &key);
        let read = query(&written).after().unwrap();
        assert_eq!(read, Some((UnixMillis(12), key)));
        for wrong in ["", "12", "-", "12-07", "x-0707"] {
            assert!(query(wrong).after::<JobKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!(limit(None), 50);
        assert_eq!(limit(Some(0)), 1);
        assert_eq!(limit(Some(u32::MAX)), 200);
        let name = |n: &i32| n.to_string();
        assert_eq!(cut(vec![1, 2, 3], 2, name), (vec![1, 2], Some("2".into())));
        assert_eq!(cut(vec![1, 2], 2, name), (vec![1, 2], None));
        assert_eq!(cut(vec![], 2, name), (vec![], None));
    }
}
