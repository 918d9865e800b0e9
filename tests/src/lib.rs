//! The harness of the integration tests: a daemon on a free port, clients that say what they are
//! told to say.
//!
//! | module | what |
//! |---|---|
//! | [`assets`] | where models and fixtures are |
//! | [`test_server`] | the real daemon in this process, with directories of its own |
//! | [`mod@reference`] | tensors computed by PyTorch, and our models on the same weights |
//! | [`daemon`] | the built daemon as a process of its own, and what it uses |
//! | [`small_disk`] | a disk that can really be full, for it |
//! | [`traffic`] | messages as a client of a small model sends them |
//! | [`messages`] | one of every message |
//! | [`decoders`] | everything that reads bytes of strangers, for fuzzing |
//! | [`raw_client`] | frames over a real WebSocket, without the client's good manners |
//! | [`cutting_proxy`] | a network that loses connections, in front of the daemon |
//! | [`http`] | requests over a real socket, as they are written |
//! | [`log`] | everything that the daemon logs, at the finest level |

pub mod assets;
pub mod browser;
pub mod cutting_proxy;
pub mod daemon;
pub mod decoders;
pub mod http;
pub mod log;
pub mod messages;
pub mod raw_client;
pub mod reference;
pub mod small_disk;
pub mod test_server;
pub mod traffic;

pub use cutting_proxy::{CuttingProxy, Direction, Disturbance, Fault};
pub use raw_client::{RawClient, Received};
pub use test_server::{Options, TestServer};
