//! CloneSets against a server in memory and nodes that behave, misbehave, and are slow.

mod cluster;
mod properties;
mod stories;
