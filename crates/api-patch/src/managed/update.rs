//! Ownership after a create, a PUT or a patch other than apply.

use std::sync::LazyLock;

use serde_json::Value;

use super::Change;
use super::entries::{self, Entry, Fields, Operation, Owner};
use super::folded;
use crate::fieldset::{FieldSet, Path};
use crate::typed::Walker;

/// Sets `metadata.managedFields` of `new`: what changed since `live` belongs to the manager, and to nobody else. `live` is
/// `None` for a create. A client that sends no entries keeps those of `live`; one that sends `[]` or `[{}]` clears them.
/// An object whose entries were cleared is not tracked until somebody applies to it.
pub fn update(change: &Change<'_>, live: Option<&Value>, new: &mut Value) {
    let sent = entries::take(new);
    let managed = known(change, live, sent);
    if managed.is_empty() && live.is_some() {
        return;
    }
    let mut managed = managed;
    let walker = Walker::new(change.types, change.root);
    match live {
        Some(live) => track(change, &walker, live, new, &mut managed),
        None => begin(change, &walker, new, &mut managed),
    }
    entries::put(new, managed);
}

/// Gives the manager what a new object has beyond an empty one.
fn begin(change: &Change<'_>, walker: &Walker<'_>, new: &Value, managed: &mut Vec<Entry>) {
    let zero = walker.zero();
    let fields = if managed.is_empty() { walker.created(&zero, new, change.reset, &META) } else { None };
    match fields {
        Some(fields) if fields == "{}" => {}
        Some(fields) => managed.push(entry(change, Fields::Text(fields))),
        None => track(change, walker, &zero, new, managed),
    }
}

/// The entries before the write: the client's own when it sent readable ones, else those of the live object.
fn known(change: &Change<'_>, live: Option<&Value>, sent: Option<Value>) -> Vec<Entry> {
    let of_live = || live.map(entries::of).unwrap_or_default();
    let Some(sent) = sent else { return of_live() };
    // A patch brings the live list along, and so does who writes back what it read; then it need not be read with care.
    let theirs = live.and_then(|l| l.pointer(entries::LIST));
    let folded = folded::list(&sent);
    if theirs == Some(&sent) || theirs.is_some_and(|theirs| folded.as_ref() == Some(theirs)) {
        return entries::stored(folded.unwrap_or(sent)).unwrap_or_default();
    }
    if !change.subresource.is_empty() {
        return of_live();
    }
    let list = sent.as_array().map_or(&[][..], Vec::as_slice);
    let reset = match list {
        [] => sent.is_array(),
        [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    };
    if reset {
        return Vec::new();
    }
    match entries::sent(sent) {
        Some(managed) if !managed.is_empty() => managed,
        _ => of_live(),
    }
}

/// Moves what changed from `old` to `new` to the manager.
pub(super) fn track(
    change: &Change<'_>,
    walker: &Walker<'_>,
    old: &Value,
    new: &Value,
    managed: &mut Vec<Entry>,
) {
    let (mut own, removed) = walker.compare(old, new).without(change.reset).into_parts();
    yield_changed(&own, &removed, managed);
    own.remove_all(&META);
    if !own.is_empty() {
        give(change, own, managed);
    }
    entries::cap(managed);
}

/// Takes changed and removed paths from all owners; owners of nothing go.
pub(super) fn yield_changed(touched: &FieldSet, removed: &FieldSet, managed: &mut Vec<Entry>) {
    for entry in managed.iter_mut() {
        entry.fields.remove_all(touched);
        entry.fields.remove_all(removed);
    }
    managed.retain(|e| !e.fields.is_empty());
}

fn give(change: &Change<'_>, own: FieldSet, managed: &mut Vec<Entry>) {
    let new = entry(change, Fields::Set(FieldSet::new()));
    let at = managed.iter().position(|e| e.owner == new.owner).unwrap_or_else(|| {
        managed.push(new.clone());
        managed.len() - 1
    });
    managed[at].fields.set_mut().add_all(own);
    managed[at].time = new.time;
}

/// What the manager of a change owns from now on.
fn entry(change: &Change<'_>, fields: Fields) -> Entry {
    Entry {
        owner: Owner::of(change, Operation::Update),
        api_version: change.api_version.to_owned(),
        time: Some(Value::from(change.now.to_string())),
        fields,
    }
}

/// Paths that nobody owns.
pub(super) static META: LazyLock<FieldSet> = LazyLock::new(|| {
    let below = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let top = ["apiVersion", "kind", "metadata"].map(|n| Path::fields(&[n]));
    FieldSet::of(top.into_iter().chain(below.map(|n| Path::fields(&["metadata", n]))))
});
