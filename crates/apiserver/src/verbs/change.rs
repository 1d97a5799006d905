//! The heart of every update: read, change, check, write on condition, and again when somebody else was first.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use store::{Expect, Stored};

use super::create::context;
use crate::pipeline::commit::{self, Committed, Written};
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{admit, convert, escalate, metadata, validate};
use crate::refuse::{MODIFIED, Outcome, conflict, invalid, not_found, precondition};
use crate::registry::{Served, StatusRule};
use crate::server::Call;
use crate::stored;

/// What to do when somebody else was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Change the newer object.
    Again,
    /// Tell the client.
    Never,
}

/// How often a change is tried on newer objects.
const ATTEMPTS_MAX: usize = 64;

/// How an object is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    /// Name of the object.
    pub(crate) name: &'a str,
    /// Subresource written through; empty for the object itself.
    pub(crate) subresource: &'a str,
    /// Name of the manager to record; empty when the change has already done so (apply) or does not count.
    pub(crate) manager: &'a str,
    pub(crate) retry: Retry,
    pub(crate) dry_run: bool,
    /// The object must have this identity.
    pub(crate) uid: Option<&'a str>,
}

/// Who wants a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// A client: admission has its say.
    Asked,
    /// The server itself, while it does something that was admitted.
    Own,
}

/// Changes a stored object as a client asked: `make` gets it in the version of the request and gives it back changed, decoded and
/// defaulted. Its `managedFields` are folded (see [`api_patch::managed::unfold`]), and may be so in what is given back.
pub(crate) async fn change_asked(
    call: &Call,
    served: &Arc<Served>,
    how: Change<'_>,
    make: impl FnMut(&Value) -> Outcome<Value> + Send,
) -> Outcome<Written> {
    run(call, served, how, Wish::Asked, make).await
}

/// The same for what the server does by itself in the course of another request: nobody is asked.
pub(crate) async fn change(
    call: &Call,
    served: &Arc<Served>,
    how: Change<'_>,
    make: impl FnMut(&Value) -> Outcome<Value> + Send,
) -> Outcome<Written> {
    run(call, served, how, Wish::Own, make).await
}

async fn run(
    call: &Call,
    served: &Arc<Served>,
    how: Change<'_>,
    wish: Wish,
    mut make: impl FnMut(&Value) -> Outcome<Value> + Send,
) -> Outcome<Written> {
    let key = call.key_of(served, how.name);
    for _ in 0..ATTEMPTS_MAX {
        let Some(current) = call.server.store.get(&key) else {
            return Err(not_found(&served.resource, how.name));
        };
        if let Some(uid) = how.uid.filter(|uid| current.row.uid != **uid) {
            return Err(precondition_uid(served, how.name, uid, &current));
        }
        let plain = stored::unpack(&current)?;
        let mut old = stored::decode_folded(&current, &plain)?;
        convert::reshape(served, &mut old);
        let converted = convert::if_other(served, &old).await?;
        let new = make(converted.as_ref().unwrap_or(&old))?;
        // Patches begin with what is there, and a scale has no version of its own kind to begin with.
        let must_name_it = served.facts.needs_version && call.verb == "update" && how.subresource != "scale";
        let stale = check_version(served, how.name, &new, &current, must_name_it)?;
        if stale {
            return Err(conflict(&served.resource, how.name, MODIFIED));
        }
        let base = Base { current: &current, plain: &plain, old: &old, converted: converted.as_ref() };
        match attempt(call, served, &how, wish, &base, new).await? {
            Some(written) => return Ok(written),
            None if how.retry == Retry::Never => return Err(conflict(&served.resource, how.name, MODIFIED)),
            None => {}
        }
    }
    Err(conflict(&served.resource, how.name, MODIFIED))
}

fn precondition_uid(served: &Served, name: &str, uid: &str, current: &Stored) -> Box<crate::refuse::Refusal> {
    let why = format!(
        "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and \
         then recreated",
        current.row.uid
    );
    precondition(&served.resource, name, &why)
}

