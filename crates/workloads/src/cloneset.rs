//! CloneSet: pods owned directly, scaled precisely, updated in place or anew, in the order and at the pace its spec says.
//!
//! ```text
//! observe ─> Observed ─> View (revisions, limits, members) ─┬─ claim    release strays, clean claims
//!                                                           ├─ scale    create, delete          ┐ one of both
//!                                                           ├─ update   begin to change pods    ┘ per look
//!                                                           ├─ refresh  gates, hooks, graces of all other pods
//!                                                           ├─ status   counts and conditions
//!                                                           └─ tidy     podsToDelete, old revisions
//! ```
//!
//! Invariants: an available pod is taken out of service only while enough others are available; a pod's gate is closed
//! before its containers change and opened only for the version in which they were seen running; every step can be
//! repeated from what is stored. What is absent: adoption of pods without owner (as in OpenKruise), pulling images ahead.

mod claim;
mod history;
mod observe;
mod plan;
mod pods;
mod refresh;
mod scale;
mod status;
mod tidy;
mod update;
mod view;

pub use observe::{Controller, Observed};
pub use plan::plan;
