//! Tenants and tokens as rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::state::StateError;
use crate::state::records::{TenantId, TenantName, TokenKey, TokenRecord, UnixMillis};

pub(super) fn tenant(
    transaction: &Transaction<'_>,
    name: &TenantName,
) -> Result<TenantId, StateError> {
    transaction.execute(
        "INSERT INTO tenants (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
        [name.as_str()],
    )?;
    let id = transaction.query_row(
        "SELECT id FROM tenants WHERE name = ?1",
        [name.as_str()],
        |row| row.get(0),
    )?;
    Ok(TenantId(id))
}

pub(super) fn add(transaction: &Transaction<'_>, token: &TokenRecord) -> Result<(), StateError> {
    transaction.execute(
        "INSERT INTO tokens (id, tenant, secret_sha256, previous_sha256, previous_until, scopes,
             created, expires, revoked)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            token.key.0,
            token.tenant.0,
            token.secret_sha256,
            token.previous.map(|(sha256, _)| sha256.to_vec()),
            token.previous.map(|(_, until)| until.0),
            token.scopes.to_string(),
            token.created.0,
            token.expires.map(|time| time.0),
            token.revoked.map(|time| time.0),
        ],
    )?;
    Ok(())
}

const SELECT: &str = "SELECT tokens.id, tenant, name, secret_sha256, previous_sha256,
    previous_until, scopes, created, expires, revoked
    FROM tokens JOIN tenants ON tenants.id = tenant";

pub(super) fn one(
    connection: &Connection,
    key: TokenKey,
) -> Result<Option<TokenRecord>, StateError> {
    connection
        .prepare(&format!("{SELECT} WHERE tokens.id = ?1"))?
        .query_and_then([key.0], record)?
        .next()
        .transpose()
}

pub(super) fn any(connection: &Connection) -> Result<bool, StateError> {
    let found = connection
        .query_row("SELECT 1 FROM tokens LIMIT 1", [], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn all(connection: &Connection) -> Result<Vec<TokenRecord>, StateError> {
    connection
        .prepare(&format!("{SELECT} ORDER BY created, tokens.id"))?
        .query_and_then([], record)?
        .collect()
}

pub(super) fn revoke(
    transaction: &Transaction<'_>,
    key: TokenKey,
    now: UnixMillis,
) -> Result<(), StateError> {
    changed(transaction.execute(
        "UPDATE tokens SET revoked = coalesce(revoked, ?2) WHERE id = ?1",
        params![key.0, now.0],
    )?)
}

pub(super) fn rotate(
    transaction: &Transaction<'_>,
    key: TokenKey,
    secret_sha256: [u8; 32],
    overlap_until: UnixMillis,
) -> Result<(), StateError> {
    // The right-hand sides are the row as it was.
    changed(transaction.execute(
        "UPDATE tokens SET previous_sha256 = secret_sha256, previous_until = ?3, secret_sha256 = ?2
         WHERE id = ?1 AND revoked IS NULL",
        params![key.0, secret_sha256, overlap_until.0],
    )?)
}

fn changed(rows: usize) -> Result<(), StateError> {
    if rows == 0 {
        Err(StateError::UnknownToken)
    } else {
        Ok(())
    }
}

fn record(row: &Row<'_>) -> Result<TokenRecord, StateError> {
    let name: String = row.get(2)?;
    let scopes: String = row.get(6)?;
    let previous: Option<[u8; 32]> = row.get(4)?;
    let until: Option<i64> = row.get(5)?;
    Ok(TokenRecord {
        key: TokenKey(row.get(0)?),
        tenant: TenantId(row.get(1)?),
        tenant_name: name.parse().map_err(|_| StateError::Unreadable {
            what: "tenant's name",
        })?,
        secret_sha256: row.get(3)?,
        previous: previous.zip(until.map(UnixMillis)),
        scopes: scopes
            .parse()
            .map_err(|_| StateError::Unreadable { what: "scope" })?,
        created: UnixMillis(row.get(7)?),
        expires: row.get::<_, Option<i64>>(8)?.map(UnixMillis),
        revoked: row.get::<_, Option<i64>>(9)?.map(UnixMillis),
    })
}
