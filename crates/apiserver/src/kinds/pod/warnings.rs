//! What is taken but does nothing, or not what it seems to do (`GetWarningsForPod` of kube-apiserver 1.36).

use serde_json::Value;

use super::super::check::{given, list, text};

const LABELS: [(&str, &str); 4] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
];
/// Volume sources that nothing provides any more.
const VOLUMES: [(&str, &str); 9] = [
    ("gitRepo", "deprecated in v1.11"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
];

/// Warnings about a pod.
pub(super) fn pod(new: &Value, old: Option<&Value>) -> Vec<String> {
    // A change that leaves the spec as it is was warned of before.
    if old.is_some_and(|o| o["spec"] == new["spec"]) {
        return Vec::new();
    }
    spec("spec", &new["spec"])
}

/// Warnings about the template of a workload.
pub(in super::super) fn template(path: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|o| o["spec"] == new["spec"]) {
        return Vec::new();
    }
    spec(&format!("{path}.spec"), &new["spec"])
}

fn spec(path: &str, spec: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (label, why) in LABELS {
        if given(&spec["nodeSelector"], label).is_some() {
            out.push(format!("{path}.nodeSelector[{label}]: {why}"));
        }
    }
    for (i, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            out.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
        }
    }
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        for (kind, why) in VOLUMES {
            if given(volume, kind).is_some() {
                out.push(format!("{path}.volumes[{i}].{kind}: {why}"));
            }
        }
    }
    duplicate_env(path, spec, &mut out);
    out
}

fn duplicate_env(path: &str, spec: &Value, out: &mut Vec<String>) {
    for kind in ["initContainers", "containers"] {
        for (i, container) in list(spec, kind).iter().enumerate() {
            let env = list(container, "env");
            for (n, one) in env.iter().enumerate() {
                let name = text(one, "name");
                let hides = env[..n].iter().any(|e| text(e, "name") == name);
                let uses_itself = text(one, "value").contains(&format!("$({name})"));
                if hides && !uses_itself {
                    out.push(format!(
                        "{path}.{kind}[{i}].env[{n}]: hides previous definition of {name:?}, which may be dropped when using apply"
                    ));
                }
            }
        }
    }
}
