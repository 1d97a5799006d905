//! Filters and scores of the scheduler.
