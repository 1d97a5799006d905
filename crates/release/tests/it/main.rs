//! The release planners as state machines: stories and properties.

mod cluster;
mod properties;
mod stories;
