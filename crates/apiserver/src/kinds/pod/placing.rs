//! Where a pod may run: affinity, tolerations, spreading.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::check::{Findings, Path, given, int, list, text};
use super::super::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `affinity` of a spec.
pub(super) fn affinity(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let Some(affinity) = given(spec, "affinity") else { return };
    let at = path.field("affinity");
    if let Some(node) = given(affinity, "nodeAffinity") {
        let at = at.field("nodeAffinity");
        if let Some(required) = given(node, REQUIRED) {
            node_selector(found, &at.field(REQUIRED), required);
        }
        let preferred = at.field(PREFERRED);
        for (i, term) in list(node, PREFERRED).iter().enumerate() {
            let path = preferred.index(i);
            weight(found, &path, term);
            node_term(found, &path.field("preference"), &term["preference"], true);
        }
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = given(affinity, name) else { continue };
        let at = at.field(name);
        let required = at.field(REQUIRED);
        for (i, term) in list(pods, REQUIRED).iter().enumerate() {
            pod_term(found, &required.index(i), term);
        }
        let preferred = at.field(PREFERRED);
        for (i, weighted) in list(pods, PREFERRED).iter().enumerate() {
            let path = preferred.index(i);
            weight(found, &path, weighted);
            pod_term(found, &path.field("podAffinityTerm"), &weighted["podAffinityTerm"]);
        }
    }
}

fn weight(found: &mut Findings, path: &Path<'_>, term: &Value) {
    let n = int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&n) {
        found.invalid(&path.field("weight"), n, "must be in the range 1-100");
    }
}

/// A selector of nodes: any of its terms.
pub(in super::super) fn node_selector(found: &mut Findings, path: &Path<'_>, selector: &Value) {
    let at = path.field("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        found.required(&at, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(found, &at.index(i), term, true);
    }
}

fn node_term(found: &mut Findings, path: &Path<'_>, term: &Value, checks_values: bool) {
    let at = path.field("matchExpressions");
    for (i, one) in list(term, "matchExpressions").iter().enumerate() {
        node_requirement(found, &at.index(i), one, checks_values);
    }
    let at = path.field("matchFields");
    for (i, one) in list(term, "matchFields").iter().enumerate() {
        let path = at.index(i);
        let values = list(one, "values");
        match text(one, "operator") {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                found.required(&path.field("values"), why);
            }
            "In" | "NotIn" => {}
            other => found.invalid(&path.field("operator"), other, "not a valid selector operator"),
        }
        match text(one, "key") {
            "metadata.name" => {
                let at = path.field("values");
                for (i, value) in values.iter().enumerate() {
                    let value = value.as_str().unwrap_or_default();
                    found.faults(&at.index(i), value, names::subdomain(value));
                }
            }
            key => found.invalid(&path.field("key"), key, "not a valid field selector key"),
        }
    }
}

