//! RBAC, PodDisruptionBudget, PriorityClass, RuntimeClass, Lease.

use serde_json::{Value, json};
use stdx::Time;

use super::check::{Findings, Path, default, each_mut, flag, given, int, list, text};
use super::names;
use super::pod::{quantity, resource_value};
use super::show::{age_of, count, plain};
use crate::registry::{Cell, Column, Facts, Generation, Names};

/// Columns of kinds for which upstream has no printer.
pub(super) static CREATED_COLUMNS: [Column; 2] =
    [Column::new("Name", "string", "name", 0), Column::new("Created At", "date", "", 0)];

pub(super) fn created_row(v: &Value, _: Time) -> Vec<Cell> {
    vec![v["metadata"]["name"].clone(), v["metadata"]["creationTimestamp"].clone()]
}

// --- RBAC ---------------------------------------------------------------------------------------------------------

const RBAC: &str = "rbac.authorization.k8s.io";

const RBAC_BASE: Facts =
    Facts { generation: Generation::None, names: Names::Segment, create_on_update: true, ..Facts::PLAIN };

pub(super) static ROLE: Facts = Facts {
    validate_create: |v, _| {
        let mut found = Findings::default();
        rules(&mut found, v, true);
        found.causes
    },
    validate_update: |v, _, _| {
        let mut found = Findings::default();
        rules(&mut found, v, true);
        found.causes
    },
    columns: &CREATED_COLUMNS,
    row: created_row,
    ..RBAC_BASE
};

pub(super) static CLUSTER_ROLE: Facts = Facts {
    validate_create: |v, _| cluster_role(v),
    validate_update: |v, _, _| cluster_role(v),
    columns: &CREATED_COLUMNS,
    row: created_row,
    ..RBAC_BASE
};

fn cluster_role(v: &Value) -> Vec<api_meta::Cause> {
    let mut found = Findings::default();
    rules(&mut found, v, false);
    if let Some(aggregation) = given(v, "aggregationRule") {
        let at = Path::Root("aggregationRule.clusterRoleSelectors");
        let selectors = list(aggregation, "clusterRoleSelectors");
        if selectors.is_empty() {
            found.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (i, selector) in selectors.iter().enumerate() {
            names::selector(&mut found, &at.index(i), selector);
        }
    }
    found.causes
}

fn rules(found: &mut Findings, v: &Value, is_namespaced: bool) {
    let at = Path::Root("rules");
    for (i, rule) in list(v, "rules").iter().enumerate() {
        let path = at.index(i);
        if list(rule, "verbs").is_empty() {
            found.required(&path.field("verbs"), "verbs must contain at least one value");
        }
        if !list(rule, "nonResourceURLs").is_empty() {
            let shown = rule["nonResourceURLs"].clone();
            if is_namespaced {
                found.invalid(
                    &path.field("nonResourceURLs"),
                    shown,
                    "namespaced rules cannot apply to non-resource URLs",
                );
            } else if ["apiGroups", "resources", "resourceNames"].iter().any(|n| !list(rule, n).is_empty()) {
                let why = "rules cannot apply to both regular resources and non-resource URLs";
                found.invalid(&path.field("nonResourceURLs"), shown, why);
            }
            continue;
        }
        if list(rule, "apiGroups").is_empty() {
            found.required(&path.field("apiGroups"), "resource rules must supply at least one api group");
        }
        if list(rule, "resources").is_empty() {
            found.required(&path.field("resources"), "resource rules must supply at least one resource");
        }
    }
}

const BINDING_BASE: Facts = Facts { default: default_binding, ..RBAC_BASE };

pub(super) static ROLE_BINDING: Facts = Facts {
    validate_create: |v, _| binding(v, None, &["Role", "ClusterRole"]),
    validate_update: |new, old, _| binding(new, Some(old), &["Role", "ClusterRole"]),
    columns: &BINDING_COLUMNS,
    row: binding_row,
    ..BINDING_BASE
};

pub(super) static CLUSTER_ROLE_BINDING: Facts = Facts {
    validate_create: |v, _| binding(v, None, &["ClusterRole"]),
    validate_update: |new, old, _| binding(new, Some(old), &["ClusterRole"]),
    columns: &BINDING_COLUMNS,
    row: binding_row,
    ..BINDING_BASE
};

static BINDING_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Role", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Users", "string", "", 1),
    Column::new("Groups", "string", "", 1),
    Column::new("ServiceAccounts", "string", "", 1),
];

