//! The annotations by which a Deployment remembers revisions and sizes on its ReplicaSets.

use std::collections::BTreeMap;

use api_core::{Deployment, ReplicaSet};

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Longest history kept on one ReplicaSet.
const HISTORY_CHARS_MAX: usize = 2000;

/// Annotations that stay where they are.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// The revision of a ReplicaSet; 0 when it has none.
pub(crate) fn revision(set: &ReplicaSet) -> i64 {
    number(set, REVISION).unwrap_or(0)
}

/// A number among the annotations of a ReplicaSet.
pub(crate) fn number(set: &ReplicaSet, name: &str) -> Option<i64> {
    set.metadata.annotations.get(name).and_then(|n| n.parse().ok())
}

/// The annotations of the newest ReplicaSet: the Deployment's own, and its revision. A set that becomes the newest again
/// keeps a history of the revisions it had.
pub(crate) fn of_newest(
    deployment: &Deployment,
    before: &BTreeMap<String, String>,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut annotations = before.clone();
    let own = deployment.metadata.annotations.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    annotations.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    let old = before.get(REVISION).map(String::as_str).unwrap_or_default();
    if old.parse().unwrap_or(0) < revision {
        annotations.insert(REVISION.to_owned(), revision.to_string());
        if !old.is_empty() {
            let history = before.get(HISTORY).map(String::as_str).unwrap_or_default();
            annotations.insert(HISTORY.to_owned(), lengthened(history, old));
        }
    }
    annotations
}

/// The history with one more revision; the oldest ones give way.
fn lengthened(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    revisions.push(revision);
    while revisions.join(",").len() > HISTORY_CHARS_MAX {
        revisions.remove(0);
    }
    revisions.join(",")
}
