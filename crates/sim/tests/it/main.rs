//! Seeds, and bugs put in on purpose.

mod plants;
mod seeds;
