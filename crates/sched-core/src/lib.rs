//! Scheduling snapshot, cycle and decisions.
