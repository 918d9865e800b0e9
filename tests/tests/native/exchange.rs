//! Runs that are taken step by step: labels at the client, an adapter in the bottom, and both.
//!
//! | file | what it holds |
//! |---|---|
//! | `steps` | the step code of both sides against PyTorch, and what of it travels |
//! | `runs` | the trainer's run in all four combinations: one order, one result |
//! | `resumed` | a run, with its client or alone, that is interrupted at every step |
//! | `sockets` | a client without manners in a run that waits for it |
//! | `clients` | the client's library against a real daemon, all four combinations |

mod clients;
mod resumed;
mod runs;
mod sockets;
mod steps;
