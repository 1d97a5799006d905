//! Configurations of admission: webhooks, which `crate::webhook` calls, and policies, which `crate::cel::policy` judges by.

use std::collections::BTreeSet;

use api_meta::Cause;
use serde_json::{Value, json};
use stdx::Time;

use super::check::{Findings, Path, default, each_mut, given, int, list, text};
use super::names;
use super::show::age_of;
use crate::cel::conditions;
use crate::cel::env::WEBHOOK;
use crate::cel::policy;
use crate::registry::{Cell, Column, Facts, Generation};

/// Said when a configuration is new or changes, because nobody acts on it.
const POLICIES_INERT: &str = "mutating admission policies are stored but not evaluated by this server";

fn inert(new: &Value, old: Option<&Value>, part: &str, text: &str) -> Vec<String> {
    let is_news = old.is_none_or(|o| o[part] != new[part]);
    if is_news { vec![text.to_owned()] } else { Vec::new() }
}

// --- Webhooks -----------------------------------------------------------------------------------------------------

pub(super) static MUTATING: Facts = Facts {
    default: |v| default_webhooks(v, true),
    validate_create: |v, _| webhooks(v, true),
    validate_update: |v, _, _| webhooks(v, true),
    ..WEBHOOKS
};

pub(super) static VALIDATING: Facts = Facts {
    default: |v| default_webhooks(v, false),
    validate_create: |v, _| webhooks(v, false),
    validate_update: |v, _, _| webhooks(v, false),
    ..WEBHOOKS
};

