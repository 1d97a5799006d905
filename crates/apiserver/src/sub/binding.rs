//! Binding: a pod gets its node, once.

use std::sync::Arc;

use api_admission::{Kind, Operation};
use api_client::Response;
use api_meta::Resource;
use serde_json::{Value, json};

use crate::answer;
use crate::pipeline::{admit, decode, metadata};
use crate::refuse::{self, Outcome, bad_request, conflict, invalid, required};
use crate::registry::Served;
use crate::server::Call;
use crate::verbs::{Change, Retry, change, options};

const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");

/// POST to `pods/x/binding`, or to the older `bindings`.
pub(crate) async fn bind(call: &Call, pods: &Arc<Served>) -> Outcome<Response> {
    options::check(call, "CreateOptions")?;
    let accept = call.accepted()?;
    let schema = api_tables::tables().schema("", "v1", "Binding");
    let expected = decode::Expected { group: "", version: "v1", kind: "Binding", schema, is_custom: false };
    let mut binding = decode::object(call, &expected)?;
    let name = metadata::text(&binding, "name");
    if !call.target.name.is_empty() && !name.is_empty() && name != call.target.name {
        return Err(bad_request("name in URL does not match name in Binding object"));
    }
    let kind = Kind { group: String::new(), version: "v1".to_owned(), kind: "Binding".to_owned() };
    admit::ask(call, pods, Operation::Create, kind, &mut binding).await?;
    let name = metadata::text(&binding, "name");
    let name = if name.is_empty() { call.target.name.as_str() } else { name };
    bind_one(call, pods, name, &binding).await?;
    answer::tree(201, accept.form, &refuse::tree(&refuse::success(201, None), None))
}

/// Gives one pod its node.
pub(crate) async fn bind_one(call: &Call, pods: &Arc<Served>, name: &str, binding: &Value) -> Outcome<()> {
    let node = target(name, binding)?;
    let (uid, version) = (metadata::text(binding, "uid"), metadata::text(binding, "resourceVersion"));
    let now = call.server.env.now();
    let how = Change {
        name,
        subresource: "binding",
        manager: "",
        retry: Retry::Again,
        dry_run: call.query.dry_run(),
        uid: (!uid.is_empty()).then_some(uid),
    };
    let bound = change(call, pods, how, |old| {
        let mut pod = old.clone();
        if !version.is_empty() {
            metadata::of(&mut pod).insert("resourceVersion".into(), version.into());
        }
        assign(&mut pod, name, node, binding)?;
        scheduled(&mut pod, now);
        Ok(pod)
    });
    bound.await.map(drop)
}

fn target<'a>(name: &str, binding: &'a Value) -> Outcome<&'a str> {
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    let mut causes = Vec::new();
    if !matches!(kind, "" | "Node") {
        causes.push(refuse::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if node.is_empty() {
        causes.push(required("target.name", ""));
    }
    if causes.is_empty() { Ok(node) } else { Err(invalid("", "Binding", name, causes)) }
}

fn assign(pod: &mut Value, name: &str, node: &str, binding: &Value) -> Outcome<()> {
    let refused = |why: String| conflict(&Resource { plural: "pods/binding".into(), ..PODS }, name, &why);
    if metadata::is_terminating(pod) {
        return Err(refused(format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let has = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !has.is_empty() {
        return Err(refused(format!("pod {name} is already assigned to node {has:?}")));
    }
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty()) {
        return Err(refused(format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    pod["spec"]["nodeName"] = json!(node);
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    Ok(())
}

/// The condition that says the pod has a node.
fn scheduled(pod: &mut Value, now: stdx::Time) {
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now.to_string()
    });
    let Some(all) = pod["status"]["conditions"].as_array_mut() else { return };
    match all.iter_mut().find(|c| c["type"] == "PodScheduled") {
        Some(old) => *old = condition,
        None => all.push(condition),
    }
}
