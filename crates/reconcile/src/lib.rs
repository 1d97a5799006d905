//! The machinery of a controller as values and state machines: no I/O, no clock, no tasks.
//!
//! ```text
//! World (caches) --observe--> Observed --plan(now)--> Plan { actions, notes, wake }
//!                                                       |  each destructive action asks a Permit
//!                                             controller-host applies, with fences
//! ```
//!
//! Invariants: a plan leaves no choice to the executor; every action is fenced by identity or version, so that a late or
//! doubled executor cannot move the world backwards. What is absent: kinds, transports, logging.

mod feed;
mod plan;
#[doc(hidden)]
pub mod testing;
mod thinker;
mod world;

pub use feed::{AnyObject, Decoded, Feed};
pub use plan::{Action, Form, Note, Plan, Propagation, Risk, Severity, Target};
pub use thinker::{Permission, Row, Thinker, Watch};
pub use world::{Cache, Failure, Verb, World};