fn default_binding(v: &mut Value) {
    if let Some(role) = v.get_mut("roleRef").filter(|r| r.is_object()) {
        default(role, "apiGroup", RBAC);
    }
    for subject in each_mut(v, "subjects") {
        if matches!(text(subject, "kind"), "User" | "Group") {
            default(subject, "apiGroup", RBAC);
        }
    }
}

fn binding(v: &Value, old: Option<&Value>, kinds: &[&str]) -> Vec<api_meta::Cause> {
    let mut found = Findings::default();
    let (role, at) = (&v["roleRef"], Path::Root("roleRef"));
    if let Some(old) = old
        && old["roleRef"] != *role
    {
        let shown = json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
        found.invalid(&at, shown, "cannot change roleRef");
    }
    found.one_of(&at.field("apiGroup"), text(role, "apiGroup"), &[RBAC]);
    found.one_of(&at.field("kind"), text(role, "kind"), kinds);
    if text(role, "name").is_empty() {
        found.required(&at.field("name"), "");
    }
    let subjects = Path::Root("subjects");
    for (i, subject) in list(v, "subjects").iter().enumerate() {
        let path = subjects.index(i);
        let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
        if name.is_empty() {
            found.required(&path.field("name"), "");
        }
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    found.faults(&path.field("name"), name, names::subdomain(name));
                }
                found.one_of(&path.field("apiGroup"), group, &[""]);
                let is_cluster_wide = kinds.len() == 1;
                if is_cluster_wide && text(subject, "namespace").is_empty() {
                    found.required(&path.field("namespace"), "");
                }
            }
            "User" | "Group" => found.one_of(&path.field("apiGroup"), group, &[RBAC]),
            other => found.not_supported(&path.field("kind"), other, &["ServiceAccount", "User", "Group"]),
        }
    }
    found.causes
}

fn binding_row(v: &Value, now: Time) -> Vec<Cell> {
    let of = |kind: &str| -> String {
        let all = list(v, "subjects").iter().filter(|s| text(s, "kind") == kind);
        let name = |s: &Value| match kind {
            "ServiceAccount" => format!("{}/{}", text(s, "namespace"), text(s, "name")),
            _ => text(s, "name").to_owned(),
        };
        all.map(name).collect::<Vec<_>>().join(", ")
    };
    let role = format!("{}/{}", text(&v["roleRef"], "kind"), text(&v["roleRef"], "name"));
    vec![
        v["metadata"]["name"].clone(),
        role.into(),
        age_of(v, now).into(),
        of("User").into(),
        of("Group").into(),
        of("ServiceAccount").into(),
    ]
}

// --- PodDisruptionBudget ------------------------------------------------------------------------------------------

