//! Containers of every kind: ordinary, init, ephemeral.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::check::{Findings, Path, flag, given, int, list, text};
use super::super::names;
use super::env::{env, env_from};
use super::resources::{self, Subject};
use super::security;

/// What containers are checked against.
pub(in super::super) struct Containers<'a> {
    /// Volumes of the pod by name, with the source's name.
    pub(in super::super) volumes: BTreeMap<&'a str, &'a str>,
    /// Resource claims of the pod.
    pub(in super::super) claims: Vec<&'a str>,
    /// The pod's grace period.
    pub(in super::super) grace: Option<i64>,
    /// The pod is on the node's network.
    pub(in super::super) host_network: bool,
}

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];

/// Which kind of container a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Init,
    /// An init container that goes on running.
    Sidecar,
    Ephemeral,
}

impl Containers<'_> {
    /// Findings about all containers of a spec.
    pub(super) fn check(&self, found: &mut Findings, path: &Path<'_>, spec: &Value) {
        let mut names = BTreeSet::new();
        self.main(found, path, spec, &mut names);
        self.init(found, path, spec, &mut names);
        self.ephemeral(found, path, spec, &names);
    }

    fn main<'v>(
        &self,
        found: &mut Findings,
        path: &Path<'_>,
        spec: &'v Value,
        names: &mut BTreeSet<&'v str>,
    ) {
        let at = path.field("containers");
        let containers = list(spec, "containers");
        if containers.is_empty() {
            found.required(&at, "");
            return;
        }
        let mut host_ports = BTreeSet::new();
        for (i, c) in containers.iter().enumerate() {
            let path = at.index(i);
            self.common(found, &path, c, Role::Main);
            self.unique(found, &path, c, names);
            self.restart_rules(found, &path, c);
            self.lifecycle(found, &path, c);
            self.probes(found, &path, c);
            taken_host_ports(found, &path, c, &mut host_ports);
        }
    }

    fn unique<'v>(&self, found: &mut Findings, path: &Path<'_>, c: &'v Value, names: &mut BTreeSet<&'v str>) {
        let name = text(c, "name");
        if !name.is_empty() && !names.insert(name) {
            found.duplicate(&path.field("name"), name);
        }
    }

    fn init<'v>(
        &self,
        found: &mut Findings,
        path: &Path<'_>,
        spec: &'v Value,
        names: &mut BTreeSet<&'v str>,
    ) {
        let at = path.field("initContainers");
        for (i, c) in list(spec, "initContainers").iter().enumerate() {
            let path = at.index(i);
            let policy = text(c, "restartPolicy");
            let role = if policy == "Always" { Role::Sidecar } else { Role::Init };
            self.common(found, &path, c, role);
            self.unique(found, &path, c, names);
            self.restart_rules(found, &path, c);
            if role == Role::Sidecar {
                self.lifecycle(found, &path, c);
                self.probes(found, &path, c);
                continue;
            }
            const WHY: &str = "may not be set for init containers without restartPolicy=Always";
            for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if given(c, name).is_some() {
                    found.forbidden(&path.field(name), WHY);
                }
            }
        }
    }

    fn ephemeral<'v>(
        &self,
        found: &mut Findings,
        path: &Path<'_>,
        spec: &'v Value,
        others: &BTreeSet<&'v str>,
    ) {
        const CLOSED: [&str; 7] = [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
            "restartPolicy",
        ];
        let at = path.field("ephemeralContainers");
        let mut names = others.clone();
        for (i, c) in list(spec, "ephemeralContainers").iter().enumerate() {
            let path = at.index(i);
            self.common(found, &path, c, Role::Ephemeral);
            self.unique(found, &path, c, &mut names);
            let target = text(c, "targetContainerName");
            if !target.is_empty() && !others.contains(target) {
                found.not_found(&path.field("targetContainerName"), target);
            }
            for name in CLOSED {
                if given(c, name).is_some_and(|v| v.as_array().is_none_or(|l| !l.is_empty())) {
                    found.forbidden(&path.field(name), "cannot be set for an Ephemeral Container");
                }
            }
            let has_resources =
                ["limits", "requests", "claims"].iter().any(|n| given(&c["resources"], n).is_some());
            if has_resources {
                found.forbidden(&path.field("resources"), "cannot be set for an Ephemeral Container");
            }
            let mounts = path.field("volumeMounts");
            for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
                for name in ["subPath", "subPathExpr"] {
                    if !text(mount, name).is_empty() {
                        found.forbidden(
                            &mounts.index(i).field(name),
                            "cannot be set for an Ephemeral Container",
                        );
                    }
                }
            }
        }
    }

    fn common(&self, found: &mut Findings, path: &Path<'_>, c: &Value, role: Role) {
        let name = text(c, "name");
        if name.is_empty() {
            found.required(&path.field("name"), "");
        } else {
            found.faults(&path.field("name"), name, names::label(name));
        }
        let image = text(c, "image");
        if image.is_empty() {
            found.required(&path.field("image"), "");
        } else if image.trim() != image {
            found.invalid(&path.field("image"), image, "must not have leading or trailing whitespace");
        }
        match text(c, "terminationMessagePolicy") {
            "" => found.required(&path.field("terminationMessagePolicy"), ""),
            policy => {
                let at = path.field("terminationMessagePolicy");
                found.one_of(&at, policy, &["FallbackToLogsOnError", "File"]);
            }
        }
        if role != Role::Ephemeral {
            self.ports(found, path, c);
        }
        env(found, path, c);
        env_from(found, path, c);
        self.mounts(found, path, c);
        devices(found, path, c, &self.volumes);
        found.required_one_of(&path.field("imagePullPolicy"), text(c, "imagePullPolicy"), &PULL_POLICIES);
        if role != Role::Ephemeral {
            let at = path.field("resources");
            resources::requirements(found, &at, &c["resources"], &self.claims, Subject::Container);
            resize_policy(found, path, c);
        }
        security::container(found, &path.field("securityContext"), c);
    }

    fn restart_rules(&self, found: &mut Findings, path: &Path<'_>, c: &Value) {
        let policy = text(c, "restartPolicy");
        let rules = list(c, "restartPolicyRules");
        if !policy.is_empty() {
            found.one_of(&path.field("restartPolicy"), policy, &RESTART_POLICIES);
        } else if !rules.is_empty() {
            let why = "must specify restartPolicy when restart rules are used";
            found.required(&path.field("restartPolicy"), why);
        }
        let at = path.field("restartPolicyRules");
        for (i, rule) in rules.iter().enumerate() {
            let path = at.index(i);
            found.required_one_of(
                &path.field("action"),
                text(rule, "action"),
                &["Restart", "RestartAllContainers"],
            );
            let codes = &rule["exitCodes"];
            if codes.is_null() {
                found.required(&path.field("exitCodes"), "must be specified");
                continue;
            }
            let path = path.field("exitCodes");
            found.required_one_of(&path.field("operator"), text(codes, "operator"), &["In", "NotIn"]);
            if list(codes, "values").is_empty() {
                found.required(&path.field("values"), "must specify at least one value");
            }
        }
    }

    fn ports(&self, found: &mut Findings, path: &Path<'_>, c: &Value) {
        let at = path.field("ports");
        let mut names = BTreeSet::new();
        for (i, port) in list(c, "ports").iter().enumerate() {
            let path = at.index(i);
            let name = text(port, "name");
            if !name.is_empty() {
                let faults = names::port_name(name);
                if faults.is_empty() && !names.insert(name) {
                    found.duplicate(&path.field("name"), name);
                }
                found.faults(&path.field("name"), name, faults);
            }
            match int(port, "containerPort").unwrap_or(0) {
                0 => found.required(&path.field("containerPort"), ""),
                n => found.port(&path.field("containerPort"), n),
            }
            if let Some(n) = int(port, "hostPort").filter(|n| *n != 0) {
                found.port(&path.field("hostPort"), n);
            }
            let protocol = text(port, "protocol");
            found.required_one_of(&path.field("protocol"), protocol, &["SCTP", "TCP", "UDP"]);
            if self.host_network && int(port, "hostPort") != int(port, "containerPort") {
                let n = int(port, "hostPort").unwrap_or(0);
                let why = "must match `containerPort` when `hostNetwork` is true";
                found.invalid(&path.field("hostPort"), n, why);
            }
        }
    }

    fn mounts(&self, found: &mut Findings, path: &Path<'_>, c: &Value) {
        let at = path.field("volumeMounts");
        let mut paths = BTreeSet::new();
        // Upstream names the list, not the mount, in what it says about these fields.
        for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
            let path = at.index(i);
            let name = text(mount, "name");
            if name.is_empty() {
                found.required(&path.field("name"), "");
            }
            if !self.volumes.contains_key(name) {
                found.not_found(&path.field("name"), name);
            }
            let mount_path = text(mount, "mountPath");
            if mount_path.is_empty() {
                found.required(&path.field("mountPath"), "");
            }
            if !paths.insert(mount_path) {
                found.invalid(&path.field("mountPath"), mount_path, "must be unique");
            }
            let (sub, expr) = (text(mount, "subPath"), text(mount, "subPathExpr"));
            relative_path(found, &at.field("subPath"), sub);
            if !expr.is_empty() {
                if !sub.is_empty() {
                    found.invalid(
                        &path.field("subPathExpr"),
                        expr,
                        "subPathExpr and subPath are mutually exclusive",
                    );
                }
                relative_path(found, &at.field("subPathExpr"), expr);
            }
            let propagation = text(mount, "mountPropagation");
            if !propagation.is_empty() {
                let at = at.field("mountPropagation");
                found.one_of(&at, propagation, &["Bidirectional", "HostToContainer", "None"]);
                let is_privileged = flag(&c["securityContext"], "privileged");
                if propagation == "Bidirectional" && !is_privileged {
                    found.forbidden(
                        &at,
                        "Bidirectional mount propagation is available only to privileged containers",
                    );
                }
            }
            read_only_below(found, &at.field("recursiveReadOnly"), mount);
        }
    }

    fn lifecycle(&self, found: &mut Findings, path: &Path<'_>, c: &Value) {
        let Some(lifecycle) = given(c, "lifecycle") else { return };
        let at = path.field("lifecycle");
        for name in ["postStart", "preStop"] {
            if let Some(handler) = given(lifecycle, name) {
                self.handler(found, &at.field(name), handler, &["exec", "httpGet", "tcpSocket", "sleep"]);
            }
        }
    }

    /// Exactly one way to act.
    fn handler(&self, found: &mut Findings, path: &Path<'_>, handler: &Value, kinds: &[&str]) {
        let mut count = 0;
        for kind in kinds {
            let Some(action) = given(handler, kind) else { continue };
            count += 1;
            let at = path.field(kind);
            if count > 1 {
                found.forbidden(&at, "may not specify more than 1 handler type");
                continue;
            }
            match *kind {
                "exec" if list(action, "command").is_empty() => found.required(&at.field("command"), ""),
                "httpGet" => http_get(found, &at, action),
                "tcpSocket" => port_of(found, &at.field("port"), &action["port"]),
                "grpc" => {
                    let n = int(action, "port").unwrap_or(0);
                    found.port(&at.field("port"), n);
                }
                "sleep" => self.sleep(found, &at, action),
                _ => {}
            }
        }
        if count == 0 {
            found.required(path, "must specify a handler type");
        }
    }

    fn sleep(&self, found: &mut Findings, path: &Path<'_>, action: &Value) {
        let secs = int(action, "seconds").unwrap_or(0);
        let grace = self.grace.unwrap_or(30);
        if secs < 0 || secs > grace {
            let why = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            found.invalid(path, secs, &why);
        }
    }

    fn probes(&self, found: &mut Findings, path: &Path<'_>, c: &Value) {
        for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
            let Some(probe) = given(c, name) else { continue };
            let at = path.field(name);
            self.handler(found, &at, probe, &["exec", "httpGet", "tcpSocket", "grpc"]);
            for number in [
                "initialDelaySeconds",
                "timeoutSeconds",
                "periodSeconds",
                "successThreshold",
                "failureThreshold",
            ] {
                found.non_negative(&at, probe, number);
            }
            let grace = int(probe, "terminationGracePeriodSeconds");
            let grace_at = at.field("terminationGracePeriodSeconds");
            match (name, grace) {
                ("readinessProbe", Some(n)) => {
                    found.invalid(&grace_at, n, "must not be set for readinessProbes")
                }
                (_, Some(n)) if n <= 0 => found.invalid(&grace_at, n, "must be greater than 0"),
                _ => {}
            }
            let successes = int(probe, "successThreshold").unwrap_or(1);
            if name != "readinessProbe" && successes != 1 {
                found.invalid(&at.field("successThreshold"), successes, "must be 1");
            }
        }
    }
}

