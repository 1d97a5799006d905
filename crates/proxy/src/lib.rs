//! Service addresses.
