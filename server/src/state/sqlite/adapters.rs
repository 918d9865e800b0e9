//! Adapters as rows.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};

use super::jobs::{signed, unsigned};
use crate::state::StateError;
use crate::state::records::{
    AdapterChange, AdapterFit, AdapterKey, AdapterRecord, JobKey, TenantId, UnixMillis,
};

const SELECT: &str = "SELECT id, job, tenant, name, model, cut, n_classes, is_default, created,
    metrics, bytes FROM adapters";

pub(super) fn add(
    transaction: &Transaction<'_>,
    adapter: &AdapterRecord,
) -> Result<(), StateError> {
    if let Some(job) = adapter.job {
        let known = transaction
            .query_row(
                "SELECT 1 FROM jobs WHERE id = ?1 AND tenant = ?2",
                params![job.0, adapter.tenant.0],
                |_| Ok(()),
            )
            .optional()?;
        known.ok_or(StateError::UnknownJob)?;
    }
    let inserted = transaction.execute(
        "INSERT INTO adapters (id, job, tenant, name, model, cut, n_classes, created, metrics, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            adapter.key.0,
            adapter.job.map(|job| job.0),
            adapter.tenant.0,
            adapter.name.as_str(),
            adapter.fit.model_id,
            adapter.fit.cut,
            adapter.fit.n_classes,
            adapter.created.0,
            adapter.metrics.to_string(),
            signed(adapter.bytes),
        ],
    );
    unless_taken(inserted)
}

