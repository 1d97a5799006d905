//! The network transport over kube-rs.
