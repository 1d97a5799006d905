//! The minute that proves it.
