//! The entries of `managedFields`: reading, writing, order, limits.

use std::borrow::Cow;

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
    pub(super) fields: Fields,
}

/// What is owned: as it was stored, as long as nothing changes, or as a set.
#[derive(Clone, Debug)]
pub(super) enum Fields {
    /// The text of FieldsV1 that this library has written.
    Text(String),
    /// FieldsV1 that this library has written.
    Stored(Value),
    /// A set.
    Set(FieldSet),
}

impl Fields {
    /// Removes paths; what is stored is read only when it has one of them.
    pub(super) fn remove_all(&mut self, gone: &FieldSet) {
        match self {
            Fields::Text(text) if !gone.meets_text(text) => {}
            Fields::Stored(json) if !gone.meets_json(json) => {}
            _ => self.set_mut().remove_all(gone),
        }
    }

    /// Whether nothing is owned.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Fields::Text(text) => text == "{}",
            Fields::Stored(json) => json.as_object().is_none_or(Map::is_empty),
            Fields::Set(set) => set.is_empty(),
        }
    }

    /// The set, to be changed.
    pub(super) fn set_mut(&mut self) -> &mut FieldSet {
        if !matches!(self, Fields::Set(_)) {
            *self = Fields::Set(self.set().into_owned());
        }
        match self {
            Fields::Set(set) => set,
            Fields::Text(_) | Fields::Stored(_) => unreachable!("it has just been read"),
        }
    }

    /// The set.
    pub(super) fn set(&self) -> Cow<'_, FieldSet> {
        match self {
            Fields::Text(text) => Cow::Owned(FieldSet::of_text(text).unwrap_or_default()),
            Fields::Stored(json) => Cow::Owned(FieldSet::parse(json).unwrap_or_default()),
            Fields::Set(set) => Cow::Borrowed(set),
        }
    }

    fn into_json(self) -> Value {
        match self {
            Fields::Text(text) => Value::String(text),
            Fields::Stored(json) => json,
            Fields::Set(set) => Value::String(set.to_text()),
        }
    }
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

    fn into_json(self) -> Value {
        let operation = match self.owner.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut map = Map::new();
        map.insert("apiVersion".to_owned(), self.api_version.into());
        map.insert("fieldsType".to_owned(), "FieldsV1".into());
        map.insert("fieldsV1".to_owned(), self.fields.into_json());
        if !self.owner.manager.is_empty() {
            map.insert("manager".to_owned(), self.owner.manager.into());
        }
        map.insert("operation".to_owned(), operation.into());
        if !self.owner.subresource.is_empty() {
            map.insert("subresource".to_owned(), self.owner.subresource.into());
        }
        if let Some(time) = self.time {
            map.insert("time".to_owned(), time);
        }
        Value::Object(map)
    }
}

/// The entries of a stored object; nothing when it has none or one cannot be read.
pub(super) fn of(object: &Value) -> Vec<Entry> {
    object.pointer(LIST).cloned().and_then(stored).unwrap_or_default()
}

/// Entries that this library has written.
pub(super) fn stored(list: Value) -> Option<Vec<Entry>> {
    decode(list, |fields| match fields {
        Value::String(text) => Some(Fields::Text(text)),
        tree => Some(Fields::Stored(tree)),
    })
}

/// Entries from a client; nothing when one of them cannot be read.
pub(super) fn sent(list: Value) -> Option<Vec<Entry>> {
    decode(list, |fields| FieldSet::parse(&fields).ok().map(Fields::Set))
}

/// Of several entries with one owner the last counts.
fn decode(list: Value, read: impl Fn(Value) -> Option<Fields>) -> Option<Vec<Entry>> {
    let Value::Array(list) = list else { return None };
    let mut out: Vec<Entry> = Vec::with_capacity(list.len());
    for item in list {
        let entry = decode_entry(item, &read)?;
        match out.iter_mut().find(|e| e.owner == entry.owner) {
            Some(old) => *old = entry,
            None => out.push(entry),
        }
    }
    Some(out)
}

fn decode_entry(mut item: Value, read: impl Fn(Value) -> Option<Fields>) -> Option<Entry> {
    let item = item.as_object_mut()?;
    let mut text = |name: &str| match item.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let operation = match text("operation").as_str() {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
        return None;
    }
    let (manager, subresource) = (text("manager"), text("subresource"));
    let fields = match item.remove("fieldsV1") {
        None | Some(Value::Null) => Fields::Set(FieldSet::new()),
        Some(fields) => read(fields)?,
    };
    let version = if operation == Operation::Apply { String::new() } else { api_version.clone() };
    Some(Entry {
        owner: Owner { manager, operation, version, subresource },
        api_version,
        time: item.remove("time").filter(|t| !t.is_null()),
        fields,
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
    let list = entries.into_iter().map(Entry::into_json).collect();
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
            e.fields.set_mut().add_all(merged.fields.set().into_owned());
            e.time = merged.time;
        }
        count -= 1;
    }
}

/// Puts the old times back when a write changed neither the object nor its owners apart from times: such a write is none.
pub fn keep_times(live: &Value, new: &mut Value) {
    let (Some(old), Some(now)) = (live.pointer(LIST).and_then(Value::as_array), new.pointer(LIST)) else {
        return;
    };
    let now = now.as_array().map_or(&[][..], Vec::as_slice);
    let untimed = |a: &Value, b: &Value| match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => same_but(a, b, "time", |_, _| true),
        _ => a == b,
    };
    let same = old.len() == now.len() && old.iter().zip(now).all(|(a, b)| untimed(a, b));
    if same && old != now && same_apart(live, new) {
        new["metadata"]["managedFields"] = Value::Array(old.clone());
    }
}

pub(super) const LIST: &str = "/metadata/managedFields";

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
