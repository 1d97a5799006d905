//! From a path and a method to the verb that answers.

use std::sync::Arc;

use api_client::Response;
use http::Method;

use crate::bare;
use crate::pipeline::admit;
use crate::refuse::{Outcome, Refusal, method_not_allowed, no_page, unknown_path};
use crate::registry::Served;
use crate::server::Call;
use crate::{sub, verbs};

/// Answers a request that may be answered.
pub(crate) async fn dispatch(call: &Call) -> Outcome<Response> {
    let target = &call.target;
    if !target.is_resource || target.resource.is_empty() {
        return bare::answer(call);
    }
    if let Some(answer) = sub::own::answer(call).await {
        return answer;
    }
    let served = find(call)?;
    if let Some(text) = &served.warning {
        call.warn(text.clone());
    }
    if served.storage_key.is_empty() || sub::reviews::is_review(&served) {
        return sub::reviews::answer(call, &served).await;
    }
    if target.subresource.is_empty() {
        resource(call, &served).await
    } else {
        subresource(call, &served).await
    }
}

/// The resource a path names, in a place where its objects can be.
fn find(call: &Call) -> Outcome<Arc<Served>> {
    let target = &call.target;
    let Some(served) = call.snapshot.get(&target.group, &target.version, &target.resource) else {
        return Err(unknown(call));
    };
    let r = &served.resource;
    let is_namespace = r.plural == "namespaces" && r.group.is_empty();
    let misplaced = !r.namespaced && !target.namespace.is_empty() && !is_namespace
        || r.namespaced && target.namespace.is_empty() && !target.name.is_empty();
    match misplaced {
        true if served.is_custom() => Err(no_page()),
        true => Err(unknown_path()),
        false => Ok(served.clone()),
    }
}

fn unknown(call: &Call) -> Box<Refusal> {
    let is_builtin = |g: &crate::registry::Group| g.name == call.target.group && !g.is_custom;
    if call.target.group.is_empty() || call.snapshot.groups().iter().any(is_builtin) {
        unknown_path()
    } else {
        no_page()
    }
}

async fn resource(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let is_everywhere = served.resource.namespaced && call.target.namespace.is_empty();
    let has_name = !call.target.name.is_empty();
    let verb = call.verb;
    let method = match (call.method(), has_name) {
        (&Method::POST, false) if !is_everywhere => "create",
        (&Method::GET | &Method::HEAD, _) => verb,
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) if !is_everywhere => "deletecollection",
        _ => return Err(method_not_allowed()),
    };
    if !served.has_verb(method) {
        return Err(method_not_allowed());
    }
    let answer = answer(call, served, method).await?;
    if matches!(method, "create" | "update" | "patch") && INERT.contains(&&*served.storage_key) {
        call.warn(format!(
            "{} objects are stored, but nothing in this server acts on them",
            served.resource.kind
        ));
    }
    Ok(answer)
}

/// Kinds that an API server itself would act on, and this one does not: who writes them is told.
const INERT: [&str; 3] = [
    "apiservices.apiregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
];

async fn answer(call: &Call, served: &Arc<Served>, method: &str) -> Outcome<Response> {
    match method {
        "create" => verbs::create::create(call, served).await,
        "update" => verbs::update(call, served, "").await,
        "patch" => verbs::patch::patch(call, served, "").await,
        "delete" => verbs::delete::delete(call, served).await,
        "deletecollection" => verbs::delete_collection(call, served).await,
        "watch" => verbs::watch(call, served).await,
        "list" => verbs::list(call, served).await,
        _ => verbs::get(call, served).await,
    }
}

async fn subresource(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let name = call.target.subresource.as_str();
    let Some(known) = served.subresources.get(name) else { return Err(unknown_path()) };
    let verb = call.verb;
    if !known.verbs.contains(&verb) {
        return Err(method_not_allowed());
    }
    match (&*served.storage_key, name) {
        ("pods", "binding") => sub::binding::bind(call, served).await,
        ("pods", "eviction") => sub::eviction::evict(call, served).await,
        ("pods", "log") => sub::log::log(call, served).await,
        ("pods", "exec" | "attach" | "portforward") => {
            admit::connect(call, served, &known.kind).await?;
            sub::log::no_connection(call, served)
        }
        ("pods" | "services" | "nodes", "proxy") => {
            admit::connect(call, served, &known.kind).await?;
            sub::proxy::refuse(call, served)
        }
        ("serviceaccounts", "token") => sub::token::issue(call, served).await,
        (_, "scale") => sub::scale::scale(call, served).await,
        // status, resize, ephemeralcontainers, finalize, approval: the object itself through a narrower door.
        _ => match verb {
            "get" => verbs::get(call, served).await,
            "update" => verbs::update(call, served, name).await,
            "patch" => verbs::patch::patch(call, served, name).await,
            _ => Err(method_not_allowed()),
        },
    }
}
