//! Watches pods and nodes, decides with `sched-core`, `sched-plugins` and `sched-classes`, binds.
//!
//! ```text
//! reflectors (pods, nodes, namespaces, disruption budgets, storage; quotas, gangs, metrics, topologies, devices where they are served)
//!                                             --projections--> Inbox --> Core: snapshot + queue + engine
//!                                                                  |          |      (phases of classes: Steps)
//!                     Evictor: condition, deletion  <- make room |          |
//!                     Storekeeper: volumes before the bind       |          |
//!                                             Binder: one by one,  <- bind    refuse -> Teller: condition, event
//!                                             or many at once where the server offers it
//! ```
//!
//! Invariants: a pod is counted on its node from the moment of the decision until the server has said no (assumed), and after
//! an unclear answer until the pod has been read back; nothing is decided before all mirrors have been filled once; one task
//! owns all state. What is absent: rules, leader election (run one scheduler), extenders.

mod binder;
mod classes;
mod config;
mod core;
mod decisions;
mod evictor;
mod inbox;
mod metrics;
mod optional;
mod preemption;
mod run;
mod steps;
mod storage;
mod teller;

pub use config::{Config, permissions};
pub use decisions::{DecisionLog, LogSettings};
pub use metrics::Metrics;
pub use run::Scheduler;
pub use sched_classes::Settings as ClassSettings;
pub use sched_plugins::{ConfigError, Profile};
