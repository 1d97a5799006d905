//! Questions that are answered, not stored: who am I, what may I do. They ask the same authorizer as every request.

use std::sync::Arc;

use api_client::Response;
use http::Method;
use serde_json::{Value, json};

use crate::answer;
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{admit, decode};
use crate::refuse::{Outcome, bad_request, cause, invalid, invalid_value, method_not_allowed, unknown_path};
use crate::registry::Served;
use crate::server::Call;
use crate::verbs::options;
use crate::who::{Attributes, Decision, Rule, User};

/// Whether a resource is such a question.
pub(crate) fn is_review(served: &Served) -> bool {
    matches!(
        &*served.storage_key,
        "selfsubjectaccessreviews.authorization.k8s.io"
            | "subjectaccessreviews.authorization.k8s.io"
            | "localsubjectaccessreviews.authorization.k8s.io"
            | "selfsubjectrulesreviews.authorization.k8s.io"
            | "selfsubjectreviews.authentication.k8s.io"
            | "tokenreviews.authentication.k8s.io"
            | "bindings"
            | "componentstatuses"
    )
}

/// Answers a question.
pub(crate) async fn answer(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    if &*served.storage_key == "componentstatuses" {
        return component_statuses(call, served);
    }
    if !call.target.name.is_empty() {
        return Err(unknown_path());
    }
    if *call.method() != Method::POST {
        return Err(method_not_allowed());
    }
    if &*served.storage_key == "bindings" {
        let pods = call.snapshot.get("", "v1", "pods").ok_or_else(method_not_allowed)?;
        admit::namespace_for_create(call, served, "")?;
        return super::binding::bind(call, pods).await;
    }
    options::check(call, "CreateOptions")?;
    let accept = call.accepted()?;
    let mut review = decode::object(call, &decode::expected(served))?;
    decode::default(&mut review, served);
    match &*served.storage_key {
        "selfsubjectaccessreviews.authorization.k8s.io" => access(call, &mut review, &call.user)?,
        "selfsubjectrulesreviews.authorization.k8s.io" => rules(call, &mut review)?,
        "selfsubjectreviews.authentication.k8s.io" => {
            review["status"] = json!({"userInfo": user_info(&call.user)});
            review["metadata"] = json!({"creationTimestamp": call.server.env.now().to_string()});
            return answer::tree(201, accept.form, &review);
        }
        "tokenreviews.authentication.k8s.io" => {
            if review["spec"]["token"].as_str().unwrap_or_default().is_empty() {
                return Err(bad_request("token is required for TokenReview in authentication"));
            }
            review["status"] = json!({"user": {}, "error": "invalid bearer token"});
        }
        _ => {
            let user = asked_user(&review, served)?;
            access(call, &mut review, &user)?;
        }
    }
    let writer = Writer { manager: &call.manager(), subresource: "", now: call.server.env.now() };
    let status = review["status"].take();
    review.as_object_mut().map(|m| m.remove("status"));
    owners::update(served, &writer, None, &mut review);
    review["status"] = status;
    if served.resource.namespaced {
        review["metadata"]["namespace"] = json!(call.target.namespace);
    }
    answer::tree(201, accept.form, &review)
}

/// The kind is gone in all but name; a list of nothing is what clients can live with.
fn component_statuses(call: &Call, served: &Served) -> Outcome<Response> {
    let accept = call.accepted()?;
    match (call.method(), call.target.name.is_empty()) {
        (&Method::GET, true) => {
            let list = json!({"kind": served.list_kind, "apiVersion": "v1", "metadata": {}, "items": []});
            answer::tree(200, accept.form, &list)
        }
        (&Method::GET, false) => Err(crate::refuse::not_found(&served.resource, &call.target.name)),
        _ => Err(method_not_allowed()),
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn asked_user(review: &Value, served: &Served) -> Outcome<User> {
    let spec = &review["spec"];
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        ..User::default()
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let causes = vec![invalid_value("spec.user", "", "at least one of user or group must be specified")];
        return Err(invalid(&served.resource.group, "", "", causes));
    }
    Ok(user)
}

fn access(call: &Call, review: &mut Value, user: &User) -> Outcome<()> {
    let spec = review["spec"].clone();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let fault = match (resource.is_object(), path.is_object()) {
        (false, false) => {
            let text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Some(cause("FieldValueInvalid", "spec.resourceAttributes", text))
        }
        (true, true) => {
            let text =
                format!("Invalid value: {path}: cannot be specified in combination with resourceAttributes");
            Some(cause("FieldValueInvalid", "spec.nonResourceAttributes", text))
        }
        _ => None,
    };
    if let Some(fault) = fault {
        return Err(invalid("authorization.k8s.io", "", "", vec![fault]));
    }
    let of = |key: &str| resource[key].as_str().unwrap_or_default();
    let what = if resource.is_object() {
        Attributes {
            verb: of("verb"),
            group: of("group"),
            version: of("version"),
            resource: of("resource"),
            subresource: of("subresource"),
            namespace: of("namespace"),
            name: of("name"),
            path: "",
        }
    } else {
        Attributes {
            verb: path["verb"].as_str().unwrap_or_default(),
            path: path["path"].as_str().unwrap_or_default(),
            ..Attributes::default()
        }
    };
    review["status"] = match call.server.authorizer.authorize(user, &what) {
        Decision::Allow => json!({"allowed": true}),
        Decision::Deny(why) if why.is_empty() => json!({"allowed": false}),
        Decision::Deny(why) => json!({"allowed": false, "reason": why}),
    };
    Ok(())
}

fn rules(call: &Call, review: &mut Value) -> Outcome<()> {
    if review["spec"]["namespace"].as_str().unwrap_or_default().is_empty() {
        return Err(bad_request("no namespace on request"));
    }
    let rules = call.server.authorizer.rules(&call.user);
    let shown = |r: &Rule| json!({"verbs": r.verbs, "apiGroups": r.groups, "resources": r.resources});
    review["status"] = json!({
        "resourceRules": rules.iter().map(shown).collect::<Vec<_>>(),
        "nonResourceRules": [],
        "incomplete": false,
    });
    Ok(())
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}
