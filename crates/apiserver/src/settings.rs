//! Limits that may be changed while the server runs: the ConfigMap `knarr-limits` of kube-system.
//!
//! ```text
//! data:
//!   seats: "600"           requests that run at one time, shared out among the priority levels
//!   memoryMaxMiB: "4096"   resident memory beyond which lists and most writes are answered with 429
//! ```
//!
//! What is not there is as the server was started. A value that is no number in its range is told in the log, and the one before it stays.

use std::sync::PoisonError;
use std::sync::RwLock;

use serde_json::Value;
use store::Key;

use crate::flow;
use crate::request::Target;
use crate::server::ApiServer;
use crate::stored;

const NAMESPACE: &str = "kube-system";
const NAME: &str = "knarr-limits";
/// Fewer would keep a cluster from healing itself; more than this are no limit.
const SEATS: std::ops::RangeInclusive<u64> = 10..=1_000_000;
/// As the flag has it; the upper end is a mebibyte short of overflowing.
const MEMORY_MIB: std::ops::RangeInclusive<u64> = 64..=(u64::MAX >> 20);

/// What was changed; nothing where the server is as it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changed {
    seats: Option<u64>,
    memory_mib: Option<u64>,
}

/// The changeable limits of one server.
#[derive(Debug, Default)]
pub(crate) struct Settings(RwLock<Changed>);

impl Settings {
    fn get(&self) -> Changed {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seats to share out, if they were changed.
    pub(crate) fn seats(&self) -> Option<usize> {
        self.get().seats.and_then(|seats| usize::try_from(seats).ok())
    }

    /// Bytes of memory, if they were changed.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        self.get().memory_mib.map(|mib| mib << 20)
    }
}

/// Whether a key is that of the limits.
pub(crate) fn is_limits(key: &Key) -> bool {
    *key.name == *NAME && *key.namespace == *NAMESPACE && *key.resource == *"configmaps"
}

/// Whether a request is about the limits.
pub(crate) fn is_limits_path(target: &Target) -> bool {
    target.name == NAME && target.namespace == NAMESPACE && target.resource == "configmaps"
}

/// Takes up what the ConfigMap says now.
pub(crate) fn read(server: &ApiServer) {
    // Held while it reads: of two that read, the one whose reading stays has seen the newer state.
    let mut kept = server.settings.0.write().unwrap_or_else(PoisonError::into_inner);
    let found = server.store.get(&Key::new("configmaps", NAMESPACE, NAME));
    let data = found.and_then(|found| stored::decode(&found).ok()).map(|object| object["data"].clone());
    let now = parse(&data.unwrap_or_default(), *kept);
    let before = std::mem::replace(&mut *kept, now);
    drop(kept);
    if now.seats != before.seats {
        flow::load(server);
    }
}

fn parse(data: &Value, before: Changed) -> Changed {
    let number = |key: &str, range: std::ops::RangeInclusive<u64>, before: Option<u64>| {
        let text = data[key].as_str()?;
        match text.trim().parse().ok().filter(|n| range.contains(n)) {
            Some(n) => Some(n),
            None => {
                tracing::error!(
                    key,
                    text,
                    "kube-system/knarr-limits: no number in {range:?}; it stays as it was"
                );
                before
            }
        }
    };
    Changed {
        seats: number("seats", SEATS, before.seats),
        memory_mib: number("memoryMaxMiB", MEMORY_MIB, before.memory_mib),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_limit_leaves_the_one_before() {
        let before = Changed { seats: Some(20), memory_mib: None };
        assert_eq!(parse(&json!({"seats": "5"}), before), before);
        assert_eq!(parse(&json!({"seats": "many", "memoryMaxMiB": "100"}), before).memory_mib, Some(100));
        assert_eq!(parse(&json!({"seats": " 30\n"}), before).seats, Some(30));
        assert_eq!(parse(&json!({}), before), Changed::default(), "taken out, it is as at the start");
        assert_eq!(parse(&Value::Null, before), Changed::default());
    }
}
