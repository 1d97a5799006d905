//! ResourceQuota: counts what a namespace really has, so that admission knows what is left (kube-controller-manager
//! `resourcequota`).
//!
//! Admission charges a quota when something is created and never gives back what is deleted; this does. What a quota counts is of
//! any kind, known to nobody's cache: the shell lists it and passes it in.

#[cfg(test)]
mod tests;

use std::time::Duration;

use api_admission::amount::{self, Amounts};
use api_admission::quota::{Counted, recount};
use api_meta::{Object, ObjectMeta, Resource};
use reconcile::{Action, Permission, Plan, Target};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stdx::Time;

/// The name under which it acts.
pub const NAME: &str = "resourcequota-controller";
/// Between two looks at a quota that nothing else calls for: deletions are seen by then.
pub const RESYNC: Duration = Duration::from_secs(10);
/// How long a quota must have stood still before less is counted than it holds. Admission charges it before the object is
/// stored; a count between these two would forget that object, and the quota would be exceeded by it.
const SETTLE: Duration = Duration::from_secs(2);

/// A quota, with trees for parts: its names are anybody's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceQuota {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// Desired state.
    pub spec: Value,
    /// What was counted.
    pub status: Value,
}

impl Object for ResourceQuota {
    const RESOURCE: Resource = Resource::namespaced("", "v1", "resourcequotas", "ResourceQuota");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

/// What is in the namespace of a quota, as listed live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Objects by collection, as quotas name it: `pods`, `deployments.apps`. What has no such collection counts as nothing.
    pub objects: Vec<(String, Value)>,
    /// Collections that could not be listed, with the reason.
    pub unlisted: Vec<(String, String)>,
}

/// What it may do: it must count kinds that nobody foresaw.
pub fn permissions() -> Vec<Permission> {
    vec![
        Permission { group: "*", resource: "*", verbs: &["list", "watch"] },
        Permission { group: "", resource: "resourcequotas/status", verbs: &["patch", "update"] },
        Permission { group: "", resource: "events", verbs: &["create", "patch"] },
    ]
}

/// Collections that a quota counts.
pub fn counted(quota: &ResourceQuota) -> Vec<String> {
    api_admission::quota::resources(&json!({"spec": quota.spec}))
}

/// What to write about a quota that has stood unchanged for so long, in a namespace with this content.
pub fn plan(quota: &ResourceQuota, content: &Content, unchanged_for: Duration, now: Time) -> Plan {
    let mut plan = Plan::new();
    plan.wake_at(now + RESYNC);
    // Half a count would let in too much.
    if quota.metadata.is_terminating() || !content.unlisted.is_empty() {
        return plan;
    }
    let objects = content.objects.iter().map(|(resource, object)| Counted { resource, object });
    let (hard, used) = recount(&json!({"spec": quota.spec}), objects, now);
    let (new, old) = (amount::read(&used), amount::read(&quota.status["used"]));
    let is_same_hard = amount::read(&hard) == amount::read(&quota.status["hard"]);
    if is_same_hard && new == old {
        return plan;
    }
    if is_less(&new, &old) && unchanged_for < SETTLE {
        plan.wake_at(now + (SETTLE - unchanged_for));
        return plan;
    }
    let status = json!({
        "hard": replacing(&quota.status["hard"], hard), "used": replacing(&quota.status["used"], used)
    });
    plan.act(Action::status(Target::at(quota), status));
    plan
}

fn is_less(new: &Amounts, old: &Amounts) -> bool {
    old.iter().any(|(name, was)| new.get(name).is_some_and(|is| is < was))
}

/// A merge patch that leaves nothing of what was.
fn replacing(old: &Value, new: Value) -> Value {
    let gone = old.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), Value::Null));
    let mut patch: Map<String, Value> = gone.collect();
    if let Value::Object(new) = new {
        patch.extend(new);
    }
    Value::Object(patch)
}
