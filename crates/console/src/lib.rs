//! The board: one page over [`view::board`], kept current by server-sent events, with the buttons of a release.
//!
//! ```text
//! API server ─watch─> mirror ─┐      (while somebody looks)
//! proxy /traffic ──── poll ───┼─> keeper ─watch channel─> one stream per page ─> browser
//! load POST /api/load ────────┘   (owner of all that is shown)                      │
//! API server <──fenced patch── release <── POST /api/release/NAMESPACE/NAME/VERB ───┘
//! ```
//!
//! - A stream sends the whole board once and then what changed since it last sent something. It computes that when the
//!   browser is ready to take it: who reads slowly gets fewer and larger steps, and nothing queues up.
//! - Whoever knows the token may read and press. It comes in a header, never in a cookie: browsers send cookies of one
//!   local server to every other port of the machine, and with requests that other sites make.
//! - The name in the Host header must be known, so that a foreign name that resolves to us opens nothing.
//!
//! What is absent: TLS (it listens on loopback), users, and every decision about a release: its controller makes those.

mod assets;
mod config;
mod demand;
mod door;
mod follow;
mod keeper;
mod mirror;
mod poll;
mod release;
mod routes;
mod seats;
mod server;

pub use config::{Config, Limits, Token};
pub use server::{Console, Error, run};
