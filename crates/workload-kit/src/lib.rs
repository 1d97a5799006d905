//! What the workload kinds share when they decide: revisions, changes in place, hooks, order, arithmetic.
//!
//! ```text
//! template --revision--> ControllerRevision --inplace::change--> Change --inplace::start--> pod patch
//! pods --census--> Census --Diffs::of(Limits)--> how many to create, delete, update --order--> which
//! ```
//!
//! Everything is a function of what was observed; nothing here knows a kind, a cache or a clock.
//! What is absent: pulling images ahead, changing resources in place, restarts by a node daemon.

pub mod census;
pub mod drain;
pub mod gate;
pub mod ids;
pub mod inplace;
pub mod lifecycle;
pub mod order;
pub mod podfact;
pub mod revision;