/// Whether the change was based on another version than the current one.
fn check_version(
    served: &Served,
    name: &str,
    new: &Value,
    current: &Stored,
    must_name_it: bool,
) -> Outcome<bool> {
    let given = metadata::text(new, "resourceVersion");
    if given.is_empty() || given == "0" {
        if must_name_it {
            let text = "Invalid value: 0: must be specified for an update";
            let causes = vec![crate::refuse::cause("FieldValueInvalid", "metadata.resourceVersion", text)];
            return Err(invalid(&served.resource.group, &served.resource.plural, name, causes));
        }
        return Ok(false);
    }
    Ok(given != current.revision.to_string())
}

/// What a change is based on.
struct Base<'a> {
    current: &'a Stored,
    /// Its bytes.
    plain: &'a [u8],
    /// Its tree in the version of storage.
    old: &'a Value,
    /// The same in the version of the request, when that is another one.
    converted: Option<&'a Value>,
}

/// One attempt; `None` when somebody else was first.
async fn attempt(
    call: &Call,
    served: &Arc<Served>,
    how: &Change<'_>,
    wish: Wish,
    base: &Base<'_>,
    mut new: Value,
) -> Outcome<Option<Written>> {
    let old = base.old;
    let old_served = base.converted.unwrap_or(old);
    metadata::carry(&mut new, old_served);
    keep_other_parts(served, how.subresource, &mut new, old_served);
    if !how.manager.is_empty() {
        let writer =
            Writer { manager: how.manager, subresource: how.subresource, now: call.server.env.now() };
        owners::update(served, &writer, Some(old_served), &mut new);
    }
    if wish == Wish::Asked && admit::is_asked(call) {
        admit::complete_change(call, served, how, &mut new, old_served).await?;
        metadata::carry(&mut new, old_served);
        keep_other_parts(served, how.subresource, &mut new, old_served);
    } else if how.subresource.is_empty() {
        admit::update(served, &mut new);
    }
    if wish == Wish::Asked && how.subresource.is_empty() {
        escalate::check(call, served, &new, Some(old_served))?;
    }
    if how.subresource == "scale" {
        without_times(&mut new);
    }
    let sent = convert::is_needed(served).then(|| new.clone());
    let mut new = convert::to_stored(served, new).await?;
    metadata::of(&mut new).remove("resourceVersion");
    let context = context(call, served, how.subresource);
    (served.facts.prepare_update)(&mut new, old, &context);
    let addresses = &call.server.addresses;
    let given = addresses.reallocate(&call.server, served, &mut new, old, how.dry_run)?;
    if !matches!(how.subresource, "status" | "binding") {
        metadata::bump(&mut new, old, served.facts.generation);
    }
    owners::keep_times(old, &mut new);
    let both = match &sent {
        Some(sent) => validate::Sent { new: sent, old: old_served },
        None => validate::Sent { new: &new, old },
    };
    let done = match validate::update(served, &new, old, both, &context) {
        Ok(warnings) => {
            warnings.into_iter().for_each(|text| call.warn(text));
            admitted(call, served, how, wish, base, &new).await
        }
        Err(refusal) => Err(refusal),
    };
    match &done {
        Ok(Some(written)) if written.is_gone => addresses.release(served, &new),
        Ok(Some(_)) if !how.dry_run => addresses.release_difference(served, &new, old),
        _ => given.give_back(addresses),
    }
    done
}

/// Commits what admission lets through; what it was charged is given back when it is not written.
async fn admitted(
    call: &Call,
    served: &Arc<Served>,
    how: &Change<'_>,
    wish: Wish,
    base: &Base<'_>,
    new: &Value,
) -> Outcome<Option<Written>> {
    let charged = match wish {
        Wish::Asked => admit::judge_change(call, served, how, new, base.old).await?,
        Wish::Own => admit::Charged::default(),
    };
    let done = match admit_pod(call, served, how, new, base.old).await {
        Ok(()) => {
            (served.facts.warnings)(new, Some(base.old)).into_iter().for_each(|text| call.warn(text));
            commit(call, served, how, base, new).await
        }
        Err(refusal) => Err(refusal),
    };
    if !matches!(done, Ok(Some(_))) {
        charged.give_back(call).await;
    }
    done
}

