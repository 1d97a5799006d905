//! AdmissionReview: the question, the answer, and what a refusal says.

use std::collections::BTreeMap;

use api_meta::Status;
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::attributes::{Attributes, Kind, Place};
use crate::hooks::{Invocation, Review};
use crate::pod::{list, text};

/// What a hook may do to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Change it.
    Mutating,
    /// Judge it.
    Validating,
}

/// The objects of a request in the version that a hook wants.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// As it will be; none when it is deleted.
    pub new: Option<&'a Value>,
    /// As it is; none when it is new.
    pub old: Option<&'a Value>,
}

/// The question.
pub fn question(
    version: Review,
    uid: &str,
    request: &Attributes<'_>,
    invocation: &Invocation,
    objects: Objects<'_>,
) -> Value {
    let or_null = |object: Option<&Value>| object.cloned().unwrap_or(Value::Null);
    let mut asked = json!({
        "uid": uid,
        "kind": kind(&invocation.kind),
        "resource": place(&invocation.place),
        "requestKind": kind(&request.kind),
        "requestResource": place(&request.place),
        "operation": request.operation.as_str(),
        "userInfo": request.user,
        "object": or_null(objects.new),
        "oldObject": or_null(objects.old),
        "dryRun": request.dry_run,
        "options": request.options,
    });
    for (key, value) in [
        ("name", request.name),
        ("namespace", request.namespace),
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
    ] {
        if !value.is_empty() {
            asked[key] = json!(value);
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": asked})
}

fn kind(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

fn place(place: &Place) -> Value {
    json!({"group": place.group, "version": place.version, "resource": place.resource})
}

/// What a hook answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The request may go on.
    pub is_allowed: bool,
    /// Operations of a JSON patch; none when nothing is to be changed.
    pub patch: Option<Value>,
    /// Sentences for whoever asks.
    pub warnings: Vec<String>,
    /// Notes for the audit log, not yet prefixed with the hook's name.
    pub annotations: BTreeMap<String, String>,
    /// What a refusal says.
    pub result: Value,
}

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not an answer to the question.
    Invalid(String),
    /// Its patch cannot be read.
    Patch(String),
}

/// Reads an answer.
///
/// # Errors
/// When it is not an answer to the question, in upstream's words.
pub fn answer(version: Review, uid: &str, role: Role, body: &[u8]) -> Result<Answer, Unusable> {
    let body: Value =
        serde_json::from_slice(body).map_err(|e| Unusable::Invalid(format!("couldn't decode: {e}")))?;
    let response = checked(version, uid, role, &body).map_err(Unusable::Invalid)?;
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    let annotations = annotations.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
    let warnings = list(response, "warnings").filter_map(Value::as_str);
    Ok(Answer {
        is_allowed: response["allowed"] == true,
        patch: patch(response, role)?,
        warnings: warnings.map(str::to_owned).collect(),
        annotations: annotations.collect(),
        result: response["status"].clone(),
    })
}

/// Whether what came back is a response in a review of the wanted version.
fn checked<'a>(version: Review, uid: &str, role: Role, body: &'a Value) -> Result<&'a Value, String> {
    let (api_version, kind) = (text(body, "apiVersion"), text(body, "kind"));
    let wanted = version.api_version();
    let is_strict = version == Review::V1;
    if is_strict && (api_version != wanted || kind != "AdmissionReview") {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Err(format!(
            "expected webhook response of {wanted}, Kind=AdmissionReview, got {group}/{version}, Kind={kind}"
        ));
    }
    let response = &body["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if !is_strict {
        return Ok(response);
    }
    if text(response, "uid") != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", text(response, "uid")));
    }
    let (has_patch, kind) = (!text(response, "patch").is_empty(), response["patchType"].as_str());
    match (role, has_patch, kind) {
        (Role::Validating, true, _) => Err("validating webhook may not return response.patch".to_owned()),
        (Role::Validating, _, Some(_)) => {
            Err("validating webhook may not return response.patchType".to_owned())
        }
        (Role::Mutating, true, None) => {
            Err("webhook returned response.patch but not response.patchType".to_owned())
        }
        (Role::Mutating, false, Some(_)) => {
            Err("webhook returned response.patchType but not response.patch".to_owned())
        }
        (Role::Mutating, _, Some(other)) if other != "JSONPatch" => {
            Err(format!("webhook returned invalid response.patchType of {other:?}"))
        }
        _ => Ok(response),
    }
}

