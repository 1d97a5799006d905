//! Stage: admission. Refuses or completes what is written, by what else exists, and asks webhooks.
//!
//! ```text
//! complete   built-in plugins ─> mutating hooks ─changed?─> both once more ─> (defaults, validation)
//! judge      ─> built-in plugins ─> validating hooks ─> quotas ─> (commit; what it does not write is given back)
//! ```

mod account;
mod bounds;
mod classes;
mod heirs;
mod outside;
mod pod;
mod protect;
mod quota;
mod security;
pub(crate) mod unavailable;

pub(crate) use outside::ask;
pub(crate) use pod::{DefaultClass, SYSTEM_CLASSES};
pub(crate) use protect::faults;
pub(crate) use quota::{Charged, Turnstiles};

use api_admission::Operation;
use serde_json::{Value, json};
use store::{Key, Stored};

use crate::pipeline::metadata;
use crate::refuse::{Outcome, cause, forbidden, forbidden_because, not_found};
use crate::registry::{Origin, Served};
use crate::server::Call;
use crate::stored;
use crate::verbs::Change;
use crate::webhook::{self, Rounds};

const NAMESPACES: api_meta::Resource = api_meta::Resource::cluster("", "v1", "namespaces", "Namespace");

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Completes a new object, in the version of the request.
pub(crate) async fn complete_new(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    let began = call.server.env.now();
    let outcome = completed(call, served, object).await;
    count(call, false, outcome.is_err(), began);
    outcome
}

/// Counts a step of admission.
fn count(call: &Call, is_judging: bool, is_refused: bool, began: stdx::Time) {
    let server = &call.server;
    server.metrics.admission(is_judging, is_refused, server.env.now().since(began));
}

async fn completed(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    account::wait(call, served, object).await;
    if outside::is_quiet(call) {
        return create(call, served, object);
    }
    let write = outside::creation(call);
    let mut rounds = Rounds::default();
    loop {
        create(call, served, object)?;
        let own = own_fields(object);
        webhook::mutate(call, served, &write, Some(object), None, &mut rounds).await?;
        own.into_iter().for_each(|(key, value)| drop(metadata::of(object).insert(key.to_owned(), value)));
        if !rounds.begin_second() {
            return Ok(());
        }
    }
}

/// What the server has written into a new object's metadata, which is not a hook's to change.
fn own_fields(object: &Value) -> Vec<(&'static str, Value)> {
    let keys = ["uid", "creationTimestamp", "generation", "namespace"];
    let given = keys.into_iter().map(|key| (key, object["metadata"][key].clone()));
    given.filter(|(_, value)| !value.is_null()).collect()
}

/// Completes an object that changes, in the version of the request.
pub(crate) async fn complete_change(
    call: &Call,
    served: &Served,
    how: &Change<'_>,
    new: &mut Value,
    old: &Value,
) -> Outcome<()> {
    let write = outside::change(call, how);
    let mut rounds = Rounds::default();
    loop {
        if how.subresource.is_empty() {
            update(served, new);
        }
        outside::mutate_change(call, served, &write, new, old, &mut rounds).await?;
        if !rounds.begin_second() {
            return Ok(());
        }
    }
}

/// Whether [`complete_change`] has more to do than [`update`].
pub(crate) fn is_asked(call: &Call) -> bool {
    !outside::is_quiet(call)
}

/// Judges a new object in its stored version; what it costs is charged.
pub(crate) async fn judge_new(call: &Call, served: &Served, object: &Value) -> Outcome<Charged> {
    let began = call.server.env.now();
    let outcome = judged(call, served, object).await;
    count(call, true, outcome.is_err(), began);
    outcome
}

async fn judged(call: &Call, served: &Served, object: &Value) -> Outcome<Charged> {
    bounds::judge(&call.server, served, object)?;
    security::judge(call, served, object)?;
    match &*served.storage_key {
        "namespaces" => security::judge_namespace(call, served, object, None)?,
        pod::PRIORITY_CLASSES => pod::judge_class(&call.server, served, object)?,
        _ => {}
    }
    if !outside::is_quiet(call) {
        webhook::validate(call, served, &outside::creation(call), Some(object), None).await?;
    }
    quota::charge(call, served, "", object, None, call.query.dry_run()).await
}

