//! Level `baseline`: known ways to more rights are closed. One function per check, in the order of upstream's names.

use serde_json::Value;

use super::{Finding, Pod, containers, distinct, plural, quoted};
use crate::pod::{list, text};

/// Checks of `baseline`.
pub(super) fn all(pod: &Pod<'_>) -> Vec<Finding> {
    let checks: [fn(&Pod<'_>) -> Option<Finding>; 12] = [
        app_armor,
        capabilities,
        host_namespaces,
        host_path_volumes,
        host_ports,
        host_probes,
        privileged,
        proc_mount,
        se_linux,
        seccomp,
        sysctls,
        windows_host_process,
    ];
    checks.iter().filter_map(|check| check(pod)).collect()
}

/// Those of them that `restricted` keeps; the others it replaces by stricter ones.
pub(super) fn kept(pod: &Pod<'_>) -> Vec<Finding> {
    let checks: [fn(&Pod<'_>) -> Option<Finding>; 9] = [
        app_armor,
        host_namespaces,
        host_ports,
        host_probes,
        privileged,
        proc_mount,
        se_linux,
        sysctls,
        windows_host_process,
    ];
    checks.iter().filter_map(|check| check(pod)).collect()
}

fn app_armor(pod: &Pod<'_>) -> Option<Finding> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let mut details = Vec::new();
    let is_bad = |context: &Value| {
        let kind = &context["appArmorProfile"]["type"];
        !kind.is_null() && kind != "RuntimeDefault" && kind != "Localhost"
    };
    if is_bad(&pod.spec["securityContext"]) {
        let kind = text(&pod.spec["securityContext"]["appArmorProfile"], "type");
        details.push(format!("pod must not set AppArmor profile type to {kind:?}"));
    }
    let named = pod.named(|c| is_bad(&c["securityContext"]));
    if !named.is_empty() {
        let kinds = pod.containers().filter(|c| is_bad(&c["securityContext"]));
        let kinds = distinct(kinds.map(|c| text(&c["securityContext"]["appArmorProfile"], "type")));
        details.push(format!(
            "{} must not set AppArmor profile type to {}",
            containers(&named),
            quoted(&kinds)
        ));
    }
    for (key, value) in pod.metadata["annotations"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let is_fine = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(ANNOTATION) && !is_fine {
            details.push(format!("annotation {key}={value:?}"));
        }
    }
    let rule = plural("forbidden AppArmor profile", details.len());
    (!details.is_empty()).then(|| Finding::new(rule, details.join("; ")))
}

/// Capabilities that every container may have.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(pod: &Pod<'_>) -> Option<Finding> {
    if pod.is_windows() {
        return None;
    }
    let (named, added) = added_beyond(pod, &CAPABILITIES);
    (!named.is_empty()).then(|| {
        let what = format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&named),
            quoted(&added)
        );
        Finding::new("non-default capabilities", what)
    })
}

/// Containers that add capabilities beyond some, and which.
pub(super) fn added_beyond<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let beyond = |c: &'a Value| {
        let added = list(&c["securityContext"]["capabilities"], "add").filter_map(Value::as_str);
        added.filter(|a| !allowed.contains(a)).collect::<Vec<_>>()
    };
    let named = pod.named(|c| !beyond(c).is_empty());
    (named, distinct(pod.containers().flat_map(beyond)))
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Finding> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|n| pod.spec[*n] == true);
    let shared: Vec<String> = shared.map(|n| format!("{n}=true")).collect();
    (!shared.is_empty()).then(|| Finding::new("host namespaces", shared.join(", ")))
}

fn host_path_volumes(pod: &Pod<'_>) -> Option<Finding> {
    let named: Vec<&str> =
        list(pod.spec, "volumes").filter(|v| !v["hostPath"].is_null()).map(|v| text(v, "name")).collect();
    (!named.is_empty()).then(|| {
        Finding::new("hostPath volumes", format!("{} {}", plural("volume", named.len()), quoted(&named)))
    })
}

fn host_ports(pod: &Pod<'_>) -> Option<Finding> {
    let ports = |c: &Value| {
        list(c, "ports").filter_map(|p| p["hostPort"].as_u64()).filter(|p| *p != 0).collect::<Vec<_>>()
    };
    let named = pod.named(|c| !ports(c).is_empty());
    if named.is_empty() {
        return None;
    }
    let all = distinct(pod.containers().flat_map(ports).map(|p| p.to_string()));
    let verb = if named.len() == 1 { "uses" } else { "use" };
    let detail =
        format!("{} {verb} {} {}", containers(&named), plural("hostPort", all.len()), all.join(", "));
    Some(Finding::new("hostPort", detail))
}

