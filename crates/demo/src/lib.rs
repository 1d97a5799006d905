//! The minute that proves it: a release by cells under load, a broken one, a killed control plane, a dead cell, and the
//! same without draining.
//!
//! What is absent: the transport to the cluster (its caller hands one in), and any knowledge of how the cluster decides. It
//! sees what every client sees.

pub mod load;
