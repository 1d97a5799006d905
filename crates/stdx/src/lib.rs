//! Small words that every room uses: time, randomness, and the seams through which shells touch the machine.
//!
//! ```text
//! pure rooms   take Time values and a seed
//! shells       take an Env {clock, rng, timer, spawn}
//! os / sim     provide an Env: real, or virtual under one seed
//! ```
//!
//! What is absent: this crate reads no clock and draws no entropy itself; it defines who may be asked.

mod env;
mod rng;
mod time;

pub use env::{BoxFuture, Clock, Env, Spawn, Timer};
pub use rng::{Rng, SeededRng, name_suffix, uid};
pub use time::{Time, TimeError};