fn taken_host_ports(found: &mut Findings, path: &Path<'_>, c: &Value, taken: &mut BTreeSet<String>) {
    let at = path.field("ports");
    for (i, port) in list(c, "ports").iter().enumerate() {
        let Some(n) = int(port, "hostPort").filter(|n| *n != 0) else { continue };
        let key = format!("{}/{}/{n}", text(port, "protocol"), text(port, "hostIP"));
        if taken.contains(&key) {
            found.duplicate(&at.index(i).field("hostPort"), key.as_str());
        }
        taken.insert(key);
    }
}

/// A path below something: not absolute, no way up.
fn read_only_below(found: &mut Findings, path: &Path<'_>, mount: &Value) {
    if given(mount, "recursiveReadOnly").is_none() {
        return;
    }
    let mode = text(mount, "recursiveReadOnly");
    found.one_of(path, mode, &["Disabled", "Enabled", "IfPossible"]);
    if !matches!(mode, "Enabled" | "IfPossible") {
        return;
    }
    if !flag(mount, "readOnly") {
        found.forbidden(path, "may only be specified when readOnly is true");
    }
    if !matches!(text(mount, "mountPropagation"), "" | "None") {
        found.forbidden(path, "may only be specified when mountPropagation is None or not specified");
    }
}

/// A path within a volume.
pub(super) fn relative_path(found: &mut Findings, path: &Path<'_>, value: &str) {
    if value.starts_with('/') {
        found.invalid(path, value, "must be a relative path");
    }
    if value.split('/').any(|part| part == "..") {
        found.invalid(path, value, "must not contain '..'");
    }
}

