//! The API server's contract, driven through the in-process transport over a store in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod backup;
mod contract;
mod crds;
mod crud;
mod fixture;
mod flow;
mod hooks;
mod limits;
mod lists;
mod meeting;
mod policies;
mod protection;
mod protobuf;
mod socket;
mod subresources;
mod watches;
