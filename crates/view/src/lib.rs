//! Objects as tables, bars and pages in the words of the user. The command line prints them, a console may draw them.
//!
//! ```text
//! objects of the API (+ pods, events, now) --> Progress   how far a workload has come and why it waits
//!                                          --> Release    its groups and cells
//!                                          --> describe   the page of one object
//! notes of planners                        --> Answer     what holds an object
//! plans carried out on a copy              --> Forecast   what a manifest would do
//!                                          --> Table      aligned columns
//!                                          --> board      parts of a page, and what changed in them
//! ```
//!
//! What is absent: requests, terminals, colours and clocks; the moment of looking is an argument.

mod age;
mod answer;
mod bar;
pub mod board;
mod describe;
mod forecast;
mod progress;
mod release;
mod table;
mod waits;

pub use age::{age, human_duration};
pub use answer::{Answer, Reason};
pub use bar::bar;
pub use describe::{Related, describe};
pub use forecast::{Fate, Forecast, Low, ServiceEffect, Step};
pub use progress::{Progress, Stage, progress};
pub use release::{CONFIRMED, Cell, Group, Release, WaitsFor, release};
pub use table::Table;
pub use waits::{Wait, waits, warnings};
