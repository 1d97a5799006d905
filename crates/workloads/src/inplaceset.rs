//! InPlaceSet: the pods of one cell, changed where they are whenever the change allows that, with one knob: `partition`,
//! how many pods keep the old revision.
//!
//! What it does is [`crate::set`]'s business; here is how an InPlaceSet is read and written. It has no budget of its own:
//! every pod that the partition does not keep may be changed at once, because the release of the whole application, one
//! layer above, sets the pace by moving the partition. Pods are named `<set>-<id>`; their gate is `InPlaceUpdateReady`,
//! their revisions are ControllerRevisions, as a CloneSet's are.
//!
//! What is absent: hooks, volume claims, surge, a pause (the partition is one), and when to go on.

mod observe;

pub use observe::Controller;
