//! The scheduling snapshot, the queue and the cycle: facts in, a decision with its reasons out.
//!
//! ```text
//! Pod, Node --projection--> PodFact, NodeFact --add/remove/assume--> Snapshot
//! Queue.pop(now) -> pod --Engine.decide(&mut Snapshot, pod)--> Decision::Bind(node, scores)
//!                                                         \--> Decision::Refused(reasons, wake hints)
//! ```
//!
//! Invariants: the snapshot after any sequence of changes equals the one rebuilt from the objects that remain; every node
//! is looked at (no sampling), scores are whole numbers, and ties are broken by (fewer pods, name), so the same snapshot and
//! pod always give the same node. Whole pods are never held: only what the rules read.
//!
//! What is absent: the rules themselves (`sched-plugins`), clocks (now is an argument), I/O, and preemption.

mod amounts;
mod cycle;
mod decision;
mod demand;
mod node;
mod parse;
mod pod;
mod queue;
mod snapshot;
mod tally;

pub use amounts::Amounts;
pub use cycle::{Begin, Check, Cycle, Engine, Needs, Plugin, Rate, Scope, Score};
pub use decision::{Decision, Hints, Placement, Reason, Refusal, Rejection, Resolvable};
pub use demand::{
    Clause, Demand, HostPort, Namespaces, NodeTerm, Policy, PreferredTerm, Spread, Term, Tolerance,
    Unsatisfiable,
};
pub use node::{NodeFact, NodeInfo, TaintEffect, TaintFact};
pub use pod::{Interner, PodFact};
pub use queue::{Popped, Queue, QueueCounts};
pub use snapshot::{NamespaceLabels, Slot, Snapshot};
pub use tally::{Carried, Column, Counts, Group, Pull};
