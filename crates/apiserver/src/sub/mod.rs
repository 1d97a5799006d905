//! Subresources and resources that are not simply stored.

pub(crate) mod binding;
pub(crate) mod eviction;
pub(crate) mod log;
pub(crate) mod own;
pub(crate) mod proxy;
pub(crate) mod reviews;
pub(crate) mod scale;
pub(crate) mod token;