const WEBHOOKS: Facts = Facts {
    generation: Generation::Whole,
    needs_version: true,
    columns: &WEBHOOK_COLUMNS,
    row: |v, now| {
        vec![v["metadata"]["name"].clone(), list(v, "webhooks").len().into(), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static WEBHOOK_COLUMNS: [Column; 3] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Webhooks", "integer", "", 0),
    Column::new("Age", "string", "", 0),
];

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

const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

fn webhooks(v: &Value, is_mutating: bool) -> Vec<Cause> {
    let mut found = Findings::default();
    let at = Path::Root("webhooks");
    let mut seen = BTreeSet::new();
    for (i, hook) in list(v, "webhooks").iter().enumerate() {
        let path = at.index(i);
        webhook(&mut found, &path, hook);
        if is_mutating {
            let policy = text(hook, "reinvocationPolicy");
            found.one_of(&path.field("reinvocationPolicy"), policy, &["IfNeeded", "Never"]);
        }
        let name = text(hook, "name");
        if !name.is_empty() && !seen.insert(name) {
            found.duplicate(&path.field("name"), name);
        }
    }
    found.causes
}

fn webhook(found: &mut Findings, path: &Path<'_>, hook: &Value) {
    let name = text(hook, "name");
    let at = path.field("name");
    if name.is_empty() {
        found.required(&at, "");
    } else if name.split('.').count() < 3 {
        found.invalid(&at, name, "should be a domain with at least three segments separated by dots");
    } else {
        found.faults(&at, name, names::subdomain(name));
    }
    reviews(found, path, hook);
    found.one_of(&path.field("failurePolicy"), text(hook, "failurePolicy"), &["Fail", "Ignore"]);
    found.one_of(&path.field("matchPolicy"), text(hook, "matchPolicy"), &["Equivalent", "Exact"]);
    let effects = text(hook, "sideEffects");
    if effects.is_empty() {
        found.required(&path.field("sideEffects"), "must specify one of None, NoneOnDryRun");
    } else {
        found.one_of(&path.field("sideEffects"), effects, &["None", "NoneOnDryRun"]);
    }
    if let Some(n) = int(hook, "timeoutSeconds").filter(|n| !(1..=30).contains(n)) {
        found.invalid(&path.field("timeoutSeconds"), n, "the timeout value must be between 1 and 30 seconds");
    }
    for name in ["namespaceSelector", "objectSelector"] {
        names::selector(found, &path.field(name), &hook[name]);
    }
    client(found, &path.field("clientConfig"), &hook["clientConfig"]);
    let conditions = path.field("matchConditions").to_string();
    found.causes.extend(conditions::findings(&hook["matchConditions"], &conditions, WEBHOOK));
    let rules = path.field("rules");
    for (i, one) in list(hook, "rules").iter().enumerate() {
        rule(found, &rules.index(i), one);
    }
}

fn reviews(found: &mut Findings, path: &Path<'_>, hook: &Value) {
    let at = path.field("admissionReviewVersions");
    let versions = list(hook, "admissionReviewVersions");
    if versions.is_empty() {
        found.required(&at, &format!("must specify one of {}", REVIEWS.join(", ")));
    } else if !versions.iter().any(|v| REVIEWS.contains(&v.as_str().unwrap_or_default())) {
        let shown = hook["admissionReviewVersions"].clone();
        found.invalid(&at, shown, &format!("must include at least one of {}", REVIEWS.join(", ")));
    }
}

fn client(found: &mut Findings, path: &Path<'_>, client: &Value) {
    let (url, service) = (given(client, "url").and_then(Value::as_str), given(client, "service"));
    match (url, service) {
        (Some(url), None) => self::url(found, &path.field("url"), url),
        (None, Some(service)) => {
            let at = path.field("service");
            for name in ["name", "namespace"] {
                if text(service, name).is_empty() {
                    found.required(&at.field(name), &format!("service {name} is required"));
                }
            }
            found.port(&at.field("port"), int(service, "port").unwrap_or(443));
        }
        _ => found.required(path, "exactly one of url or service is required"),
    }
}

fn url(found: &mut Findings, at: &Path<'_>, url: &str) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme != "https" {
        found.invalid(at, scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() {
        found.invalid(at, host, &format!("host must be specified{FORM}"));
    }
    if host.contains('@') {
        found.invalid(at, host, "user information is not permitted in the URL");
    }
    for (mark, what) in [('#', "fragments"), ('?', "query parameters")] {
        if rest.contains(mark) {
            found.invalid(at, rest, &format!("{what} are not permitted in the URL"));
        }
    }
}

fn rule(found: &mut Findings, path: &Path<'_>, rule: &Value) {
    const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
    let at = path.field("operations");
    let operations = list(rule, "operations");
    if operations.is_empty() {
        found.required(&at, "");
    }
    if operations.len() > 1 && operations.iter().any(|o| o == "*") {
        found.invalid(
            &at,
            rule["operations"].clone(),
            "if '*' is present, must not specify other operations",
        );
    }
    for (i, one) in operations.iter().enumerate() {
        found.one_of(&at.index(i), one.as_str().unwrap_or_default(), &OPERATIONS);
    }
    for (name, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let at = path.field(name);
        let all = list(rule, name);
        if all.is_empty() {
            found.required(&at, "");
        }
        if all.len() > 1 && all.iter().any(|v| v == "*") {
            let why = format!("if '*' is present, must not specify other {what}");
            found.invalid(&at, rule[name].clone(), &why);
        }
    }
    resources(found, &path.field("resources"), rule);
    let scope = text(rule, "scope");
    if !scope.is_empty() {
        found.one_of(&path.field("scope"), scope, &["*", "Cluster", "Namespaced"]);
    }
}

fn resources(found: &mut Findings, at: &Path<'_>, rule: &Value) {
    let all: Vec<&str> = list(rule, "resources").iter().filter_map(Value::as_str).collect();
    let shown = || rule["resources"].clone();
    if all.is_empty() {
        found.required(at, "");
    }
    if all.len() > 1 && all.contains(&"*/*") {
        found.invalid(at, shown(), "if '*/*' is present, must not specify other resources");
        return;
    }
    for (i, one) in all.iter().enumerate() {
        let Some((resource, sub)) = one.split_once('/') else {
            if *one == "*" && all.iter().any(|o| *o != "*" && !o.contains('/')) {
                found.invalid(
                    at,
                    shown(),
                    "if '*' is present, must not specify other resources without subresources",
                );
            }
            continue;
        };
        if sub == "*" && all.iter().any(|o| o != one && o.starts_with(&format!("{resource}/"))) {
            found.invalid(
                &at.index(i),
                *one,
                &format!("if '{one}' is present, must not specify {resource}/x"),
            );
        }
        if resource == "*" && all.iter().any(|o| o != one && o.ends_with(&format!("/{sub}"))) {
            found.invalid(&at.index(i), *one, &format!("if '{one}' is present, must not specify x/{sub}"));
        }
    }
}

// --- Policies -----------------------------------------------------------------------------------------------------

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

const BINDING: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        if let Some(resources) = spec.get_mut("matchResources").filter(|c| c.is_object()) {
            default_match(resources);
        }
    },
    needs_version: true,
    columns: &BINDING_COLUMNS,
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

fn default_match(resources: &mut Value) {
    default(resources, "matchPolicy", "Equivalent");
    default(resources, "namespaceSelector", json!({}));
    default(resources, "objectSelector", json!({}));
    for name in ["resourceRules", "excludeResourceRules"] {
        each_mut(resources, name).for_each(|r| default(r, "scope", "*"));
    }
}

pub(super) static VALIDATING_POLICY: Facts = Facts {
    validate_create: |v, _| validating_policy(&v["spec"]),
    validate_update: |v, _, context| {
        if context.subresource == "status" { Vec::new() } else { validating_policy(&v["spec"]) }
    },
    columns: &VALIDATING_COLUMNS,
    row: |v, now| policy_cells(v, now, "validations"),
    ..POLICY
};

pub(super) static VALIDATING_BINDING: Facts = Facts {
    validate_create: |v, _| validating_binding(&v["spec"]),
    validate_update: |v, _, _| validating_binding(&v["spec"]),
    ..BINDING
};

pub(super) static MUTATING_POLICY: Facts = Facts {
    warnings: |new, old| inert(new, old, "spec", POLICIES_INERT),
    columns: &MUTATING_COLUMNS,
    row: |v, now| policy_cells(v, now, "mutations"),
    ..POLICY
};

pub(super) static MUTATING_BINDING: Facts =
    Facts { warnings: |new, old| inert(new, old, "spec", POLICIES_INERT), ..BINDING };

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

static BINDING_COLUMNS: [Column; 4] = [
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

fn is_identifier(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn validating_policy(spec: &Value) -> Vec<Cause> {
    let mut found = Findings::default();
    let path = Path::Root("spec");
    let policy = text(spec, "failurePolicy");
    found.required_one_of(&path.field("failurePolicy"), policy, &["Fail", "Ignore"]);
    match given(spec, "matchConstraints") {
        None => found.required(&path.field("matchConstraints"), ""),
        Some(constraints) => constraint_rules(&mut found, &path.field("matchConstraints"), constraints),
    }
    let at = path.field("variables");
    for (i, one) in list(spec, "variables").iter().enumerate() {
        let name = text(one, "name");
        if !is_identifier(name) {
            found.invalid(&at.index(i).field("name"), name, "must be a valid CEL identifier");
        }
    }
    if list(spec, "validations").is_empty() && list(spec, "auditAnnotations").is_empty() {
        const WHY: &str = "validations or auditAnnotations must contain at least one item";
        found.required(&path.field("validations"), WHY);
        found.required(&path.field("auditAnnotations"), WHY);
    }
    let at = path.field("validations");
    for (i, one) in list(spec, "validations").iter().enumerate() {
        validation(&mut found, &at.index(i), one);
    }
    found.causes.extend(policy::findings(spec));
    found.causes
}

fn validation(found: &mut Findings, path: &Path<'_>, one: &Value) {
    if text(one, "expression").trim().is_empty() {
        found.required(&path.field("expression"), "expression is not specified");
    }
    let message = text(one, "message");
    if message.contains(['\n', '\r']) {
        found.invalid(&path.field("message"), message, "must not contain line breaks");
    }
    let reason = text(one, "reason");
    if !reason.is_empty() {
        found.one_of(
            &path.field("reason"),
            reason,
            &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"],
        );
    }
}

fn constraint_rules(found: &mut Findings, path: &Path<'_>, constraints: &Value) {
    let at = path.field("resourceRules");
    let rules = list(constraints, "resourceRules");
    if rules.is_empty() {
        found.required(&at, "");
    }
    for (i, one) in rules.iter().enumerate() {
        rule(found, &at.index(i), one);
    }
}

fn validating_binding(spec: &Value) -> Vec<Cause> {
    let mut found = Findings::default();
    let path = Path::Root("spec");
    let policy = text(spec, "policyName");
    if policy.is_empty() {
        found.required(&path.field("policyName"), "");
    } else {
        found.faults(&path.field("policyName"), policy, names::subdomain(policy));
    }
    let at = path.field("validationActions");
    let actions = list(spec, "validationActions");
    if actions.is_empty() {
        found.required(&at, "at least one validation action is required");
    }
    let has = |name: &str| actions.iter().any(|a| a == name);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        found.invalid(&at, spec["validationActions"].clone(), why);
    }
    for (i, action) in actions.iter().enumerate() {
        let action = action.as_str().unwrap_or_default();
        found.one_of(&at.index(i), action, &["Audit", "Deny", "Warn"]);
    }
    found.causes
}
