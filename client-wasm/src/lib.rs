//! The client's half of a session: from a file of private text to a trained classifier.
//!
//! | module | what |
//! |---|---|
//! | [`pipeline`] | `RawText -> TokenIds -> PrivatizedTokenIds -> CutActivations`, in five lines |
//! | [`release`] | the secret behind the noise: one release an example, whatever is asked again |
//! | [`seed`] | predictable randomness, for experiments only |
//! | [`session`] | the state machine of the protocol; knows no socket |
//! | [`job`] | upload, train, predict over any transport |
//! | `link` | a session's way to the server, through one connection after the other |
//! | `exchange` | a run that is taken step by step with the server; `ledger`: what it may ask for |
//! | [`head`], [`bottom_adapter`] | what is trained here: `labels = client`, `bottom = lora` |
//! | [`label_defence`] | noise on the gradients that tell of labels |
//! | [`preview`] | what the server would see |
//! | [`transport`] | bytes: WebSocket in the browser, WebSocket natively, memory in tests |
//! | [`outgoing`] | what a frame that is sent says, read from its bytes, for whoever watches |
//! | [`device`] | WebGPU or the CPU |
//! | [`mod@file`] | a file of labelled texts, and what is wrong with it |
//! | [`artifacts`] | the catalogue: the bottom, its tokenizer and configuration |
//! | [`cache`] | its files: kept from visit to visit, resumed, verified before use |
//! | [`client`] | all of it together: what the page and the command line call |
//! | [`options`], [`events`], [`error`] | what goes in, what comes out, what goes wrong |
//! | `bindings`, `browser` | the JavaScript boundary (wasm only) |

pub mod artifacts;
#[cfg(target_arch = "wasm32")]
mod bindings;
pub mod bottom_adapter;
#[cfg(target_arch = "wasm32")]
mod browser;
pub mod cache;
pub mod client;
pub mod device;
pub mod error;
pub mod events;
mod exchange;
pub mod file;
pub mod head;
pub mod job;
pub mod label_defence;
mod ledger;
mod link;
pub mod options;
pub mod outgoing;
mod part;
pub mod pipeline;
pub mod preview;
pub mod release;
pub mod seed;
pub mod server;
pub mod session;
pub mod transport;