fn node_requirement(found: &mut Findings, path: &Path<'_>, one: &Value, checks_values: bool) {
    let values = list(one, "values");
    let at = path.field("values");
    match text(one, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            found.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            found.forbidden(&at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            found.required(&at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => found.invalid(&path.field("operator"), other, "not a valid selector operator"),
    }
    let key = text(one, "key");
    found.faults(&path.field("key"), key, names::qualified(key));
    if checks_values {
        for (i, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            found.faults(&at.index(i), value, names::label_value(value));
        }
    }
}

fn pod_term(found: &mut Findings, path: &Path<'_>, term: &Value) {
    for name in ["labelSelector", "namespaceSelector"] {
        if let Some(selector) = given(term, name) {
            names::selector(found, &path.field(name), selector);
        }
    }
    // Upstream spells it so.
    let at = path.field("namespace");
    for namespace in list(term, "namespaces") {
        let namespace = namespace.as_str().unwrap_or_default();
        found.faults(&at, namespace, names::label(namespace));
    }
    label_keys(found, path, term);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        found.required(&path.field("topologyKey"), "can not be empty");
    }
    found.faults(&path.field("topologyKey"), key, names::qualified(key));
}

/// Keys whose values the pod's own labels give to the selector.
fn label_keys(found: &mut Findings, path: &Path<'_>, term: &Value) {
    for name in ["matchLabelKeys", "mismatchLabelKeys"] {
        let at = path.field(name);
        if !list(term, name).is_empty() && given(term, "labelSelector").is_none() {
            found.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in list(term, name).iter().enumerate() {
            let key = key.as_str().unwrap_or_default();
            found.faults(&at.index(i), key, names::qualified(key));
        }
    }
    let (at, others) = (path.field("matchLabelKeys"), list(term, "mismatchLabelKeys"));
    for (i, key) in list(term, "matchLabelKeys").iter().enumerate().filter(|(_, k)| others.contains(k)) {
        found.invalid(&at.index(i), key.clone(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

/// Puts the values that the labels of a new pod have for the keys of its terms into their selectors.
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = pod.pointer_mut(&format!("/spec/affinity/{kind}")) else { continue };
        let required = affinity.get_mut("requiredDuringSchedulingIgnoredDuringExecution");
        for term in required.and_then(Value::as_array_mut).into_iter().flatten() {
            merge_keys_of(term, &labels);
        }
        let preferred = affinity.get_mut("preferredDuringSchedulingIgnoredDuringExecution");
        for weighted in preferred.and_then(Value::as_array_mut).into_iter().flatten() {
            weighted.get_mut("podAffinityTerm").into_iter().for_each(|term| merge_keys_of(term, &labels));
        }
    }
    let spreading = pod.pointer_mut("/spec/topologySpreadConstraints");
    for constraint in spreading.and_then(Value::as_array_mut).into_iter().flatten() {
        merge_keys_of(constraint, &labels);
    }
}

fn merge_keys_of(term: &mut Value, labels: &Value) {
    let mut added = Vec::new();
    for (name, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys = list(term, name).iter().filter_map(Value::as_str);
        let with_value = keys.filter_map(|key| Some((key, labels.get(key)?)));
        added.extend(
            with_value.map(|(key, value)| json!({"key": key, "operator": operator, "values": [value]})),
        );
    }
    let Some(selector) = term.get_mut("labelSelector").and_then(Value::as_object_mut) else { return };
    if added.is_empty() {
        return;
    }
    if let Some(all) = selector.entry("matchExpressions").or_insert_with(|| json!([])).as_array_mut() {
        all.append(&mut added);
    }
}

/// `tolerations` of a spec.
pub(super) fn tolerations(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("tolerations");
    for (i, one) in list(spec, "tolerations").iter().enumerate() {
        let path = at.index(i);
        let (key, operator, value, effect) =
            (text(one, "key"), text(one, "operator"), text(one, "value"), text(one, "effect"));
        if !key.is_empty() {
            found.faults(&path.field("key"), key, names::qualified(key));
        }
        if key.is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            found.invalid(&path.field("operator"), operator, why);
        }
        if given(one, "tolerationSeconds").is_some() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            found.invalid(&path.field("effect"), effect, why);
        }
        match operator {
            "" | "Equal" => found.faults(&path.field("operator"), value, names::label_value(value)),
            "Exists" if !value.is_empty() => {
                found.invalid(
                    &path.field("operator"),
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            "Exists" => {}
            other => found.not_supported(&path.field("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            taint_effect(found, &path.field("effect"), effect);
        }
    }
}

/// The effect of a taint.
pub(in super::super) fn taint_effect(found: &mut Findings, path: &Path<'_>, effect: &str) {
    found.one_of(path, effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

/// `topologySpreadConstraints` of a spec.
pub(super) fn spreading(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("topologySpreadConstraints");
    let mut seen = BTreeSet::new();
    for (i, one) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = at.index(i);
        let skew = int(one, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            found.invalid(&path.field("maxSkew"), skew, "must be greater than zero");
        }
        let (key, when) = (text(one, "topologyKey"), text(one, "whenUnsatisfiable"));
        if key.is_empty() {
            found.required(&path.field("topologyKey"), "can not be empty");
        } else {
            found.faults(&path.field("topologyKey"), key, names::qualified(key));
        }
        found.one_of(&path.field("whenUnsatisfiable"), when, &["DoNotSchedule", "ScheduleAnyway"]);
        if !seen.insert((key, when)) {
            // Upstream names the earlier of the two.
            let pair = format!("{{{key}, {when}}}");
            let place = at.index(i.saturating_sub(1)).to_string();
            let place = format!("{place}.{{topologyKey, whenUnsatisfiable}}");
            found.duplicate(&Path::Root(&place), pair.as_str());
        }
        domains(found, &path, one, when);
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = text(one, name);
            if !policy.is_empty() {
                found.one_of(&path.field(name), policy, &["Honor", "Ignore"]);
            }
        }
        if let Some(selector) = given(one, "labelSelector") {
            names::selector(found, &path.field("labelSelector"), selector);
        }
        if !list(one, "matchLabelKeys").is_empty() && given(one, "labelSelector").is_none() {
            found.forbidden(
                &path.field("matchLabelKeys"),
                "must not be specified when labelSelector is not set",
            );
        }
    }
}

fn domains(found: &mut Findings, path: &Path<'_>, one: &Value, when: &str) {
    let Some(n) = int(one, "minDomains") else { return };
    let at = path.field("minDomains");
    if n <= 0 {
        found.invalid(&at, n, "must be greater than zero");
    }
    if when != "DoNotSchedule" {
        let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        found.invalid(&at, n, &why);
    }
}