/// Asks the budgets of a pod that a change may take out of service.
async fn admit_pod(call: &Call, served: &Served, how: &Change<'_>, new: &Value, old: &Value) -> Outcome<()> {
    if &*served.storage_key != "pods" {
        return Ok(());
    }
    match admit::unavailable::operation(how.subresource, new, old) {
        Some(operation) => admit::unavailable::admit(call, served, old, operation, how.dry_run).await,
        None => Ok(()),
    }
}

/// What is written through scale is recorded without its time, as upstream does.
fn without_times(object: &mut Value) {
    for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
        if entry["subresource"] == "scale"
            && let Some(entry) = entry.as_object_mut()
        {
            entry.remove("time");
        }
    }
}

/// Through a door only its own part is written; the rest stays as it is.
fn keep_other_parts(served: &Served, subresource: &str, new: &mut Value, old: &Value) {
    let apart = served.facts.status == StatusRule::Apart && served.has_status();
    match subresource {
        "" if apart => put_or_remove(new, "status", &old["status"]),
        "status" => {
            restore(new, old, |key| !matches!(key, "status" | "metadata"));
            let metadata = &mut new["metadata"];
            if served.is_custom() {
                // Only the record of who wrote may change, and the version the change is based on counts.
                let is_kept = |key: &str| !matches!(key, "managedFields" | "resourceVersion");
                restore(metadata, &old["metadata"], is_kept);
            } else {
                let is_kept = |key: &str| matches!(key, "finalizers" | "ownerReferences");
                restore(metadata, &old["metadata"], is_kept);
            }
        }
        _ => {}
    }
}

fn put_or_remove(object: &mut Value, key: &str, value: &Value) {
    let Some(map) = object.as_object_mut() else { return };
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value.clone());
    }
}

/// Gives some keys of a map the values they had; equal ones, which is nearly all, are left alone.
fn restore(new: &mut Value, old: &Value, is_kept: impl Fn(&str) -> bool) {
    let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) else { return };
    new.retain(|key, _| !is_kept(key) || old.contains_key(key));
    for (key, was) in old.iter().filter(|(key, _)| is_kept(key)) {
        if new.get(key) != Some(was) {
            new.insert(key.clone(), was.clone());
        }
    }
}

async fn commit(
    call: &Call,
    served: &Served,
    how: &Change<'_>,
    base: &Base<'_>,
    new: &Value,
) -> Outcome<Option<Written>> {
    let server = &call.server;
    let current = base.current;
    let plain = stored::encode(new);
    let done = |plain: Vec<u8>, revision, is_gone| Some(Written { plain: plain.into(), revision, is_gone });
    if is_over(served, new) {
        if how.dry_run {
            return Ok(done(plain, current.revision, true));
        }
        let removed = commit::remove(server, current.key.clone(), current.revision, Some(&plain)).await?;
        // The answer carries the version before the end, as upstream's does.
        return Ok(match removed {
            Committed::Done(_) => done(plain, current.revision, true),
            Committed::Raced(_) => None,
        });
    }
    if base.plain == plain {
        server.metrics.no_ops.fetch_add(1, Ordering::Relaxed);
        return Ok(done(plain, current.revision, false));
    }
    if how.dry_run {
        return Ok(done(plain, current.revision, false));
    }
    let expect = Expect::At(current.revision);
    let put = commit::put(server, served, current.key.clone(), new, &plain, expect).await?;
    Ok(match put {
        Committed::Done(revision) => done(plain, revision, false),
        Committed::Raced(_) => None,
    })
}

/// Whether a terminating object has nothing left to wait for.
fn is_over(served: &Served, object: &Value) -> bool {
    metadata::is_terminating(object)
        && metadata::finalizers(object).is_empty()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (&*served.storage_key != "namespaces"
            || object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty))
}
