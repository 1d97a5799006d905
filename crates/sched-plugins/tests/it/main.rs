//! The rules as a whole: what they say, and that fast and slow evaluation agree.

mod explain;
mod oracle;
mod room;
mod score;
mod world;
