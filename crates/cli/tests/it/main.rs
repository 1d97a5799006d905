//! The verbs, from words of the shell to what they print, in front of a real API server in memory.

mod board;
mod fixture;
mod verbs;
