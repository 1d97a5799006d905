//! Level `restricted`: current practice of hardening. One function per check, in the order of upstream's names.

use serde_json::Value;

use super::baseline::added_beyond;
use super::{Finding, Pod, containers, distinct, plural, quoted};
use crate::pod::{list, text};

/// Checks of `restricted` beyond those it keeps of `baseline`.
pub(super) fn all(pod: &Pod<'_>) -> Vec<Finding> {
    let checks: [fn(&Pod<'_>) -> Option<Finding>; 6] =
        [privilege_escalation, capabilities, volumes, run_as_non_root, run_as_user, seccomp];
    checks.iter().filter_map(|check| check(pod)).collect()
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 8 || pod.is_windows() {
        return None;
    }
    let named = pod.named(|c| c["securityContext"]["allowPrivilegeEscalation"] != false);
    (!named.is_empty()).then(|| {
        let detail =
            format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&named));
        Finding::new("allowPrivilegeEscalation != false", detail)
    })
}

fn capabilities(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 22 || pod.is_windows() {
        return None;
    }
    let drops_all = |c: &Value| list(&c["securityContext"]["capabilities"], "drop").any(|d| d == "ALL");
    let keeping = pod.named(|c| !drops_all(c));
    let (adding, added) = added_beyond(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let who = containers(&adding);
        details
            .push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(&added)));
    }
    (!details.is_empty()).then(|| Finding::new("unrestricted capabilities", details.join("; ")))
}

/// Kinds of volumes that need no rights on the node.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Pod<'_>) -> Option<Finding> {
    let kind = |v: &Value| {
        let keys = v.as_object().into_iter().flatten().filter(|(k, v)| *k != "name" && !v.is_null());
        keys.map(|(k, _)| k.clone())
            .find(|k| !(VOLUMES.contains(&k.as_str()) || k == "image" && pod.minor >= 31))
    };
    let bad: Vec<&Value> = list(pod.spec, "volumes").filter(|v| kind(v).is_some()).collect();
    if bad.is_empty() {
        return None;
    }
    let named: Vec<&str> = bad.iter().map(|v| text(v, "name")).collect();
    let kinds = distinct(bad.iter().filter_map(|v| kind(v)));
    let verb = if named.len() == 1 { "uses" } else { "use" };
    let detail = format!(
        "{} {} {verb} restricted volume {} {}",
        plural("volume", named.len()),
        quoted(&named),
        plural("type", kinds.len()),
        quoted(&kinds)
    );
    Some(Finding::new("restricted volume types", detail))
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<Finding> {
    // Since 1.35 root of a user namespace of its own is nobody outside.
    if pod.minor >= 35 && pod.spec["hostUsers"] == false {
        return None;
    }
    let wish = |of: &Value| of["securityContext"]["runAsNonRoot"].as_bool();
    let is_set_for_all = wish(pod.spec) == Some(true);
    let mut setters = Vec::new();
    if wish(pod.spec) == Some(false) {
        setters.push("pod".to_owned());
    }
    let explicit = pod.named(|c| wish(c) == Some(false));
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.join(" and "));
        return Some(Finding::new("runAsNonRoot != true", detail));
    }
    let silent = pod.named(|c| wish(c).is_none() && !is_set_for_all);
    (!silent.is_empty()).then(|| {
        let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
        Finding::new("runAsNonRoot != true", detail)
    })
}

fn run_as_user(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 23 || pod.minor >= 35 && pod.spec["hostUsers"] == false {
        return None;
    }
    let is_root = |of: &Value| of["securityContext"]["runAsUser"] == 0;
    let mut setters = Vec::new();
    if is_root(pod.spec) {
        setters.push("pod".to_owned());
    }
    let named = pod.named(is_root);
    if !named.is_empty() {
        setters.push(containers(&named));
    }
    (!setters.is_empty())
        .then(|| Finding::new("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and "))))
}

fn seccomp(pod: &Pod<'_>) -> Option<Finding> {
    if pod.minor < 19 || pod.is_windows() {
        return None;
    }
    let kind = |of: &Value| of["securityContext"]["seccompProfile"]["type"].as_str().map(str::to_owned);
    let is_fine = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let is_bad = |of: &Value| kind(of).is_some_and(|k| !is_fine(&k));
    let is_set_for_all = kind(pod.spec).is_some_and(|k| is_fine(&k));
    let mut setters = Vec::new();
    if is_bad(pod.spec) {
        setters.push("pod".to_owned());
    }
    let explicit = pod.named(is_bad);
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        let bad = std::iter::once(pod.spec).chain(pod.containers()).filter_map(kind).filter(|k| !is_fine(k));
        let detail = format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            quoted(&distinct(bad))
        );
        return Some(Finding::new("seccompProfile", detail));
    }
    let silent = pod.named(|c| kind(c).is_none() && !is_set_for_all);
    (!silent.is_empty()).then(|| {
        let who = containers(&silent);
        let detail = format!(
            "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        );
        Finding::new("seccompProfile", detail)
    })
}
