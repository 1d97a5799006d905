//! Rows of kinds that have none in the kind table yet.

use serde_json::{Value, json};

use crate::registry::{Facts, Generation, Names, StatusRule};

/// The row of a kind; the plain one for kinds without peculiarities.
pub(super) fn row(storage_key: &str) -> &'static Facts {
    match storage_key {
        "pods" => &PODS,
        "namespaces" => &NAMESPACES,
        "nodes" => &NODES,
        "services" => &SERVICES,
        "events" => &EVENTS,
        "leases.coordination.k8s.io" => &LEASES,
        "secrets" => &SECRETS,
        "configmaps"
        | "serviceaccounts"
        | "endpoints"
        | "limitranges"
        | "persistentvolumes"
        | "persistentvolumeclaims"
        | "resourcequotas"
        | "endpointslices.discovery.k8s.io"
        | "controllerrevisions.apps"
        | "storageclasses.storage.k8s.io"
        | "runtimeclasses.node.k8s.io"
        | "csinodes.storage.k8s.io"
        | "csidrivers.storage.k8s.io" => &WITHOUT_GENERATION,
        "roles.rbac.authorization.k8s.io"
        | "rolebindings.rbac.authorization.k8s.io"
        | "clusterroles.rbac.authorization.k8s.io"
        | "clusterrolebindings.rbac.authorization.k8s.io" => &RBAC,
        "replicasets.apps" => &REPLICASETS,
        "jobs.batch" => &JOBS,
        _ => Facts::plain(),
    }
}

static WITHOUT_GENERATION: Facts = Facts { generation: Generation::None, ..Facts::PLAIN };

static RBAC: Facts = Facts { generation: Generation::None, names: Names::Segment, ..Facts::PLAIN };

static LEASES: Facts =
    Facts { generation: Generation::None, needs_version: true, create_on_update: true, ..Facts::PLAIN };

static EVENTS: Facts = Facts {
    generation: Generation::None,
    create_on_update: true,
    selectable: &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ],
    field: |event, name| match name {
        "source" => text(&event["source"]["component"]),
        path => dotted(event, path),
    },
    ..Facts::PLAIN
};

static SECRETS: Facts = Facts {
    generation: Generation::None,
    selectable: &["type"],
    field: dotted,
    default: |secret| {
        if text(&secret["type"]).is_empty() {
            secret["type"] = json!("Opaque");
        }
    },
    ..Facts::PLAIN
};

static REPLICASETS: Facts = Facts { selectable: &["status.replicas"], field: number, ..Facts::PLAIN };

static JOBS: Facts = Facts {
    selectable: &["status.successful"],
    field: |job, _| number(job, "status.succeeded"),
    ..Facts::PLAIN
};

static NODES: Facts = Facts {
    generation: Generation::None,
    selectable: &["spec.unschedulable"],
    field: |node, _| (node["spec"]["unschedulable"] == Value::Bool(true)).to_string(),
    ..Facts::PLAIN
};

static SERVICES: Facts = Facts {
    generation: Generation::None,
    names: Names::Label1035,
    default: |service| {
        let spec = &mut service["spec"];
        if !spec.is_object() {
            return;
        }
        set_default(spec, "type", json!("ClusterIP"));
        set_default(spec, "sessionAffinity", json!("None"));
        if spec["type"] != "ExternalName" {
            set_default(spec, "internalTrafficPolicy", json!("Cluster"));
        }
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            set_default(port, "protocol", json!("TCP"));
            if matches!(&port["targetPort"], Value::Null)
                || port["targetPort"] == 0
                || port["targetPort"] == ""
            {
                port["targetPort"] = port["port"].clone();
            }
        }
    },
    prepare_create: |service, _| service["status"] = json!({"loadBalancer": {}}),
    ..Facts::PLAIN
};

static NAMESPACES: Facts = Facts {
    generation: Generation::None,
    names: Names::Label,
    selectable: &["status.phase"],
    field: dotted,
    default: |namespace| {
        let name = text(&namespace["metadata"]["name"]);
        if !name.is_empty() {
            namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
        }
    },
    prepare_create: |namespace, _| {
        let mut finalizers: Vec<Value> =
            namespace["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push(json!("kubernetes"));
        }
        namespace["spec"] = json!({"finalizers": finalizers});
        namespace["status"] = json!({"phase": "Active"});
    },
    prepare_update: |new, old, context| {
        if context.subresource == "finalize" {
            new["status"] = old["status"].clone();
        } else {
            new["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
        }
        drop_empty(&mut new["spec"], "finalizers");
    },
    ..Facts::PLAIN
};

static PODS: Facts = Facts {
    selectable: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    field: |pod, name| match name {
        "spec.hostNetwork" => (pod["spec"]["hostNetwork"] == Value::Bool(true)).to_string(),
        "status.podIPs" => dotted(pod, "status.podIP"),
        path => dotted(pod, path),
    },
    prepare_create: |pod, _| pod["status"] = json!({"phase": "Pending", "qosClass": qos(pod)}),
    status: StatusRule::Apart,
    ..Facts::PLAIN
};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn dotted(object: &Value, path: &str) -> String {
    text(path.split('.').fold(object, |at, key| &at[key]))
}

fn number(object: &Value, path: &str) -> String {
    path.split('.').fold(object, |at, key| &at[key]).as_i64().unwrap_or(0).to_string()
}

fn set_default(object: &mut Value, key: &str, value: Value) {
    if object[key].as_str().is_none_or(str::is_empty) {
        object[key] = value;
    }
}

fn drop_empty(object: &mut Value, key: &str) {
    if object[key].is_null() || object[key].as_array().is_some_and(Vec::is_empty) {
        object.as_object_mut().map(|m| m.remove(key));
    }
}

/// Quality of service: all limits equal to all requests, any of them, or none (`GetPodQOS`).
fn qos(pod: &Value) -> &'static str {
    let all = |key: &str| pod["spec"][key].as_array().cloned().unwrap_or_default();
    let containers: Vec<Value> = all("containers").into_iter().chain(all("initContainers")).collect();
    let of = |c: &Value, kind: &str, resource: &str| c["resources"][kind][resource].clone();
    let set = |v: &Value| v.as_str().is_some_and(|t| !matches!(t, "" | "0"));
    let any = containers
        .iter()
        .any(|c| ["requests", "limits"].iter().any(|k| ["cpu", "memory"].iter().any(|r| set(&of(c, k, r)))));
    let full = containers.iter().all(|c| {
        ["cpu", "memory"].iter().all(|r| {
            let limit = of(c, "limits", r);
            let request = of(c, "requests", r);
            set(&limit) && (request.is_null() || request == limit)
        })
    });
    match (any, full) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
