//! Kinds that configure the server itself: webhooks, policies, flow control, certificates, aggregated servers.

use serde_json::{Value, json};
use stdx::Time;

use super::check::{default, each_mut, given, int, list, text};
use super::show::{age_of, none_if_empty, plain, unset_if_empty};
use crate::registry::{Cell, Column, Facts, Generation};

// --- Webhooks -----------------------------------------------------------------------------------------------------

pub(super) static MUTATING_WEBHOOKS: Facts = Facts {
    default: |v| default_webhooks(v, true),
    generation: Generation::Whole,
    needs_version: true,
    columns: &WEBHOOK_COLUMNS,
    row: webhook_row,
    ..Facts::PLAIN
};

pub(super) static VALIDATING_WEBHOOKS: Facts = Facts {
    default: |v| default_webhooks(v, false),
    generation: Generation::Whole,
    needs_version: true,
    columns: &WEBHOOK_COLUMNS,
    row: webhook_row,
    ..Facts::PLAIN
};

static WEBHOOK_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Webhooks", "integer", "", 0),
    Column::new("Age", "string", "", 0),
];

fn webhook_row(v: &Value, now: Time) -> Vec<Cell> {
    vec![v["metadata"]["name"].clone(), list(v, "webhooks").len().into(), age_of(v, now).into()]
}

fn default_webhooks(v: &mut Value, is_mutating: bool) {
    for hook in each_mut(v, "webhooks") {
        default(hook, "failurePolicy", "Fail");
        default(hook, "matchPolicy", "Equivalent");
        default(hook, "namespaceSelector", json!({}));
        default(hook, "objectSelector", json!({}));
        default(hook, "timeoutSeconds", 10);
        if is_mutating {
            default(hook, "reinvocationPolicy", "Never");
        }
        each_mut(hook, "rules").for_each(|r| default(r, "scope", "*"));
        if let Some(service) = hook.pointer_mut("/clientConfig/service").filter(|s| s.is_object()) {
            default(service, "port", 443);
        }
    }
}

// --- Admission policies -------------------------------------------------------------------------------------------

const POLICY: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "failurePolicy", "Fail");
        if let Some(constraints) = spec.get_mut("matchConstraints").filter(|c| c.is_object()) {
            default_match(constraints);
        }
    },
    needs_version: true,
    ..Facts::PLAIN
};

fn default_match(resources: &mut Value) {
    default(resources, "matchPolicy", "Equivalent");
    default(resources, "namespaceSelector", json!({}));
    default(resources, "objectSelector", json!({}));
    for name in ["resourceRules", "excludeResourceRules"] {
        each_mut(resources, name).for_each(|r| default(r, "scope", "*"));
    }
}

const BINDING: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        if let Some(resources) = spec.get_mut("matchResources").filter(|c| c.is_object()) {
            default_match(resources);
        }
    },
    needs_version: true,
    columns: &POLICY_BINDING_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let reference = match (text(&spec["paramRef"], "namespace"), text(&spec["paramRef"], "name")) {
            (_, "") => "<unset>".to_owned(),
            ("", name) => format!("*/{name}"),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![
            v["metadata"]["name"].clone(),
            text(spec, "policyName").into(),
            reference.into(),
            age_of(v, now).into(),
        ]
    },
    ..Facts::PLAIN
};

pub(super) static VALIDATING_POLICY: Facts =
    Facts { columns: &VALIDATING_COLUMNS, row: policy_row, ..POLICY };
pub(super) static VALIDATING_BINDING: Facts = Facts { ..BINDING };
pub(super) static MUTATING_POLICY: Facts = Facts { columns: &MUTATING_COLUMNS, row: mutating_row, ..POLICY };
pub(super) static MUTATING_BINDING: Facts = Facts { ..BINDING };

static VALIDATING_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Validations", "integer", "", 0),
    Column::new("ParamKind", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

static MUTATING_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Mutations", "integer", "", 0),
    Column::new("ParamKind", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

static POLICY_BINDING_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("PolicyName", "string", "", 0),
    Column::new("ParamRef", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

fn policy_cells(v: &Value, now: Time, counted: &str) -> Vec<Cell> {
    let kind = &v["spec"]["paramKind"];
    let shown = match text(kind, "kind") {
        "" => "<unset>".to_owned(),
        name => format!("{}/{name}", text(kind, "apiVersion")),
    };
    let count = list(&v["spec"], counted).len();
    vec![v["metadata"]["name"].clone(), count.into(), shown.into(), age_of(v, now).into()]
}

fn policy_row(v: &Value, now: Time) -> Vec<Cell> {
    policy_cells(v, now, "validations")
}

fn mutating_row(v: &Value, now: Time) -> Vec<Cell> {
    policy_cells(v, now, "mutations")
}

// --- Flow control -------------------------------------------------------------------------------------------------

pub(super) static FLOW_SCHEMA: Facts = Facts {
    default: |v| {
        if let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) {
            super::check::default_number(spec, "matchingPrecedence", 1000);
        }
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
    columns: &LEVEL_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let shares = &spec[if text(spec, "type") == "Exempt" { "exempt" } else { "limited" }];
        let queuing = &spec["limited"]["limitResponse"]["queuing"];
        let or_none = |v: &Value| none_if_empty(&plain(v));
        vec![
            v["metadata"]["name"].clone(),
            text(spec, "type").into(),
            or_none(&shares["nominalConcurrencyShares"]),
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
