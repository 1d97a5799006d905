//! PodSecurity: the standards that namespaces ask for by labels.

use std::collections::BTreeMap;

use api_admission::security::{self, Level, Policy, Standard};
use serde_json::Value;
use store::Key;

use super::protect;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, forbidden, invalid};
use crate::registry::Served;
use crate::server::{ApiServer, Call};
use crate::stored;

/// Pods of a namespace that are looked at when its standard changes.
const PODS_MAX: usize = 3_000;

/// The policy of a namespace; nothing when it asks for nothing. The stored labels decide that without a parse.
fn policy(server: &ApiServer, namespace: &str) -> Outcome<Option<Policy>> {
    let Some(found) = server.store.get(&Key::new("namespaces", "", namespace)) else { return Ok(None) };
    if !found.row.labels().iter().any(|(key, _)| key.starts_with(security::PREFIX)) {
        return Ok(None);
    }
    let (policy, _) = Policy::of(&stored::decode(&found)?);
    Ok(Some(policy).filter(|p| !p.is_open()))
}

/// Judges a pod, or warns of the pods that a workload would have.
pub(super) fn judge(call: &Call, served: &Served, object: &Value) -> Outcome<()> {
    let is_pod = &*served.storage_key == "pods";
    let pod = if is_pod { Some(object) } else { security::template(&served.storage_key, object) };
    let Some(pod) = pod else { return Ok(()) };
    let Some(policy) = policy(&call.server, call.namespace(served))? else { return Ok(()) };
    let broken = |standard: Standard| {
        let found = security::evaluate(standard, &pod["metadata"], &pod["spec"]);
        (!found.is_empty()).then(|| format!("PodSecurity \"{standard}\": {}", security::told(&found)))
    };
    if is_pod {
        call.note(format!("{}enforce-policy", security::PREFIX), policy.enforce.to_string());
    }
    if let Some(why) = broken(policy.audit) {
        call.note(format!("{}audit-violations", security::PREFIX), format!("would violate {why}"));
    }
    if let Some(why) = broken(policy.enforce).filter(|_| is_pod) {
        let name = metadata::text(object, "name");
        return Err(forbidden(&served.resource, name, &format!("violates {why}")));
    }
    if let Some(why) = broken(policy.warn) {
        call.warn(format!("would violate {why}"));
    }
    Ok(())
}

/// Judges the labels of a namespace; warns of pods that would not be let in any more.
pub(super) fn judge_namespace(call: &Call, served: &Served, new: &Value, old: Option<&Value>) -> Outcome<()> {
    let has_any = |n: &Value| {
        n["metadata"]["labels"].as_object().is_some_and(|l| l.keys().any(|k| k.starts_with(security::PREFIX)))
    };
    if !has_any(new) {
        return Ok(());
    }
    let (policy, faults) = Policy::of(new);
    let (before, old_faults) = old.map(Policy::of).unwrap_or_default();
    if !faults.is_empty() && faults != old_faults {
        return Err(invalid("", &served.resource.kind, metadata::text(new, "name"), faults));
    }
    let (is, was) = (policy.enforce, before.enforce);
    let is_relaxed = is.version == was.version && is.level <= was.level;
    if old.is_none() || is == was || is.level == Level::Privileged || is_relaxed {
        return Ok(());
    }
    warn_of_pods(call, metadata::text(new, "name"), is)
}

fn warn_of_pods(call: &Call, namespace: &str, standard: Standard) -> Outcome<()> {
    let pods = protect::list(&call.server, "pods", Some(namespace))?;
    // By what they break: the first name, and how many others.
    let mut broken: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for pod in pods.iter().take(PODS_MAX) {
        let pod = stored::decode(pod)?;
        let found = security::evaluate(standard, &pod["metadata"], &pod["spec"]);
        if !found.is_empty() {
            let first = (metadata::text(&pod, "name").to_owned(), 0);
            broken.entry(security::rules(&found)).and_modify(|(_, others)| *others += 1).or_insert(first);
        }
    }
    if pods.len() > PODS_MAX {
        let count = pods.len();
        call.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {count} existing pods"
        ));
    }
    if broken.is_empty() {
        return Ok(());
    }
    call.warn(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
    ));
    let mut told: Vec<String> = broken
        .into_iter()
        .map(|(rules, (name, others))| match others {
            0 => format!("{name}: {rules}"),
            1 => format!("{name} (and 1 other pod): {rules}"),
            n => format!("{name} (and {n} other pods): {rules}"),
        })
        .collect();
    told.sort();
    told.into_iter().for_each(|text| call.warn(text));
    Ok(())
}
