//! How much one tenant may have at the same time, or in an hour.
//!
//! The counters are of this process: they begin at nothing when the daemon starts. They know
//! neither clock nor sockets; whoever counts says when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::state::{TenantId, UnixMillis};

/// What one tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Sessions at the same time.
    pub sessions_max: u32,
    /// Bytes of activations on disk, all sessions together.
    pub store_bytes_max: u64,
    /// Bytes of kept adapters on disk.
    pub adapter_bytes_max: u64,
    /// Jobs that wait for their turn.
    pub queued_jobs_max: u32,
    /// Optimizer steps in an hour. A run that has begun goes on; the next one waits.
    pub steps_per_hour_max: u64,
}

impl Default for QuotaLimits {
    fn default() -> Self {
        Self {
            // As many as the daemon takes from all by default.
            sessions_max: 16,
            store_bytes_max: 256 * 1024 * 1024 * 1024,
            adapter_bytes_max: 4 * 1024 * 1024 * 1024,
            queued_jobs_max: 64,
            steps_per_hour_max: 1_000_000,
        }
    }
}

/// A tenant has as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// Sessions.
    #[error("this tenant may have {max} sessions at the same time, and has them")]
    Sessions {
        /// `sessions_max`.
        max: u32,
    },
    /// Bytes on disk.
    #[error("this tenant may store {max} bytes; these would be more")]
    StoreBytes {
        /// `store_bytes_max`.
        max: u64,
    },
    /// Bytes of adapters.
    #[error("this tenant may keep {max} bytes of adapters; this one would be more")]
    AdapterBytes {
        /// `adapter_bytes_max`.
        max: u64,
    },
    /// Jobs in the queue.
    #[error("this tenant may have {max} jobs in the queue, and has them")]
    QueuedJobs {
        /// `queued_jobs_max`.
        max: u32,
    },
    /// Steps.
    #[error(
        "this tenant may take {max} steps an hour, and has taken them; try again in {retry_secs} seconds"
    )]
    StepsPerHour {
        /// `steps_per_hour_max`.
        max: u64,
        /// When there is room again.
        retry_secs: u64,
    },
}

/// When to ask again for what only somebody's leaving frees.
const RETRY_SECS: u64 = 30;

impl QuotaError {
    /// When it is worth to ask again, for `Retry-After`.
    pub fn retry_after_secs(self) -> u64 {
        match self {
            Self::StepsPerHour { retry_secs, .. } => retry_secs,
            Self::Sessions { .. }
            | Self::StoreBytes { .. }
            | Self::AdapterBytes { .. }
            | Self::QueuedJobs { .. } => RETRY_SECS,
        }
    }
}

/// What one tenant has.
#[derive(Debug, Default)]
struct Usage {
    sessions: u32,
    store_bytes: u64,
    steps: StepWindow,
}

/// The counters of all tenants.
#[derive(Debug)]
pub struct Quotas {
    limits: QuotaLimits,
    usage: Mutex<HashMap<TenantId, Usage>>,
}

impl Quotas {
    /// Nobody has anything.
    pub fn new(limits: QuotaLimits) -> Self {
        Self {
            limits,
            usage: Mutex::default(),
        }
    }

    /// Counts a session; its share ends when it is dropped.
    ///
    /// # Errors
    ///
    /// `Sessions`.
    pub fn open_session(self: &Arc<Self>, tenant: TenantId) -> Result<SessionShare, QuotaError> {
        let mut all = self.usage();
        let usage = all.entry(tenant).or_default();
        if usage.sessions >= self.limits.sessions_max {
            let max = self.limits.sessions_max;
            return Err(QuotaError::Sessions { max });
        }
        usage.sessions += 1;
        Ok(SessionShare {
            quotas: self.clone(),
            tenant,
            store_bytes: 0,
        })
    }

    fn usage(&self) -> MutexGuard<'_, HashMap<TenantId, Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one session has of its tenant's share. It gives everything but the steps back when it is
/// dropped.
#[derive(Debug)]
pub struct SessionShare {
    quotas: Arc<Quotas>,
    tenant: TenantId,
    store_bytes: u64,
}

impl SessionShare {
    /// Counts bytes that are going to be stored.
    ///
    /// # Errors
    ///
    /// `StoreBytes`; then nothing is counted.
    pub fn take_bytes(&mut self, bytes: u64) -> Result<(), QuotaError> {
        let max = self.quotas.limits.store_bytes_max;
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        let after = usage.store_bytes.saturating_add(bytes);
        if after > max {
            return Err(QuotaError::StoreBytes { max });
        }
        usage.store_bytes = after;
        self.store_bytes += bytes;
        Ok(())
    }

    /// Gives bytes back that were not stored after all.
    pub fn give_back_bytes(&mut self, bytes: u64) {
        let bytes = bytes.min(self.store_bytes);
        self.store_bytes -= bytes;
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        usage.store_bytes = usage.store_bytes.saturating_sub(bytes);
    }

    /// Holds that a run may begin; `queued` jobs of the tenant wait already.
    ///
    /// # Errors
    ///
    /// `QueuedJobs`, `StepsPerHour`.
    pub fn check_run(&self, queued: u32, now: UnixMillis) -> Result<(), QuotaError> {
        let QuotaLimits {
            queued_jobs_max,
            steps_per_hour_max: max,
            ..
        } = self.quotas.limits;
        if queued >= queued_jobs_max {
            return Err(QuotaError::QueuedJobs {
                max: queued_jobs_max,
            });
        }
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        match usage.steps.wait_secs(minute(now), max) {
            Some(retry_secs) => Err(QuotaError::StepsPerHour { max, retry_secs }),
            None => Ok(()),
        }
    }

