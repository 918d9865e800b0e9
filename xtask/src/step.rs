//! One line when a step starts, one when it ends.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Announces a step and measures how long it takes.
#[must_use = "a step ends with `done` or `already_done`"]
pub(crate) struct Step {
    started: Instant,
}

impl Step {
    /// Prints what begins.
    pub(crate) fn start(what: impl Display) -> Self {
        println!("==> {what}");
        // The programs that run next write to the same terminal.
        let _ = io::stdout().flush();
        Self {
            started: Instant::now(),
        }
    }

    /// Prints what came out and how long it took.
    pub(crate) fn done(self, outcome: impl Display) -> Duration {
        let took = self.started.elapsed();
        println!("    {outcome} ({})", seconds(took));
        took
    }

    /// Prints that there was nothing to do.
    pub(crate) fn already_done(self) -> Duration {
        self.done("already done")
    }
}

/// Formats a duration in seconds with one decimal.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_one_decimal() {
        assert_eq!(seconds(Duration::from_millis(61_250)), "61.2 s");
    }
}
