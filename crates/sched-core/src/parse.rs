//! From the wire's pod specification to a `Demand`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{
    Affinity, Container, ContainerPort, ContainerStatus, NodeSelectorTerm, Pod, PodAffinity, PodAffinityTerm,
    Toleration, TopologySpreadConstraint,
};
use api_meta::{LabelSelector, MatchExpression, Requirement, Selector};
use serde_json::Value;

use crate::images::normalized;
use crate::{
    Amounts, Clause, Demand, HostPort, Namespaces, NodeTerm, Policy, PreferredTerm, Spread, TaintEffect,
    Term, Tolerance, Unsatisfiable,
};

/// What a container without a CPU request counts as when scoring.
const SCORED_CPU_MILLI: i64 = 100;
/// What a container without a memory request counts as when scoring.
const SCORED_MEMORY: i64 = 200 << 20;

impl Demand {
    /// The demand of a pod.
    pub fn of(pod: &Pod) -> Demand {
        let spec = &pod.spec;
        let equal = spec.node_selector.iter().map(|(k, v)| Requirement::In(k.clone(), vec![v.clone()]));
        let scored = total(pod, Missing::Default);
        let mut demand = Demand {
            requests: total(pod, Missing::Zero),
            scored_cpu_milli: scored.cpu_milli,
            scored_memory: scored.memory,
            node_selector: Selector(equal.collect()),
            tolerances: spec.tolerations.iter().filter_map(tolerance).collect(),
            ports: ports(pod),
            spread: spec.topology_spread_constraints.iter().map(|c| spread(pod, c)).collect(),
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            images: images(pod),
            containers: spec.containers.len() + spec.init_containers.len(),
            ..Demand::default()
        };
        if let Some(affinity) = &spec.affinity {
            demand.take_affinity(pod, affinity);
        }
        demand
    }

    fn take_affinity(&mut self, pod: &Pod, affinity: &Affinity) {
        if let Some(node) = &affinity.node_affinity {
            let required = node.required_during_scheduling_ignored_during_execution.as_ref();
            self.node_terms = required.map(|r| r.node_selector_terms.iter().map(node_term).collect());
            let wishes = &node.preferred_during_scheduling_ignored_during_execution;
            self.node_wishes =
                wishes.iter().map(|w| (i64::from(w.weight), node_term(&w.preference))).collect();
        }
        if let Some(near) = &affinity.pod_affinity {
            self.near = required_terms(pod, near);
            self.inclined.extend(preferred_terms(pod, near, 1));
        }
        if let Some(apart) = &affinity.pod_anti_affinity {
            self.apart = required_terms(pod, apart);
            self.inclined.extend(preferred_terms(pod, apart, -1));
        }
    }
}

fn images(pod: &Pod) -> Box<[Arc<str>]> {
    let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers).map(|c| c.image.as_str());
    let volumes = pod.spec.volumes.iter().filter_map(|v| v["image"]["reference"].as_str());
    containers.chain(volumes).filter(|name| !name.is_empty()).map(normalized).collect()
}

/// What a container that requests nothing counts as.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Zero,
    Default,
}

/// Requests of the whole pod, as kube-scheduler 1.36 sums them: containers and sidecars run together; each init container
/// runs beside the sidecars started before it.
fn total(pod: &Pod, missing: Missing) -> Amounts {
    let spec = &pod.spec;
    let pod_level = spec.resources.as_ref().map(|r| &r.requests);
    let fill = |amounts: &mut Amounts, requests: &BTreeMap<String, Value>| {
        let unset = |name| !requests.contains_key(name) && pod_level.is_none_or(|p| !p.contains_key(name));
        if missing == Missing::Default && unset("cpu") {
            amounts.cpu_milli = SCORED_CPU_MILLI;
        }
        if missing == Missing::Default && unset("memory") {
            amounts.memory = SCORED_MEMORY;
        }
    };
    let of = |container: &Container, statuses: &[ContainerStatus]| {
        let status = statuses.iter().find(|s| s.name == container.name);
        let mut amounts = in_effect(pod, container, status);
        fill(&mut amounts, &container.resources.requests);
        amounts
    };
    let mut sum = Amounts::default();
    for container in &spec.containers {
        sum.add(&of(container, &pod.status.container_statuses));
    }
    let (mut sidecars, mut peak) = (Amounts::default(), Amounts::default());
    for container in &spec.init_containers {
        let mut amounts = of(container, &pod.status.init_container_statuses);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&amounts);
            sidecars.add(&amounts);
            amounts = sidecars.clone();
        } else {
            amounts.add(&sidecars);
        }
        peak.raise(&amounts);
    }
    sum.raise(&peak);
    if let Some(requests) = pod_level {
        override_with(&mut sum, requests);
    }
    let overhead: BTreeMap<String, Value> =
        spec.overhead.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect();
    sum.add(&Amounts::read(&overhead));
    sum
}

