//! Revisions, key index, history and watch cursors as one state machine without I/O.
//!
//! ```text
//! propose(ops) -> Ready { persist, .. }      (shell writes and syncs)
//! persisted(rev) -> events to deliver        (only now is anything visible)
//! get / list / events_after                  read the committed state only
//! ```
//!
//! What is absent: disk, threads, time, HTTP and any knowledge of kinds; bodies are opaque bytes with an index row beside them.

mod body;
mod types;

pub use body::{Body, Damaged};
pub use types::{Event, Expect, Key, KeyRange, Op, Revision, Row, Stored};
