//! Refusals: `Status` objects with the words that upstream uses, because clients parse them.

use std::fmt::Write as _;

use api_meta::{Cause, Reason, Resource, Status, StatusDetails};
use serde_json::{Value, json};

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The answer.
    pub(crate) status: Status,
    /// Token to go on with, when a list expired.
    pub(crate) next: Option<String>,
    /// The answer is text of this kind instead of a `Status`.
    pub(crate) plain: Option<&'static str>,
}

/// What most stages give; refusals are rare and large, so they are boxed.
pub(crate) type Outcome<T> = Result<T, Box<Refusal>>;

impl Refusal {
    /// The same without the words that name it an internal error.
    pub(crate) fn into_plain(mut self: Box<Refusal>) -> Box<Refusal> {
        self.status.message = self.status.message.replacen("Internal error occurred: ", "", 1);
        self.status.reason.clear();
        self
    }
}

impl From<Status> for Box<Refusal> {
    fn from(status: Status) -> Box<Refusal> {
        Box::new(Refusal { status, next: None, plain: None })
    }
}

/// A refusal without details.
pub(crate) fn refuse(reason: Reason, message: impl Into<String>) -> Box<Refusal> {
    Status::failure(reason, message).into()
}

pub(crate) fn bad_request(message: impl Into<String>) -> Box<Refusal> {
    refuse(Reason::BadRequest, message)
}

pub(crate) fn internal(message: impl std::fmt::Display) -> Box<Refusal> {
    refuse(Reason::InternalError, format!("Internal error occurred: {message}"))
}

/// No such path within a known group.
pub(crate) fn unknown_path() -> Box<Refusal> {
    let status = Status::failure(Reason::NotFound, "the server could not find the requested resource");
    status.with_details(StatusDetails::default()).into()
}

/// No such path at all.
pub(crate) fn no_page() -> Box<Refusal> {
    let status = Status::failure(Reason::NotFound, "404 page not found");
    Box::new(Refusal { status, next: None, plain: Some("404 page not found\n") })
}

pub(crate) fn method_not_allowed() -> Box<Refusal> {
    let text = "the server does not allow this method on the requested resource";
    Status::failure(Reason::MethodNotAllowed, text).with_details(StatusDetails::default()).into()
}

fn details(resource: &Resource, name: &str) -> StatusDetails {
    StatusDetails {
        name: name.to_owned(),
        group: resource.group.to_string(),
        kind: resource.plural.to_string(),
        ..StatusDetails::default()
    }
}

pub(crate) fn not_found(resource: &Resource, name: &str) -> Box<Refusal> {
    let status = Status::failure(Reason::NotFound, format!("{resource} \"{name}\" not found"));
    status.with_details(details(resource, name)).into()
}

pub(crate) fn already_exists(resource: &Resource, name: &str) -> Box<Refusal> {
    let status = Status::failure(Reason::AlreadyExists, format!("{resource} \"{name}\" already exists"));
    status.with_details(details(resource, name)).into()
}

/// What a stale writer is told.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Box<Refusal> {
    let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
    Status::failure(Reason::Conflict, message).with_details(details(resource, name)).into()
}

/// A failed precondition; upstream names the kind where a conflict names the resource.
pub(crate) fn precondition(resource: &Resource, name: &str, why: &str) -> Box<Refusal> {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.kind);
    let details =
        StatusDetails { name: name.to_owned(), kind: resource.kind.to_string(), ..StatusDetails::default() };
    Status::failure(Reason::Conflict, message).with_details(details).into()
}

pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Box<Refusal> {
    forbidden_because(resource, name, why, Vec::new())
}

pub(crate) fn forbidden_because(
    resource: &Resource,
    name: &str,
    why: &str,
    causes: Vec<Cause>,
) -> Box<Refusal> {
    let message = if name.is_empty() {
        format!("{resource} is forbidden: {why}")
    } else {
        format!("{resource} \"{name}\" is forbidden: {why}")
    };
    let details = StatusDetails { causes, ..details(resource, name) };
    Status::failure(Reason::Forbidden, message).with_details(details).into()
}

