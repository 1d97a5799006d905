//! The scheduler against an API server in memory, in virtual time.

mod server;
mod stories;
