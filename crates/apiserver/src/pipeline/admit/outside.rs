//! The way of a write past webhooks.

use api_admission::{Kind, Operation};
use serde_json::{Value, json};

use crate::refuse::Outcome;
use crate::registry::{Scale, Served};
use crate::represent::path;
use crate::server::Call;
use crate::sub;
use crate::verbs::Change;
use crate::webhook::{self, Rounds, Write};

/// Whether nobody has to be asked, which is nearly always so.
pub(super) fn is_quiet(call: &Call) -> bool {
    call.server.hooks.is_empty() && !crate::cel::policy::is_any(call)
}

/// A creation as hooks see it.
pub(super) fn creation(call: &Call) -> Write<'_> {
    Write {
        operation: Operation::Create,
        subresource: "",
        name: "",
        kind: None,
        dry_run: call.query.dry_run(),
        options: options(call, "CreateOptions"),
    }
}

/// A change as hooks see it.
pub(super) fn change<'a>(call: &'a Call, how: &Change<'a>) -> Write<'a> {
    let scale =
        || Kind { group: "autoscaling".to_owned(), version: "v1".to_owned(), kind: "Scale".to_owned() };
    Write {
        operation: Operation::Update,
        subresource: how.subresource,
        name: how.name,
        kind: (how.subresource == "scale").then(scale),
        dry_run: how.dry_run,
        options: options(call, "UpdateOptions"),
    }
}

/// Options of a create, update or patch, as they are in its query.
fn options(call: &Call, kind: &str) -> Value {
    let mut out = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    for key in ["fieldManager", "fieldValidation"] {
        let given = call.query.get(key);
        if !given.is_empty() {
            out[key] = json!(given);
        }
    }
    if call.query.dry_run() {
        out["dryRun"] = json!(["All"]);
    }
    out
}

/// Lets mutating hooks change an object that changes. Through `scale` they see the scale.
pub(super) async fn mutate_change(
    call: &Call,
    served: &Served,
    write: &Write<'_>,
    new: &mut Value,
    old: &Value,
    rounds: &mut Rounds,
) -> Outcome<()> {
    let Some(rule) = scale_rule(served, write) else {
        return webhook::mutate(call, served, write, Some(new), Some(old), rounds).await;
    };
    let (mut scale, before) = (sub::scale::view(new, rule), sub::scale::view(old, rule));
    webhook::mutate(call, served, write, Some(&mut scale), Some(&before), rounds).await?;
    path::put(new, &rule.spec_replicas, json!(scale["spec"]["replicas"].as_i64().unwrap_or(0)));
    Ok(())
}

/// Lets validating hooks judge a change.
pub(super) async fn validate_change(
    call: &Call,
    served: &Served,
    write: &Write<'_>,
    new: &Value,
    old: &Value,
) -> Outcome<()> {
    match scale_rule(served, write) {
        None => webhook::validate(call, served, write, Some(new), Some(old)).await,
        Some(rule) => {
            let (scale, before) = (sub::scale::view(new, rule), sub::scale::view(old, rule));
            webhook::validate(call, served, write, Some(&scale), Some(&before)).await
        }
    }
}

fn scale_rule<'a>(served: &'a Served, write: &Write<'_>) -> Option<&'a Scale> {
    served.scale.as_ref().filter(|_| write.subresource == "scale")
}

/// Asks about something that is not an object of the collection: a binding, an eviction, a stream to a pod. Mutating hooks may
/// change it.
pub(crate) async fn ask(
    call: &Call,
    served: &Served,
    operation: Operation,
    kind: Kind,
    carried: &mut Value,
) -> Outcome<()> {
    if is_quiet(call) {
        return Ok(());
    }
    let options = match operation {
        Operation::Create => options(call, "CreateOptions"),
        _ => Value::Null,
    };
    let write = Write {
        operation,
        subresource: &call.target.subresource,
        name: &call.target.name,
        kind: Some(kind),
        dry_run: call.query.dry_run(),
        options,
    };
    let mut rounds = Rounds::default();
    loop {
        webhook::mutate(call, served, &write, Some(carried), None, &mut rounds).await?;
        if !rounds.begin_second() {
            break;
        }
    }
    webhook::validate(call, served, &write, Some(carried), None).await
}
