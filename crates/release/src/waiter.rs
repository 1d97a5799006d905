//! The traffic component of Services on a fleet, where kube-proxy forwards and nobody counts requests.
//!
//! ```text
//! pod in service ─> finalizer of each Service that selects it
//! gate closed    ─> endpoint not ready (seen in the slices) ─> the moment is noted ─> drain-seconds later ─> finalizer off
//! ```
//!
//! It waits, it does not drain, and says so. It speaks for pods of releases by cells always, and for other pods that take
//! part where their Service carries the annotation `knarr.dev/drain-seconds`.
//! What is absent: requests and connections; the embedded proxy, which counts them, takes this place there.

mod observe;
mod plan;

pub use observe::{Controller, Observed, Serving};
pub use plan::{LEFT, plan};
