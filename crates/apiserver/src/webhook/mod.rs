//! Webhooks: programs elsewhere that are asked before an object is written, or that bring it into another version.
//!
//! ```text
//! index      configurations, read when they change: nothing configured costs a write one look
//! dispatch   which hooks are asked, in which order, and what becomes of their answers
//! reach      clientConfig -> addresses that may be connected to
//! trust      caBundle -> TLS                                  \  shared with the conversion
//! call       one POST with a deadline over kept connections   /  of custom resources (crd)
//! ```
//!
//! Matching, questions, answers and refusals are pure (`api-admission`). What is absent: retries. A hook that cannot be called
//! is judged by its failure policy at once, because whoever asked may ask again.

mod call;
mod dispatch;
mod index;
mod reach;
mod trust;

pub(crate) use call::{Caller, Post};
pub(crate) use dispatch::{Review, Rounds, Write, mutate, validate};
pub(crate) use index::{Index, is_configuration};
pub use reach::Reach;
pub(crate) use reach::Target;
