//! The pod lifecycle machine of a node: what the pod wants and what the runtime sees go in, steps and a status come out.
//!
//! ```text
//! Shape (of the pod's spec) ─┐
//! ContainerFact (runtime)   ─┼─> decide(&mut Memory, now) ─> steps · probes due · status · notes · next wake-up
//! gates, deletion, address  ─┘
//! ```
//!
//! Behaviour follows the kubelet of Kubernetes 1.36: order of init containers and sidecars, restart policy and
//! CrashLoopBackOff, probes, graceful deletion, conditions, phases. A container is replaced when its image changes; the
//! others stay as they are. `decide` is idempotent: called again with the same facts it asks for nothing new.
//!
//! What is absent: processes, sockets, the API server, any clock. Who runs a container and how an image is found is the
//! runtime's affair; lifecycle hooks, ephemeral containers and pod-level resize are not decided here.

mod backoff;
mod conditions;
mod fact;
mod machine;
mod memory;
mod phase;
mod probe;
pub mod report;
mod shape;
mod status;

pub use backoff::Backoff;
pub use conditions::Gate;
pub use fact::{ContainerFact, Ended, Exit, Instance, InstanceState};
pub use machine::{Deletion, Note, NoteKind, Outcome, PodView, Step, decide};
pub use memory::{Memory, facts_of_status};
pub use phase::Phase;
pub use probe::{ProbeKind, Timing};
pub use shape::{ContainerShape, Qos, RestartPolicy, Role, Shape};

#[cfg(test)]
mod tests;
