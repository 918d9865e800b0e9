//! What a run has reported and could not be written down, because the disk is full.
//!
//! A full disk is no failure of a run: it trains on in memory, what it reports waits here in order,
//! and is written when somebody has made room. Nobody hears of what is not written.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::trainer::TrainerEvent;

/// Between two tries to write: a person makes room, or another job ends.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// Bytes of reports that may wait: eight confusion matrices of 1,000 classes, or the whole log of
/// an ordinary run.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a report takes beside its lists.
const REPORT_BYTES: usize = 128;

/// Reports that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    reports: VecDeque<TrainerEvent>,
    bytes: usize,
    /// When they are tried next; none while nothing hinders them.
    retry: Option<Instant>,
}

impl Backlog {
    /// Adds the newest report.
    pub(super) fn push(&mut self, report: TrainerEvent) {
        self.bytes += bytes_of(&report);
        self.reports.push_back(report);
    }

    /// Takes the oldest report, to write it.
    pub(super) fn pop(&mut self) -> Option<TrainerEvent> {
        let report = self.reports.pop_front()?;
        self.bytes -= bytes_of(&report);
        Some(report)
    }

    /// Puts a report back for which there was no room; says whether that is news.
    pub(super) fn put_back(&mut self, report: TrainerEvent) -> bool {
        self.bytes += bytes_of(&report);
        self.reports.push_front(report);
        self.retry.replace(Instant::now() + RETRY).is_none()
    }

    /// A report was written; says whether others had been waiting for that.
    pub(super) fn goes_on(&mut self) -> bool {
        self.retry.take().is_some()
    }

    /// Whether everything is written.
    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Whether what comes now has to wait.
    pub(super) fn is_held(&self) -> bool {
        self.retry.is_some_and(|retry| Instant::now() < retry)
    }

    /// Whether reports wait for room.
    pub(super) fn waits(&self) -> bool {
        self.retry.is_some()
    }

    /// Whether more waits than is kept in memory.
    pub(super) fn is_too_long(&self) -> bool {
        self.waits() && self.bytes > BYTES_MAX
    }

    /// Waits until it is time for the next try; for ever, where nothing waits.
    pub(super) async fn is_due(&self) {
        match self.retry {
            Some(retry) => sleep_until(retry).await,
            None => std::future::pending().await,
        }
    }
}

fn bytes_of(report: &TrainerEvent) -> usize {
    let list = match report {
        TrainerEvent::Validation(report) => size_of_val(&report.confusion[..]),
        TrainerEvent::CutGradient(_, payload) => payload.0.len(),
        _ => 0,
    };
    REPORT_BYTES + list
}

#[cfg(test)]
mod tests {
    use shared::protocol::message::ValidationReport;

    use super::*;

    fn validation(numbers: usize) -> TrainerEvent {
        TrainerEvent::Validation(ValidationReport {
            step: 1,
            loss: 0.5,
            accuracy: 1.0,
            macro_f1: 1.0,
            confusion: vec![0; numbers],
            best: true,
        })
    }

    /// Breaks when reports change their order, or are tried again without a pause.
    #[tokio::test]
    async fn what_finds_no_room_is_the_first_to_be_tried_again() {
        let mut backlog = Backlog::default();
        for report in [TrainerEvent::Paused, TrainerEvent::Continued] {
            backlog.push(report);
        }
        let first = backlog.pop();
        assert_eq!(first, Some(TrainerEvent::Paused));
        assert!(backlog.put_back(TrainerEvent::Paused), "it is news");
        assert!(backlog.is_held() && backlog.waits());
        backlog.retry = Some(Instant::now()); // so long later
        backlog.is_due().await;
        assert!(!backlog.is_held() && backlog.waits());
        assert_eq!(backlog.pop(), Some(TrainerEvent::Paused));
        assert!(!backlog.put_back(TrainerEvent::Paused), "it is no news");
        assert_eq!(backlog.pop(), Some(TrainerEvent::Paused));
        assert!(backlog.goes_on());
        assert_eq!(backlog.pop(), Some(TrainerEvent::Continued));
        assert!(!backlog.goes_on());
        assert_eq!((backlog.pop(), backlog.bytes), (None, 0));
    }

    #[test]
    fn what_waits_is_bounded_by_its_bytes() {
        let matrix = 1000 * 1000; // 4 bytes each: 8 of them are 32 MB, under 32 MiB
        let mut backlog = Backlog::default();
        for _ in 0..8 {
            backlog.push(validation(matrix));
        }
        assert!(!backlog.is_too_long());
        backlog.push(validation(matrix));
        // Much at once is no trouble while there is room for it.
        assert!(!backlog.is_too_long());
        let first = backlog.pop();
        assert!(first.is_some_and(|first| backlog.put_back(first)));
        assert!(backlog.is_too_long());
    }
}
