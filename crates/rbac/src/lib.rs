//! Role-based access control as Kubernetes has it: what roles and bindings grant, who may grant what, and the roles a
//! cluster begins with.
//!
//! ```text
//! stored roles and bindings ──put, remove──▶ Index ──authorize──▶ Verdict (with its reason)
//!                                              ├────rules────────▶ Held ──confirm──▶ may these rules be granted?
//!                                              └────gathered─────▶ rules of an aggregated ClusterRole
//! policy.table ──objects──▶ what a new cluster has ──repair──▶ what is missing of it in this one
//! ```
//!
//! Invariants: an index that followed every change answers like one that was built from what is there; an object that
//! cannot be read grants nothing; answers do not depend on the order in which objects came.
//!
//! What is absent: requests, users and where they come from (`apiserver`), storage, and every other way to be allowed
//! something (`system:masters`, the rows of this product's own components).

pub mod bootstrap;
mod cover;
mod decide;
mod escalation;
mod index;
mod repair;
mod rule;

pub use cover::{compact, missing};
pub use decide::{Grant, Held, Verdict};
pub use escalation::{confirm, everything};
pub use index::{Aggregation, Index, Kind, Malformed, Missing, RoleRef, Subject};
pub use repair::{Repair, repair};
pub use rule::{Ask, Rule, Who};
