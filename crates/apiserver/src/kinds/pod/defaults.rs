//! Defaults of pods and templates (`SetDefaults_PodSpec` and its relatives of kube-apiserver 1.36).

use serde_json::{Map, Value, json};

use super::super::check::{default, default_number, each_mut, flag, given_mut, put, text};

/// Defaults of a whole pod.
pub(in super::super) fn pod(pod: &mut Value) {
    // Nobody else may see an incomplete spec, so what is missing altogether stays missing.
    let Some(spec) = pod.get_mut("spec").filter(|s| s.is_object()) else { return };
    default(spec, "enableServiceLinks", true);
    requests_from_limits(spec);
    self::spec(spec);
    if flag(spec, "hostNetwork") {
        host_ports(spec);
    }
    addresses(pod);
}

/// Defaults of a pod template.
pub(in super::super) fn template(template: &mut Value) {
    let Some(spec) = template.get_mut("spec").filter(|s| s.is_object()) else { return };
    self::spec(spec);
    if flag(spec, "hostNetwork") {
        host_ports(spec);
    }
}

fn spec(spec: &mut Value) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    account(spec);
    for name in ["initContainers", "containers", "ephemeralContainers"] {
        each_mut(spec, name).for_each(container);
    }
    each_mut(spec, "volumes").for_each(volume);
    for constraint in each_mut(spec, "topologySpreadConstraints") {
        // An absent policy is kept absent: the scheduler knows what it means.
        if text(constraint, "nodeAffinityPolicy").is_empty() {
            put(constraint, "nodeAffinityPolicy", Value::Null);
        }
    }
}

/// The two names of one field.
fn account(spec: &mut Value) {
    let name = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount"),
        name => name,
    };
    if !name.is_empty() {
        let name = name.to_owned();
        put(spec, "serviceAccountName", name.clone().into());
        put(spec, "serviceAccount", name.into());
    }
}

fn container(c: &mut Value) {
    default(c, "terminationMessagePath", "/dev/termination-log");
    default(c, "terminationMessagePolicy", "File");
    let policy = pull_policy(text(c, "image"));
    default(c, "imagePullPolicy", policy);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(p) = given_mut(c, name) {
            probe(p);
        }
    }
    drop_stop_signal(c);
    if let Some(lifecycle) = given_mut(c, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) = given_mut(lifecycle, name).and_then(|h| given_mut(h, "httpGet")) {
                http_get(get);
            }
        }
    }
    for env in each_mut(c, "env") {
        if let Some(field) = given_mut(env, "valueFrom").and_then(|f| given_mut(f, "fieldRef")) {
            default(field, "apiVersion", "v1");
        }
    }
    for port in each_mut(c, "ports") {
        default(port, "protocol", "TCP");
    }
}

/// `Always` for images without a tag or with `latest`, so that what is newest is meant.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn probe(p: &mut Value) {
    for (name, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        default_number(p, name, value);
    }
    if let Some(get) = given_mut(p, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = given_mut(p, "grpc") {
        default(grpc, "service", "");
    }
}

fn http_get(get: &mut Value) {
    default(get, "path", "/");
    default(get, "scheme", "HTTP");
}

fn volume(v: &mut Value) {
    const SOURCES: [&str; 4] = ["secret", "configMap", "downwardAPI", "projected"];
    // A volume that names no source is an empty directory.
    let has_source = v.as_object().is_some_and(|m| m.iter().any(|(k, v)| k != "name" && !v.is_null()));
    if !has_source {
        put(v, "emptyDir", json!({}));
    }
    for name in SOURCES {
        if let Some(source) = given_mut(v, name) {
            default(source, "defaultMode", 420);
        }
    }
    if let Some(source) = given_mut(v, "downwardAPI") {
        downward_items(source);
    }
    for source in v.get_mut("projected").into_iter().flat_map(|p| each_mut(p, "sources")) {
        if let Some(token) = given_mut(source, "serviceAccountToken") {
            default(token, "expirationSeconds", 3600);
        }
        if let Some(downward) = given_mut(source, "downwardAPI") {
            downward_items(downward);
        }
    }
    host_path(v);
    if let Some(spec) = v.pointer_mut("/ephemeral/volumeClaimTemplate/spec").filter(|s| s.is_object()) {
        default(spec, "volumeMode", "Filesystem");
    }
    if let Some(disk) = given_mut(v, "azureDisk") {
        default(disk, "cachingMode", "ReadWrite");
        default(disk, "kind", "Shared");
        default(disk, "fsType", "ext4");
        default(disk, "readOnly", false);
    }
    if let Some(image) = given_mut(v, "image") {
        let policy = pull_policy(text(image, "reference"));
        default(image, "pullPolicy", policy);
    }
}

/// The empty type of a host path is written out, for volumes of pods and for persistent ones.
pub(in super::super) fn host_path(v: &mut Value) {
    if let Some(path) = given_mut(v, "hostPath") {
        default(path, "type", "");
    }
}

fn downward_items(source: &mut Value) {
    for item in each_mut(source, "items") {
        if let Some(field) = given_mut(item, "fieldRef") {
            default(field, "apiVersion", "v1");
        }
    }
}

/// What has a limit and no request asks for its limit.
fn requests_from_limits(spec: &mut Value) {
    for name in ["containers", "initContainers"] {
        for c in each_mut(spec, name) {
            let limits = c["resources"]["limits"].as_object().cloned().unwrap_or_default();
            if limits.is_empty() {
                continue;
            }
            let requests = &mut c["resources"]["requests"];
            if !requests.is_object() {
                *requests = Value::Object(Map::new());
            }
            let requests = requests.as_object_mut().expect("made above");
            for (resource, limit) in limits {
                requests.entry(resource).or_insert(limit);
            }
        }
    }
}

/// On the node's own network the port of a container is the port of the node.
fn host_ports(spec: &mut Value) {
    for name in ["containers", "initContainers"] {
        for c in each_mut(spec, name) {
            for port in each_mut(c, "ports") {
                if let Some(n) = port["containerPort"].as_i64() {
                    default_number(port, "hostPort", n);
                }
            }
        }
    }
}

/// `podIP` and `podIPs` say the same.
fn addresses(pod: &mut Value) {
    let Some(status) = pod.get_mut("status").filter(|s| s.is_object()) else { return };
    let one = text(status, "podIP").to_owned();
    let first = status["podIPs"][0]["ip"].as_str().unwrap_or_default().to_owned();
    if !one.is_empty() && first != one {
        put(status, "podIPs", json!([{"ip": one}]));
    } else if one.is_empty() && !first.is_empty() {
        put(status, "podIP", first.into());
    }
    let one = text(status, "hostIP").to_owned();
    let first = status["hostIPs"][0]["ip"].as_str().unwrap_or_default().to_owned();
    if one.is_empty() && !first.is_empty() {
        put(status, "hostIP", first.into());
    }
}

/// Signals of one's own are not there yet: the field is dropped, and a lifecycle that has nothing else with it.
fn drop_stop_signal(c: &mut Value) {
    let Some(lifecycle) = c.get_mut("lifecycle").and_then(Value::as_object_mut) else { return };
    if lifecycle.remove("stopSignal").is_some() && lifecycle.is_empty() {
        c.as_object_mut().map(|c| c.remove("lifecycle"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_a_tag_are_pulled_always() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
