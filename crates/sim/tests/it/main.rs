//! Seeds, and bugs put in on purpose.

mod cafe;
mod placing;
mod plants;
mod seeds;
