//! The board over a real API server in memory, asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod browser;
mod door;
mod press;
mod stream;
mod world;
