//! Alibaba's classes as phases of one scheduler: gangs, quotas, CPUs of one's own, real load and shared devices in one state.
//!
//! ```text
//! Pod ─▶ PodWords ┐                    ┌─ admit ──▶ Held: quota, gang not ready, words nobody reads
//! Node ▶ NodeNotes ├─▶ Classes ── asked ├─ extras ─▶ CpuRules, LoadAware, Devices, Meetings: each node
//! CRD  ─▶ Fact ────┘      │            ├─ reserve ▶ CPUs, devices, quota use; annotations written with the bind
//!                         │            └─ permit ─▶ Go, or Wait for the gang
//!                         └─▶ orders: who is released, who gives back, who is tried again
//! ```
//!
//! Every object is optional: without it the part that reads it is empty, is asked about no node and keeps nothing of any pod. A
//! pod that says none of these words costs one look into an empty map. What pods were given rests in their annotations: a state
//! rebuilt from the objects decides as the one that was kept up.
//!
//! Invariants: no member of a strict gang is released before its group is complete, and what a fallen gang held is given back
//! whole; no quota is used beyond what admission allowed; no two pods get CPUs that a rule keeps apart, nor more of a device than
//! it has.
//!
//! What is absent: the rules themselves (`sched-gang`, `sched-quota`, `sched-cpu`), room of nodes, the queue and the
//! snapshot (`sched-core`), clocks (now is an argument), I/O, reservations, and preemption for gangs and within quotas.

mod classes;
mod cpu;
mod device;
mod gate;
mod load;
mod meet;
mod quotas;
mod words;

pub use classes::{Annotations, Classes, Fact, Gone, Held, Order, Permit, Settings};
pub use load::LoadSettings;
pub use words::{NodeNotes, PodWords};
