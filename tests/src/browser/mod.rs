//! The real page in a real browser, with everything that leaves the browser on record.
//!
//! | module | what |
//! |---|---|
//! | [`recorder`] | a proxy in front of the daemon that keeps every byte |
//! | [`downloads`] | a proxy that counts the bytes of answers and loses connections within them |
//! | [`traffic`] | those bytes as requests and unmasked WebSocket messages |
//! | [`secrets`] | what must not be among them, in every encoding that it could have |
//! | [`chromium`] | Chromium and its driver as processes |
//! | [`webdriver`] | the few WebDriver commands that a test needs |
//!
//! It does not know the page: `tests/tests/browser` does.

pub mod chromium;
pub mod downloads;
pub mod recorder;
pub mod secrets;
pub mod traffic;
pub mod webdriver;

pub use chromium::{Chromium, Gpu};
pub use recorder::Recorder;
pub use secrets::Secrets;
pub use traffic::{Opcode, Traffic};
pub use webdriver::Session;