fn http_get(found: &mut Findings, path: &Path<'_>, get: &Value) {
    if text(get, "path").is_empty() {
        found.required(&path.field("path"), "");
    }
    port_of(found, &path.field("port"), &get["port"]);
    found.one_of(&path.field("scheme"), text(get, "scheme"), &["HTTP", "HTTPS"]);
    let at = path.field("httpHeaders");
    for header in list(get, "httpHeaders") {
        let name = text(header, "name");
        let fits = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b));
        if !fits {
            let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used \
                       for validation is '[-A-Za-z0-9]+')";
            found.invalid(&at, name, why);
        }
    }
}

/// A port by number or name.
pub(in super::super) fn port_of(found: &mut Findings, path: &Path<'_>, port: &Value) {
    match port {
        Value::String(name) => found.faults(path, name, names::port_name(name)),
        other => found.port(path, other.as_i64().unwrap_or(0)),
    }
}

fn devices(found: &mut Findings, path: &Path<'_>, c: &Value, volumes: &BTreeMap<&str, &str>) {
    let at = path.field("volumeDevices");
    let mut seen = BTreeSet::new();
    for (i, device) in list(c, "volumeDevices").iter().enumerate() {
        let path = at.index(i);
        let (name, device_path) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            found.required(&path.field("name"), "");
        }
        if !seen.insert(name) {
            found.invalid(&path.field("name"), name, "must be unique");
        }
        match volumes.get(name) {
            None => found.not_found(&path.field("name"), name),
            Some(&"persistentVolumeClaim" | &"ephemeral") => {}
            Some(_) => found.invalid(
                &path.field("name"),
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ),
        }
        if device_path.is_empty() {
            found.required(&path.field("devicePath"), "");
        }
    }
}

fn resize_policy(found: &mut Findings, path: &Path<'_>, c: &Value) {
    let at = path.field("resizePolicy");
    let mut seen = BTreeSet::new();
    for (i, one) in list(c, "resizePolicy").iter().enumerate() {
        let name = text(one, "resourceName");
        if !seen.insert(name) {
            found.duplicate(&at.index(i), name);
        }
        found.required_one_of(&at, name, &["cpu", "memory"]);
        found.required_one_of(&at, text(one, "restartPolicy"), &["NotRequired", "RestartContainer"]);
    }
}
