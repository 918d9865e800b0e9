//! The real page in headless Chromium against the real daemon, with every byte on record.
//!
//! These tests need a browser and the built page, which `cargo xtask test` brings; without them the
//! search for secrets alone is tested.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod embedded;
mod failures;
mod language;
mod left;
mod page;
mod pictures;
mod reading;
mod rows;
mod search;
mod start;
mod training;
