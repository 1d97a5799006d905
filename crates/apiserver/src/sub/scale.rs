//! Scale: the number of replicas of anything that has one, as an autoscaling/v1 object.

use std::sync::Arc;

use api_client::Response;
use api_meta::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::pipeline::commit::Written;
use crate::pipeline::{convert, decode, metadata};
use crate::refuse::{Outcome, bad_request, internal, invalid, invalid_value, not_found};
use crate::registry::{Scale, Served};
use crate::represent::path;
use crate::server::Call;
use crate::stored;
use crate::verbs::patch::Patch;
use crate::verbs::{Change, Retry, change_asked, options};

/// GET, PUT or PATCH of `x/scale`.
pub(crate) async fn scale(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let Some(rule) = &served.scale else { return Err(crate::refuse::unknown_path()) };
    match call.verb {
        "get" => get(call, served, rule).await,
        "update" => put(call, served, rule).await,
        _ => patch(call, served, rule).await,
    }
}

async fn get(call: &Call, served: &Arc<Served>, rule: &Scale) -> Outcome<Response> {
    let accept = call.accepted()?;
    let name = &call.target.name;
    let found = call.server.store.get(&call.key(served)).ok_or_else(|| not_found(&served.resource, name))?;
    let object = convert::to_served(served, stored::decode(&found)?).await?;
    if served.is_custom() && path::find(&object, &rule.spec_replicas).is_empty() {
        let why = format!("the spec replicas field {:?} does not exist", rule.spec_replicas);
        let mut refusal = internal(&why);
        let causes = vec![api_meta::Cause { message: why, ..api_meta::Cause::default() }];
        refusal.status.details =
            Some(api_meta::StatusDetails { causes, ..api_meta::StatusDetails::default() });
        return Err(refusal);
    }
    answer::tree(200, accept.form, &view(&object, rule))
}

fn schema() -> Option<api_schema::Schema<'static>> {
    api_tables::tables().schema("autoscaling", "v1", "Scale")
}

async fn put(call: &Call, served: &Arc<Served>, rule: &Scale) -> Outcome<Response> {
    options::check(call, "UpdateOptions")?;
    let expected = decode::Expected {
        group: "autoscaling",
        version: "v1",
        kind: "Scale",
        schema: schema(),
        is_custom: false,
    };
    let scale = decode::object(call, &expected)?;
    let given = metadata::text(&scale, "name");
    crate::verbs::check_name(&call.target.name, given)?;
    let version = metadata::text(&scale, "resourceVersion");
    let retry = if version.is_empty() { Retry::Again } else { Retry::Never };
    write(call, served, rule, retry, |_| Ok(scale.clone())).await
}

async fn patch(call: &Call, served: &Arc<Served>, rule: &Scale) -> Outcome<Response> {
    let patch = Patch::of(call, served)?;
    write(call, served, rule, patch.retry(), |old| patch.lay_over_typed(schema(), &view(old, rule))).await
}

/// Writes the replicas of the scale that `make` gives for the live object.
async fn write(
    call: &Call,
    served: &Arc<Served>,
    rule: &Scale,
    retry: Retry,
    make: impl Fn(&Value) -> Outcome<Value> + Send + Sync,
) -> Outcome<Response> {
    let accept = call.accepted()?;
    let manager = call.manager();
    let how = Change {
        name: &call.target.name,
        subresource: "scale",
        manager: &manager,
        retry,
        dry_run: call.query.dry_run(),
        uid: None,
    };
    let written = change_asked(call, served, how, |old| {
        let scale = make(old)?;
        let mut new = old.clone();
        let replicas = replicas(served, &call.target.name, &scale)?;
        path::put(&mut new, &rule.spec_replicas, json!(replicas));
        let version = metadata::text(&scale, "resourceVersion").to_owned();
        metadata::of(&mut new).insert("resourceVersion".into(), version.into());
        let uid = metadata::text(&scale, "uid");
        if !uid.is_empty() && uid != metadata::text(old, "uid") {
            return Err(bad_request("the identity in the scale is not that of the object"));
        }
        Ok(new)
    });
    let written = written.await?;
    answer::tree(200, accept.form, &view(&read(served, &written).await?, rule))
}

async fn read(served: &Served, written: &Written) -> Outcome<Value> {
    let mut object: Value = serde_json::from_slice(&written.plain).map_err(internal)?;
    object["metadata"]["resourceVersion"] = json!(written.revision.to_string());
    convert::to_served(served, object).await
}

fn replicas(served: &Served, name: &str, scale: &Value) -> Outcome<i64> {
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        Value::Number(n) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => n.as_i64().unwrap_or(0),
        other => return Err(bad_request(format!("spec.replicas must be a whole number, not {other}"))),
    };
    // Custom kinds are validated as a whole.
    if replicas < 0 && !served.is_custom() {
        let causes = vec![invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")];
        return Err(invalid("autoscaling", "Scale", name, causes));
    }
    Ok(replicas)
}

/// The scale of an object.
pub(crate) fn view(object: &Value, rule: &Scale) -> Value {
    let number = |p: &str| path::find(object, p).first().and_then(|v| v.as_i64());
    let mut m = serde_json::Map::new();
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(key) {
            m.insert(key.to_owned(), value.clone());
        }
    }
    let mut spec = serde_json::Map::new();
    if let Some(replicas) = number(&rule.spec_replicas).filter(|r| *r != 0) {
        spec.insert("replicas".to_owned(), json!(replicas));
    }
    let mut status = json!({"replicas": number(&rule.status_replicas).unwrap_or(0)});
    let selector = match &rule.selector {
        Some(p) => path::text(object, p),
        None => selector_text(&object["spec"]["selector"]),
    };
    if !selector.is_empty() {
        status["selector"] = json!(selector);
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": m, "spec": spec, "status": status})
}

/// A selector in text form: of a label selector, or of the plain map of a ReplicationController.
fn selector_text(selector: &Value) -> String {
    let is_plain = selector.as_object().is_some_and(|m| m.values().all(Value::is_string));
    let mut parts: Vec<String> = Vec::new();
    let plain = if is_plain { selector } else { &selector["matchLabels"] };
    for (key, value) in plain.as_object().into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    if let (false, Ok(read)) = (is_plain, LabelSelector::deserialize(selector)) {
        for e in &read.match_expressions {
            let values = e.values.join(",");
            parts.push(match e.operator.as_str() {
                "In" => format!("{} in ({values})", e.key),
                "NotIn" => format!("{} notin ({values})", e.key),
                "DoesNotExist" => format!("!{}", e.key),
                _ => e.key.clone(),
            });
        }
    }
    parts.sort();
    parts.join(",")
}
