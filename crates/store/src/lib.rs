//! Durable store: sequencer, group commit, watch fan-out over an embedded engine.
