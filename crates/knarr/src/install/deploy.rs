//! What runs in the cluster.

use serde_json::{Value, json};

use super::name_of;
use crate::args::Role;

/// Port of the conversion webhook in its pod.
const CONVERSION_PORT: u16 = 9443;

/// The Deployment of a role; for workloads, the Service of its conversion webhook too.
pub(super) fn manifests(role: Role, namespace: &str, image: &str) -> Vec<Value> {
    let name = name_of(role);
    let labels = json!({"app.kubernetes.io/name": "knarr", "app.kubernetes.io/component": role.name()});
    let mut args =
        vec![json!("run"), json!("--role"), json!(role.name()), json!("--data-dir"), json!("/var/lib/knarr")];
    args.extend([json!("--leader-lease"), json!(format!("{namespace}/{name}"))]);
    let mut ports = Vec::new();
    let mut out = Vec::new();
    if role == Role::Workloads {
        args.extend([
            json!("--webhook-listen"),
            json!(format!("0.0.0.0:{CONVERSION_PORT}")),
            json!("--webhook-service"),
            json!(format!("{namespace}/{name}")),
        ]);
        ports.push(json!({"name": "conversion", "containerPort": CONVERSION_PORT}));
        out.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": {"selector": labels, "ports": [{"name": "conversion", "port": 443, "targetPort": "conversion"}]},
        }));
    }
    out.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            // One at a time: each makes an authority of its own for conversions, and the definitions know the last one's.
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": name,
                    "priorityClassName": "system-cluster-critical",
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "knarr", "image": image, "args": args, "ports": ports,
                        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": "data", "mountPath": "/var/lib/knarr"}],
                    }],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                },
            },
        },
    }));
    out
}