/// Requests of one container; while a resize is under way, the greater of what is wanted and what the node has set aside.
fn in_effect(pod: &Pod, container: &Container, status: Option<&ContainerStatus>) -> Amounts {
    let wanted = Amounts::read(&container.resources.requests);
    let Some(status) = status else { return wanted };
    let mut held = Amounts::read(&status.allocated_resources);
    if let Some(actual) = &status.resources {
        held.raise(&Amounts::read(&actual.requests));
    }
    let infeasible = pod.status.resize == "Infeasible"
        || pod.condition("PodResizePending").is_some_and(|c| c.status == "True" && c.reason == "Infeasible");
    if infeasible && held != Amounts::default() {
        return held;
    }
    held.raise(&wanted);
    held
}

/// Pod-level requests stand in place of the containers' sums.
fn override_with(sum: &mut Amounts, requests: &BTreeMap<String, Value>) {
    let level = Amounts::read(requests);
    if requests.contains_key("cpu") {
        sum.cpu_milli = level.cpu_milli;
    }
    if requests.contains_key("memory") {
        sum.memory = level.memory;
    }
    sum.extended.extend(level.extended);
}

fn tolerance(t: &Toleration) -> Option<Tolerance> {
    let effect = if t.effect.is_empty() { None } else { Some(TaintEffect::parse(&t.effect)?) };
    let value = match t.operator.as_str() {
        "" | "Equal" => Some(t.value.clone()),
        "Exists" => None,
        // Numeric comparison of taints is off by default in kube-scheduler 1.36 too.
        _ => return None,
    };
    if t.key.is_empty() && value.is_some() {
        return None;
    }
    Some(Tolerance { key: t.key.clone(), value, effect })
}

fn ports(pod: &Pod) -> Vec<HostPort> {
    let spec = &pod.spec;
    let sidecars = spec.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let all = spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let mut out: Vec<HostPort> = all.filter_map(|p| host_port(p, spec.host_network)).collect();
    out.sort();
    out.dedup();
    out
}

fn host_port(p: &ContainerPort, host_network: bool) -> Option<HostPort> {
    let port = p
        .host_port
        .filter(|n| *n > 0)
        .or((host_network && p.container_port > 0).then_some(p.container_port))?;
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    Some(HostPort { port, protocol: or(&p.protocol, "TCP"), ip: or(&p.host_ip, "0.0.0.0") })
}

pub(crate) fn node_term(term: &NodeSelectorTerm) -> NodeTerm {
    let read = |list: &[MatchExpression]| {
        list.iter().map(MatchExpression::requirement).collect::<Result<Vec<_>, _>>()
    };
    match (read(&term.match_expressions), read(&term.match_fields)) {
        (Ok(labels), Ok(names)) => NodeTerm { labels, names, broken: false },
        _ => NodeTerm { broken: true, ..NodeTerm::default() },
    }
}

fn required_terms(pod: &Pod, affinity: &PodAffinity) -> Vec<Term> {
    affinity.required_during_scheduling_ignored_during_execution.iter().map(|t| term(pod, t)).collect()
}

fn preferred_terms(pod: &Pod, affinity: &PodAffinity, sign: i64) -> Vec<PreferredTerm> {
    let wishes = affinity.preferred_during_scheduling_ignored_during_execution.iter();
    wishes
        .map(|w| PreferredTerm { weight: sign * i64::from(w.weight), term: term(pod, &w.pod_affinity_term) })
        .collect()
}

fn term(pod: &Pod, t: &PodAffinityTerm) -> Term {
    let selector = t.namespace_selector.as_ref().and_then(|s| s.selector().ok());
    let names = if t.namespaces.is_empty() && t.namespace_selector.is_none() {
        [pod.metadata.namespace.clone()].into()
    } else {
        t.namespaces.iter().cloned().collect()
    };
    let mut pods =
        Clause { namespaces: Namespaces { names, selector }, selector: read(t.label_selector.as_ref()) };
    add_label_keys(pod, &mut pods, &t.match_label_keys, Requirement::In);
    add_label_keys(pod, &mut pods, &t.mismatch_label_keys, Requirement::NotIn);
    Term { pods, topology: t.topology_key.as_str().into() }
}

