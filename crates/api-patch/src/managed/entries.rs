//! The entries of `managedFields`: reading, writing, order, limits.

use serde_json::{Map, Value};

use super::Change;
use crate::fieldset::FieldSet;

/// How an owner writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Who owns. An applier is the same whatever version it applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) version: String,
    pub(super) subresource: String,
}

/// One owner and what it owns.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) api_version: String,
    pub(super) time: Option<Value>,
    pub(super) set: FieldSet,
}

impl Owner {
    pub(super) fn of(change: &Change<'_>, operation: Operation) -> Owner {
        let manager = if change.manager.is_empty() { "unknown" } else { change.manager };
        Owner {
            manager: manager.to_owned(),
            operation,
            version: if operation == Operation::Apply {
                String::new()
            } else {
                change.api_version.to_owned()
            },
            subresource: change.subresource.to_owned(),
        }
    }
}

impl Entry {
    fn seconds(&self) -> i64 {
        let text = self.time.as_ref().and_then(Value::as_str).unwrap_or_default();
        text.parse::<stdx::Time>().map_or(0, stdx::Time::secs)
    }

    fn to_json(&self) -> Value {
        let operation = match self.owner.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut map = Map::new();
        map.insert("apiVersion".to_owned(), self.api_version.clone().into());
        map.insert("fieldsType".to_owned(), "FieldsV1".into());
        map.insert("fieldsV1".to_owned(), self.set.to_json());
        if !self.owner.manager.is_empty() {
            map.insert("manager".to_owned(), self.owner.manager.clone().into());
        }
        map.insert("operation".to_owned(), operation.into());
        if !self.owner.subresource.is_empty() {
            map.insert("subresource".to_owned(), self.owner.subresource.clone().into());
        }
        if let Some(time) = &self.time {
            map.insert("time".to_owned(), time.clone());
        }
        Value::Object(map)
    }
}

/// The entries of an object; nothing when it has none or one cannot be read.
pub(super) fn of(object: &Value) -> Vec<Entry> {
    object.pointer("/metadata/managedFields").and_then(decode).unwrap_or_default()
}

/// Reads a list of entries; nothing when one of them cannot be read. Of several with one owner the last counts.
pub(super) fn decode(list: &Value) -> Option<Vec<Entry>> {
    let mut out: Vec<Entry> = Vec::new();
    for item in list.as_array()? {
        let entry = decode_entry(item)?;
        match out.iter_mut().find(|e| e.owner == entry.owner) {
            Some(old) => *old = entry,
            None => out.push(entry),
        }
    }
    Some(out)
}

fn decode_entry(item: &Value) -> Option<Entry> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
        return None;
    }
    let set = match item.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::new(),
        Some(fields) => FieldSet::parse(fields).ok()?,
    };
    let version = if operation == Operation::Apply { "" } else { text("apiVersion") };
    Some(Entry {
        owner: Owner {
            manager: text("manager").to_owned(),
            operation,
            version: version.to_owned(),
            subresource: text("subresource").to_owned(),
        },
        api_version: text("apiVersion").to_owned(),
        time: item.get("time").filter(|t| !t.is_null()).cloned(),
        set,
    })
}

/// Writes the entries into an object, sorted as upstream: operation, time, manager, version, subresource.
pub(super) fn put(object: &mut Value, mut entries: Vec<Entry>) {
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.owner.operation, e.seconds());
        key(a)
            .cmp(&key(b))
            .then_with(|| a.owner.manager.cmp(&b.owner.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.owner.subresource.cmp(&b.owner.subresource))
    });
    if entries.is_empty() {
        take(object);
        return;
    }
    let list = entries.iter().map(Entry::to_json).collect();
    let Value::Object(map) = object else { return };
    let metadata = map.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), Value::Array(list));
    }
}

/// Takes the raw list out of an object.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// Most entries of updaters kept apart; older ones are merged into one per version.
const UPDATERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Merges the oldest updaters, per version, into the owner `ancient-changes` until there are few enough.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let mut updaters: Vec<(i64, Owner)> = entries
        .iter()
        .filter(|e| e.owner.operation == Operation::Update)
        .map(|e| (e.seconds(), e.owner.clone()))
        .collect();
    let mut count = updaters.len();
    if count <= UPDATERS_MAX {
        return;
    }
    updaters.sort();
    let mut first: Vec<(String, Owner)> = Vec::new();
    for (_, owner) in updaters {
        if count <= UPDATERS_MAX {
            return;
        }
        let version = owner.version.clone();
        let Some((_, oldest)) = first.iter().find(|(v, _)| *v == version) else {
            first.push((version, owner));
            continue;
        };
        let bucket = Owner {
            manager: ANCIENT.to_owned(),
            operation: Operation::Update,
            version,
            subresource: String::new(),
        };
        if !entries.iter().any(|e| e.owner == bucket)
            && let Some(e) = entries.iter_mut().find(|e| e.owner == *oldest)
        {
            e.owner = bucket.clone();
        }
        let Some(at) = entries.iter().position(|e| e.owner == owner && e.owner != bucket) else { continue };
        let merged = entries.remove(at);
        if let Some(e) = entries.iter_mut().find(|e| e.owner == bucket) {
            e.set = e.set.union(&merged.set);
            e.time = merged.time;
        }
        count -= 1;
    }
}

/// Puts the old times back when a write changed neither the object nor its owners apart from times: such a write is none.
pub fn keep_times(live: &Value, new: &mut Value) {
    let list = |o: &Value| o.pointer("/metadata/managedFields").and_then(Value::as_array).cloned();
    let (Some(old), Some(now)) = (list(live), list(new)) else { return };
    let untimed = |e: &Value| {
        let mut e = e.clone();
        e.as_object_mut().map(|m| m.remove("time"));
        e
    };
    let same = old.len() == now.len() && old.iter().zip(&now).all(|(a, b)| untimed(a) == untimed(b));
    if same && old != now && same_apart(live, new) {
        new["metadata"]["managedFields"] = Value::Array(old);
    }
}

/// Whether two objects are equal apart from `metadata.managedFields`.
pub(super) fn same_apart(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    same_but(a, b, "metadata", |x, y| {
        let (Some(x), Some(y)) = (x.as_object(), y.as_object()) else { return x == y };
        same_but(x, y, "managedFields", |_, _| true)
    })
}

/// Compares two maps, one entry by its own rule; an absent one counts as null for that rule.
fn same_but(
    a: &Map<String, Value>,
    b: &Map<String, Value>,
    special: &str,
    rule: impl Fn(&Value, &Value) -> bool,
) -> bool {
    let rest = |m: &Map<String, Value>| m.len() - usize::from(m.contains_key(special));
    rest(a) == rest(b)
        && a.iter().all(|(k, v)| k == special || b.get(k) == Some(v))
        && rule(a.get(special).unwrap_or(&Value::Null), b.get(special).unwrap_or(&Value::Null))
}
