//! Jobs and their events as rows.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::adapters;
use crate::state::StateError;
use crate::state::events::{EventRecord, FailureClass, JobEvent};
use crate::state::records::{
    ExampleCounts, JobKey, JobPlace, JobRecord, NewJob, OpenJob, Removed, RunSeed, TenantId,
    UnixMillis,
};
use crate::state::transition::JobState;

pub(super) fn create(
    transaction: &Transaction<'_>,
    job: &NewJob,
    now: UnixMillis,
) -> Result<(), StateError> {
    let agreed = serde_json::to_string(&job.agreed).map_err(StateError::Json)?;
    transaction.execute(
        "INSERT INTO jobs (id, tenant, state, created, agreed, examples_train,
             examples_validation, example_bytes, seed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            job.key.0,
            job.tenant.0,
            JobState::Queued.name(),
            now.0,
            agreed,
            job.examples.train,
            job.examples.validation,
            signed(job.examples.bytes),
            job.seed.0,
        ],
    )?;
    insert_event(transaction, job.key, 1, &JobEvent::Queued, now)
}

const SELECT: &str = "SELECT id, state, created, started, ended, agreed, examples_train,
    examples_validation, example_bytes, failure, tenant, seed FROM jobs";

/// The states of a job that has not ended, as SQL.
const OPEN: &str = "state IN ('queued', 'running', 'paused')";

pub(super) fn one(
    connection: &Connection,
    tenant: TenantId,
    key: JobKey,
) -> Result<Option<JobRecord>, StateError> {
    connection
        .prepare(&format!("{SELECT} WHERE tenant = ?1 AND id = ?2"))?
        .query_and_then(params![tenant.0, key.0], record)?
        .next()
        .transpose()
}

pub(super) fn list(
    connection: &Connection,
    tenant: TenantId,
    after: Option<JobPlace>,
    limit: u32,
) -> Result<Vec<JobRecord>, StateError> {
    // Before the first place everything is earlier.
    let (created, key) = after.map_or((i64::MAX, [0xff; 16]), |place| {
        (place.created.0, place.key.0)
    });
    connection
        .prepare(&format!(
            "{SELECT} WHERE tenant = ?1 AND (created, id) < (?2, ?3)
             ORDER BY created DESC, id DESC LIMIT ?4"
        ))?
        .query_and_then(params![tenant.0, created, key, limit], record)?
        .collect()
}

pub(super) fn count_open(connection: &Connection, tenant: TenantId) -> Result<u32, StateError> {
    Ok(connection.query_row(
        &format!("SELECT count(*) FROM jobs WHERE tenant = ?1 AND {OPEN}"),
        [tenant.0],
        |row| row.get(0),
    )?)
}

pub(super) fn open(connection: &Connection) -> Result<Vec<OpenJob>, StateError> {
    connection
        .prepare(&format!("{SELECT} WHERE {OPEN} ORDER BY created, id"))?
        .query_and_then([], |row| {
            Ok(OpenJob {
                tenant: TenantId(row.get(10)?),
                seed: row.get::<_, Option<_>>(11)?.map(RunSeed),
                record: record(row)?,
            })
        })?
        .collect()
}

pub(super) fn state(connection: &Connection, key: JobKey) -> Result<Option<JobState>, StateError> {
    let name: Option<String> = connection
        .query_row("SELECT state FROM jobs WHERE id = ?1", [key.0], |row| {
            row.get(0)
        })
        .optional()?;
    name.map(|name| read_state(&name)).transpose()
}

pub(super) fn append(
    transaction: &Transaction<'_>,
    key: JobKey,
    events: &[JobEvent],
    now: UnixMillis,
) -> Result<JobState, StateError> {
    let mut state = self::state(transaction, key)?.ok_or(StateError::UnknownJob)?;
    let mut cursor: i64 = transaction.query_row(
        "SELECT coalesce(max(cursor), 0) FROM events WHERE job = ?1",
        [key.0],
        |row| row.get(0),
    )?;
    for event in events {
        if state.has_ended() {
            return Err(StateError::HasEnded { state });
        }
        // Whoever says again where the job is changes nothing.
        if let Some(to) = event.leads_to().filter(|&to| to != state) {
            state = state.become_state(to)?;
            enter(transaction, key, state, event, now)?;
        }
        cursor += 1;
        insert_event(transaction, key, cursor, event, now)?;
    }
    Ok(state)
}

