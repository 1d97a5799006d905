//! The sync loop of a node over a pod runtime.
