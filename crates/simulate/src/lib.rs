//! Replays traces and recordings through placement policies, and compares what comes out.
//!
//! ```text
//! openb lists and orders ─▶ Trace, Order ──▶ openb::run ──┐
//!                                                         ├─▶ Run ─▶ Report ─▶ table, page (HTML, SVG), diff
//! manifests, recordings ──▶ Story ────────▶ cluster::run ─┘
//! decision logs ─▶ log::replay ─▶ LogReport: where other rules would have chosen otherwise
//! a cluster as it stands ──▶ why::Cluster ─▶ Why: why here, why not there, what would have to change
//! ```
//!
//! Everything here is pure: texts come in, values and texts go out; the same input and seed give the same bytes. Files,
//! clusters and the terminal belong to `cli`.
//! What is absent: rules of placement. They are `sched-core`'s and `sched-plugins`' (cluster) and `sched-device`'s (devices).

pub mod cluster;
pub mod log;
mod observer;
pub mod openb;
mod policy;
pub mod report;
mod text;
pub mod why;

pub use observer::{Nobody, Observer};
pub use policy::{AnyPolicy, PolicyName};
pub use report::{Report, Run};
pub use sched_plugins::{ConfigError, Configuration, Profile};
pub use text::{Misread, Source};