fn enter(
    transaction: &Transaction<'_>,
    key: JobKey,
    state: JobState,
    event: &JobEvent,
    now: UnixMillis,
) -> Result<(), StateError> {
    let started = (state == JobState::Running).then_some(now.0);
    let ended = state.has_ended().then_some(now.0);
    let failure = match event {
        JobEvent::Failed(class) => Some(class.name()),
        _ => None,
    };
    transaction.execute(
        "UPDATE jobs SET state = ?2, started = coalesce(started, ?3), ended = ?4, failure = ?5
         WHERE id = ?1",
        params![key.0, state.name(), started, ended, failure],
    )?;
    Ok(())
}

fn insert_event(
    transaction: &Transaction<'_>,
    key: JobKey,
    cursor: i64,
    event: &JobEvent,
    now: UnixMillis,
) -> Result<(), StateError> {
    transaction.execute(
        "INSERT INTO events (job, cursor, time, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            key.0,
            cursor,
            now.0,
            event.kind(),
            event.data()?.to_string(),
        ],
    )?;
    Ok(())
}

pub(super) fn events(
    connection: &Connection,
    tenant: TenantId,
    key: JobKey,
    after: u64,
    limit: u32,
    bytes_max: usize,
) -> Result<Option<(Vec<EventRecord>, JobState)>, StateError> {
    let name: Option<String> = connection
        .query_row(
            "SELECT state FROM jobs WHERE tenant = ?1 AND id = ?2",
            params![tenant.0, key.0],
            |row| row.get(0),
        )
        .optional()?;
    let Some(name) = name else {
        return Ok(None);
    };
    let mut statement = connection.prepare(
        "SELECT cursor, time, kind, data FROM events WHERE job = ?1 AND cursor > ?2
         ORDER BY cursor LIMIT ?3",
    )?;
    let after = signed(after);
    let mut rows = statement.query(params![key.0, after, limit])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let data: String = row.get(3)?;
        bytes += data.len();
        found.push(EventRecord {
            cursor: unsigned(row, 0)?,
            time_millis: UnixMillis(row.get(1)?),
            kind: row.get(2)?,
            data: serde_json::from_str(&data)
                .map_err(|_| StateError::Unreadable { what: "event" })?,
        });
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(Some((found, read_state(&name)?)))
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    tenant: TenantId,
    key: JobKey,
) -> Result<Option<Removed>, StateError> {
    let Some(job) = one(transaction, tenant, key)? else {
        return Ok(None);
    };
    if !job.state.has_ended() {
        // Whoever wants it gone ends it first: something may be at work on it.
        return Err(StateError::NotEnded { state: job.state });
    }
    let events = transaction.execute("DELETE FROM events WHERE job = ?1", [key.0])?;
    let adapters = adapters::remove_of_job(transaction, key)?;
    transaction.execute("DELETE FROM jobs WHERE id = ?1", [key.0])?;
    Ok(Some(Removed {
        events: events as u64,
        adapters,
    }))
}

/// The last validation that was the best until then.
pub(super) fn best_validation(
    connection: &Connection,
    key: JobKey,
) -> Result<Option<serde_json::Value>, StateError> {
    let mut statement = connection.prepare(
        "SELECT data FROM events WHERE job = ?1 AND kind = 'validation' ORDER BY cursor DESC",
    )?;
    let mut rows = statement.query([key.0])?;
    while let Some(row) = rows.next()? {
        let data: String = row.get(0)?;
        let data: serde_json::Value =
            serde_json::from_str(&data).map_err(|_| StateError::Unreadable { what: "event" })?;
        if data["best"] == true {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn record(row: &Row<'_>) -> Result<JobRecord, StateError> {
    let state: String = row.get(1)?;
    let agreed: String = row.get(5)?;
    let failure: Option<String> = row.get(9)?;
    let failure = failure.map(|name| {
        FailureClass::from_name(&name).ok_or(StateError::Unreadable {
            what: "class of failure",
        })
    });
    Ok(JobRecord {
        key: JobKey(row.get(0)?),
        state: read_state(&state)?,
        created: UnixMillis(row.get(2)?),
        started: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
        ended: row.get::<_, Option<i64>>(4)?.map(UnixMillis),
        agreed: serde_json::from_str(&agreed)
            .map_err(|_| StateError::Unreadable { what: "agreement" })?,
        examples: ExampleCounts {
            train: row.get(6)?,
            validation: row.get(7)?,
            bytes: unsigned(row, 8)?,
        },
        failure: failure.transpose()?,
    })
}

fn read_state(name: &str) -> Result<JobState, StateError> {
    JobState::from_name(name).ok_or(StateError::Unreadable { what: "state" })
}

/// SQLite's numbers are signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StateError> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| StateError::Unreadable { what: "number" })
}
