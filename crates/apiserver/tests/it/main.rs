//! The API server's contract, driven through the in-process transport over a store in memory.

mod crds;
mod crud;
mod fixture;
mod lists;
mod meeting;
mod subresources;
mod watches;
