//! Security contexts of pods and containers.

use serde_json::Value;

use super::super::check::{Findings, Path, flag, given, int, list, text};

const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// Identities are numbers from zero to this.
const ID_MAX: i64 = i32::MAX as i64;

fn id(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str) {
    if let Some(n) = int(v, name).filter(|n| !(0..=ID_MAX).contains(n)) {
        found.invalid(&path.field(name), n, "must be between 0 and 2147483647, inclusive");
    }
}

fn profile(found: &mut Findings, path: &Path<'_>, v: &Value, name: &str, what: &str) {
    let Some(p) = given(v, name) else { return };
    let at = path.field(name);
    let kind = text(p, "type");
    let local = text(p, "localhostProfile");
    match kind {
        "Localhost" if what == "AppArmor" && local.trim() != local => {
            found.invalid(&at.field("localhostProfile"), local, "must not be padded with whitespace");
        }
        "Localhost" if local.is_empty() => {
            found.required(
                &at.field("localhostProfile"),
                &format!("must be set when {what} type is Localhost"),
            );
        }
        "Localhost" if what == "AppArmor" => {}
        "Localhost" => super::container::relative_path(found, &at.field("localhostProfile"), local),
        "RuntimeDefault" | "Unconfined" if !local.is_empty() => {
            found.invalid(
                &at.field("localhostProfile"),
                local,
                &format!("can only be set when {what} type is Localhost"),
            );
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => found.required(&at.field("type"), "type is required when seccompProfile is set"),
        other => {
            found.not_supported(&at.field("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"])
        }
    }
}

/// `securityContext` of a pod, with the flags beside it.
pub(super) fn pod(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("securityContext");
    if flag(spec, "shareProcessNamespace") && flag(spec, "hostPID") {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        found.invalid(&at.field("shareProcessNamespace"), true, why);
    }
    users(found, path, spec);
    let Some(context) = given(spec, "securityContext") else { return };
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(found, &at, context, name);
    }
    let groups = at.field("supplementalGroups");
    for (i, g) in list(context, "supplementalGroups").iter().enumerate() {
        let n = g.as_i64().unwrap_or(0);
        if !(0..=ID_MAX).contains(&n) {
            found.invalid(&groups.index(i), n, "must be between 0 and 2147483647, inclusive");
        }
    }
    sysctls(found, &at, context, spec);
    let policy = text(context, "fsGroupChangePolicy");
    if !policy.is_empty() {
        found.one_of(&at.field("fsGroupChangePolicy"), policy, &["Always", "OnRootMismatch"]);
    }
    profile(found, &at, context, "seccompProfile", "seccomp");
    profile(found, &at, context, "appArmorProfile", "AppArmor");
    let policy = text(context, "supplementalGroupsPolicy");
    if !policy.is_empty() {
        found.one_of(&at.field("supplementalGroupsPolicy"), policy, &["Merge", "Strict"]);
    }
    let policy = text(context, "seLinuxChangePolicy");
    if !policy.is_empty() {
        found.one_of(&at.field("seLinuxChangePolicy"), policy, &["Recursive"]);
    }
}

/// A user namespace of its own excludes the host's other namespaces, and is what an unmasked /proc needs.
fn users(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    if spec.get("hostUsers") == Some(&Value::Bool(false)) {
        for name in ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|name| flag(spec, name)) {
            found.forbidden(&path.field(name), "when `hostUsers` is false");
        }
        return;
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let at = path.field(kind);
        for (i, c) in list(spec, kind).iter().enumerate() {
            if text(&c["securityContext"], "procMount") == "Unmasked" {
                let at = at.index(i);
                let why = "`hostUsers` must be false to use `Unmasked`";
                found.invalid(&at.field("securityContext").field("procMount"), "Unmasked", why);
            }
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let part = |p: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(p.bytes().next())
            && edge(p.bytes().last())
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

/// Why a setting cannot be made: it belongs to a namespace that the pod shares with the host.
fn host_namespace(name: &str, spec: &Value) -> Option<&'static str> {
    let is_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| name.starts_with(p));
    if name.starts_with("net.") && flag(spec, "hostNetwork") {
        return Some("may not be specified when 'hostNetwork' is true");
    }
    let shares_ipc = (is_ipc || name == "kernel.sem") && flag(spec, "hostIPC");
    shares_ipc.then_some("may not be specified when 'hostIPC' is true")
}

fn sysctls(found: &mut Findings, path: &Path<'_>, context: &Value, spec: &Value) {
    let at = path.field("sysctls");
    let mut seen = std::collections::BTreeSet::new();
    for (i, one) in list(context, "sysctls").iter().enumerate() {
        let path = at.index(i).field("name").to_string();
        let path = Path::Root(&path);
        let name = text(one, "name");
        if name.is_empty() {
            found.required(&path, "");
        } else if !is_sysctl(name) {
            found.invalid(&path, name, SYSCTL);
        } else if !seen.insert(name.replace('/', ".")) {
            found.duplicate(&path, name);
        }
        if let Some(why) = host_namespace(&name.replace('/', "."), spec) {
            found.invalid(&path, name, why);
        }
    }
}

/// `securityContext` of a container.
pub(super) fn container(found: &mut Findings, path: &Path<'_>, c: &Value) {
    let Some(context) = given(c, "securityContext") else { return };
    id(found, path, context, "runAsUser");
    id(found, path, context, "runAsGroup");
    let proc_mount = text(context, "procMount");
    if !proc_mount.is_empty() {
        found.one_of(&path.field("procMount"), proc_mount, &["Default", "Unmasked"]);
    }
    profile(found, path, context, "seccompProfile", "seccomp");
    profile(found, path, context, "appArmorProfile", "AppArmor");
    if context.get("allowPrivilegeEscalation") == Some(&Value::Bool(false)) {
        if flag(context, "privileged") {
            found.invalid(
                path,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let adds = list(&context["capabilities"], "add");
        if adds.iter().any(|c| c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            found.invalid(path, context.clone(), why);
        }
    }
}

/// What a pod of Linux may not have.
pub(super) fn linux(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    const WHY: &str = "windows options cannot be set for a linux pod";
    if given(&spec["securityContext"], "windowsOptions").is_some() {
        found.forbidden(&path.field("securityContext").field("windowsOptions"), WHY);
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let at = path.field(kind);
        for (i, c) in list(spec, kind).iter().enumerate() {
            if given(&c["securityContext"], "windowsOptions").is_some() {
                found.forbidden(&at.index(i).field("securityContext").field("windowsOptions"), WHY);
            }
        }
    }
}

/// Fields that a pod of another operating system may not have.
pub(super) fn windows(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    const POD: [&str; 8] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
    ];
    const CONTAINER: [&str; 9] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
    ];
    const WHY: &str = "cannot be set for a windows pod";
    for name in ["hostPID", "hostIPC"] {
        if flag(spec, name) {
            found.forbidden(&path.field(name), WHY);
        }
    }
    let at = path.field("securityContext");
    for name in POD.into_iter().chain(["supplementalGroups"]) {
        if given(&spec["securityContext"], name).is_some() {
            found.forbidden(&at.field(name), WHY);
        }
    }
    if flag(spec, "shareProcessNamespace") {
        found.forbidden(&path.field("shareProcessNamespace"), WHY);
    }
    for kind in ["initContainers", "containers", "ephemeralContainers"] {
        let at = path.field(kind);
        for (i, c) in list(spec, kind).iter().enumerate() {
            for name in CONTAINER {
                if given(&c["securityContext"], name).is_some() {
                    found.forbidden(&at.index(i).field("securityContext").field(name), WHY);
                }
            }
        }
    }
}
