//! One look at a workload, its pods and the events about it.

use api_client::{Client, Error, ListOptions};
use api_meta::{LabelSelector, Resource};
use serde_json::Value;
use stdx::Env;
use view::{Progress, Release, Wait};

use super::Focus;

/// What was seen.
pub(super) struct Glance {
    /// How far the workload has come.
    pub(super) progress: Progress,
    /// Why it waits.
    pub(super) waits: Vec<Wait>,
    /// Its groups, where it is released by groups.
    pub(super) release: Option<Release>,
}

const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
/// Pods looked at for reasons; a workload with more is judged by its first ones.
const PODS_MAX: usize = 500;
const EVENTS_MAX: usize = 100;

/// Looks once; nothing when the workload is not there. Pods and events are asked for only while the workload waits.
pub(super) async fn glance(client: &Client, env: &Env, focus: &Focus) -> Result<Option<Glance>, Error> {
    let object = match client.get::<Value>(&focus.resource, &focus.namespace, &focus.name).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(progress) = view::progress(&object) else { return Ok(None) };
    let release = view::release(&object);
    if progress.is_done() {
        return Ok(Some(Glance { progress, waits: Vec::new(), release }));
    }
    let pods = match object["kind"] == "Pod" {
        true => vec![object.clone()],
        false => pods_of(client, &object, &focus.namespace).await?,
    };
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let kind = focus.resource.kind.as_ref();
    let events = events_about(client, &focus.namespace, kind, &focus.name, uid).await;
    let waits = view::waits(&object, &pods, &events, env.now());
    Ok(Some(Glance { progress, waits, release }))
}

async fn pods_of(client: &Client, workload: &Value, namespace: &str) -> Result<Vec<Value>, Error> {
    let selector = serde_json::from_value::<LabelSelector>(workload["spec"]["selector"].clone());
    let Some(labels) = selector.ok().map(|s| selector_text(&s)).filter(|t| !t.is_empty()) else {
        return Ok(Vec::new());
    };
    let options = ListOptions { labels, limit: PODS_MAX, ..ListOptions::default() };
    Ok(client.list::<Value>(&PODS, namespace, &options).await?.items)
}

/// Events about one object. They only explain, so that a server which cannot list them counts as one that has none.
pub(crate) async fn events_about(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: &str,
    uid: &str,
) -> Vec<Value> {
    let mut fields = vec![format!("involvedObject.kind={kind}"), format!("involvedObject.name={name}")];
    // Events about nodes carry the node's name in place of its identity.
    if !uid.is_empty() && !namespace.is_empty() {
        fields.push(format!("involvedObject.uid={uid}"));
    }
    let options = ListOptions { fields: fields.join(","), limit: EVENTS_MAX, ..ListOptions::default() };
    match client.list::<Value>(&EVENTS, namespace, &options).await {
        Ok(list) => list.items,
        Err(error) => {
            tracing::debug!(%error, "list events");
            Vec::new()
        }
    }
}

/// A selector in text form.
pub(crate) fn selector_text(selector: &LabelSelector) -> String {
    let mut parts: Vec<String> = selector.match_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for e in &selector.match_expressions {
        let values = e.values.join(",");
        parts.push(match e.operator.as_str() {
            "In" => format!("{} in ({values})", e.key),
            "NotIn" => format!("{} notin ({values})", e.key),
            "DoesNotExist" => format!("!{}", e.key),
            _ => e.key.clone(),
        });
    }
    parts.join(",")
}
