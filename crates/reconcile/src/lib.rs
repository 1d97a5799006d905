//! The machinery of a controller as values and state machines: no I/O, no clock, no tasks.
//!
//! ```text
//! World (caches) --observe--> Observed --plan(now)--> Plan { actions, notes, wake }
//!    ^ Feed                                             |  each destructive action asks Brake, Fuse, Permit
//!    |                                        controller-host applies, with fences
//! Queue: which key next     Expectations: not before the caches have seen what was written for it
//! ```
//!
//! Invariants: a plan leaves no choice to the executor; every action is fenced by identity or version, so that a late or
//! doubled executor cannot move the world backwards. What is absent: kinds, transports, logging.

mod brake;
mod budget;
mod expect;
mod feed;
mod fuse;
mod permit;
mod plan;
mod queue;
#[doc(hidden)]
pub mod testing;
mod thinker;
mod world;

pub use brake::{Brake, DOUBT, LOSS_MIN, VANISH_WINDOW, VANISHED_MIN};
pub use budget::Budget;
pub use expect::{Expectations, Mark};
pub use feed::{AnyObject, Decoded, Feed};
pub use fuse::{Fuse, Rate, Rates};
pub use permit::{AllowAll, Outcome, Permit, PermitRequest, Verdict};
pub use plan::{Action, Form, Note, Plan, Propagation, Risk, Severity, Target};
pub use queue::{BACKOFF_MAX, BACKOFF_MIN, Queue};
pub use thinker::{Permission, Row, Thinker, Watch};
pub use world::{Cache, Failure, Held, Verb, World};
