//! Jobs between the state and the trainer: runs that outlive their sessions and their process.
//!
//! | file | what |
//! |---|---|
//! | [`runs`] | all runs that go on, and how one begins |
//! | `follower` | takes the reports of one run, writes them down, passes them on |
//! | `backlog` | what a run has reported and the full disk did not take |
//! | [`attached`] | a session's end of a run |
//! | [`examples`] | the examples of a session and its runs, and when they go |
//! | `restart` | what an earlier process has left goes on, or has failed |
//! | [`control`] | holding, continuing, ending and deleting a job from outside its session |
//! | [`recorder`] | a run's events on their way into the state |
//!
//! ```text
//! trainer --reports--> follower --> recorder --> state
//!                          '------> attached session, if there is one
//! ```
//!
//! A follower lives as long as its run; a session comes and goes.

pub mod attached;
mod backlog;
pub mod control;
pub mod examples;
mod follower;
pub mod recorder;
mod restart;
pub mod runs;

pub use attached::Attached;
pub use examples::Examples;
pub use runs::{NewRun, Runs};
