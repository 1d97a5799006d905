//! The verbs of every resource, built-in or custom.

mod change;
mod collection;
pub(crate) mod create;
pub(crate) mod delete;
mod get;
mod list;
pub(crate) mod options;
pub(crate) mod patch;
mod update;
mod watch;

pub(crate) use change::{Change, Retry, change, change_asked};
pub(crate) use collection::delete_collection;
pub(crate) use get::get;
pub(crate) use list::{list, streamed};
pub(crate) use update::{check_name, update};
pub(crate) use watch::watch;