/// Findings about an object. `kind` is a kind, or a plural where upstream has it so.
pub(crate) fn invalid(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> Box<Refusal> {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let message = format!("{qualified} \"{name}\" is invalid: {}", joined(&causes));
    let details = StatusDetails {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        causes,
        ..StatusDetails::default()
    };
    Status::failure(Reason::Invalid, message).with_details(details).into()
}

/// Findings in one sentence: alone as it is, several in brackets, none twice.
fn joined(causes: &[Cause]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(causes.len());
    for cause in causes {
        let field = if cause.field.is_empty() { "<nil>" } else { &cause.field };
        let text = format!("{field}: {}", cause.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// A finding.
pub(crate) fn cause(reason: &str, field: &str, message: impl Into<String>) -> Cause {
    Cause { reason: reason.to_owned(), message: message.into(), field: field.to_owned() }
}

/// A value that is not what it should be.
pub(crate) fn invalid_value(field: &str, value: impl std::fmt::Debug, why: &str) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {why}"))
}

pub(crate) fn required(field: &str, why: &str) -> Cause {
    let message = if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
    cause("FieldValueRequired", field, message)
}

pub(crate) fn forbidden_field(field: &str, why: &str) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {why}"))
}

pub(crate) fn not_supported(field: &str, value: impl std::fmt::Debug, supported: &[&str]) -> Cause {
    let mut message = format!("Unsupported value: {value:?}: supported values: ");
    for (i, one) in supported.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        let _ = write!(message, "{comma}{one:?}");
    }
    cause("FieldValueNotSupported", field, message)
}

/// Findings about the parameters of a request.
pub(crate) fn invalid_options(kind: &str, causes: Vec<Cause>) -> Box<Refusal> {
    invalid("meta.k8s.io", kind, "", causes)
}

/// A revision that has not come yet.
pub(crate) fn too_large_revision(asked: u64, current: u64) -> Box<Refusal> {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let details = StatusDetails {
        causes: vec![cause("ResourceVersionTooLarge", "", "Too large resource version")],
        retry_after_seconds: Some(1),
        ..StatusDetails::default()
    };
    Status::failure(Reason::Timeout, message).with_details(details).into()
}

/// History that is gone.
pub(crate) fn expired(message: impl Into<String>) -> Box<Refusal> {
    refuse(Reason::Expired, message)
}

/// The `Status` as a tree.
pub(crate) fn tree(status: &Status, next: Option<&str>) -> Value {
    let mut out = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": status.status,
    });
    if let Some(token) = next {
        out["metadata"]["continue"] = json!(token);
    }
    for (key, text) in [("message", &status.message), ("reason", &status.reason)] {
        if !text.is_empty() {
            out[key] = json!(text);
        }
    }
    if let Some(details) = &status.details {
        out["details"] = serde_json::to_value(details).unwrap_or_default();
    }
    if status.code != 0 {
        out["code"] = json!(status.code);
    }
    out
}

/// A success that is not an object.
pub(crate) fn success(code: u16, details: Option<StatusDetails>) -> Status {
    Status { status: "Success".to_owned(), details, code, ..Status::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
    const SETS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

    #[test]
    fn messages_are_upstreams() {
        assert_eq!(not_found(&PODS, "x").status.message, "pods \"x\" not found");
        assert_eq!(already_exists(&SETS, "x").status.message, "deployments.apps \"x\" already exists");
        assert_eq!(
            invalid("", "Pod", "x", vec![required("spec.containers[0].name", "")]).status.message,
            "Pod \"x\" is invalid: spec.containers[0].name: Required value"
        );
        assert_eq!(
            conflict(&PODS, "x", MODIFIED).status.message,
            "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your changes to the \
             latest version and try again"
        );
    }

    #[test]
    fn several_findings_stand_in_brackets_and_none_twice() {
        let causes = vec![required("a", ""), required("a", ""), required("b", "why")];
        assert_eq!(
            invalid("", "Pod", "x", causes).status.message,
            "Pod \"x\" is invalid: [a: Required value, b: Required value: why]"
        );
    }
}
