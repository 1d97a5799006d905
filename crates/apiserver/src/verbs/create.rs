//! POST to a collection, and every other way in which an object comes to be.

use std::sync::Arc;

use api_client::Response;
use serde_json::Value;
use store::{Expect, Revision};

use super::options;
use crate::pipeline::commit::{self, Committed, Written};
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{admit, convert, decode, escalate, metadata, validate};
use crate::refuse::{Outcome, Refusal, already_exists, bad_request, internal};
use crate::registry::{Context, Served, StatusRule};
use crate::represent;
use crate::server::Call;
use crate::stored;

/// How often a generated name is tried anew.
const NAME_ATTEMPTS: usize = 8;
/// Longest prefix of a generated name: the suffix has five letters, names have 63 at most.
const PREFIX_BYTES_MAX: usize = 58;

/// POST to a collection.
pub(crate) async fn create(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    options::check(call, "CreateOptions")?;
    let accept = call.accepted()?;
    if !admit::is_open(served) {
        return Err(crate::refuse::method_not_allowed());
    }
    let mut object = decode::object(call, &decode::expected(served))?;
    check_namespace(call, served, &mut object)?;
    admit::namespace_for_create(call, served, metadata::text(&object, "name"))?;
    decode::default(&mut object, served);
    metadata::strip(&mut object);
    let writer = Writer { manager: &call.manager(), subresource: "", now: call.server.env.now() };
    own(call, served, &writer, &mut object);
    let written = store(call, served, object).await?;
    represent::written(call, served, &written, accept, 201).await
}

/// Records who wrote the object. An empty list of rules counts as written, although it rests as null like one that is missing.
fn own(call: &Call, served: &Served, writer: &Writer<'_>, object: &mut Value) {
    let is_role = served.storage_key.ends_with("roles.rbac.authorization.k8s.io");
    let is_empty = |body: Value| body["rules"].as_array().is_some_and(Vec::is_empty);
    if !is_role || !serde_json::from_slice(&call.body).is_ok_and(is_empty) {
        return owners::update(served, writer, None, object);
    }
    object["rules"] = Value::Array(Vec::new());
    owners::update(served, writer, None, object);
    decode::complete(object, served);
}

/// The namespace in the body must be that of the path.
pub(crate) fn check_namespace(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    same_namespace(call, served, object)?;
    let wanted = call.namespace(served);
    if !wanted.is_empty() {
        metadata::of(object).insert("namespace".into(), wanted.into());
    }
    Ok(())
}

/// The same without filling it in.
pub(crate) fn same_namespace(call: &Call, served: &Served, object: &Value) -> Outcome<()> {
    let (wanted, given) = (call.namespace(served), metadata::text(object, "namespace"));
    if !given.is_empty() && given != wanted {
        let text = if served.resource.namespaced {
            "the namespace of the provided object does not match the namespace sent on the request"
        } else {
            "namespace is not allowed on this type"
        };
        return Err(bad_request(text));
    }
    Ok(())
}

/// Takes a decoded, defaulted, owned object of the version of the request through the remaining stages.
pub(crate) async fn store(call: &Call, served: &Arc<Served>, mut object: Value) -> Outcome<Written> {
    let server = &call.server;
    if !metadata::text(&object, "resourceVersion").is_empty() {
        return Err(internal("resourceVersion should not be set on objects to be created").into_plain());
    }
    metadata::stamp(&mut object, served, call.namespace(served), &server.env);
    let prefix = generated_prefix(&object);
    if let Some(prefix) = &prefix {
        name(call, &mut object, prefix);
    }
    if served.facts.status == StatusRule::Apart
        && served.has_status()
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
        decode::complete_without_status(&mut object, served);
    }
    admit::complete_new(call, served, &mut object).await?;
    escalate::check(call, served, &object, None)?;
    let sent = convert::is_needed(served).then(|| object.clone());
    let mut object = convert::to_stored(served, object).await?;
    let context = context(call, served, "");
    (served.facts.prepare_create)(&mut object, &context);
    let given = server.addresses.allocate(server, served, &mut object, call.query.dry_run())?;
    let written = match validate::create(served, &object, sent.as_ref().unwrap_or(&object), &context) {
        Ok(warnings) => {
            let own = (served.facts.warnings)(&object, None);
            warnings.into_iter().chain(own).for_each(|text| call.warn(text));
            admitted(call, served, object, prefix).await
        }
        Err(refusal) => Err(refusal),
    };
    if written.is_err() {
        given.give_back(&server.addresses);
    }
    written
}

/// What the functions of a kind may know.
pub(crate) fn context<'a>(call: &'a Call, served: &Served, subresource: &'a str) -> Context<'a> {
    Context {
        now: call.server.env.now(),
        namespace: call.namespace(served),
        subresource,
        user: &call.user.name,
    }
}

fn generated_prefix(object: &Value) -> Option<String> {
    let prefix = metadata::text(object, "generateName");
    let wanted = metadata::text(object, "name").is_empty() && !prefix.is_empty();
    wanted.then(|| {
        let mut end = prefix.len().min(PREFIX_BYTES_MAX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        prefix[..end].to_owned()
    })
}

fn name(call: &Call, object: &mut Value, prefix: &str) {
    let suffix = stdx::name_suffix(&*call.server.env.rng, 5);
    metadata::of(object).insert("name".into(), format!("{prefix}{suffix}").into());
}

/// Stores what admission lets in; what it was charged is given back when it is not stored.
async fn admitted(
    call: &Call,
    served: &Arc<Served>,
    object: Value,
    prefix: Option<String>,
) -> Outcome<Written> {
    let charged = admit::judge_new(call, served, &object).await?;
    let written = put(call, served, object, prefix).await;
    if written.is_err() {
        charged.give_back(call).await;
    }
    written
}

async fn put(
    call: &Call,
    served: &Arc<Served>,
    mut object: Value,
    prefix: Option<String>,
) -> Outcome<Written> {
    let server = &call.server;
    for attempt in 1.. {
        let key = call.key_of(served, metadata::text(&object, "name"));
        let plain = stored::encode(&object);
        if call.query.dry_run() {
            if let Some(current) = server.store.get(&key) {
                return Err(exists(served, &current));
            }
            return Ok(Written { plain: plain.into(), revision: Revision(0), is_gone: false });
        }
        match commit::put(server, served, key, &object, &plain, Expect::Absent).await? {
            Committed::Done(revision) => {
                return Ok(Written { plain: plain.into(), revision, is_gone: false });
            }
            Committed::Raced(current) => match (&prefix, current) {
                (Some(prefix), _) if attempt < NAME_ATTEMPTS => name(call, &mut object, prefix),
                (_, Some(current)) => return Err(exists(served, &current)),
                (_, None) => {}
            },
        }
    }
    Err(internal("names ran out"))
}

fn exists(served: &Served, current: &store::Stored) -> Box<Refusal> {
    let mut refusal = already_exists(&served.resource, &current.key.name);
    if stored::decode(current).is_ok_and(|object| metadata::is_terminating(&object)) {
        refusal.status.message = format!("object is being deleted: {}", refusal.status.message);
    }
    refusal
}
