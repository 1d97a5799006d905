//! The CPU rules through the public interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests stop where they are wrong")]

mod oracle;
mod properties;
mod rows;
mod stories;
mod upstream;
