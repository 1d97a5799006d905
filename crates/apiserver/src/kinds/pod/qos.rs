//! The class of a pod's quality of service, from its requests and limits.

use serde_json::Value;

use super::super::check::{entries, given, list};
use super::resources::quantity;

/// Resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`, as `GetPodQOS` of upstream.
pub(super) fn class(spec: &Value) -> &'static str {
    let whole = given(spec, "resources").filter(|r| counts(r, "requests") || counts(r, "limits"));
    let parts: Vec<&Value> = match whole {
        Some(resources) => vec![resources],
        None => {
            let containers = list(spec, "containers").iter().chain(list(spec, "initContainers"));
            containers.map(|c| &c["resources"]).collect()
        }
    };
    if parts.iter().all(|r| !counts(r, "requests") && !counts(r, "limits")) {
        return "BestEffort";
    }
    if parts.iter().all(|r| is_guaranteed(r)) { "Guaranteed" } else { "Burstable" }
}

/// Whether any counted resource is above zero.
fn counts(resources: &Value, name: &str) -> bool {
    entries(resources, name).any(|(k, v)| COUNTED.contains(&k) && quantity(v).is_some_and(|q| q.milli() > 0))
}

/// Every counted resource has a limit, and its request is equal to it.
fn is_guaranteed(resources: &Value) -> bool {
    COUNTED.iter().all(|name| {
        let limit = quantity(&resources["limits"][*name]).filter(|q| q.milli() > 0);
        let request = quantity(&resources["requests"][*name]);
        limit.is_some() && request.is_none_or(|r| Some(r) == limit)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn classes_follow_requests_and_limits() {
        let of = |resources: Value| class(&json!({"containers": [{"resources": resources}]}));
        assert_eq!(of(json!({})), "BestEffort");
        assert_eq!(of(json!({"requests": {"example.com/gpu": "1"}})), "BestEffort");
        assert_eq!(of(json!({"requests": {"cpu": "100m"}})), "Burstable");
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(of(json!({"requests": full, "limits": full})), "Guaranteed");
        assert_eq!(of(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})), "Burstable");
    }
}
