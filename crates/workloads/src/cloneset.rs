//! CloneSet: pods owned directly, scaled precisely, updated in place or anew, in the order and at the pace its spec says.
//!
//! What it does is [`crate::set`]'s business; here is how a CloneSet is read and written.
//!
//! What differs from OpenKruise (master), and why:
//!
//! | here | there |
//! |---|---|
//! | closing the gate and changing the pod are two looks, each fenced by the version judged | one pass that retries on conflict |
//! | a pod marked for deletion and out of service counts against the ready pods that may be deleted | it counts for nobody |
//! | a change of metadata alone keeps the pod in service | its gate closes for a moment |
//! | three writes for a change of images: gate, images with revision and record, gate; the state stays Normal unless a hook waits for it | four to five, with the states Updating and Normal |
//! | traffic of a pod ends before it is changed or deleted, and is back before it counts as available ([`api_core::drain`]) | neither is known |
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

mod observe;

pub use crate::set::{Observed, plan};
pub use observe::Controller;
