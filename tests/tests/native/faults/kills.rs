//! A process that is killed again and again.

use super::figures::{Row, difference};
use crate::durable::killed::killed;
use crate::durable::{EPOCHS, undisturbed};

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn at_20_random_steps() {
    let run = killed(20, 20).await;
    let steps: Vec<String> = run.killed_at.iter().map(u32::to_string).collect();
    let (steps, of) = (steps.join(", "), 4 * EPOCHS);
    Row {
        fault: "process killed",
        what: format!("SIGKILL in one run of {of} steps; on disk were steps {steps} (0: none yet)"),
        struck: run.killed_at.len(),
        lost: run.lost,
        twice: run.twice,
        difference: difference(undisturbed().await, &run.adapter),
        ..Row::default()
    }
    .show();
}
