//! The pod lifecycle machine of a node.
