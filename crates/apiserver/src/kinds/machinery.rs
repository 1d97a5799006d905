//! Kinds that configure the server itself: flow control, certificates, aggregated servers, address blocks.

use api_meta::Cause;
use serde_json::{Value, json};

use super::check::{Findings, Path, default, given, int, list, text};
use super::show::{age_of, none_if_empty, unset_if_empty};
use crate::registry::{Column, Facts, Generation};

// --- Flow control -------------------------------------------------------------------------------------------------

pub(super) static FLOW_SCHEMA: Facts = Facts {
    default: |v| {
        if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) {
            super::check::default_number(spec, "matchingPrecedence", 1000);
        }
    },
    validate_create: |v, _| flow_schema(&v["spec"]),
    validate_update: |v, _, context| {
        if context.subresource == "status" { Vec::new() } else { flow_schema(&v["spec"]) }
    },
    columns: &FLOW_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let missing = list(&v["status"], "conditions").iter().find(|c| text(c, "type") == "Dangling");
        vec![
            v["metadata"]["name"].clone(),
            text(&spec["priorityLevelConfiguration"], "name").into(),
            int(spec, "matchingPrecedence").unwrap_or(0).into(),
            none_if_empty(text(&spec["distinguisherMethod"], "type")),
            age_of(v, now).into(),
            missing.map_or("?", |c| text(c, "status")).into(),
        ]
    },
    ..Facts::PLAIN
};

const PRECEDENCE_MAX: i64 = 10_000;

fn flow_schema(spec: &Value) -> Vec<Cause> {
    let mut found = Findings::default();
    let path = Path::Root("spec");
    let at = path.field("matchingPrecedence");
    match int(spec, "matchingPrecedence").unwrap_or(0) {
        n if n <= 0 => found.invalid(&at, n, "must be a positive value"),
        n if n > PRECEDENCE_MAX => {
            found.invalid(&at, n, &format!("must not be greater than {PRECEDENCE_MAX}"))
        }
        _ => {}
    }
    if text(&spec["priorityLevelConfiguration"], "name").is_empty() {
        found.required(
            &path.field("priorityLevelConfiguration").field("name"),
            "must reference a priority level",
        );
    }
    let at = path.field("rules");
    for (i, rule) in list(spec, "rules").iter().enumerate() {
        let path = at.index(i);
        let subjects = path.field("subjects");
        if list(rule, "subjects").is_empty() {
            found.required(&subjects, "subjects must contain at least one value");
        }
        for (i, subject) in list(rule, "subjects").iter().enumerate() {
            let kind = text(subject, "kind");
            found.one_of(&subjects.index(i).field("kind"), kind, &["Group", "ServiceAccount", "User"]);
        }
        if list(rule, "resourceRules").is_empty() && list(rule, "nonResourceRules").is_empty() {
            found.required(&path, "at least one of resourceRules and nonResourceRules has to be non-empty");
        }
    }
    found.causes
}

fn priority_level(spec: &Value) -> Vec<Cause> {
    let mut found = Findings::default();
    let path = Path::Root("spec");
    let kind = text(spec, "type");
    found.one_of(&path.field("type"), kind, &["Exempt", "Limited"]);
    let name = if kind == "Exempt" { "exempt" } else { "limited" };
    let at = path.field(name);
    match given(spec, name) {
        None if name == "limited" => found.required(&at, "must not be empty when type is Limited"),
        Some(shares) => {
            if let Some(n) = int(shares, "nominalConcurrencyShares").filter(|n| *n < 0) {
                found.invalid(&at.field("nominalConcurrencyShares"), n, "must be a non-negative integer");
            }
            if let Some(n) = int(shares, "lendablePercent").filter(|n| !(0..=100).contains(n)) {
                found.invalid(&at.field("lendablePercent"), n, "must be between 0 and 100, inclusive");
            }
        }
        None => {}
    }
    found.causes
}

static FLOW_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("PriorityLevel", "string", "", 0),
    Column::new("MatchingPrecedence", "string", "", 0),
    Column::new("DistinguisherMethod", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("MissingPL", "string", "", 0),
];

