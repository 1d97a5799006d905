//! Planners of the workload kinds.
