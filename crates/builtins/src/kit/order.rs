//! Which pods go first when there are too many: those whose loss is felt least (as kube-controller-manager 1.36).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{ContainerStatus, Pod};
use stdx::Time;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The place of a pod in the order of deletion, from most to least important; the least goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByDoom {
    scheduled: bool,
    phase: u8,
    ready: bool,
    cost: i32,
    /// Pods of the same workload on its node: crowded ones go first.
    crowd: Reverse<i32>,
    /// Younger readiness goes first; ages of one order of magnitude count as equal.
    ready_age: AgeRank,
    restarts: Reverse<(i32, i32)>,
    age: AgeRank,
    uid: String,
}

/// The logarithm of an age: as upstream, so that among pods of about the same age chance (the uid) decides, and not always
/// the same zone is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AgeRank(u8);

impl AgeRank {
    /// Pods without the time go first.
    fn of(since: Option<Time>, now: Time) -> AgeRank {
        let secs = |t| now.since(t).as_secs();
        AgeRank(
            since.map_or(0, |t| 1 + u8::try_from(secs(t).checked_ilog2().map_or(0, |n| n + 1)).unwrap_or(64)),
        )
    }
}

impl ByDoom {
    /// The place of one pod; `crowd` is how many active pods of its workload share its node.
    pub(crate) fn of(pod: &Pod, crowd: i32, now: Time) -> ByDoom {
        let ready = pod.is_ready();
        let ready_since = pod.condition("Ready").filter(|_| ready).and_then(|c| c.last_transition_time);
        let cost = pod.metadata.annotations.get(DELETION_COST).and_then(|c| c.parse().ok());
        let restarts =
            |statuses: &[ContainerStatus]| statuses.iter().map(|s| s.restart_count).max().unwrap_or(0);
        ByDoom {
            scheduled: !pod.spec.node_name.is_empty(),
            phase: match pod.status.phase.as_str() {
                "Running" => 2,
                "Unknown" => 1,
                _ => 0,
            },
            ready,
            cost: cost.unwrap_or(0),
            crowd: Reverse(crowd),
            ready_age: if ready { AgeRank::of(ready_since, now) } else { AgeRank(0) },
            restarts: Reverse((
                restarts(&pod.status.container_statuses),
                restarts(&pod.status.init_container_statuses),
            )),
            age: AgeRank::of(pod.metadata.creation_timestamp, now),
            uid: pod.metadata.uid.clone(),
        }
    }
}

/// The pods with those that go first in front. `crowds` counts active pods of the workload by node.
pub(crate) fn doomed_first(pods: &[Arc<Pod>], crowds: &BTreeMap<String, i32>, now: Time) -> Vec<Arc<Pod>> {
    let crowd = |pod: &Pod| crowds.get(&pod.spec.node_name).copied().unwrap_or(0);
    let mut placed: Vec<(ByDoom, Arc<Pod>)> =
        pods.iter().map(|pod| (ByDoom::of(pod, crowd(pod), now), pod.clone())).collect();
    placed.sort_by(|(a, _), (b, _)| -> Ordering { a.cmp(b) });
    placed.into_iter().map(|(_, pod)| pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Time = Time::from_secs(1_700_000_000);

    fn pod(uid: &str, change: serde_json::Value) -> Arc<Pod> {
        let ready = Time::from_secs(1_699_000_000);
        let mut pod = json!({
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": ready},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "conditions":
                [{"type": "Ready", "status": "True", "lastTransitionTime": ready}]},
        });
        for (path, value) in change.as_object().unwrap() {
            *pod.pointer_mut(path).unwrap() = value.clone();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn order(pods: &[Arc<Pod>], crowds: &[(&str, i32)]) -> String {
        let crowds = crowds.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
        let names: Vec<_> =
            doomed_first(pods, &crowds, NOW).iter().map(|p| p.metadata.name.clone()).collect();
        names.join(" ")
    }

    #[test]
    fn the_least_useful_go_first() {
        let pods = [
            pod("ready", json!({})),
            pod("unready", json!({"/status/conditions": []})),
            pod("pending", json!({"/status": {"phase": "Pending"}})),
            pod("unscheduled", json!({"/spec/nodeName": "", "/status": {"phase": "Pending"}})),
            pod(
                "cheap",
                json!({"/metadata": {"name": "cheap", "uid": "cheap",
                "annotations": {DELETION_COST: "-5"}}}),
            ),
        ];
        assert_eq!(order(&pods, &[]), "unscheduled pending unready cheap ready");
    }

    #[test]
    fn crowded_nodes_then_young_pods_lose_first() {
        let young = json!({"/status/conditions/0/lastTransitionTime": Time::from_secs(1_699_999_990)});
        let pods = [pod("a", json!({})), pod("b", json!({"/spec/nodeName": "n2"})), pod("c", young)];
        assert_eq!(order(&pods, &[("n2", 2), ("n1", 1)]), "b c a");
    }
}