/// Judges a change between stored versions; what it costs more is charged.
pub(crate) async fn judge_change(
    call: &Call,
    served: &Served,
    how: &Change<'_>,
    new: &Value,
    old: &Value,
) -> Outcome<Charged> {
    match (&*served.storage_key, how.subresource) {
        ("pods", "resize") => bounds::judge(&call.server, served, new)?,
        ("pods", "ephemeralcontainers") => security::judge(call, served, new)?,
        ("pods", _) => {}
        ("persistentvolumeclaims", "") => {
            bounds::judge(&call.server, served, new)?;
            bounds::judge_growth(&call.server, served, new, old)?;
        }
        ("namespaces", "") => security::judge_namespace(call, served, new, Some(old))?,
        (pod::PRIORITY_CLASSES, "") => pod::judge_class(&call.server, served, new)?,
        (_, "") if new["spec"] != old["spec"] => security::judge(call, served, new)?,
        _ => {}
    }
    if !outside::is_quiet(call) {
        let write = outside::change(call, how);
        let mut seen = new.clone();
        metadata::of(&mut seen).insert("resourceVersion".into(), old["metadata"]["resourceVersion"].clone());
        outside::validate_change(call, served, &write, &seen, old).await?;
    }
    quota::charge(call, served, how.subresource, new, Some(old), how.dry_run).await
}

/// Judges a deletion, by whoever has to be asked.
pub(crate) async fn judge_deletion(
    call: &Call,
    served: &Served,
    name: &str,
    current: &Stored,
    options: Value,
    dry_run: bool,
) -> Outcome<()> {
    if outside::is_quiet(call) {
        return Ok(());
    }
    let old = stored::decode(current)?;
    let write =
        webhook::Write { operation: Operation::Delete, subresource: "", name, kind: None, dry_run, options };
    webhook::mutate(call, served, &write, None, Some(&old), &mut Rounds::default()).await?;
    webhook::validate(call, served, &write, None, Some(&old)).await
}

/// Asks whether a stream to a pod, or to what serves behind a name, may be opened.
pub(crate) async fn connect(call: &Call, served: &Served, kind: &str) -> Outcome<()> {
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    for key in ["container", "path"] {
        let given = call.query.get(key);
        if !given.is_empty() {
            options[key] = json!(given);
        }
    }
    for key in ["stdin", "stdout", "stderr", "tty"] {
        if call.query.flag(key) {
            options[key] = json!(true);
        }
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    let kind = api_admission::Kind { group: String::new(), version: "v1".to_owned(), kind: kind.to_owned() };
    outside::ask(call, served, Operation::Connect, kind, &mut options).await
}

/// Admits a new object, which may be completed.
fn create(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    namespace_for_create(call, served, metadata::text(object, "name"))?;
    match &*served.storage_key {
        "pods" => {
            bounds::complete(&call.server, object)?;
            pod::create(&call.server, served, object)
        }
        "persistentvolumeclaims" => classes::storage(&call.server, object),
        "ingresses.networking.k8s.io" => classes::ingress(&call.server, object),
        "namespaces" => {
            namespace_label(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Admits a change of the object itself.
pub(crate) fn update(served: &Served, new: &mut Value) {
    if &*served.storage_key == "pods" {
        pod::update(new);
    }
}

/// Admits a deletion.
pub(crate) fn delete(call: &Call, served: &Served, name: &str, current: &Stored) -> Outcome<()> {
    if &*served.storage_key == "namespaces" && IMMORTAL.contains(&name) {
        return Err(forbidden(&served.resource, name, "this namespace may not be deleted"));
    }
    protect::delete(call, served, current)
}

/// Every namespace carries its name as a label; a default, and again once a generated name is known.
pub(crate) fn namespace_label(object: &mut Value) {
    const LABEL: &str = "kubernetes.io/metadata.name";
    let name = metadata::text(object, "name").to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"][LABEL] = Value::String(name);
    }
}

/// Refuses new objects in namespaces that are missing or going.
pub(crate) fn namespace_for_create(call: &Call, served: &Served, name: &str) -> Outcome<()> {
    let namespace = call.namespace(served);
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new("namespaces", "", namespace);
    let Some(found) = call.server.store.get(&key) else {
        return Err(not_found(&NAMESPACES, namespace));
    };
    if !is_going(&found)? {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let about = format!("namespace {namespace} is being terminated");
    let causes = vec![cause("NamespaceTerminating", "metadata.namespace", about)];
    Err(forbidden_because(&served.resource, name, &why, causes))
}

fn is_going(namespace: &Stored) -> Outcome<bool> {
    const MARK: &[u8] = b"\"deletionTimestamp\":";
    let plain = stored::unpack(namespace)?;
    // Cheap look first: few namespaces are going, and the mark within a label's value is told apart below.
    if !plain.windows(MARK.len()).any(|w| w == MARK) {
        return Ok(false);
    }
    stored::decode(namespace).map(|object| metadata::is_terminating(&object))
}

/// Whether a kind's objects may still be created at all.
pub(crate) fn is_open(served: &Served) -> bool {
    !matches!(&served.origin, Origin::Custom { is_terminating: true, .. })
}
