//! Budgets in force: PodDisruptionBudget and PodUnavailableBudget.

use std::collections::BTreeMap;

use api_meta::{LabelSelector, Resource};
use serde_json::Value;
use view::{Answer, Reason};

use super::chain::Link;
use crate::output::name;
use crate::scene::{self, PODS, is_same};
use crate::session::Session;
use crate::thinkers::is_workload;

pub(crate) const DISRUPTIONS: Resource =
    Resource::namespaced("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget");
pub(crate) const UNAVAILABLE: Resource =
    Resource::namespaced("policy.kruise.io", "v1alpha1", "podunavailablebudgets", "PodUnavailableBudget");

/// Adds the budgets that cover the pods, and says which of them is used up.
pub(super) async fn tell(
    session: &Session,
    subject: &Link,
    pods: &[Value],
    out: &mut Answer,
) -> anyhow::Result<()> {
    if !is_same(&subject.resource, &PODS) && !is_workload(&subject.resource) {
        return Ok(());
    }
    let namespace = scene::key_of(&subject.object).namespace;
    let labels = match pods.first() {
        Some(pod) => labels(&pod["metadata"]["labels"]),
        None => labels(&subject.object["spec"]["template"]["metadata"]["labels"]),
    };
    for kind in [&DISRUPTIONS, &UNAVAILABLE] {
        for budget in scene::read_values(&session.client, kind, &namespace).await? {
            if covers(&budget, &labels, &subject.object) {
                let (line, spent) = told(&budget);
                out.budgets.push(line);
                if spent {
                    let message = "no further pod may be taken away now: its budget is used up";
                    out.held.push(Reason::new(name(&budget), "BudgetUsedUp", message));
                    out.advise(format!(
                        "make unavailable pods well, or widen {}: kubectl edit {}",
                        name(&budget),
                        name(&budget)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Whether a budget is about pods with these labels, or names their workload.
pub(crate) fn covers(budget: &Value, labels: &BTreeMap<String, String>, workload: &Value) -> bool {
    let target = &budget["spec"]["targetRef"];
    if target.is_object() {
        return target["kind"] == workload["kind"] && target["name"] == workload["metadata"]["name"];
    }
    let selector: Option<LabelSelector> = serde_json::from_value(budget["spec"]["selector"].clone()).ok();
    selector.and_then(|s| s.selector().ok()).is_some_and(|s| s.matches(labels))
}

/// The string entries of a map.
pub(crate) fn labels(map: &Value) -> BTreeMap<String, String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// A budget in a sentence, and whether it is used up.
pub(crate) fn told(budget: &Value) -> (String, bool) {
    let (spec, status) = (&budget["spec"], &budget["status"]);
    let plain = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let rule = ["minAvailable", "maxUnavailable"].iter().find(|f| !spec[**f].is_null());
    let rule = rule.map_or("no rule".to_owned(), |f| format!("{f} {}", plain(&spec[*f])));
    let allowed = status["disruptionsAllowed"].as_i64().or_else(|| status["unavailableAllowed"].as_i64());
    let healthy = status["currentHealthy"].as_i64().or_else(|| status["currentAvailable"].as_i64());
    let wanted = status["desiredHealthy"].as_i64().or_else(|| status["desiredAvailable"].as_i64());
    let judged = match (allowed, healthy, wanted) {
        (Some(n), Some(h), Some(w)) => format!("{n} pods may be taken away now ({h} available, {w} needed)"),
        (Some(n), ..) => format!("{n} pods may be taken away now"),
        _ => "nobody has judged it yet".to_owned(),
    };
    (format!("{}: {rule}; {judged}", name(budget)), allowed == Some(0))
}
