//! The whole cluster on one thread, in virtual time, from one seed: store on a disk that loses power, API server, controllers,
//! scheduler and simulated nodes, with a network that delays, refuses and cuts.
//!
//! ```text
//! seed ─┬─ Machine: clock, randomness, tasks (one per life; killing it drops every task)
//!       ├─ SimDisk ─ Store ─ ApiServer ──── Network (cut while the plane is down; remembers what was acknowledged)
//!       ├─ Faults: delay, error before or after the effect, cut watch, late watch      │
//!       │      └─ controllers, scheduler, nodes ───────────────────────────────────────┤
//!       └─ Chaos: crash, loss of power, restart of one component                       │
//!                                                     Auditor: every event, every rule ─┘
//! ```
//!
//! The same seed gives the same log, byte for byte: every request, answer, event and fault is in it. What is absent: threads,
//! sockets, real time, and any fault that a machine with one disk cannot have.

mod audit;
mod cafe;
mod chaos;
mod cluster;
mod executor;
mod faults;
mod log;
mod machine;
mod network;
mod placing;
mod plant;
mod release;
mod stage;

pub use audit::{Audit, Violation};
pub use cafe::{CafePlan, CafePlant, Turn, run_cafe};
pub use faults::Faults;
pub use placing::{PlacingAudit, PlacingPlan, PlacingPlant, run_placing};
pub use plant::Plant;
pub use release::{Outcome, Plan, Update, run};