fn patch(response: &Value, role: Role) -> Result<Option<Value>, Unusable> {
    let coded = text(response, "patch");
    if role == Role::Validating || coded.is_empty() {
        return Ok(None);
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(coded);
    let bytes = bytes.map_err(|e| Unusable::Invalid(format!("illegal base64 data: {e}")))?;
    let patch: Value = serde_json::from_slice(&bytes).map_err(|e| Unusable::Patch(e.to_string()))?;
    let is_empty = patch.is_null() || patch.as_array().is_some_and(Vec::is_empty);
    Ok((!is_empty).then_some(patch))
}

/// What is answered to a request that a hook refused: the hook's own `Status`, never a success.
pub fn denied(hook: &str, result: &Value) -> Status {
    const CODE_LEAST: u16 = 400;
    let mut status = Status::deserialize(result).unwrap_or_default();
    let by = format!("admission webhook {hook:?} denied the request");
    status.code = status.code.max(CODE_LEAST);
    if matches!(status.status.as_str(), "" | "Success") {
        status.status = "Failure".to_owned();
    }
    status.message = match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    status
}

/// Notes for the audit log under a hook's name.
pub fn annotations(hook: &str, answer: &Answer) -> Map<String, Value> {
    answer.annotations.iter().map(|(k, v)| (format!("{hook}/{k}"), json!(v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(role: Role, response: Value) -> Result<Answer, Unusable> {
        let body =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        answer(Review::V1, "u", role, body.to_string().as_bytes())
    }

    fn coded(patch: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(patch)
    }

    #[test]
    fn an_answer_must_be_about_the_question() {
        let fault = |role: Role, response: Value| match read(role, response) {
            Err(Unusable::Invalid(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(Role::Validating, json!({"uid": "v"})), "expected response.uid=\"u\", got \"v\"");
        assert_eq!(fault(Role::Validating, Value::Null), "webhook response was absent");
        let patch = json!({"uid": "u", "patch": coded("[]")});
        assert_eq!(
            fault(Role::Validating, patch.clone()),
            "validating webhook may not return response.patch"
        );
        assert_eq!(
            fault(Role::Mutating, patch),
            "webhook returned response.patch but not response.patchType"
        );
        let bare = json!({"response": {"allowed": true}}).to_string();
        assert_eq!(
            answer(Review::V1, "u", Role::Mutating, bare.as_bytes()),
            Err(Unusable::Invalid(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
                    .to_owned()
            ))
        );
        assert!(answer(Review::V1Beta1, "u", Role::Mutating, bare.as_bytes()).unwrap().is_allowed);
    }

    #[test]
    fn a_patch_comes_out_of_its_wrapping() {
        let patch = r#"[{"op":"add","path":"/a","value":1}]"#;
        let response = json!({"uid": "u", "allowed": true, "patch": coded(patch), "patchType": "JSONPatch"});
        let answer = read(Role::Mutating, response).unwrap();
        assert_eq!(answer.patch, Some(serde_json::from_str(patch).unwrap()));
        let response = json!({"uid": "u", "allowed": true, "patch": coded("[]"), "patchType": "JSONPatch"});
        assert_eq!(read(Role::Mutating, response).unwrap().patch, None);
        let response = json!({"uid": "u", "allowed": true, "patch": coded("{"), "patchType": "JSONPatch"});
        assert!(matches!(read(Role::Mutating, response), Err(Unusable::Patch(_))));
    }

    #[test]
    fn refusals_carry_the_hooks_own_status() {
        let status = denied("x.example.com", &json!({"code": 418, "message": "no tea", "reason": "Teapot"}));
        assert_eq!((status.code, status.reason.as_str()), (418, "Teapot"));
        assert_eq!(status.message, "admission webhook \"x.example.com\" denied the request: no tea");
        let status = denied("x", &Value::Null);
        assert_eq!((status.code, status.status.as_str()), (400, "Failure"));
        assert_eq!(status.message, "admission webhook \"x\" denied the request without explanation");
        let status = denied("x", &json!({"status": "Success", "code": 200, "reason": "Why"}));
        assert_eq!((status.code, status.status.as_str()), (400, "Failure"));
        assert_eq!(status.message, "admission webhook \"x\" denied the request: Why");
    }

    #[test]
    fn a_question_tells_both_versions() {
        let place = |version: &str| Place {
            group: "apps".to_owned(),
            version: version.to_owned(),
            resource: "deployments".to_owned(),
        };
        let kind = |version: &str| Kind {
            group: "apps".to_owned(),
            version: version.to_owned(),
            kind: "Deployment".to_owned(),
        };
        let request = Attributes {
            operation: crate::Operation::Update,
            place: place("v1beta1"),
            subresource: "status",
            kind: kind("v1beta1"),
            namespace: "ns",
            name: "a",
            dry_run: true,
            user: &json!({"username": "u"}),
            options: &json!({"kind": "UpdateOptions"}),
        };
        let invocation = Invocation { place: place("v1"), kind: kind("v1") };
        let new = json!({"a": 1});
        let asked =
            question(Review::V1, "uid", &request, &invocation, Objects { new: Some(&new), old: None });
        let asked = &asked["request"];
        assert_eq!(
            (&asked["kind"]["version"], &asked["requestKind"]["version"]),
            (&json!("v1"), &json!("v1beta1"))
        );
        assert_eq!(
            (&asked["object"], &asked["oldObject"], &asked["dryRun"]),
            (&new, &Value::Null, &json!(true))
        );
        assert_eq!((&asked["subResource"], &asked["namespace"]), (&json!("status"), &json!("ns")));
    }
}
