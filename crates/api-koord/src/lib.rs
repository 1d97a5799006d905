//! The protocol of Koordinator as words: what its labels, annotations and objects say, and what its webhook refuses.
//!
//! ```text
//! Pod, Node, NodeResourceTopology ─ names ─▶ Qos, Tier, Amounts ─▶ rules::validate (the webhook)
//!                                        ├─▶ cpu ─────────▶ sched-cpu
//!                                        ├─▶ apart (ours) ─▶ sched-cpu
//!                                        ├─▶ quota ───────▶ sched-quota
//!                                        ├─▶ gang ────────▶ sched-gang
//!                                        └─▶ metric, device, topology, meet (ours) ─▶ sched-classes
//! ```
//!
//! Source: koordinator a7a1b76 (after v1.8.0), Kubernetes 1.36 (`scheduling.k8s.io/v1alpha2`). A text that nobody can read is an
//! [`Unreadable`] that names its key; where upstream falls back to a default instead, so do we, and say so there.
//! What is absent: every decision (`sched-cpu`, `sched-quota`, `sched-gang`), and the words of reservations and node agents.

mod amounts;
mod amplify;
pub mod apart;
mod batch;
pub mod cpu;
pub mod device;
pub mod gang;
pub mod meet;
pub mod metric;
pub mod names;
mod qos;
pub mod quota;
pub mod rules;
mod tier;
pub mod topology;

pub use amounts::{Amounts, requests};
pub use amplify::Ratio;
pub use batch::{extended_spec, resource_of, to_tier_resources};
pub use qos::{KubeQos, Qos};
pub use tier::{Tier, sub_priority};

/// A label or annotation that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Unreadable {
    /// Its key.
    pub key: String,
    /// What is wrong with its value.
    pub why: String,
}

impl Unreadable {
    fn new(key: &str, why: impl Into<String>) -> Unreadable {
        Unreadable { key: key.to_owned(), why: why.into() }
    }
}

/// Reads the JSON of one annotation; absent or empty: its default.
fn json<T: serde::de::DeserializeOwned + Default>(
    annotations: &std::collections::BTreeMap<String, String>,
    key: &str,
) -> Result<T, Unreadable> {
    match annotations.get(key).map(String::as_str) {
        None | Some("") => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(|e| Unreadable::new(key, e.to_string())),
    }
}
