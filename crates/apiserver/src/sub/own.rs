//! What this server offers beyond Kubernetes: many bindings in one request.

use std::sync::Arc;

use api_client::Response;
use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::binding::bind_one;
use crate::answer;
use crate::pipeline::{decode, metadata};
use crate::refuse::{self, Outcome, bad_request, method_not_allowed};
use crate::server::Call;

/// Most bindings of one request.
const BINDINGS_MAX: usize = 5_000;

/// Answers `/apis/knarr.dev/v1/bindings`; other paths are none of its own.
///
/// The body is `{"items": [Binding, ...]}`, each with namespace and name; the answer has one `Status` per item, in order.
pub(crate) async fn answer(call: &Call) -> Option<Outcome<Response>> {
    let t = &call.target;
    if t.group != "knarr.dev" || t.version != "v1" || t.resource != "bindings" {
        return None;
    }
    Some(bind_many(call).await)
}

async fn bind_many(call: &Call) -> Outcome<Response> {
    if call.method() != Method::POST || !call.target.name.is_empty() {
        return Err(method_not_allowed());
    }
    decode::check_size(call)?;
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|e| bad_request(format!("read the list of bindings: {e}")))?;
    let items = body["items"].as_array().ok_or_else(|| bad_request("items must be a list of bindings"))?;
    if items.len() > BINDINGS_MAX {
        return Err(bad_request(format!(
            "{} bindings are too many, the limit is {BINDINGS_MAX}",
            items.len()
        )));
    }
    let pods = call.snapshot.get("", "v1", "pods").ok_or_else(method_not_allowed)?;
    // All at once: they share the store's syncs.
    let outcomes = join_all(items.iter().map(|binding| one(call, pods, binding))).await;
    let items: Vec<Value> = outcomes.iter().map(told).collect();
    answer::tree(
        200,
        call.accepted()?.form,
        &json!({"kind": "BindingResults", "apiVersion": "knarr.dev/v1", "items": items}),
    )
}

async fn one(call: &Call, pods: &Arc<crate::registry::Served>, binding: &Value) -> Outcome<()> {
    let (namespace, name) = (metadata::text(binding, "namespace"), metadata::text(binding, "name"));
    if namespace.is_empty() || name.is_empty() {
        return Err(bad_request("a binding needs metadata.namespace and metadata.name"));
    }
    let inner = call.within(namespace);
    bind_one(&inner, pods, name, binding).await
}

fn told(outcome: &Outcome<()>) -> Value {
    match outcome {
        Ok(()) => refuse::tree(&refuse::success(201, None), None),
        Err(refusal) => refuse::tree(&refusal.status, None),
    }
}
