//! What is trained, and how: a low-rank adapter beside frozen blocks, and the task head.
//!
//! | file | what |
//! |---|---|
//! | `config` | settings that cannot be built invalid |
//! | `dropout` | what an adapter does not read in a step |
//! | `name` | what a trained matrix is called |
//! | `lora` | the matrices and their place in the forward pass |
//! | `loss` | cross-entropy, and the sum of squares of some gradients |
//! | `optimizer` | AdamW, clipping, schedule |
//! | [`peft`] | the files of the Python library of that name |
//! | [`archive`] | both of them as one tar file |
//!
//! Whoever holds matrices that are trained uses the same code: the server for the top, the client for
//! an adapter in the bottom and for a task head whose labels stay with it.

pub mod archive;
mod config;
mod dropout;
mod lora;
mod loss;
mod name;
mod optimizer;
pub mod peft;

pub use config::{AdapterError, LoraConfig, Target};
pub use lora::{Adapter, Lora};
pub use loss::{cross_entropy, gradient_square};
pub use name::ParameterName;
pub use optimizer::{AdapterOptimizer, Moments, Schedule};
