//! Replays traces and recordings through placement policies, and compares what comes out.
//!
//! ```text
//! openb lists and orders ─▶ Trace, Order ──▶ openb::run ──┐
//!                                                         ├─▶ Run ─▶ Report ─▶ table, page (HTML, SVG), diff
//! manifests, recordings ──▶ Story ────────▶ cluster::run ─┘
//! ```
//!
//! Everything here is pure: texts come in, values and texts go out; the same input and seed give the same bytes. Files,
//! clusters and the terminal belong to `cli`.
//! What is absent: rules of placement. They are `sched-core`'s and `sched-plugins`' (cluster) and `sched-device`'s (devices).

pub mod cluster;
mod observer;
pub mod openb;
mod policy;
pub mod report;
mod text;

pub use observer::{Nobody, Observer};
pub use policy::{AnyPolicy, PolicyName};
pub use report::{Report, Run};
pub use text::{Misread, Source};
