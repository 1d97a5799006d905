//! Release by cells and groups, and the drain of pods.
