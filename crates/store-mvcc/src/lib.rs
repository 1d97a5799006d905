//! Revisions, key index, history and watch cursors as one state machine without I/O.
//!
//! ```text
//! propose(ops)    -> Ready { outcomes, persist }       the shell appends `persist` and syncs
//! persisted(rev)  -> Published { events, dropped, .. } only now is anything visible
//! abandon()                                            the batch never reached the disk: forget it
//! get / list / events_after                            read the committed state only
//! restore -> load(record)* -> finish                   rebuilds the same state from what the disk kept
//! ```
//!
//! Invariants: one revision per changed object, strictly increasing without gaps and never reused once visible; what is read
//! or watched was durable before; the window of past events is bounded and what fell off it is answered with `Compacted`.
//!
//! What is absent: disk, threads, time, HTTP and any knowledge of kinds; bodies are opaque bytes with an index row beside them.

mod body;
mod history;
mod list;
mod mvcc;
mod restore;
mod row;
mod strand;
mod table;
mod types;

pub use body::{Body, Damaged};
pub use history::Window;
pub use list::{Filter, Page};
pub use mvcc::{Mvcc, Published, Ready, Rejected, Stats, Tail, Unavailable};
pub use restore::{Record, Restore, RestoreError};
pub use row::{Pairs, Row, Uid};
pub use strand::Interest;
pub use types::{Event, Expect, Key, KeyRange, Op, Revision, Stored};
