//! The verbs of the command line: what kubectl does, for those who have none, with errors that say what to do.
//!
//! ```text
//! words of the shell --clap--> Verb --discover--> resources --Client--> Table, objects, streams --output--> stdout
//! ```
//!
//! One file per verb. The binary brings the transport and the controllers (`Thinkers`); nothing here opens a socket. `why` and
//! `plan` ask those controllers about a copy of the live state (`scene`). Data goes to stdout, talk to stderr.
//! What is absent: kubeconfigs, decisions, the layout of pages (`view`).

mod board;
mod discover;
mod fault;
mod foresee;
mod io;
mod locate;
mod manifest;
mod output;
mod scene;
mod session;
mod targets;
mod thinkers;
mod verbs;
mod words;

pub use board::{Focus, board, follow};
pub use discover::{Catalogue, Entry, Unknown};
pub use io::Io;
pub use manifest::{Manifest, is_manifest, read_manifests};
pub use session::{Connect, Connection};
pub use thinkers::Thinkers;
pub use verbs::{Applied, Change, Verb, apply_all, run, run_knowing, run_with};
