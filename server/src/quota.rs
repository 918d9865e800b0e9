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
    /// Jobs in the queue: those that have not ended. They take their steps in turn.
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
        })
    }

    /// Counts bytes that are going to be stored.
    ///
    /// # Errors
    ///
    /// `StoreBytes`; then nothing is counted.
    pub fn take_bytes(
        self: &Arc<Self>,
        tenant: TenantId,
        bytes: u64,
    ) -> Result<StoreShare, QuotaError> {
        let max = self.limits.store_bytes_max;
        let mut all = self.usage();
        let usage = all.entry(tenant).or_default();
        let after = usage.store_bytes.saturating_add(bytes);
        if after > max {
            return Err(QuotaError::StoreBytes { max });
        }
        usage.store_bytes = after;
        Ok(self.share(tenant, bytes))
    }

    /// Counts bytes that are on disk already, as many as they are: an earlier process took them.
    pub fn find_bytes(self: &Arc<Self>, tenant: TenantId, bytes: u64) -> StoreShare {
        let mut all = self.usage();
        let usage = all.entry(tenant).or_default();
        usage.store_bytes = usage.store_bytes.saturating_add(bytes);
        self.share(tenant, bytes)
    }

    fn share(self: &Arc<Self>, tenant: TenantId, bytes: u64) -> StoreShare {
        StoreShare {
            quotas: self.clone(),
            tenant,
            bytes,
        }
    }

    /// Holds that a run may begin; `open` jobs of the tenant have not ended.
    ///
    /// # Errors
    ///
    /// `QueuedJobs`, `StepsPerHour`.
    pub fn check_run(
        &self,
        tenant: TenantId,
        open: u32,
        now: UnixMillis,
    ) -> Result<(), QuotaError> {
        let QuotaLimits {
            queued_jobs_max,
            steps_per_hour_max: max,
            ..
        } = self.limits;
        if open >= queued_jobs_max {
            return Err(QuotaError::QueuedJobs {
                max: queued_jobs_max,
            });
        }
        let mut all = self.usage();
        let usage = all.entry(tenant).or_default();
        match usage.steps.wait_secs(minute(now), max) {
            Some(retry_secs) => Err(QuotaError::StepsPerHour { max, retry_secs }),
            None => Ok(()),
        }
    }

    /// Counts steps that were taken.
    pub fn count_steps(&self, tenant: TenantId, steps: u32, now: UnixMillis) {
        let mut all = self.usage();
        let usage = all.entry(tenant).or_default();
        usage.steps.count(minute(now), steps.into());
    }

    fn usage(&self) -> MutexGuard<'_, HashMap<TenantId, Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session of its tenant's. It counts until it is dropped.
#[derive(Debug)]
pub struct SessionShare {
    quotas: Arc<Quotas>,
    tenant: TenantId,
}

impl Drop for SessionShare {
    fn drop(&mut self) {
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        usage.sessions = usage.sessions.saturating_sub(1);
    }
}

/// Bytes on disk of its tenant's. They count until it is dropped.
#[derive(Debug)]
pub struct StoreShare {
    quotas: Arc<Quotas>,
    tenant: TenantId,
    bytes: u64,
}

impl StoreShare {
    /// Takes over the bytes of another share of the same tenant.
    pub fn add(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for StoreShare {
    fn drop(&mut self) {
        let mut all = self.quotas.usage();
        let usage = all.entry(self.tenant).or_default();
        usage.store_bytes = usage.store_bytes.saturating_sub(self.bytes);
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
        let mut first = quotas.take_bytes(ONE, 60).unwrap();
        let refused = QuotaError::StoreBytes { max: 100 };
        let take = |bytes| quotas.take_bytes(ONE, bytes);
        assert_eq!(take(41).unwrap_err(), refused);
        let second = take(40).unwrap();
        assert_eq!(take(1).unwrap_err(), refused);
        assert_eq!(take(u64::MAX).unwrap_err(), refused);
        // Whoever holds both shares holds all bytes.
        first.add(second);
        assert_eq!(take(1).unwrap_err(), refused);
        drop(first);
        drop(take(100).unwrap());
        quotas.take_bytes(OTHER, 100).unwrap();
    }

    /// What an earlier process has stored is not refused, and counts.
    #[test]
    fn bytes_that_are_found_count_above_the_limit_too() {
        let quotas = quotas();
        let found = [70, 70].map(|bytes| quotas.find_bytes(ONE, bytes));
        assert!(quotas.take_bytes(ONE, 1).is_err());
        let [first, second] = found;
        drop(first);
        let taken = quotas.take_bytes(ONE, 30).unwrap();
        assert!(quotas.take_bytes(ONE, 1).is_err());
        drop((second, taken));
        assert!(quotas.take_bytes(ONE, 100).is_ok());
    }

    #[test]
    fn as_many_open_jobs_as_there_may_be_take_no_run() {
        let quotas = quotas();
        assert_eq!(quotas.check_run(ONE, 2, at_minute(0)), Ok(()));
        let refused = QuotaError::QueuedJobs { max: 3 };
        assert_eq!(quotas.check_run(ONE, 3, at_minute(0)), Err(refused));
    }

    #[test]
    fn steps_leave_the_hour_as_it_passes() {
        let quotas = quotas();
        let check = |minute| quotas.check_run(ONE, 0, at_minute(minute));
        quotas.count_steps(ONE, 4, at_minute(100));
        quotas.count_steps(ONE, 5, at_minute(110));
        assert_eq!(check(110), Ok(()));
        quotas.count_steps(ONE, 1, at_minute(110));
        // The four of minute 100 are out at minute 160.
        let refused = |retry_secs| {
            Err(QuotaError::StepsPerHour {
                max: 10,
                retry_secs,
            })
        };
        assert_eq!(check(110), refused(50 * 60));
        assert_eq!(check(159), refused(60));
        assert_eq!(check(160), Ok(()));
        quotas.count_steps(ONE, 10, at_minute(160));
        assert_eq!(check(160), refused(60 * 60));
        assert_eq!(check(100_000), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_frees_nothing() {
        let quotas = quotas();
        quotas.count_steps(ONE, 10, at_minute(100));
        for now in [at_minute(5), UnixMillis(-1), at_minute(100)] {
            assert!(quotas.check_run(ONE, 0, now).is_err());
        }
    }
}
