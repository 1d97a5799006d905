//! The minute that proves it: a release by cells under load, a broken one, a killed control plane, a dead cell, and the
//! same without draining.
//!
//! ```text
//! story ─acts─> cluster (`up`, agents, proxy: processes of their own) <─requests─ load (a process of its own)
//!    └────────── facts, in order of arrival ──────────┴─> chronicle ─judge─> verdicts ─> table, report.html
//! ```
//!
//! The story acts and judges nothing; the judge reads facts and does nothing. What is absent: the transport to the cluster
//! (the caller hands one in), and any knowledge of how the cluster decides. It sees what every client sees.

mod args;
mod cluster;
pub mod facts;
pub mod judge;
pub mod load;
mod mirror;
mod objects;
mod processes;
pub mod report;
mod run;
mod screen;
pub mod steps;
mod story;
#[cfg(test)]
mod testing;

pub use args::Args;
pub use run::run;