pub(super) static PRIORITY_LEVEL: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        if let Some(limited) = spec.get_mut("limited").filter(|l| l.is_object()) {
            default(limited, "nominalConcurrencyShares", 30);
            default(limited, "lendablePercent", 0);
            if let Some(queuing) = limited.pointer_mut("/limitResponse/queuing").filter(|q| q.is_object()) {
                super::check::default_number(queuing, "queues", 64);
                super::check::default_number(queuing, "handSize", 8);
                super::check::default_number(queuing, "queueLengthLimit", 50);
            }
        }
        if let Some(exempt) = spec.get_mut("exempt").filter(|e| e.is_object()) {
            default(exempt, "nominalConcurrencyShares", 0);
            default(exempt, "lendablePercent", 0);
        }
    },
    validate_create: |v, _| priority_level(&v["spec"]),
    validate_update: |v, _, context| {
        if context.subresource == "status" { Vec::new() } else { priority_level(&v["spec"]) }
    },
    columns: &LEVEL_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        // As upstream: numbers, and nothing for what is exempt.
        let shares = &spec["limited"]["nominalConcurrencyShares"];
        let queuing = &spec["limited"]["limitResponse"]["queuing"];
        let or_none = |v: &Value| if v.is_null() { "<none>".into() } else { v.clone() };
        vec![
            v["metadata"]["name"].clone(),
            text(spec, "type").into(),
            or_none(shares),
            or_none(&queuing["queues"]),
            or_none(&queuing["handSize"]),
            or_none(&queuing["queueLengthLimit"]),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

static LEVEL_COLUMNS: [Column; 7] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Type", "string", "", 0),
    Column::new("NominalConcurrencyShares", "string", "", 0),
    Column::new("Queues", "string", "", 0),
    Column::new("HandSize", "string", "", 0),
    Column::new("QueueLengthLimit", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

// --- Certificates -------------------------------------------------------------------------------------------------

pub(super) static SIGNING_REQUEST: Facts = Facts {
    generation: Generation::None,
    default: |v| {
        if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object())
            && list(spec, "usages").is_empty()
        {
            spec["usages"] = json!(["digital signature", "key encipherment"]);
        }
    },
    prepare_create: |v, context| v["spec"]["username"] = context.user.into(),
    prepare_update: |new, old, context| {
        let spec = old["spec"].clone();
        new["spec"] = spec;
        if context.subresource.is_empty() {
            new["status"] = old["status"].clone();
        }
    },
    selectable: &["spec.signerName"],
    field: |v, _| text(&v["spec"], "signerName").to_owned(),
    columns: &SIGNING_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let length = int(spec, "expirationSeconds").and_then(|n| u64::try_from(n).ok());
        let length = length.map(|n| crate::registry::human_duration(std::time::Duration::from_secs(n)));
        vec![
            v["metadata"]["name"].clone(),
            age_of(v, now).into(),
            text(spec, "signerName").into(),
            text(spec, "username").into(),
            none_if_empty(&length.unwrap_or_default()),
            signing_state(v).into(),
        ]
    },
    ..Facts::PLAIN
};

static SIGNING_COLUMNS: [Column; 6] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Age", "string", "", 0),
    Column::new("SignerName", "string", "", 0),
    Column::new("Requestor", "string", "", 0),
    Column::new("RequestedDuration", "string", "", 0),
    Column::new("Condition", "string", "", 0),
];

fn signing_state(v: &Value) -> String {
    let has = |kind: &str| list(&v["status"], "conditions").iter().any(|c| text(c, "type") == kind);
    let mut state = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&v["status"], "certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

// --- Aggregated servers -------------------------------------------------------------------------------------------

pub(super) static API_SERVICE: Facts = Facts {
    needs_version: true,
    default: |v| {
        if let Some(service) = v.pointer_mut("/spec/service").filter(|s| s.is_object()) {
            default(service, "port", 443);
        }
    },
    columns: &API_SERVICE_COLUMNS,
    row: |v, now| {
        let service = match given(&v["spec"], "service") {
            Some(s) => format!("{}/{}", text(s, "namespace"), text(s, "name")),
            None => "Local".to_owned(),
        };
        let condition = list(&v["status"], "conditions").iter().find(|c| text(c, "type") == "Available");
        let available = match condition {
            Some(c) if text(c, "status") != "True" => {
                format!("{} ({})", text(c, "status"), text(c, "reason"))
            }
            Some(c) => text(c, "status").to_owned(),
            None => "Unknown".to_owned(),
        };
        vec![v["metadata"]["name"].clone(), service.into(), available.into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static API_SERVICE_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Service", "string", "", 0),
    Column::new("Available", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

// --- Addresses ----------------------------------------------------------------------------------------------------

pub(super) static IP_ADDRESS: Facts = Facts {
    generation: Generation::None,
    columns: &IP_COLUMNS,
    row: |v, _| {
        let parent = &v["spec"]["parentRef"];
        let parts = [
            text(parent, "resource"),
            text(parent, "group"),
            text(parent, "namespace"),
            text(parent, "name"),
        ];
        let kind = match (parts[0], parts[1]) {
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        };
        let shown = match (parts[2], parts[3]) {
            (_, "") => "<none>".to_owned(),
            ("", name) => format!("{kind}/{name}"),
            (namespace, name) => format!("{kind}/{namespace}/{name}"),
        };
        vec![v["metadata"]["name"].clone(), shown.into()]
    },
    ..Facts::PLAIN
};

static IP_COLUMNS: [Column; 2] =
    [Column::new("Name", "string", "name", 0), Column::new("ParentRef", "string", "", 0)];

pub(super) static SERVICE_CIDR: Facts = Facts {
    generation: Generation::None,
    columns: &CIDR_COLUMNS,
    row: |v, now| {
        let all: Vec<&str> = list(&v["spec"], "cidrs").iter().filter_map(Value::as_str).collect();
        vec![v["metadata"]["name"].clone(), unset_if_empty(&all.join(",")), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static CIDR_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("CIDRs", "string", "", 0),
    Column::new("Age", "string", "", 0),
];
