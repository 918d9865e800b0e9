//! The course of a reading: how far it is, whether it is to go on, and rests for everything else on
//! this thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::error::ClientError;
use crate::events::Event;
use crate::transport::breathe;

/// Parts that are told of in all.
const TOLD: u32 = 1_000;

/// Ends a reading from outside, also one that has not begun.
#[derive(Debug, Clone, Default)]
pub struct Stop(Rc<Cell<bool>>);

impl Stop {
    /// Asks the reading to end.
    pub fn ask(&self) {
        self.0.set(true);
    }

    fn check(&self) -> Result<(), ClientError> {
        match self.0.get() {
            true => Err(ClientError::Stopped),
            false => Ok(()),
        }
    }
}

/// How far a reading is.
pub(super) struct Course<'a, F> {
    stop: &'a Stop,
    on_event: RefCell<F>,
    stages: usize,
    ended: Cell<usize>,
    told: Cell<Option<u32>>,
}

impl<'a, F: FnMut(Event)> Course<'a, F> {
    /// The beginning of as many stages.
    pub(super) fn new(stages: usize, stop: &'a Stop, on_event: F) -> Self {
        let course = Self {
            stop,
            on_event: RefCell::new(on_event),
            stages: stages.max(1),
            ended: Cell::new(0),
            told: Cell::new(None),
        };
        course.tell(0.0);
        course
    }

    /// Tells the share of the stage that is done, where that is news.
    pub(super) fn tell(&self, share: f64) {
        let stages = self.ended.get() as f64 + share.clamp(0.0, 1.0);
        let done = (f64::from(TOLD) * stages / self.stages as f64) as u32;
        if self.told.get().is_none_or(|told| done > told) {
            self.told.set(Some(done));
            let total = TOLD;
            (self.on_event.borrow_mut())(Event::Reading { done, total });
        }
    }

    /// One stage is done.
    pub(super) fn end_stage(&self) {
        self.ended.set(self.ended.get() + 1);
        self.tell(0.0);
    }

    /// Rests.
    ///
    /// # Errors
    ///
    /// `ClientError::Stopped` when the reading was asked to end.
    pub(super) async fn rest(&self) -> Result<(), ClientError> {
        self.stop.check()?;
        breathe().await;
        self.stop.check()
    }

    /// Drives work to its end, and rests wherever it waits. Between two polls a rest is taken to its
    /// end: work that only pauses would else be polled again before a browser has looked at its
    /// messages.
    ///
    /// # Errors
    ///
    /// `ClientError::Stopped` when the reading was asked to end; the work is then given up.
    pub(super) async fn drive<O>(&self, work: impl Future<Output = O>) -> Result<O, ClientError> {
        let mut work = pin!(work);
        loop {
            let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            match polled {
                Poll::Ready(output) => return Ok(output),
                Poll::Pending => self.rest().await?,
            }
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))] // the runtime of these tests is native
#[allow(clippy::unwrap_used)]
mod tests {
    use shared::audit::attack::pause;

    use super::*;

    fn done(events: &RefCell<Vec<Event>>) -> Vec<u32> {
        let done = |event: &Event| match event {
            Event::Reading { done, total } if *total == TOLD => *done,
            other => panic!("{other:?}"),
        };
        events.borrow().iter().map(done).collect()
    }

    #[tokio::test]
    async fn stages_are_told_once_and_forwards() {
        let events = RefCell::new(Vec::new());
        let stop = Stop::default();
        let course = Course::new(2, &stop, |event| events.borrow_mut().push(event));
        for share in [0.5, 0.5, 0.2] {
            course.tell(share);
        }
        course.end_stage();
        course.tell(7.0);
        course.end_stage();
        assert_eq!(done(&events), [0, 250, 500, 1000]);
    }

    #[tokio::test]
    async fn work_is_driven_over_its_pauses_and_given_up_at_one() {
        let stop = Stop::default();
        let course = Course::new(1, &stop, |_| {});
        let passed = Cell::new(0);
        let work = || async {
            for _ in 0..3 {
                pause().await;
                passed.set(passed.get() + 1);
            }
            7
        };
        assert_eq!(course.drive(work()).await.unwrap(), 7);
        assert_eq!(passed.get(), 3);
        stop.ask();
        let stopped = course.drive(work()).await;
        assert!(matches!(stopped, Err(ClientError::Stopped)));
        assert_eq!(passed.get(), 3);
    }
}
