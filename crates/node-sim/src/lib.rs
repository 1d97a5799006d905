//! Simulated nodes as data.
