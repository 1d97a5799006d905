//! The board: applications released by cells, as small parts that a page can draw and keep current.
//!
//! ```text
//! objects ─> facts ─┐
//!                   Observed ─parts(now)─> Parts ─ Change::between ─> what a page has to redraw
//! proxy, load ─> Meter ─> Tick (what moved in the last quarter of a second)
//! ```
//!
//! A part is a JSON object under a key: `app/NAMESPACE/NAME`, `pod/NAMESPACE/NAME`, `nodes/CELL`, `events`. Parts hold moments,
//! not ages, so that nothing changes by time passing alone. Nodes without pods of a shown application are counted, never listed.
//! What is absent: HTTP, HTML, colours, clocks, and who asked.

mod app;
mod facts;
mod nodes;
mod observed;
mod parts;
mod pods;
mod told;
mod traffic;

#[cfg(test)]
mod tests;

pub use app::{AppView, CellView, GroupView};
pub use facts::{AppFact, EventFact, NodeFact, PodFact};
pub use observed::{Fact, Kind, Observed};
pub use parts::{Change, Parts};
pub use pods::{PodView, State};
pub use told::{Told, Tone};
pub use traffic::{LoadReading, Meter, Moved, PodMoved, Tick, TrafficReading};
