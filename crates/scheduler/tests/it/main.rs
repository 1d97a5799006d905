//! The scheduler against an API server in memory, in virtual time.

mod preemption;
mod server;
mod storage;
mod stories;
mod world;
