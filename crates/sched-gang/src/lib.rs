//! Gangs: pods that start together or not at all, as one state machine over all gangs of a cluster.
//!
//! ```text
//!            ready()?           placed()                  released            bound()
//! Pending ──────────▶ tried ─────────────▶ Holding ────────────────▶ Binding ─────────▶ Bound
//!    ▲                  │ failed()            │ expire(), failed() of a mate    │ bind_failed()
//!    └──────────────────┴─────────────────────┴─────────────────────────────────┘
//! ```
//!
//! A member that has found a node holds its place. When every gang of its group has enough members that hold, all of them may be
//! bound at once. Until then a strict gang gives everything back as soon as one member fails or has waited too long; a non-strict
//! one keeps what it has. What comes out are values: whom to bind, which places to give back, when to look again.
//!
//! Invariants: nobody is bound before every gang of the group is complete by its policy; a place is given back exactly once; no place
//! is held beyond its time; a gang whose members are all there and find nodes one after the other starts.
//!
//! Koordinator's words and semantics (a7a1b76, plugin Coscheduling); differences are stated at [`Gangs`]. What is absent: nodes, the
//! queue and its pauses, preemption for whole gangs, network topology, clocks (now is an argument).

mod gangs;
mod ready;
mod status;

pub use gangs::{Gangs, Member, Permit, Place, State};
pub use ready::NotReady;
