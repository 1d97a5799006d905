//! Findings about a definition, as kube-apiserver 1.36 words them.

use api_meta::Cause;
use serde_json::Value;

use super::{names, text, texts, versions};
use crate::pipeline::metadata::{is_label, is_subdomain};
use crate::refuse::{cause, forbidden_field, not_supported, required};

/// Findings about a new definition.
pub(super) fn create(new: &Value) -> Vec<Cause> {
    let mut found = spec(new);
    let annotation =
        new["metadata"]["annotations"]["api-approved.kubernetes.io"].as_str().unwrap_or_default();
    if names::is_protected(text(new, "/spec/group")) && annotation.is_empty() {
        let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
                   https://github.com/kubernetes/enhancements/pull/1111";
        found.push(required("metadata.annotations[api-approved.kubernetes.io]", why));
    }
    found.extend(stored_versions(new));
    found
}

/// Findings about a change. What was wrong before and is as it was is forgiven.
pub(super) fn update(new: &Value, old: &Value, subresource: &str) -> Vec<Cause> {
    if subresource == "status" {
        return stored_versions(new);
    }
    let before = if new["spec"] == old["spec"] { return stored_versions(new) } else { spec(old) };
    let mut found: Vec<Cause> = spec(new).into_iter().filter(|c| !before.contains(c)).collect();
    let established = super::is_true(old, "Established");
    for (pointer, field, always) in [
        ("/spec/group", "spec.group", true),
        ("/spec/names/plural", "spec.names.plural", true),
        ("/spec/scope", "spec.scope", false),
        ("/spec/names/kind", "spec.names.kind", false),
    ] {
        if (always || established) && new.pointer(pointer) != old.pointer(pointer) {
            let shown = new.pointer(pointer).unwrap_or(&Value::Null);
            found.push(cause(
                "FieldValueInvalid",
                field,
                format!("Invalid value: {shown}: field is immutable"),
            ));
        }
    }
    found.extend(stored_versions(new));
    found
}

fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Cause {
    let message = format!("Invalid value: {value}: {why}");
    Cause { reason: "FieldValueInvalid".to_owned(), field: field.into(), message }
}

fn spec(new: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    identity(new, &mut found);
    names_of(&new["spec"]["names"], &mut found);
    if new["spec"]["preserveUnknownFields"] == true {
        let why = "must be false in order to use defaults in the schema";
        found.push(invalid("spec.preserveUnknownFields", &Value::Bool(true), why));
    }
    super::versions::check(new, &mut found);
    conversion(&new["spec"]["conversion"], &mut found);
    found
}

fn identity(new: &Value, found: &mut Vec<Cause>) {
    let (group, plural) = (text(new, "/spec/group"), text(new, "/spec/names/plural"));
    let name = &new["metadata"]["name"];
    if *name != format!("{plural}.{group}") {
        found.push(invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group"));
    }
    if group.is_empty() {
        found.push(required("spec.group", ""));
    } else if !is_subdomain(group) {
        found.push(invalid("spec.group", &new["spec"]["group"], SUBDOMAIN));
    } else if !group.contains('.') {
        found.push(invalid("spec.group", &new["spec"]["group"], "should be a domain with at least one dot"));
    }
    match text(new, "/spec/scope") {
        "" => found.push(required("spec.scope", "")),
        "Namespaced" | "Cluster" => {}
        other => found.push(not_supported("spec.scope", other, &["Cluster", "Namespaced"])),
    }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
    character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
    '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// RFC 1035 label.
fn is_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn names_of(names: &Value, found: &mut Vec<Cause>) {
    let field = |key: &str| format!("spec.names.{key}");
    let mut check = |key: String, value: &Value| {
        if !is_name(value.as_str().unwrap_or_default()) {
            found.push(invalid(key, value, LABEL));
        }
    };
    check(field("plural"), &names["plural"]);
    if !text(names, "/singular").is_empty() {
        check(field("singular"), &names["singular"]);
    }
    for key in ["shortNames", "categories"] {
        for (i, name) in names[key].as_array().into_iter().flatten().enumerate() {
            check(format!("spec.names.{key}[{i}]"), name);
        }
    }
    for key in ["kind", "listKind"] {
        let name = text(names, &format!("/{key}"));
        if name.is_empty() {
            found.push(required(&field(key), ""));
        } else if !is_name(&name.to_lowercase()) {
            let why = format!("may have mixed case, but should otherwise match: {LABEL}");
            found.push(invalid(field(key), &names[key], &why));
        }
    }
    if !text(names, "/kind").is_empty() && names["kind"] == names["listKind"] {
        found.push(invalid(field("listKind"), &names["listKind"], "kind and listKind may not be the same"));
    }
}

fn conversion(conversion: &Value, found: &mut Vec<Cause>) {
    let at = |step: &str| format!("spec.conversion.{step}");
    let webhook = &conversion["webhook"];
    match text(conversion, "/strategy") {
        "" => found.push(required(&at("strategy"), "")),
        "Webhook" => {}
        "None" => {
            if !webhook.is_null() {
                found.push(forbidden_field(
                    &at("webhook"),
                    "should not be set when strategy is not set to Webhook",
                ));
            }
            return;
        }
        other => {
            found.push(not_supported(&at("strategy"), other, &["None", "Webhook"]));
            return;
        }
    }
    let client = &webhook["clientConfig"];
    if client.is_null() {
        found.push(required(&at("webhook.clientConfig"), "required when strategy is set to Webhook"));
    } else {
        client_config(client, &at("webhook.clientConfig"), found);
    }
    let versions = texts(&webhook["conversionReviewVersions"]);
    if versions.is_empty() {
        found.push(required(&at("webhook.conversionReviewVersions"), ""));
    } else if !versions.iter().any(|v| v == "v1" || v == "v1beta1") {
        let why = "must include at least one of v1, v1beta1";
        found.push(invalid(
            at("webhook.conversionReviewVersions"),
            &webhook["conversionReviewVersions"],
            why,
        ));
    }
}

fn client_config(client: &Value, field: &str, found: &mut Vec<Cause>) {
    match (client["url"].as_str(), client["service"].is_object()) {
        (None, false) | (Some(_), true) => {
            found.push(required(field, "exactly one of url or service is required"))
        }
        (Some(url), false) if !url.starts_with("https://") => {
            let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            found.push(invalid(format!("{field}.url"), &client["url"], why));
        }
        (Some(_), false) => {}
        (None, true) => {
            for key in ["name", "namespace"] {
                if text(client, &format!("/service/{key}")).is_empty() {
                    found.push(required(&format!("{field}.service.{key}"), ""));
                }
            }
        }
    }
}

/// Versions that may still be on disk must be known.
fn stored_versions(new: &Value) -> Vec<Cause> {
    let stored = texts(&new["status"]["storedVersions"]);
    let known: Vec<&str> = versions(new).map(|v| text(v, "/name")).collect();
    if stored.is_empty() {
        let why = "must have at least one stored version";
        return vec![invalid("status.storedVersions", &new["status"]["storedVersions"], why)];
    }
    let missing = stored.iter().enumerate().filter(|(_, v)| !known.contains(&v.as_str()));
    missing
        .map(|(i, v)| {
            let why = format!(
                "missing from spec.versions; {v} was previously a storage version, and must remain in spec.versions until a \
                 storage migration ensures no data remains persisted in {v} and removes {v} from status.storedVersions"
            );
            invalid(format!("status.storedVersions[{i}]"), &Value::String(v.clone()), &why)
        })
        .collect()
}
