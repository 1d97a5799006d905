//! What holds at every step, whatever happens.