    /// Counts steps that were taken.
    pub fn count_steps(&self, steps: u32, now: UnixMillis) {
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        usage.steps.count(minute(now), steps.into());
    }
}

impl Drop for SessionShare {
    fn drop(&mut self) {
        self.give_back_bytes(self.store_bytes);
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        usage.sessions = usage.sessions.saturating_sub(1);
    }
}

fn minute(now: UnixMillis) -> u64 {
    u64::try_from(now.0).unwrap_or(0) / 60_000
}

/// Minutes of an hour.
const MINUTES: usize = 60;

/// Steps of the last hour, by minute.
#[derive(Debug)]
struct StepWindow {
    /// Steps of minute m are at `m % MINUTES`.
    steps: [u64; MINUTES],
    /// The last minute that was seen. A clock that goes back is taken to stand still.
    latest: u64,
}

impl Default for StepWindow {
    fn default() -> Self {
        Self {
            steps: [0; MINUTES],
            latest: 0,
        }
    }
}

impl StepWindow {
    fn count(&mut self, minute: u64, steps: u64) {
        self.move_to(minute);
        self.steps[place(self.latest)] += steps;
    }

    /// Seconds until fewer than `max` steps are in the window; none where that is so.
    fn wait_secs(&mut self, minute: u64, max: u64) -> Option<u64> {
        self.move_to(minute);
        let mut left: u64 = self.steps.iter().sum();
        if left < max {
            return None;
        }
        // The oldest minute leaves first: the one after the latest in the ring.
        for minutes in 1..MINUTES as u64 {
            left -= self.steps[place(self.latest + minutes)];
            if left < max {
                return Some(minutes * 60);
            }
        }
        Some(MINUTES as u64 * 60)
    }

    fn move_to(&mut self, minute: u64) {
        let passed = minute.saturating_sub(self.latest);
        for passing in 1..=passed.min(MINUTES as u64) {
            self.steps[place(self.latest + passing)] = 0;
        }
        self.latest += passed;
    }
}

fn place(minute: u64) -> usize {
    (minute % MINUTES as u64) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ONE: TenantId = TenantId(1);
    const OTHER: TenantId = TenantId(2);

    fn quotas() -> Arc<Quotas> {
        Arc::new(Quotas::new(QuotaLimits {
            sessions_max: 2,
            store_bytes_max: 100,
            adapter_bytes_max: 100,
            queued_jobs_max: 3,
            steps_per_hour_max: 10,
        }))
    }

    fn at_minute(minute: i64) -> UnixMillis {
        UnixMillis(minute * 60_000)
    }

    #[test]
    fn sessions_are_counted_a_tenant_and_given_back() {
        let quotas = quotas();
        let first = quotas.open_session(ONE).unwrap();
        let second = quotas.open_session(ONE).unwrap();
        let refused = quotas.open_session(ONE).unwrap_err();
        assert_eq!(refused, QuotaError::Sessions { max: 2 });
        assert!(refused.retry_after_secs() > 0);
        assert!(quotas.open_session(OTHER).is_ok());
        drop(first);
        assert!(quotas.open_session(ONE).is_ok());
        drop(second);
    }

    #[test]
    fn bytes_of_all_sessions_count_together() {
        let quotas = quotas();
        let mut first = quotas.open_session(ONE).unwrap();
        let mut second = quotas.open_session(ONE).unwrap();
        first.take_bytes(60).unwrap();
        let refused = QuotaError::StoreBytes { max: 100 };
        assert_eq!(second.take_bytes(41), Err(refused));
        second.take_bytes(40).unwrap();
        second.give_back_bytes(10);
        assert_eq!(first.take_bytes(11), Err(refused));
        assert_eq!(first.take_bytes(u64::MAX), Err(refused));
        drop(second);
        first.take_bytes(40).unwrap();
        quotas.open_session(OTHER).unwrap().take_bytes(100).unwrap();
    }

    #[test]
    fn a_full_queue_takes_no_run() {
        let session = quotas().open_session(ONE).unwrap();
        assert_eq!(session.check_run(2, at_minute(0)), Ok(()));
        let refused = QuotaError::QueuedJobs { max: 3 };
        assert_eq!(session.check_run(3, at_minute(0)), Err(refused));
    }

    #[test]
    fn steps_leave_the_hour_as_it_passes() {
        let session = quotas().open_session(ONE).unwrap();
        session.count_steps(4, at_minute(100));
        session.count_steps(5, at_minute(110));
        assert_eq!(session.check_run(0, at_minute(110)), Ok(()));
        session.count_steps(1, at_minute(110));
        // The four of minute 100 are out at minute 160.
        let refused = |retry_secs| {
            Err(QuotaError::StepsPerHour {
                max: 10,
                retry_secs,
            })
        };
        assert_eq!(session.check_run(0, at_minute(110)), refused(50 * 60));
        assert_eq!(session.check_run(0, at_minute(159)), refused(60));
        assert_eq!(session.check_run(0, at_minute(160)), Ok(()));
        session.count_steps(10, at_minute(160));
        assert_eq!(session.check_run(0, at_minute(160)), refused(60 * 60));
        assert_eq!(session.check_run(0, at_minute(100_000)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_frees_nothing() {
        let session = quotas().open_session(ONE).unwrap();
        session.count_steps(10, at_minute(100));
        assert!(session.check_run(0, at_minute(5)).is_err());
        assert!(session.check_run(0, UnixMillis(-1)).is_err());
        assert!(session.check_run(0, at_minute(100)).is_err());
    }
}
