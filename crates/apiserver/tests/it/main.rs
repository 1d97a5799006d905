//! The API server's contract, driven through the in-process transport over a store in memory.

mod crud;
mod fixture;
mod lists;
mod watches;