pub(super) static BUDGET: Facts = Facts {
    needs_version: true,
    validate_create: |v, _| {
        let mut found = Findings::default();
        budget(&mut found, &v["spec"]);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        if context.subresource == "status" {
            for name in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                found.non_negative(&Path::Root("status"), &v["status"], name);
            }
        } else {
            budget(&mut found, &v["spec"]);
        }
        found.causes
    },
    columns: &BUDGET_COLUMNS,
    row: |v, now| {
        let bound = |name: &str| given(&v["spec"], name).map_or_else(|| "N/A".to_owned(), plain);
        vec![
            v["metadata"]["name"].clone(),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            count(&v["status"], "disruptionsAllowed"),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static BUDGET_COLUMNS: [Column; 5] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Min Available", "string", "", 0),
    Column::new("Max Unavailable", "string", "", 0),
    Column::new("Allowed Disruptions", "integer", "", 0),
    Column::new("Age", "string", "", 0),
];

fn budget(found: &mut Findings, spec: &Value) {
    let path = Path::Root("spec");
    if given(spec, "minAvailable").is_some() && given(spec, "maxUnavailable").is_some() {
        found.invalid(&path, spec.clone(), "minAvailable and maxUnavailable cannot be both set");
    }
    for name in ["minAvailable", "maxUnavailable"] {
        names::count_or_percent(found, &path, spec, name);
        names::not_above_hundred(found, &path, spec, name);
    }
    if let Some(selector) = given(spec, "selector") {
        names::selector(found, &path.field("selector"), selector);
    }
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    if !policy.is_empty() {
        found.one_of(&path.field("unhealthyPodEvictionPolicy"), policy, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

// --- PriorityClass ------------------------------------------------------------------------------------------------

/// The highest number for everybody but the system.
const PRIORITY_MAX: i64 = 1_000_000_000;

pub(super) static PRIORITY_CLASS: Facts = Facts {
    generation: Generation::None,
    default: |v| default(v, "preemptionPolicy", "PreemptLowerPriority"),
    prepare_create: |v, _| v["metadata"]["generation"] = 1.into(),
    validate_create: |v, _| {
        let mut found = Findings::default();
        let name = text(&v["metadata"], "name");
        let value = int(v, "value").unwrap_or(0);
        let is_system = match name {
            "system-cluster-critical" => value == 2_000_000_000,
            "system-node-critical" => value == 2_000_001_000,
            _ => false,
        };
        if name.starts_with("system-") && !is_system {
            let why = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known \
                 system priority class"
            );
            found.forbidden(&Path::Root("metadata.name"), &why);
        } else if value > PRIORITY_MAX && !is_system {
            let why = format!("maximum allowed value of a user defined priority is {PRIORITY_MAX}");
            found.forbidden(&Path::Root("value"), &why);
        }
        preemption(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        if int(new, "value") != int(old, "value") {
            found.forbidden(&Path::Root("value"), "may not be changed in an update.");
        }
        let (now, was) = (&new["preemptionPolicy"], &old["preemptionPolicy"]);
        found.immutable(&Path::Root("preemptionPolicy"), now, was);
        found.causes
    },
    columns: &PRIORITY_COLUMNS,
    row: |v, now| {
        vec![
            v["metadata"]["name"].clone(),
            count(v, "value"),
            flag(v, "globalDefault").into(),
            age_of(v, now).into(),
            text(v, "preemptionPolicy").into(),
        ]
    },
    ..Facts::PLAIN
};

static PRIORITY_COLUMNS: [Column; 5] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Value", "integer", "", 0),
    Column::new("Global-Default", "boolean", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("PreemptionPolicy", "string", "", 0),
];

fn preemption(found: &mut Findings, v: &Value) {
    let policy = text(v, "preemptionPolicy");
    found.one_of(&Path::Root("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
}

// --- RuntimeClass -------------------------------------------------------------------------------------------------

pub(super) static RUNTIME_CLASS: Facts = Facts {
    generation: Generation::None,
    needs_version: true,
    validate_create: |v, _| {
        let mut found = Findings::default();
        runtime(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        found.immutable(&Path::Root("handler"), &new["handler"], &old["handler"]);
        found.causes
    },
    columns: &RUNTIME_COLUMNS,
    row: |v, now| vec![v["metadata"]["name"].clone(), text(v, "handler").into(), age_of(v, now).into()],
    ..Facts::PLAIN
};

static RUNTIME_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Handler", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn runtime(found: &mut Findings, v: &Value) {
    let handler = text(v, "handler");
    found.faults(&Path::Root("handler"), handler, names::label(handler));
    let at = Path::Root("overhead.podFixed");
    for (name, value) in super::check::entries(&v["overhead"], "podFixed") {
        resource_value(found, &at.key(name), name, value);
        if quantity(value).is_none() {
            found.invalid(&at.key(name), value.clone(), "must be a quantity");
        }
    }
    names::labels(found, &Path::Root("scheduling"), &v["scheduling"], "nodeSelector");
}

// --- Lease --------------------------------------------------------------------------------------------------------

pub(super) static LEASE: Facts = Facts {
    generation: Generation::None,
    needs_version: true,
    create_on_update: true,
    validate_create: |v, _| lease(&v["spec"]),
    validate_update: |v, _, _| lease(&v["spec"]),
    columns: &LEASE_COLUMNS,
    row: |v, now| {
        let holder = text(&v["spec"], "holderIdentity");
        vec![v["metadata"]["name"].clone(), holder.into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static LEASE_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Holder", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn lease(spec: &Value) -> Vec<api_meta::Cause> {
    let mut found = Findings::default();
    let path = Path::Root("spec");
    if let Some(n) = int(spec, "leaseDurationSeconds").filter(|n| *n <= 0) {
        found.invalid(&path.field("leaseDurationSeconds"), n, "must be greater than 0");
    }
    found.non_negative(&path, spec, "leaseTransitions");
    found.causes
}
