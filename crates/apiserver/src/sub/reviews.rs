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
use crate::who::{Attributes, Decision, User};

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
        "selfsubjectaccessreviews.authorization.k8s.io" => {
            one_question(&review)?;
            review["status"] = verdict(call, &review, &call.user);
        }
        "selfsubjectrulesreviews.authorization.k8s.io" => rules(call, &mut review)?,
        "selfsubjectreviews.authentication.k8s.io" => {
            review["status"] = json!({"userInfo": user_info(&call.user)});
            review["metadata"] = json!({"creationTimestamp": call.server.env.now().to_string()});
            return answer::tree(201, accept.form, &review);
        }
        "tokenreviews.authentication.k8s.io" => {
            review["status"] = token(call, &review)?;
        }
        _ => {
            one_question(&review)?;
            let user = asked_user(&review, served)?;
            same_namespace(call, &review, served)?;
            review["status"] = verdict(call, &review, &user);
        }
    }
    let writer = Writer { manager: &call.manager(), subresource: "", now: call.server.env.now() };
    let status = review["status"].take();
    review.as_object_mut().map(|m| m.remove("status"));
    owners::update(served, &writer, None, &mut review);
    api_patch::managed::unfold(&mut review);
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

/// The texts of a list.
pub(super) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn asked_user(review: &Value, served: &Served) -> Outcome<User> {
    let spec = &review["spec"];
    let extra = spec["extra"].as_object().into_iter().flatten();
    let user = User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        extra: extra.map(|(key, values)| (key.to_lowercase(), texts(values))).collect(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let causes = vec![invalid_value("spec.user", "", "at least one of user or group must be specified")];
        return Err(invalid(&served.resource.group, "", "", causes));
    }
    Ok(user)
}

/// A review asks about a resource or about a path, not both.
fn one_question(review: &Value) -> Outcome<()> {
    let (resource, path) = (&review["spec"]["resourceAttributes"], &review["spec"]["nonResourceAttributes"]);
    let fault = match (resource.is_object(), path.is_object()) {
        (false, false) => {
            let text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
            cause("FieldValueInvalid", "spec.resourceAttributes", text)
        }
        (true, true) => {
            let shown = json!({"Path": path["path"], "Verb": path["verb"]});
            let text =
                format!("Invalid value: {shown}: cannot be specified in combination with resourceAttributes");
            cause("FieldValueInvalid", "spec.nonResourceAttributes", text)
        }
        _ => return Ok(()),
    };
    Err(invalid("authorization.k8s.io", "", "", vec![fault]))
}

/// A review sent to a namespace asks about that namespace.
fn same_namespace(call: &Call, review: &Value, served: &Served) -> Outcome<()> {
    let asked = review["spec"]["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
    if !served.resource.namespaced || asked == call.target.namespace {
        return Ok(());
    }
    let field = "spec.resourceAttributes.namespace";
    let causes = vec![invalid_value(field, asked, "must match metadata.namespace")];
    Err(invalid("authorization.k8s.io", "", "", causes))
}

/// The verdict of the authorizer that judges every request, with its reason.
fn verdict(call: &Call, review: &Value, user: &User) -> Value {
    let (resource, path) = (&review["spec"]["resourceAttributes"], &review["spec"]["nonResourceAttributes"]);
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
    let authorizer = &call.server.authorizer;
    let (allowed, reason) = match authorizer.authorize(user, &what) {
        Decision::Allow => (true, authorizer.reason(user, &what)),
        Decision::Deny(why) => (false, why),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

/// Everything the caller may do in a namespace.
fn rules(call: &Call, review: &mut Value) -> Outcome<()> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(bad_request("no namespace on request"));
    }
    let held = call.server.authorizer.held(&call.user, namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &held.rules {
        let list = if rule.resources.is_empty() { &mut paths } else { &mut resources };
        list.push(rule);
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    if !held.missing.is_empty() {
        let faults: Vec<String> = held.missing.iter().map(ToString::to_string).collect();
        status["incomplete"] = true.into();
        status["evaluationError"] = faults.join(", ").into();
    }
    review["status"] = status;
    Ok(())
}

/// Whose token it is, and for which of the audiences asked for.
fn token(call: &Call, review: &Value) -> Outcome<Value> {
    let spec = &review["spec"];
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(bad_request("token is required for TokenReview in authentication"));
    }
    let known = call.server.authenticator().and_then(|a| a.know(token, &texts(&spec["audiences"])));
    let Some(known) = known else { return Ok(json!({"user": {}, "error": "invalid bearer token"})) };
    let mut status = json!({"authenticated": true, "user": user_info(&known.user)});
    if !known.audiences.is_empty() {
        status["audiences"] = json!(known.audiences);
    }
    Ok(status)
}

/// A user as reviews and the audit log show it.
pub(crate) fn user_info(user: &User) -> Value {
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
