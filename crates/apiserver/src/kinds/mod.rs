//! The built-in kinds: what the generated tables say about them, joined with the behaviour that no table can tell.
//!
//! ```text
//! api-tables: shape, verbs, names --\
//!                                    served() --> Registry
//! table.rs: group + plural -> Facts -/
//! ```
//!
//! Each family of kinds has its module with defaults, what the server owns, validation and columns as plain functions;
//! `table.rs` names them. Messages are those of kube-apiserver 1.36, because people search for them and clients parse
//! some. What is absent: reading other objects (admission, allocation) and writing them.

mod autoscaling;
mod batch;
mod builtin;
mod check;
mod core;
mod cron;
mod endpoints;
mod indexed;
mod limits;
mod machinery;
pub(crate) mod names;
mod network;
mod pod;
mod policy;
mod service;
mod show;
mod storage;
mod table;
mod webhooks;
mod workload;

pub use builtin::served;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