/// Probes and hooks of the kubelet's own that go to another host, since 1.34.
fn host_probes(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 34 {
        return None;
    }
    let hosts = |c: &Value| {
        let actions = [
            "/livenessProbe",
            "/readinessProbe",
            "/startupProbe",
            "/lifecycle/postStart",
            "/lifecycle/preStop",
        ];
        let actions = actions.iter().filter_map(|at| c.pointer(at));
        let hosts = actions.flat_map(|a| ["httpGet", "tcpSocket"].map(|k| text(&a[k], "host").to_owned()));
        hosts.filter(|h| !matches!(h.as_str(), "" | "127.0.0.1" | "::1")).collect::<Vec<_>>()
    };
    let named = pod.named(|c| !hosts(c).is_empty());
    if named.is_empty() {
        return None;
    }
    let all = distinct(pod.containers().flat_map(hosts));
    let verb = if named.len() == 1 { "uses" } else { "use" };
    let detail = format!(
        "{} {verb} probe or lifecycle {} {}",
        containers(&named),
        plural("host", all.len()),
        quoted(&all)
    );
    Some(Finding::new("probe or lifecycle host", detail))
}

fn privileged(pod: &Pod<'_>) -> Option<Finding> {
    let named = pod.named(|c| c["securityContext"]["privileged"] == true);
    (!named.is_empty()).then(|| {
        let detail = format!("{} must not set securityContext.privileged=true", containers(&named));
        Finding::new("privileged", detail)
    })
}

fn proc_mount(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor >= 35 && pod.spec["hostUsers"] == false || pod.is_windows() {
        return None;
    }
    let mount = |c: &Value| {
        let given = text(&c["securityContext"], "procMount").to_owned();
        Some(given).filter(|g| !g.is_empty() && g != "Default")
    };
    let named = pod.named(|c| mount(c).is_some());
    (!named.is_empty()).then(|| {
        let all = distinct(pod.containers().filter_map(mount));
        Finding::new(
            "procMount",
            format!("{} must not set securityContext.procMount to {}", containers(&named), quoted(&all)),
        )
    })
}

/// Types of SELinux that containers may have; the engine type since 1.31.
fn is_fine_type(kind: &str, minor: u32) -> bool {
    matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
        || kind == "container_engine_t" && minor >= 31
}

fn se_linux(pod: &Pod<'_>) -> Option<Finding> {
    let options = |of: &Value| of["securityContext"]["seLinuxOptions"].clone();
    let is_bad = |of: &Value| {
        let o = options(of);
        !is_fine_type(text(&o, "type"), pod.minor)
            || !text(&o, "user").is_empty()
            || !text(&o, "role").is_empty()
    };
    let mut setters = Vec::new();
    if is_bad(pod.spec) {
        setters.push("pod".to_owned());
    }
    let named = pod.named(is_bad);
    if !named.is_empty() {
        setters.push(containers(&named));
    }
    if setters.is_empty() {
        return None;
    }
    let all: Vec<Value> = std::iter::once(pod.spec).chain(pod.containers()).map(options).collect();
    let types = distinct(all.iter().map(|o| text(o, "type")).filter(|t| !is_fine_type(t, pod.minor)));
    let mut faults = Vec::new();
    if !types.is_empty() {
        faults.push(format!("{} {}", plural("type", types.len()), quoted(&types)));
    }
    for key in ["user", "role"] {
        if all.iter().any(|o| !text(o, key).is_empty()) {
            faults.push(format!("{key} may not be set"));
        }
    }
    let detail = format!(
        "{} set forbidden securityContext.seLinuxOptions: {}",
        setters.join(" and "),
        faults.join("; ")
    );
    Some(Finding::new("seLinuxOptions", detail))
}

fn seccomp(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 19 || pod.is_windows() {
        return None;
    }
    let bad = |of: &Value| {
        let kind = text(&of["securityContext"]["seccompProfile"], "type").to_owned();
        Some(kind).filter(|k| !matches!(k.as_str(), "" | "RuntimeDefault" | "Localhost"))
    };
    let mut setters = Vec::new();
    if bad(pod.spec).is_some() {
        setters.push("pod".to_owned());
    }
    let named = pod.named(|c| bad(c).is_some());
    if !named.is_empty() {
        setters.push(containers(&named));
    }
    if setters.is_empty() {
        return None;
    }
    let values = distinct(std::iter::once(pod.spec).chain(pod.containers()).filter_map(bad));
    let detail = format!(
        "{} must not set securityContext.seccompProfile.type to {}",
        setters.join(" and "),
        quoted(&values)
    );
    Some(Finding::new("seccompProfile", detail))
}

/// Kernel parameters that a pod may set, with the minor version that began to allow them.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>) -> Option<Finding> {
    let is_fine = |name: &str| SYSCTLS.iter().any(|(n, since)| *n == name && pod.minor >= *since);
    let bad: Vec<&str> = list(&pod.spec["securityContext"], "sysctls")
        .map(|s| text(s, "name"))
        .filter(|n| !is_fine(n))
        .collect();
    (!bad.is_empty()).then(|| Finding::new("forbidden sysctls", bad.join(", ")))
}

fn windows_host_process(pod: &Pod<'_>) -> Option<Finding> {
    let is_set = |of: &Value| of["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let mut setters = Vec::new();
    if is_set(pod.spec) {
        setters.push("pod".to_owned());
    }
    let named = pod.named(is_set);
    if !named.is_empty() {
        setters.push(containers(&named));
    }
    (!setters.is_empty()).then(|| {
        let detail =
            format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.join(" and "));
        Finding::new("hostProcess", detail)
    })
}
