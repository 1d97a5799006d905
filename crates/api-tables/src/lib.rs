//! Generated schema tables of the built-in kinds.
