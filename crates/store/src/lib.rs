//! Durable store: sequencer, group commit, watch fan-out over an embedded engine.
//!
//! ```text
//! write(op) --queue--> driver: propose -> append -> sync -> publish --> answers, watch cursors
//!                      (one thread; while batch N syncs, batch N+1 gathers in the queue)
//! get / list           read the committed state, never the disk
//! ```
//!
//! The driver runs on a thread of its own, or inline within `write` ([`Driving`]): then nothing happens behind the caller's back and a
//! simulation is repeatable. The engine is five calls (append, sync, replay, truncate, get); [`RedbEngine`] is the durable one,
//! [`MemoryEngine`] forgets.
//!
//! Invariants: nothing is visible or answered before it is durable; an outcome that is not known is called [`Error::Unknown`] and ends
//! all writing; a cursor never skips an event, it can only be told that history no longer reaches back far enough.
//!
//! What is absent: HTTP, kinds, selectors; decoding of bodies is the business of [`Project`].

mod backup;
mod cursor;
mod data_dir;
mod disk;
mod driver;
mod engine;
mod error;
mod handle;
mod memory;
pub mod record;
mod redb_engine;
mod sim_disk;

pub use backup::{Attachment, Census, Check, Parts, attach, verify_backup};
pub use cursor::Cursor;
pub use data_dir::{DataDir, open_dir};
pub use disk::Disk;
pub use engine::{Engine, EngineError, Replayed, Sink};
pub use error::Error;
pub use handle::{Driving, Limits, NoRow, Project, Store};
pub use memory::{MemoryDisk, MemoryEngine};
pub use redb_engine::RedbEngine;
pub use sim_disk::SimDisk;
pub use store_mvcc::{
    Body, Damaged, Event, Expect, Filter, Key, KeyRange, Op, Page, Record, Revision, Row, Stats, Stored,
    Window,
};