/// A name that is there already is the one constraint that a caller can break.
fn unless_taken(changed: rusqlite::Result<usize>) -> Result<(), StateError> {
    match changed {
        Ok(_) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(StateError::NameTaken)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn list(
    connection: &Connection,
    tenant: TenantId,
    after: Option<(UnixMillis, AdapterKey)>,
    limit: u32,
) -> Result<Vec<AdapterRecord>, StateError> {
    let (created, key) = after.map_or((i64::MAX, [0xff; 16]), |(created, key)| (created.0, key.0));
    connection
        .prepare(&format!(
            "{SELECT} WHERE tenant = ?1 AND (created, id) < (?2, ?3)
             ORDER BY created DESC, id DESC LIMIT ?4"
        ))?
        .query_and_then(params![tenant.0, created, key, limit], record)?
        .collect()
}

pub(super) fn one(
    connection: &Connection,
    tenant: TenantId,
    key: AdapterKey,
) -> Result<Option<AdapterRecord>, StateError> {
    connection
        .prepare(&format!("{SELECT} WHERE tenant = ?1 AND id = ?2"))?
        .query_and_then(params![tenant.0, key.0], record)?
        .next()
        .transpose()
}

pub(super) fn of_job(
    connection: &Connection,
    tenant: TenantId,
    job: JobKey,
) -> Result<Option<AdapterRecord>, StateError> {
    connection
        .prepare(&format!("{SELECT} WHERE tenant = ?1 AND job = ?2"))?
        .query_and_then(params![tenant.0, job.0], record)?
        .next()
        .transpose()
}

pub(super) fn by_default(
    connection: &Connection,
    tenant: TenantId,
    model_id: &str,
    cut: u32,
) -> Result<Option<AdapterRecord>, StateError> {
    connection
        .prepare(&format!(
            "{SELECT} WHERE tenant = ?1 AND model = ?2 AND cut = ?3 AND is_default = 1"
        ))?
        .query_and_then(params![tenant.0, model_id, cut], record)?
        .next()
        .transpose()
}

pub(super) fn change(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    key: AdapterKey,
    change: &AdapterChange,
) -> Result<Option<AdapterRecord>, StateError> {
    let Some(adapter) = one(transaction, tenant, key)? else {
        return Ok(None);
    };
    if let Some(name) = &change.name {
        let renamed = transaction.execute(
            "UPDATE adapters SET name = ?3 WHERE tenant = ?1 AND id = ?2",
            params![tenant.0, key.0, name.as_str()],
        );
        unless_taken(renamed)?;
    }
    if let Some(is_default) = change.is_default {
        if is_default {
            transaction.execute(
                "UPDATE adapters SET is_default = 0 WHERE tenant = ?1 AND model = ?2 AND cut = ?3",
                params![tenant.0, adapter.fit.model_id, adapter.fit.cut],
            )?;
        }
        transaction.execute(
            "UPDATE adapters SET is_default = ?3 WHERE tenant = ?1 AND id = ?2",
            params![tenant.0, key.0, is_default],
        )?;
    }
    one(transaction, tenant, key)
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    key: AdapterKey,
) -> Result<Option<AdapterRecord>, StateError> {
    let adapter = one(transaction, tenant, key)?;
    transaction.execute(
        "DELETE FROM adapters WHERE tenant = ?1 AND id = ?2",
        params![tenant.0, key.0],
    )?;
    Ok(adapter)
}

pub(super) fn remove_of_job(
    transaction: &Transaction<'_>,
    job: JobKey,
) -> Result<Vec<AdapterKey>, StateError> {
    let keys = transaction
        .prepare("DELETE FROM adapters WHERE job = ?1 RETURNING id")?
        .query_map([job.0], |row| Ok(AdapterKey(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

pub(super) fn bytes(connection: &Connection, tenant: TenantId) -> Result<u64, StateError> {
    connection.query_row(
        "SELECT coalesce(sum(bytes), 0) FROM adapters WHERE tenant = ?1",
        [tenant.0],
        |row| Ok(unsigned(row, 0)),
    )?
}

pub(super) fn keys(connection: &Connection) -> Result<Vec<AdapterKey>, StateError> {
    let keys = connection
        .prepare("SELECT id FROM adapters")?
        .query_map([], |row| Ok(AdapterKey(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    Ok(keys)
}

fn record(row: &Row<'_>) -> Result<AdapterRecord, StateError> {
    let name: String = row.get(3)?;
    let metrics: String = row.get(9)?;
    Ok(AdapterRecord {
        key: AdapterKey(row.get(0)?),
        job: row.get::<_, Option<[u8; 16]>>(1)?.map(JobKey),
        tenant: TenantId(row.get(2)?),
        name: name
            .parse()
            .map_err(|_| StateError::Unreadable { what: "name" })?,
        fit: AdapterFit {
            model_id: row.get(4)?,
            cut: row.get(5)?,
            n_classes: row.get(6)?,
        },
        is_default: row.get(7)?,
        created: UnixMillis(row.get(8)?),
        metrics: serde_json::from_str(&metrics).map_err(|_| StateError::Unreadable {
            what: "measurement",
        })?,
        bytes: unsigned(row, 10)?,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::state::sqlite::test_support::{LOCAL, fit, opened};
    use crate::state::{StateStore, UnixMillis};

    fn brought(number: u8, name: &str) -> AdapterRecord {
        AdapterRecord {
            key: AdapterKey([number; 16]),
            job: None,
            tenant: LOCAL,
            name: name.parse().unwrap(),
            fit: fit(),
            is_default: false,
            created: UnixMillis(i64::from(number)),
            metrics: serde_json::json!({}),
            bytes: 10 * u64::from(number),
        }
    }

    fn set_default(is_default: bool) -> AdapterChange {
        AdapterChange {
            name: None,
            is_default: Some(is_default),
        }
    }

    #[test]
    fn a_name_is_had_once_by_a_tenant() {
        let (_directory, state) = opened();
        let other = state.tenant(&"other".parse().unwrap()).unwrap();
        state.add_adapter(&brought(1, "a")).unwrap();
        let again = state.add_adapter(&brought(2, "a"));
        assert!(matches!(again, Err(StateError::NameTaken)));
        let theirs = AdapterRecord {
            tenant: other,
            ..brought(3, "a")
        };
        state.add_adapter(&theirs).unwrap();
        state.add_adapter(&brought(4, "b")).unwrap();
        let to_a = AdapterChange {
            name: Some("a".parse().unwrap()),
            is_default: None,
        };
        let key = AdapterKey([4; 16]);
        let refused = state.change_adapter(LOCAL, key, &to_a);
        assert!(matches!(refused, Err(StateError::NameTaken)));
        assert_eq!(state.adapter(LOCAL, key).unwrap(), Some(brought(4, "b")));
        assert_eq!(state.adapter_bytes(LOCAL).unwrap(), 50);
        assert_eq!(state.adapter_bytes(other).unwrap(), 30);
        assert_eq!(state.adapter_keys().unwrap().len(), 3);
    }

    #[test]
    fn one_adapter_is_the_default_of_a_model_and_cut() {
        let (_directory, state) = opened();
        let elsewhere = AdapterRecord {
            fit: AdapterFit { cut: 2, ..fit() },
            ..brought(3, "c")
        };
        for adapter in [&brought(1, "a"), &brought(2, "b"), &elsewhere] {
            state.add_adapter(adapter).unwrap();
        }
        let found = |cut| state.default_adapter(LOCAL, "tiny", cut).unwrap();
        assert_eq!(found(1), None);
        for number in [1, 3, 2] {
            let key = AdapterKey([number; 16]);
            let changed = state
                .change_adapter(LOCAL, key, &set_default(true))
                .unwrap();
            assert!(changed.unwrap().is_default);
        }
        assert_eq!(found(1).unwrap().key, AdapterKey([2; 16]));
        assert_eq!(found(2).unwrap().key, AdapterKey([3; 16]));
        let first = state.adapter(LOCAL, AdapterKey([1; 16])).unwrap().unwrap();
        assert!(!first.is_default);
        let key = AdapterKey([2; 16]);
        state
            .change_adapter(LOCAL, key, &set_default(false))
            .unwrap();
        assert_eq!(found(1), None);
    }

    #[test]
    fn an_adapter_of_others_is_as_none() {
        let (_directory, state) = opened();
        let other = state.tenant(&"other".parse().unwrap()).unwrap();
        let mine = brought(1, "a");
        state.add_adapter(&mine).unwrap();
        let key = mine.key;
        assert_eq!(state.adapter(other, key).unwrap(), None);
        let changed = state.change_adapter(other, key, &set_default(true));
        assert_eq!(changed.unwrap(), None);
        assert_eq!(state.default_adapter(other, "tiny", 1).unwrap(), None);
        assert_eq!(state.delete_adapter(other, key).unwrap(), None);
        assert_eq!(state.delete_adapter(LOCAL, key).unwrap(), Some(mine));
        assert_eq!(state.delete_adapter(LOCAL, key).unwrap(), None);
    }
}
