//! DELETE of one object: at once, after a time of grace, or when its finalizers are done.

use std::sync::Arc;
use std::time::Duration;

use api_client::Response;
use api_meta::{Cause, StatusDetails};
use api_workload::unavailable_budget::Operation;
use serde_json::{Value, json};
use store::{Expect, Stored};

use super::options;
use crate::answer;
use crate::crd;
use crate::pipeline::commit::{self, Committed, Written};
use crate::pipeline::{admit, decode, metadata};
use crate::refuse::{self, Outcome, bad_request, cause, internal, not_found, not_supported, precondition};
use crate::registry::Served;
use crate::represent;
use crate::request::Query;
use crate::server::Call;
use crate::stored;

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) propagation: String,
    pub(crate) orphan: Option<bool>,
    pub(crate) dry_run: bool,
    /// What the body says of dry runs.
    stages: Vec<String>,
}

fn stages(body: &Value) -> Vec<String> {
    let all = body["dryRun"].as_array().into_iter().flatten();
    all.map(|v| v.as_str().unwrap_or_default().to_owned()).collect()
}

impl Options {
    /// Reads the body, or the query when there is no body.
    pub(crate) fn of(call: &Call) -> Outcome<Options> {
        let mut causes = options::dry_run(call);
        let mut options =
            if call.body.is_empty() { Options::from_query(&call.query)? } else { Options::from_body(call)? };
        options.dry_run |= call.query.dry_run();
        causes.extend(options.faults());
        options::judge("DeleteOptions", causes)?;
        Ok(options)
    }

    fn from_query(query: &Query) -> Outcome<Options> {
        Ok(Options {
            grace: query.number("gracePeriodSeconds")?,
            propagation: query.get("propagationPolicy").to_owned(),
            orphan: query.optional_flag("orphanDependents"),
            ..Options::default()
        })
    }

    fn from_body(call: &Call) -> Outcome<Options> {
        let schema = api_tables::tables().schema("", "v1", "DeleteOptions");
        let body = match decode::wire(call)? {
            decode::Wire::Protobuf => {
                let expected = decode::Expected {
                    group: "",
                    version: "v1",
                    kind: "DeleteOptions",
                    schema,
                    is_custom: false,
                };
                crate::pipeline::protobuf::decode(&call.body, &expected)?
            }
            decode::Wire::Yaml => {
                crate::pipeline::read_yaml::read(&String::from_utf8_lossy(&call.body))
                    .map_err(|e| bad_request(format!("couldn't get version/kind; yaml: {e}")))?
                    .0
            }
            decode::Wire::Json => {
                api_schema::decode_json(&call.body)
                    .map_err(|e| bad_request(format!("couldn't get version/kind; json parse error: {e}")))?
                    .0
            }
        };
        let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            let version = body["apiVersion"].as_str().unwrap_or_default();
            return Err(bad_request(format!(
                "no kind {kind:?} is registered for version {version:?} in scheme \
                 \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
            )));
        }
        Ok(Options::from_tree(&body))
    }

    /// From a `DeleteOptions` object.
    pub(crate) fn from_tree(body: &Value) -> Options {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        Options {
            grace: body["gracePeriodSeconds"].as_i64(),
            uid: text(&body["preconditions"]["uid"]),
            version: text(&body["preconditions"]["resourceVersion"]),
            propagation: text(&body["propagationPolicy"]),
            orphan: body["orphanDependents"].as_bool(),
            dry_run: !stages(body).is_empty(),
            stages: stages(body),
        }
    }

    /// As a `DeleteOptions` object.
    fn tree(&self) -> Value {
        let mut out = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(grace) = self.grace {
            out["gracePeriodSeconds"] = json!(grace);
        }
        for (key, text) in [("uid", &self.uid), ("resourceVersion", &self.version)] {
            if !text.is_empty() {
                out["preconditions"][key] = json!(text);
            }
        }
        if !self.propagation.is_empty() {
            out["propagationPolicy"] = json!(self.propagation);
        }
        if let Some(orphan) = self.orphan {
            out["orphanDependents"] = json!(orphan);
        }
        if self.dry_run {
            out["dryRun"] = json!(["All"]);
        }
        out
    }

    fn faults(&self) -> Vec<Cause> {
        let mut out = Vec::new();
        if self.stages.iter().any(|s| s != "All") {
            out.push(not_supported("dryRun", &self.stages, &["All"]));
        }
        if !matches!(self.propagation.as_str(), "" | "Foreground" | "Background" | "Orphan") {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            out.push(not_supported("propagationPolicy", &self.propagation, &supported));
        }
        if self.orphan.is_some() && !self.propagation.is_empty() {
            let text = format!(
                "Invalid value: {:?}: orphanDependents and deletionPropagation cannot be both set",
                self.propagation
            );
            out.push(cause("FieldValueInvalid", "propagationPolicy", text));
        }
        out
    }
}

