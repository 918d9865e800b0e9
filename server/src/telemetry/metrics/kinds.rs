//! Counters, gauges and histograms with what is said of them.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use metrics::Unit;

use super::labels::Closed;

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

/// What is said of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The unit of its values.
    pub unit: Unit,
    /// Its label, if it has one.
    pub label: Option<&'static str>,
    /// What it says, for people.
    pub help: &'static str,
    /// Upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

/// A number that only grows.
#[derive(Debug)]
pub struct Counter(pub(super) Description);

/// Numbers that only grow, one for each value of a label.
#[derive(Debug)]
pub struct Counters<L>(pub(super) Description, PhantomData<fn(L)>);

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge(pub(super) Description);

/// Values, counted by size.
#[derive(Debug)]
pub struct Histogram(pub(super) Description);

impl Counter {
    pub(super) const fn new(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self(describe(Kind::Counter, name, unit, help))
    }

    /// Adds to it.
    pub fn add(&self, count: u64) {
        metrics::counter!(self.0.name).increment(count);
    }
}

impl<L: Closed> Counters<L> {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        let description = describe(Kind::Counter, name, Unit::Count, help);
        let label = Some(L::LABEL);
        Self(
            Description {
                label,
                ..description
            },
            PhantomData,
        )
    }

    /// Counts one.
    pub fn count(&self, value: L) {
        metrics::counter!(self.0.name, L::LABEL => value.word()).increment(1);
    }

    /// Makes every value visible as 0, so that the first one is seen as a change.
    pub(in crate::telemetry) fn begin(&self) {
        for value in L::ALL {
            metrics::counter!(self.0.name, L::LABEL => value.word()).increment(0);
        }
    }
}

impl Gauge {
    pub(super) const fn new(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self(describe(Kind::Gauge, name, unit, help))
    }

    /// Sets it.
    pub fn set(&self, value: f64) {
        metrics::gauge!(self.0.name).set(value);
    }

    /// Adds one until the returned value is dropped.
    #[must_use]
    pub fn hold(&'static self) -> Held {
        self.up();
        Held(self)
    }

    /// Adds one.
    pub fn up(&self) {
        metrics::gauge!(self.0.name).increment(1.0);
    }

    /// Takes some away.
    pub fn down(&self, count: usize) {
        metrics::gauge!(self.0.name).decrement(count as f64);
    }
}

/// One that a gauge counts.
#[derive(Debug)]
pub struct Held(&'static Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.down(1);
    }
}

impl Histogram {
    pub(super) const fn new(
        name: &'static str,
        unit: Unit,
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        let description = describe(Kind::Histogram, name, unit, help);
        Self(Description {
            buckets,
            ..description
        })
    }

    /// Counts a value.
    pub fn record(&self, value: f64) {
        metrics::histogram!(self.0.name).record(value);
    }

    /// Counts a time, in seconds.
    pub fn record_time(&self, time: Duration) {
        self.record(time.as_secs_f64());
    }

    /// Does something and counts how long it took.
    pub fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.record_time(started.elapsed());
        result
    }
}

pub(super) const fn describe(
    kind: Kind,
    name: &'static str,
    unit: Unit,
    help: &'static str,
) -> Description {
    Description {
        name,
        kind,
        unit,
        label: None,
        help,
        buckets: &[],
    }
}
