//! Everything that the daemon logs, at the finest level: all servers of this process share one log.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use server::telemetry::{self, LogFormat};

static SET_UP: Once = Once::new();
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes into the captured log.
#[derive(Debug, Clone, Copy)]
struct Capture;

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to capture; further calls change nothing.
pub fn capture() {
    SET_UP.call_once(|| {
        telemetry::init(LogFormat::Json, "trace", || Capture)
            .expect("the filter is well formed and nothing else in this process sets a log up");
    });
}

/// What was logged so far.
pub fn captured() -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&lines).into_owned()
}
