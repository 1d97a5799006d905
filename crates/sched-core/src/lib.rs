//! The scheduling snapshot, the queue and the cycle: facts in, a decision with its reasons out.
//!
//! ```text
//! Pod, Node --projection--> PodFact, NodeFact --place/assume/remove--> Snapshot
//!                                                                       |- rooms: figures of each node, one cache line
//!                                                                       |- columns: labels as small numbers
//!                                                                       |- fences: conditions on nodes as bitmaps
//!                                                                       |- tallies: pods by domain, kept up pod by pod
//!                                                                       `- changes: which nodes changed since when
//! Queue.pop(now) -> pod --(sched-plugins: Engine.decide)--> Decision::Bind(node, scores)
//!                                                       \--> Decision::Refused(groups of nodes, wake hints)
//! ```
//!
//! Invariants: the snapshot after any sequence of changes equals the one rebuilt from the objects that remain. One writer
//! changes it; whatever else is derived (an engine's classes) follows its changes and can be thrown away at any time. Whole
//! pods are never held: only what the rules read.
//!
//! What is absent: the rules themselves (`sched-plugins`), clocks (now is an argument), I/O, and who is sent away for whom (only who waits for the room).

mod amounts;
mod bits;
mod column;
mod decision;
mod demand;
mod fence;
mod images;
mod journal;
mod node;
mod nominations;
mod parse;
mod pod;
mod queue;
mod snapshot;
mod tally;
mod volumes;

pub use amounts::Amounts;
pub use bits::Bits;
pub use column::{Column, ColumnId, Topology};
pub use decision::{
    Decision, Hints, NO_VICTIMS, NOT_HELPFUL, Placement, Preempting, Reason, Refusal, Rejected, Rejection,
    Resolvable,
};
pub use demand::{
    Clause, Demand, HostPort, Namespaces, NodeTerm, Policy, PreferredTerm, Spread, Term, Tolerance,
    Unsatisfiable,
};
pub use fence::{Fence, FenceId};
pub use images::{ImageFact, Images};
pub use journal::{Assumed, Choice, Decided, Entry, LOG_KIND, LOG_VERSION, Replayer};
pub use node::{NodeFact, NodeInfo, Placed, Room, TaintEffect, TaintFact};
pub use nominations::Nominations;
pub use pod::{Interner, Kin, PodFact, Rare};
pub use queue::{Popped, Queue, QueueCounts};
pub use snapshot::{Change, Lifted, NamespaceLabels, Slot, Snapshot};
pub use tally::{Carried, Group, KinId, Pull, Tally, TallyId, Whose};
pub use volumes::{ClaimFact, ClaimUse, ClassFact, LimitsFact, VolumeFact, VolumePlan, Volumes};
