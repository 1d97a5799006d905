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
//! repeated from what is stored.
//!
//! What differs from OpenKruise (master), and why:
//!
//! | here | there |
//! |---|---|
//! | closing the gate and changing the pod are two looks, each fenced by the version judged | one pass that retries on conflict |
//! | a pod marked for deletion and out of service counts against the ready pods that may be deleted | it counts for nobody |
//! | a change of metadata alone keeps the pod in service | its gate closes for a moment |
//! | metadata read into the environment of a container that keeps its image: the pod is made anew | a node daemon restarts the container |
//! | another target during a grace period starts over at once | the pod first goes to the target before |
//! | pod names follow from the set's identity and version | random |
//! | FailedScale, FailedUpdate go when the failure has; `PodsStuck` names pods that will not become ready | conditions stay |
//! | a new revision restarts the progress deadline | it stays exceeded |
//! | a wrong spec is a condition where no admission refuses it | undefined |
//!
//! What is absent: adoption of pods without owner (as in OpenKruise), pulling images ahead, resizing in place, and its
//! feature gates that are off by default (CloneSetPartitionRollback, PreparingUpdateAsUpdate,
//! RecreatePodWhenChangeVCTInCloneSetGate, CloneSetShortHash).

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
