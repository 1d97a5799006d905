//! Priority and fairness: which request runs now, which waits, which is refused, so that no storm of one kind starves another.
//!
//! ```text
//! request ─ FlowSchema (who asks for what) ─> priority level ─ queue of its flow (user or namespace) ─> seats
//!           schema: config, bootstrap          fair: seats, queues, borrowing            gate: waiting, waking, giving back
//! ```
//!
//! The rules are objects as upstream has them, with upstream's own to begin with; who changes them changes what happens at once.
//! A request takes one seat, a list as many as its size asks for, from when it begins until its last byte is on its way. Levels lend
//! seats that they do not need; within a level, flows take turns by the seats they use. What waits too long or finds its queue full is
//! told 429 and when to come again.
//!
//! `fair` and `config` are pure: they know no clock and no task.
//!
//! What is absent: the estimate of what a write costs its watchers, and the slow adjustment of borrowing; here seats are lent at the
//! moment somebody asks, within the same bounds.

mod bootstrap;
mod config;
mod fair;
mod gate;

pub(crate) use bootstrap::{AUTOUPDATE, objects};
pub(crate) use config::Asked;
pub(crate) use gate::{Busy, Gate, Place, load, reload};
