//! Stage: managed fields. Runs on the decoded, defaulted tree in the version of the request, before mutating admission.

use std::sync::LazyLock;

use api_meta::{Reason, Status, StatusDetails};
use api_patch::fieldset::{FieldSet, Path};
use api_patch::managed::{self, ApplyError, Change, OnConflict};
use serde_json::Value;
use stdx::Time;

use crate::refuse::{Outcome, Refusal, bad_request};
use crate::registry::{Served, StatusRule};

/// Who writes, and through which door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: Time,
}

fn paths(all: &[&[&str]]) -> FieldSet {
    FieldSet::of(all.iter().map(|p| Path::fields(p)))
}

static NONE: LazyLock<FieldSet> = LazyLock::new(|| paths(&[]));
static STATUS: LazyLock<FieldSet> = LazyLock::new(|| paths(&[&["status"]]));
static ALL_BUT_STATUS: LazyLock<FieldSet> = LazyLock::new(|| paths(&[&["spec"]]));
static SPEC_AND_METADATA: LazyLock<FieldSet> = LazyLock::new(|| paths(&[&["spec"], &["metadata"]]));
static OF_POD_STATUS: LazyLock<FieldSet> = LazyLock::new(|| {
    paths(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
});

/// What a door cannot write.
fn reset(served: &Served, subresource: &str) -> &'static FieldSet {
    match subresource {
        "status" if served.is_custom() => &SPEC_AND_METADATA,
        "status" if &*served.storage_key == "pods" => &OF_POD_STATUS,
        "status" => &ALL_BUT_STATUS,
        "" if served.has_status() && served.facts.status == StatusRule::Apart => &STATUS,
        _ => &NONE,
    }
}

fn change<'a>(served: &'a Served, api_version: &'a str, writer: &Writer<'a>) -> Option<Change<'a>> {
    let (types, root) = served.schema.as_ref()?;
    Some(Change {
        types,
        root: *root,
        manager: writer.manager,
        subresource: writer.subresource,
        api_version,
        now: writer.now,
        reset: reset(served, writer.subresource),
    })
}

/// Records what changed from `old` (nothing for a create) to `new`.
pub(crate) fn update(served: &Served, writer: &Writer<'_>, old: Option<&Value>, new: &mut Value) {
    let api_version = served.resource.api_version();
    if let Some(change) = change(served, &api_version, writer) {
        managed::update(&change, old, new);
    }
}

/// Lays an applied configuration over the live object.
pub(crate) fn apply(
    served: &Served,
    writer: &Writer<'_>,
    live: Option<&Value>,
    applied: &Value,
    force: bool,
) -> Outcome<Value> {
    let api_version = served.resource.api_version();
    let Some(change) = change(served, &api_version, writer) else {
        return Err(bad_request(format!("{} has no schema, so it cannot be applied", served.resource)));
    };
    let on_conflict = if force { OnConflict::Force } else { OnConflict::Refuse };
    managed::apply(&change, live, applied, on_conflict).map_err(refused)
}

/// Puts the old times back when nothing but times changed.
pub(crate) fn keep_times(old: &Value, new: &mut Value) {
    managed::keep_times(old, new);
}

fn refused(error: ApplyError) -> Box<Refusal> {
    let text = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            let details = StatusDetails { causes: conflicts.causes(), ..StatusDetails::default() };
            Status::failure(Reason::Conflict, text).with_details(details).into()
        }
        ApplyError::BadRequest(_) => bad_request(text),
        ApplyError::Untyped { .. } => {
            Status { status: "Failure".to_owned(), message: text, code: 500, ..Status::default() }.into()
        }
    }
}
