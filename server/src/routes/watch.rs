//! The events of a job as they happen, as server-sent events.
//!
//! A watcher asks the state again and again: the log is the one source, whoever writes it. A stream
//! ends with its job, with the daemon, and after [`WATCH_MAX`], so that a token that was revoked
//! does not see for long; a browser then connects again by itself and says where it was.
//!
//! Source: the `text/event-stream` format, HTML Living Standard, section 9.2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::State;
use super::jobs::EVENTS_BYTES_MAX;
use super::paging::LIMIT_MAX;
use super::refusal::ApiError;
use crate::state::{EventRecord, JobKey, TenantId};

/// Streams at the same time: each asks the state twice a second.
pub(super) const WATCHERS_MAX: usize = 256;

/// How long a stream waits before it asks again.
const POLL: Duration = Duration::from_millis(500);

/// How long a stream lasts.
const WATCH_MAX: Duration = Duration::from_secs(5 * 60);

/// A watcher of one job.
struct Watcher {
    state: Arc<State>,
    tenant: TenantId,
    job: JobKey,
    after: u64,
    until: Instant,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

/// The cursor that a browser saw last.
///
/// # Errors
///
/// `Query` for what no event carried.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    headers
        .get("last-event-id")
        .map(|value| {
            let text = value.to_str().map_err(|_| ApiError::Query)?;
            text.parse().map_err(|_| ApiError::Query)
        })
        .transpose()
}

/// Streams the events of a tenant's job behind a cursor.
///
/// # Errors
///
/// `Watchers` when there are too many.
pub(super) fn stream(
    state: Arc<State>,
    tenant: TenantId,
    job: JobKey,
    after: u64,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let place = state.watchers.clone().try_acquire_owned();
    let watcher = Watcher {
        tenant,
        job,
        after,
        until: Instant::now() + WATCH_MAX,
        has_ended: false,
        _place: place.map_err(|_| ApiError::Watchers)?,
        state,
    };
    let pages = stream::unfold(watcher, |mut watcher| async move {
        let page = watcher.next().await?;
        Some((page, watcher))
    });
    let events = pages
        .flat_map(stream::iter)
        .map(|event| Ok(written(&event)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

impl Watcher {
    /// Waits for further events; none when the stream ends.
    async fn next(&mut self) -> Option<Vec<EventRecord>> {
        while !self.has_ended && Instant::now() < self.until {
            let (tenant, job, after) = (self.tenant, self.job, self.after);
            let found = self
                .state
                .app
                .state
                .call(move |store| store.events(tenant, job, after, LIMIT_MAX, EVENTS_BYTES_MAX))
                .await;
            let (events, state) = match found {
                Ok(found) => found?,
                Err(error) => {
                    tracing::error!(%error, "a job's events cannot be read");
                    return None;
                }
            };
            if let Some(last) = events.last() {
                self.after = last.cursor;
                return Some(events);
            }
            // Nothing follows the end, and everything before it was sent.
            self.has_ended = state.has_ended();
            if !self.has_ended {
                let shutdown = &self.state.shutdown;
                tokio::select! {
                    () = shutdown.cancelled() => return None,
                    () = sleep(POLL) => {}
                }
            }
        }
        None
    }
}

/// An event as it is sent: its cursor as the id, its name as the kind.
fn written(event: &EventRecord) -> Event {
    let written = Event::default()
        .id(event.cursor.to_string())
        .event(&event.kind);
    // A record that was read as JSON is written as JSON.
    written
        .json_data(event)
        .unwrap_or_else(|_| Event::default().comment("an event could not be written"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_number() {
        let of = |value: &'static str| {
            let name = axum::http::HeaderName::from_static("last-event-id");
            last_event_id(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
        };
        assert_eq!(of("7").unwrap(), Some(7));
        assert!(of("").is_err() && of("-1").is_err() && of("x").is_err());
        assert_eq!(last_event_id(&HeaderMap::new()).unwrap(), None);
    }
}
