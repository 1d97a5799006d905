//! What all sets that own their pods directly have in common: everything but how their kind is spelled.
//!
//! ```text
//! observe ─> Observed ─> View (revisions, limits, members) ─┬─ claim    release strays, clean claims
//!                                                           ├─ scale    create, delete          ┐ one of both
//!                                                           ├─ update   begin to change pods    ┘ per look
//!                                                           │    └─ drain: a pod leaves traffic before either
//!                                                           ├─ refresh  gates, hooks, graces of all other pods
//!                                                           ├─ status   counts and conditions
//!                                                           └─ tidy     podsToDelete, old revisions
//! ```
//!
//! A kind brings its object into the form that is planned with: [`Set`] and the spec of a CloneSet, which has every field
//! of every kind. Invariants: an available pod is taken out of service only while enough others are available; a pod's
//! gate is closed, and its traffic at an end, before its containers change or it is deleted; the gate is opened only for
//! the version in which they were seen running; every step can be repeated from what is stored.

mod announce;
mod claim;
mod drain;
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

pub use observe::{Observed, Set};
pub use plan::plan;
