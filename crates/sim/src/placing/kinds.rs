//! The kinds of nodes and pods in the story.

use serde_json::{Value, json};

use api_koord::names;

use crate::machine::Dice;

/// Where the group of quotas was approved; the server asks for it.
const APPROVED: &str = "https://github.com/kubernetes-sigs/scheduler-plugins/pull/52";
/// Members of a gang; all of them or none run.
pub(super) const GANG: usize = 3;
/// The quota that some pods are of, and thousandths of CPU that they may use together.
pub(super) const QUOTA: (&str, i64) = ("web", 2000);

/// A node by its number: size, zone and taint follow from it.
pub(super) struct NodeKind {
    pub(super) name: String,
    pub(super) cpu_milli: i64,
    pub(super) pods: i64,
    number: usize,
}

impl NodeKind {
    pub(super) fn of(number: usize) -> NodeKind {
        NodeKind {
            name: format!("n{number}"),
            cpu_milli: [4000, 2000, 8000, 3000][number % 4],
            pods: [10, 4, 20, 7][number % 4],
            number,
        }
    }

    pub(super) fn named(name: &str) -> NodeKind {
        NodeKind::of(name.trim_start_matches('n').parse().unwrap_or(0))
    }

    pub(super) fn object(&self) -> Value {
        let taints = match self.number % 5 {
            3 => json!([{"key": "special", "value": "yes", "effect": "NoSchedule"}]),
            _ => json!([]),
        };
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.name, "labels": {
                "kubernetes.io/hostname": self.name, "zone": format!("z{}", self.number % 3)}},
            "spec": {"taints": taints},
        })
    }
}

/// A pod of some kind.
pub(super) fn pod(name: &str, dice: &Dice) -> Value {
    let cpu = [100, 250, 500, 1000, 1500][usize::try_from(dice.below(5)).unwrap_or(0)];
    let app = format!("a{}", dice.below(3));
    let scheduler = if dice.happens(100) { "other" } else { "default-scheduler" };
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {
            "schedulerName": scheduler, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": format!("{cpu}m")}}}],
        },
    });
    let spec = &mut pod["spec"];
    match dice.below(11) {
        0 => spec["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80 + dice.below(2)}]),
        1 => spec["affinity"] = apart("kubernetes.io/hostname", &app),
        2 => spec["affinity"] = apart("zone", &app),
        3 => spec["nodeSelector"] = json!({"zone": format!("z{}", dice.below(3))}),
        4 => spec["tolerations"] = json!([{"key": "special", "operator": "Exists"}]),
        5 => {
            let near = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}]);
            spec["affinity"] =
                json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": near}});
        }
        6 | 7 => pod["metadata"]["labels"][names::QUOTA_NAME] = json!(QUOTA.0),
        _ => {}
    }
    pod
}

/// The pods of a gang.
pub(super) fn gang(name: &str) -> Vec<(String, Value)> {
    let member = |i: usize| {
        let own = format!("{name}-{i}");
        let annotations = json!({names::GANG_NAME: name, names::GANG_MIN: GANG.to_string()});
        let requests = json!({"requests": {"cpu": "700m"}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": own, "namespace": "default", "annotations": annotations},
            "spec": {"schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "c", "image": "x", "resources": requests}]},
        });
        (own, pod)
    };
    (0..GANG).map(member).collect()
}

/// What a cluster needs to know of quotas.
pub(super) fn quota_definition() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "elasticquotas.scheduling.sigs.k8s.io", "annotations": {"api-approved.kubernetes.io": APPROVED}},
        "spec": {
            "group": "scheduling.sigs.k8s.io", "scope": "Namespaced",
            "names": {"plural": "elasticquotas", "singular": "elasticquota", "kind": "ElasticQuota", "listKind": "ElasticQuotaList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}}}],
        },
    })
}

/// The quota.
pub(super) fn quota() -> Value {
    let cpu = format!("{}m", QUOTA.1);
    json!({
        "apiVersion": "scheduling.sigs.k8s.io/v1alpha1", "kind": "ElasticQuota",
        "metadata": {"name": QUOTA.0, "namespace": "default"},
        "spec": {"min": {"cpu": cpu}, "max": {"cpu": cpu}},
    })
}

fn apart(topology: &str, app: &str) -> Value {
    let term = json!([{"topologyKey": topology, "labelSelector": {"matchLabels": {"app": app}}}]);
    json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}})
}
