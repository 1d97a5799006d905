//! Revisions, in-place differences, delete order and budget arithmetic shared by workloads.
