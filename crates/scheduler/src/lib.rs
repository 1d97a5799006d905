//! Watches, assumes and binds.
