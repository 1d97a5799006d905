//! Elastic quotas: what each may use now, who may start, who gives way.
//!
//! ```text
//! ElasticQuota ─▶ QuotaWords ─set_quota─▶ Forest ─▶ Tree ─runtime()─▶ what each may use now
//! Pod ─▶ PodFact ─set_pod, place, remove─▶   │          ├─admit()──▶ may this pod start?
//!                                            │          ├─make_room()▶ which pods of the quota must go for it
//!                                            └─▶ check: is the object right?   └─overused()─▶ who is to give back
//! ```
//!
//! Koordinator's rules: unused minima are lent, what is left is shared by weight with the largest remainder first, so that nothing
//! is lost to rounding and the same tree always gives the same numbers. Whole numbers only. Invariants: the tree after any sequence
//! of changes equals the one built from what remains; a runtime is never above request nor (guarantees apart) below the smaller of
//! request and minimum; a pod's change costs the depth of its quota, not the number of quotas.
//!
//! Source: koordinator a7a1b76, plugin ElasticQuota and its webhook. What is absent: clocks (now is an argument), the choice of a
//! node among victims, `ElasticQuotaProfile`, and the writing of status.

mod admit;
pub mod check;
mod forest;
mod split;
mod tree;
mod victims;

pub use admit::Refused;
pub use forest::Forest;
pub use split::{Share, split};
pub use tree::{DEPTH_MAX, PodFact, Settings, Standing, Tree, TreeError};
pub use victims::{Overuse, Revoker, Victim};
