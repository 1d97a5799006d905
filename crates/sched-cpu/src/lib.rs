//! CPUs of a node: which threads a pod gets, which applications meet on a physical core, and what was never meant to overlap.
//!
//! ```text
//! pod ─▶ Wants ─resolve(node's labels)─▶ Ask ─may()──────▶ scan over all nodes: nine counters of each (Room)
//!                                          └─allocate()──▶ the winner: eligible threads ─▶ domain ─▶ take ─▶ Allocation
//! NodeResourceTopology ─▶ Topology ─▶ CpuNode ◀─hold, release─┘        │
//!                                        ├─▶ pools(): what LS and BE float on
//!                                        └─▶ audit(): overlaps that nobody meant, and which pods to move
//! ```
//!
//! Koordinator's protocol (bind policies, exclusive policies, NUMA policies, shared CPUs) with its order of choice, and our hard
//! rules beside it ([`api_koord::apart`]): they only take threads away from what may be chosen, so every rule of either side holds
//! in every result. Invariants: an allocation is exactly as large as asked; what is eligible and enough is always found; the same
//! node and ask give the same threads, whatever order pods came in; hold and release leave no trace.
//!
//! What is absent: clocks, I/O, other resources than CPUs (memory of NUMA nodes too), the writing of cgroups (the node agent's), and
//! the choice among nodes (the scheduler's).

mod accumulate;
mod ask;
mod audit;
mod domain;
mod eligible;
mod node;
mod pools;
mod room;
mod set;
mod topology;

pub use ask::{Ask, Refusal, Wants};
pub use audit::{Audit, Drift, Finding, Kind};
pub use node::{Allocation, CpuNode, Holder, NodeError, NodeRules};
pub use pools::{Pool, Pools};
pub use room::Room;
pub use set::{CPUS_MAX, CpuSet, CpuSetError};
pub use topology::{Topology, TopologyError};
