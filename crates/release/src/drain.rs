//! The drain of pods that others want out of service: evictions, cordons, foreign operations.
//!
//! ```text
//! label operating…/ID (anybody) ─> gate False ─> label preparing…/ID ─> traffic ends ─> label operate…/ID ─> the operation
//! label gone                    ─> leftovers gone, gate True
//! ```
//!
//! A cordon is an operation of its own, `operating…/cordon`: it begins here for the pods of the node that take part, never
//! for the last available pod of an owner, and ends with the cordon.
//!
//! Invariants: a gate is opened only by who closed it; an operation is let go on only when nobody sends the pod traffic
//! any more, or when its owner said that the deadline forces it.
//! What is absent: updates and deletions by a pod's own workload, which drains for itself; who counts requests.

mod observe;
mod plan;

pub use observe::{Controller, Observed, Peer};
pub use plan::{CORDON, plan};
