//! The schema, as the steps that lead to it. A step that has been released is never changed; the
//! next one is added behind it.

use rusqlite::{Connection, TransactionBehavior};

use crate::state::StateError;

/// Step n brings a file of schema n to schema n + 1; `user_version` says where a file is.
const STEPS: [&str; 3] = [FIRST, SEEDS, ADAPTERS];

/// The schema that this version writes.
pub(super) const SCHEMA: u32 = STEPS.len() as u32;

const FIRST: &str = "
CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE tokens (
    id BLOB NOT NULL PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    secret_sha256 BLOB NOT NULL,
    previous_sha256 BLOB,
    previous_until INTEGER,
    scopes TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    state TEXT NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    agreed TEXT NOT NULL,
    examples_train INTEGER NOT NULL,
    examples_validation INTEGER NOT NULL,
    example_bytes INTEGER NOT NULL,
    failure TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_of_tenant ON jobs (tenant, created, id);
CREATE INDEX jobs_in_state ON jobs (state, tenant);

CREATE TABLE events (
    job BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    cursor INTEGER NOT NULL,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job, cursor)
) STRICT, WITHOUT ROWID;

CREATE TABLE adapters (
    id BLOB NOT NULL PRIMARY KEY,
    job BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX adapters_of_tenant ON adapters (tenant, created, id);
CREATE INDEX adapters_of_job ON adapters (job);
";

/// What fixes a run's randomness: a job that is taken up again is the same run.
const SEEDS: &str = "
ALTER TABLE jobs ADD COLUMN seed BLOB;
";

/// Adapters that say what they fit. No release has written a row into the table that goes.
const ADAPTERS: &str = "
DROP TABLE adapters;
CREATE TABLE adapters (
    id BLOB NOT NULL PRIMARY KEY,
    job BLOB REFERENCES jobs (id) ON DELETE CASCADE,
    tenant INTEGER NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    model TEXT NOT NULL,
    cut INTEGER NOT NULL,
    n_classes INTEGER NOT NULL,
    is_default INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX adapters_of_tenant ON adapters (tenant, created, id);
CREATE INDEX adapters_of_job ON adapters (job);
CREATE UNIQUE INDEX default_adapters ON adapters (tenant, model, cut) WHERE is_default = 1;
";

/// The schema of a file.
///
/// # Errors
///
/// `NewerSchema` and `ForeignSchema` for one that this version does not know.
pub(super) fn known_schema(connection: &Connection) -> Result<u32, StateError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let actual = u32::try_from(found).map_err(|_| StateError::ForeignSchema { actual: found })?;
    if actual > SCHEMA {
        return Err(StateError::NewerSchema {
            expected: SCHEMA,
            actual,
        });
    }
    Ok(actual)
}

/// Brings a file to the schema of this version: all steps or none.
///
/// # Errors
///
/// `NewerSchema` for a file of a later version, which is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StateError> {
    // Immediate: two processes that open a new file do not both begin.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let actual = known_schema(&transaction)?;
    for step in &STEPS[actual as usize..] {
        transaction.execute_batch(step)?;
    }
    if actual < SCHEMA {
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    Ok(transaction.commit()?)
}