/// Kinds whose deletion answers with the object (upstream: `ReturnDeletedObject`).
const RETURNED: [&str; 7] = [
    "pods",
    "services",
    "serviceaccounts",
    "podtemplates",
    "resourcequotas",
    "persistentvolumes",
    "persistentvolumeclaims",
];

/// Kinds whose dependents stay unless the client says otherwise (upstream: `DefaultGarbageCollectionPolicy`).
const ORPHANED: [&str; 2] = ["jobs.batch", "replicationcontrollers"];
const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
    them or set propagationPolicy=Orphan to suppress this warning";

/// DELETE of an object.
pub(crate) async fn delete(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let accept = call.accepted()?;
    decode::check_size(call)?;
    let options = Options::of(call)?;
    if &*served.storage_key == "jobs.batch" && options.propagation.is_empty() && options.orphan.is_none() {
        call.warn(JOB_WARNING);
    }
    let gone = remove(call, served, &call.target.name, &options).await?;
    let is_returned = !gone.is_gone || RETURNED.contains(&&*served.storage_key);
    if is_returned {
        return represent::written(call, served, &gone, accept, 200).await;
    }
    let details = StatusDetails {
        name: call.target.name.clone(),
        group: served.resource.group.to_string(),
        kind: served.resource.plural.to_string(),
        uid: uid_of(&gone)?,
        ..StatusDetails::default()
    };
    let mut status = refuse::success(0, Some(details));
    status.code = 0;
    answer::tree(200, accept.form, &refuse::tree(&status, None))
}

fn uid_of(written: &Written) -> Outcome<String> {
    let object: Value = serde_json::from_slice(&written.plain).map_err(internal)?;
    Ok(metadata::text(&object, "uid").to_owned())
}

/// How often a deletion is tried on newer objects.
const ATTEMPTS_MAX: usize = 64;

/// Deletes an object by its name; gives what it is now, or was last.
pub(crate) async fn remove(
    call: &Call,
    served: &Arc<Served>,
    name: &str,
    options: &Options,
) -> Outcome<Written> {
    let key = call.key_of(served, name);
    for _ in 0..ATTEMPTS_MAX {
        let current = call.server.store.get(&key).ok_or_else(|| not_found(&served.resource, name))?;
        check_preconditions(served, name, options, &current)?;
        admit::delete(call, served, name, &current)?;
        // An eviction was admitted as one.
        if call.target.subresource.is_empty() {
            let body = options.tree();
            admit::judge_deletion(call, served, name, &current, body, options.dry_run).await?;
        }
        if &*served.storage_key == "pods" && admit::unavailable::is_any(call) {
            let pod = stored::decode(&current)?;
            admit::unavailable::admit(call, served, &pod, Operation::Delete, options.dry_run).await?;
        }
        if let Some(written) = attempt(call, served, &current, options).await? {
            return Ok(written);
        }
    }
    Err(refuse::conflict(&served.resource, name, refuse::MODIFIED))
}

fn check_preconditions(served: &Served, name: &str, options: &Options, current: &Stored) -> Outcome<()> {
    if !options.uid.is_empty() && current.row.uid != *options.uid {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been deleted and \
             then recreated",
            options.uid, current.row.uid
        );
        return Err(precondition(&served.resource, name, &why));
    }
    if !options.version.is_empty() && options.version != current.revision.to_string() {
        let why = format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in record ({}). The object \
             might have been modified",
            options.version, current.revision
        );
        return Err(precondition(&served.resource, name, &why));
    }
    Ok(())
}

async fn attempt(
    call: &Call,
    served: &Arc<Served>,
    current: &Stored,
    options: &Options,
) -> Outcome<Option<Written>> {
    let server = &call.server;
    let old = stored::decode(current)?;
    let mut new = old.clone();
    let has_grace = mark(served, &mut new, &old, options, server.env.now());
    propagate(served, &mut new, options);
    metadata::of(&mut new).remove("resourceVersion");
    let waits = !metadata::finalizers(&new).is_empty() || namespace_waits(served, &new);
    let is_graceful = new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    if !waits && !is_graceful {
        return finish(call, served, current, new, has_grace, options).await;
    }
    // Finalizers keep it: whoever waits must see that it is going.
    if waits && !metadata::is_terminating(&new) {
        stamp(&mut new, &old, 0, server.env.now());
    }
    let plain = stored::encode(&new);
    let done = |revision| Some(Written { plain: plain.clone().into(), revision, is_gone: false });
    if options.dry_run || stored::unpack(current)? == plain {
        return Ok(done(current.revision));
    }
    let expect = Expect::At(current.revision);
    match commit::put(server, served, current.key.clone(), &new, &plain, expect).await? {
        Committed::Done(revision) => Ok(done(revision)),
        Committed::Raced(_) => Ok(None),
    }
}

