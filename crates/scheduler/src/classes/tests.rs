//! Classes on the scheduler's core: stories with the words people read, and what holds whatever happens.

mod properties;
mod stories;
mod world;