fn spread(pod: &Pod, c: &TopologySpreadConstraint) -> Spread {
    let policy = |text: &Option<String>, default| match text.as_deref() {
        Some("Honor") => Policy::Honor,
        Some("Ignore") => Policy::Ignore,
        _ => default,
    };
    let namespaces = Namespaces::one(&pod.metadata.namespace);
    let mut pods = Clause { namespaces, selector: read(c.label_selector.as_ref()) };
    add_label_keys(pod, &mut pods, &c.match_label_keys, Requirement::In);
    let unsatisfiable = match c.when_unsatisfiable.as_str() {
        "ScheduleAnyway" => Unsatisfiable::ScheduleAnyway,
        _ => Unsatisfiable::DoNotSchedule,
    };
    Spread {
        max_skew: i64::from(c.max_skew),
        topology: Arc::from(c.topology_key.as_str()),
        unsatisfiable,
        pods,
        min_domains: c.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
        affinity_policy: policy(&c.node_affinity_policy, Policy::Honor),
        taints_policy: policy(&c.node_taints_policy, Policy::Ignore),
    }
}

fn read(selector: Option<&LabelSelector>) -> Option<Selector> {
    selector.and_then(|s| s.selector().ok())
}

/// Adds "the same value as the pod's own" (or "another") for the listed labels. kube-apiserver merges them into the selector
/// when the pod is created; adding them again changes nothing.
fn add_label_keys(
    pod: &Pod,
    clause: &mut Clause,
    keys: &[String],
    requirement: fn(String, Vec<String>) -> Requirement,
) {
    let Some(selector) = &mut clause.selector else { return };
    for key in keys {
        if let Some(value) = pod.metadata.labels.get(key) {
            let added = requirement(key.clone(), vec![value.clone()]);
            if !selector.0.contains(&added) {
                selector.0.push(added);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(spec: serde_json::Value) -> Demand {
        let pod = serde_json::json!({"metadata": {"namespace": "n", "labels": {"app": "a", "rev": "1"}}, "spec": spec});
        Demand::of(&serde_json::from_value(pod).unwrap())
    }

    fn cpu(spec: serde_json::Value) -> i64 {
        demand(spec).requests.cpu_milli
    }

    fn c(cpu: &str) -> serde_json::Value {
        serde_json::json!({"name": "c", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn init_containers_run_alone_and_sidecars_beside_everything() {
        let sidecar = serde_json::json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
        assert_eq!(cpu(serde_json::json!({"containers": [c("1"), c("2")]})), 3000);
        assert_eq!(
            cpu(serde_json::json!({"containers": [c("1")], "initContainers": [c("5"), c("4")]})),
            5000
        );
        // The sidecar starts before the second init container, after the first.
        let init = serde_json::json!({"containers": [c("1")], "initContainers": [c("5"), sidecar, c("5")]});
        assert_eq!(cpu(init), 6000);
        let small = serde_json::json!({"containers": [c("1")], "initContainers": [sidecar], "overhead": {"cpu": "250m"}});
        assert_eq!(cpu(small), 2250);
    }

    #[test]
    fn pod_level_requests_stand_in_place_of_the_sum() {
        let spec = serde_json::json!({"containers": [c("1")], "resources": {"requests": {"cpu": "4"}}});
        assert_eq!(cpu(spec), 4000);
    }

    #[test]
    fn a_resize_counts_as_the_greater_of_wanted_and_held() {
        let pod = |held: &str, resize: &str| {
            let pod = serde_json::json!({
                "spec": {"containers": [c("2")]},
                "status": {"resize": resize, "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": held}}]},
            });
            Demand::of(&serde_json::from_value(pod).unwrap()).requests.cpu_milli
        };
        assert_eq!((pod("1", ""), pod("3", ""), pod("1", "Infeasible")), (2000, 3000, 1000));
    }

    #[test]
    fn missing_requests_score_as_defaults_but_are_not_requested() {
        let d = demand(
            serde_json::json!({"containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "0"}}}]}),
        );
        assert_eq!((d.requests.cpu_milli, d.scored_cpu_milli, d.scored_memory), (0, 100, 400 << 20));
    }

    #[test]
    fn label_keys_narrow_the_selector_to_the_pods_own_value() {
        let d = demand(serde_json::json!({"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "z", "matchLabelKeys": ["rev", "absent"], "labelSelector": {"matchLabels": {"app": "a"}}}]}));
        let selector = d.spread[0].pods.selector.clone().unwrap();
        assert_eq!(selector, Selector::parse("app=a,rev=1").unwrap());
    }

    #[test]
    fn an_empty_key_tolerates_only_with_exists() {
        let d = demand(serde_json::json!({"tolerations": [
            {"operator": "Exists"}, {"operator": "Equal", "value": "x"}, {"key": "k", "operator": "Gt", "value": "5"}]}));
        assert_eq!(d.tolerances, vec![Tolerance { key: String::new(), value: None, effect: None }]);
    }
}
