//! What is trained: a low-rank adapter beside the frozen top, and the task head.
//!
//! `lora` holds the factors and their place in the forward pass, `peft` reads and writes the files
//! of the Python library of that name. The optimizer is the server's business.

mod config;
mod lora;
pub mod peft;

pub use config::{AdapterError, LoraConfig, Target};
pub use lora::{Adapter, Lora, ParameterName};
