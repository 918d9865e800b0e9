//! Sessions that go on in another connection, over real sockets.
//!
//! | module | what would break it |
//! |---|---|
//! | `alone` | a run that ends too early or too late when its client does not come back |
//! | `cut` | a message that is lost, or has its effect twice, wherever the network fails |
//! | `raw` | a session that somebody else gets, is never let go, or ends where it should not |

mod alone;
pub mod cut;
mod raw;

use std::time::Duration;

use server::limits::Timeouts;
use tests::{Options, TestServer};

use crate::samples::server_with;

/// A daemon whose sessions wait this long for their clients.
async fn waiting(resume: Duration, options: Options) -> TestServer {
    let timeouts = Timeouts {
        resume,
        ..options.timeouts
    };
    server_with(Options {
        timeouts,
        ..options
    })
    .await
}

/// Longer than any of these tests.
const LONG: Duration = Duration::from_secs(120);
