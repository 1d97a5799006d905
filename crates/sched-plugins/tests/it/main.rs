//! The rules as a whole: what they say, and that fast and slow evaluation agree.

mod cases;
mod differential;
mod explain;
mod extra;
mod hints;
mod nominated;
mod oracle;
mod preempt;
mod room;
mod score;
mod upstream;
mod ways;
mod world;
