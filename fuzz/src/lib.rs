//! Every decoder of outside input as a function of bytes: none may panic, and what must hold of every input is checked.
//!
//! ```text
//! target = name + fn(&[u8]) + seeds + words
//!    ├─ cargo test ......... replays the kept corpus (`corpus/NAME.pack`) and the seeds
//!    └─ cargo xtask fuzz ... `engine/`: libFuzzer over the same functions, bounded in time and memory per input
//! ```
//!
//! A target that needs several texts takes them from one input, split at NUL. Inputs are made by the engine, never taken from
//! recordings of others.
//!
//! What is absent: the mutation engine itself, files, and sockets. Kubeconfig files and certificates are read by kube-rs and
//! x509-parser, which have fuzzers of their own.

pub mod pack;
mod parts;
pub mod planted;
mod sample;
mod targets;
mod world;

pub use targets::{Target, find, targets};
