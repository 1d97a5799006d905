//! Seeds, and bugs put in on purpose.

mod cafe;
mod plants;
mod seeds;