/// Removes it now. Kinds with grace are first shown as terminating, as upstream does.
async fn finish(
    call: &Call,
    served: &Arc<Served>,
    current: &Stored,
    new: Value,
    has_grace: bool,
    options: &Options,
) -> Outcome<Option<Written>> {
    let server = &call.server;
    let last = if has_grace { stored::encode(&new) } else { stored::unpack(current)?.to_vec() };
    let done = |revision| Some(Written { plain: last.clone().into(), revision, is_gone: true });
    if options.dry_run {
        return Ok(done(current.revision));
    }
    let mut revision = current.revision;
    let is_shown = has_grace && stored::unpack(current)? != last;
    if is_shown {
        let put = commit::put(server, served, current.key.clone(), &new, &last, Expect::At(revision)).await?;
        match put {
            Committed::Done(at) => revision = at,
            Committed::Raced(_) => return Ok(None),
        }
    }
    for _ in 0..ATTEMPTS_MAX {
        match commit::remove(server, current.key.clone(), revision, None).await? {
            Committed::Done(at) => {
                server.addresses.release(served, &new);
                return Ok(done(at));
            }
            Committed::Raced(_) if !is_shown => return Ok(None),
            // Whoever saw it going may write to it once more, or remove it first, as a node does: it is gone as was asked.
            Committed::Raced(Some(newer)) if newer.row.uid == current.row.uid => revision = newer.revision,
            Committed::Raced(_) => return Ok(done(revision)),
        }
    }
    Ok(None)
}

/// Marks an object of a kind with grace as terminating; says whether the kind has grace.
fn mark(served: &Served, new: &mut Value, old: &Value, options: &Options, now: stdx::Time) -> bool {
    if &*served.storage_key != "pods" {
        if &*served.storage_key == "namespaces" && !metadata::is_terminating(old) {
            metadata::of(new).insert("deletionTimestamp".into(), metadata::moment(now));
            new["status"]["phase"] = json!("Terminating");
        }
        if &*served.storage_key == crd::STORAGE_KEY {
            crd::mark_deleted(new, now);
        }
        return false;
    }
    let grace = grace_of(old, options);
    if !metadata::is_terminating(old) {
        stamp(new, old, grace, now);
        return true;
    }
    let left = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    // A second deletion may only shorten the time.
    if options.grace.is_some() && grace < left {
        let start = old["metadata"]["deletionTimestamp"].as_str().and_then(|t| t.parse::<stdx::Time>().ok());
        let secs = |n: i64| Duration::from_secs(u64::try_from(n).unwrap_or(0));
        let end = start.map_or(now, |t| t - secs(left) + secs(grace)).max(now.whole_secs());
        metadata::of(new).insert("deletionTimestamp".into(), metadata::moment(end));
        metadata::of(new).insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    true
}

/// Seconds of grace of a pod: none before it has a node and after it has ended.
fn grace_of(pod: &Value, options: &Options) -> i64 {
    let asked = options.grace.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30);
    let has_node = !pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    match asked {
        _ if !has_node || has_ended => 0,
        negative if negative < 0 => 1,
        asked => asked,
    }
}

fn stamp(new: &mut Value, old: &Value, grace: i64, now: stdx::Time) {
    let end = now + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    let metadata = metadata::of(new);
    metadata.insert("deletionTimestamp".into(), metadata::moment(end));
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if old["metadata"]["generation"].as_i64().unwrap_or(0) > 0 {
        metadata::next_generation(new, old);
    }
}

/// The finalizers that carry out what should happen to dependents.
fn propagate(served: &Served, object: &mut Value, options: &Options) {
    let (foreground, orphan) = match (options.propagation.as_str(), options.orphan) {
        ("Foreground", _) => (true, false),
        ("Orphan", _) | ("", Some(true)) => (false, true),
        ("Background", _) | ("", Some(false)) => (false, false),
        ("", None) if ORPHANED.contains(&&*served.storage_key) => (false, true),
        // Without a wish, what is there stays.
        _ => return,
    };
    let mut all = metadata::finalizers(object);
    all.retain(|f| f != "foregroundDeletion" && f != "orphan");
    if foreground {
        all.push("foregroundDeletion".to_owned());
    }
    if orphan {
        all.push("orphan".to_owned());
    }
    if all.is_empty() {
        metadata::of(object).remove("finalizers");
    } else {
        metadata::of(object).insert("finalizers".into(), json!(all));
    }
}

/// A namespace goes when its own finalizers are done; its contents go first.
fn namespace_waits(served: &Served, object: &Value) -> bool {
    &*served.storage_key == "namespaces"
        && object["spec"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}
