//! The verbs, from words of the shell to what they print, in front of a real API server in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod board;
mod brake;
mod fixture;
mod plan;
mod release;
mod simulate;
mod unschedulable;
mod verbs;
mod why;
