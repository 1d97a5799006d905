//! The patch that leads from one object to another.

use api_schema::{TypeId, Types};
use serde_json::{Map, Value, json};

use super::Error;
use super::lists::{self, DELETE_FROM, Items, ORDER, PATCH, RETAIN_KEYS};
use super::meta::{Place, Rule};
use super::patch::{Onto, merge_map};

/// The strategic merge patch that turns `from` into `to`; an empty object when they are equal.
pub fn diff(types: &Types, ty: TypeId, from: &Value, to: &Value) -> Result<Value, Error> {
    let place = Place::new(types, ty);
    Ok(Value::Object(maps(object(from)?, object(to)?, place, Keep::All, false)?))
}

/// The patch of client-side apply: what `modified` sets differently from `current`, and deletions of what `original` (the
/// configuration applied last, if any) set and `modified` no longer does. Other fields of `current` stay.
pub fn three_way(
    types: &Types,
    ty: TypeId,
    original: Option<&Value>,
    modified: &Value,
    current: &Value,
) -> Result<Value, Error> {
    let place = Place::new(types, ty);
    let modified = object(modified)?;
    let delta = maps(object(current)?, modified, place, Keep::Changes, false)?;
    let mut patch = match original {
        Some(original) => maps(object(original)?, modified, place, Keep::Deletions, false)?,
        None => Map::new(),
    };
    merge_map(&mut patch, delta, place, Onto::Patch, 0)?;
    Ok(Value::Object(patch))
}

/// Which differences a patch is to hold.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    All,
    Changes,
    Deletions,
}

impl Keep {
    fn changes(self) -> bool {
        self != Keep::Deletions
    }

    fn deletions(self) -> bool {
        self != Keep::Changes
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, Error> {
    value.as_object().ok_or(Error::NotAnObject)
}

fn maps(
    from: &Map<String, Value>,
    to: &Map<String, Value>,
    place: Place<'_>,
    keep: Keep,
    retain: bool,
) -> Result<Map<String, Value>, Error> {
    let mut patch = Map::new();
    for (name, new) in to {
        match (from.get(name), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let rule = place.rule(name);
                if rule.replaces() {
                    if keep.changes() && old != new {
                        patch.insert(name.clone(), Value::Object(new.clone()));
                    }
                    continue;
                }
                let below = maps(old, new, rule.below, keep, rule.retains_keys())?;
                if !below.is_empty() {
                    patch.insert(name.clone(), Value::Object(below));
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) if place.rule(name).merges() => {
                merged_lists(name, old, new, place.rule(name), keep, &mut patch)?;
            }
            (Some(old), new) if old == new => {}
            _ if keep.changes() => {
                patch.insert(name.clone(), new.clone());
            }
            _ => {}
        }
    }
    let gone: Vec<&String> = from.keys().filter(|name| !to.contains_key(*name)).collect();
    if keep.deletions() {
        patch.extend(gone.iter().map(|name| ((*name).clone(), Value::Null)));
    }
    if retain && (!patch.is_empty() || !gone.is_empty()) {
        let kept: Vec<&String> = to.iter().filter(|(_, v)| !v.is_null()).map(|(name, _)| name).collect();
        if !kept.is_empty() {
            patch.insert(RETAIN_KEYS.to_owned(), json!(kept));
        }
    }
    Ok(patch)
}

fn merged_lists(
    name: &str,
    from: &[Value],
    to: &[Value],
    rule: Rule<'_>,
    keep: Keep,
    patch: &mut Map<String, Value>,
) -> Result<(), Error> {
    if from.is_empty() {
        if !to.is_empty() && keep.changes() {
            patch.insert(name.to_owned(), Value::Array(to.to_vec()));
        }
        return Ok(());
    }
    if lists::sort_of(&[from, to])? == Items::Scalars {
        scalars(name, from, to, keep, patch);
        return Ok(());
    }
    let key = rule.key();
    if key.is_empty() {
        return Err(Error::NoKeyDeclared(rule.below.name()));
    }
    let items = keyed_items(from, to, key, rule, keep)?;
    let order = |list: &[Value]| -> Result<Vec<Value>, Error> {
        list.iter().map(|item| Ok(json!({ key: lists::key_of(item, key)? }))).collect()
    };
    let wanted = order(to)?;
    let same_order = {
        let kept = |list: Vec<Value>, other: &[Value]| -> Vec<Value> {
            list.into_iter().filter(|i| lists::place(other, i, key).is_some()).collect()
        };
        kept(order(from)?, to) == kept(wanted.clone(), from)
    };
    if !items.is_empty() || !same_order {
        patch.insert(format!("{ORDER}{name}"), Value::Array(wanted));
    }
    if !items.is_empty() {
        patch.insert(name.to_owned(), Value::Array(items));
    }
    Ok(())
}

/// Changed and new items in the order of `to`, then deletions.
fn keyed_items(
    from: &[Value],
    to: &[Value],
    key: &str,
    rule: Rule<'_>,
    keep: Keep,
) -> Result<Vec<Value>, Error> {
    let mut items = Vec::new();
    for new in to {
        let value = lists::key_of(new, key)?;
        match lists::place(from, new, key).map(|at| &from[at]) {
            Some(old) => {
                let mut below = maps(object(old)?, object(new)?, rule.below, keep, rule.retains_keys())?;
                if !below.is_empty() {
                    below.insert(key.to_owned(), value.clone());
                    items.push(Value::Object(below));
                }
            }
            None if keep.changes() => items.push(new.clone()),
            None => {}
        }
    }
    if keep.deletions() {
        for old in from.iter().filter(|old| lists::place(to, old, key).is_none()) {
            items.push(json!({ key: lists::key_of(old, key)?, PATCH: "delete" }));
        }
    }
    Ok(items)
}

fn scalars(name: &str, from: &[Value], to: &[Value], keep: Keep, patch: &mut Map<String, Value>) {
    let minus =
        |a: &[Value], b: &[Value]| -> Vec<Value> { a.iter().filter(|v| !b.contains(v)).cloned().collect() };
    let added = if keep.changes() { minus(to, from) } else { Vec::new() };
    let gone = if keep.deletions() { minus(from, to) } else { Vec::new() };
    if added.is_empty() && gone.is_empty() && (from == to || !keep.changes()) {
        return;
    }
    let mut order: Vec<Value> = Vec::new();
    for item in to {
        if !order.contains(item) {
            order.push(item.clone());
        }
    }
    patch.insert(format!("{ORDER}{name}"), Value::Array(order));
    if !added.is_empty() {
        patch.insert(name.to_owned(), Value::Array(added));
    }
    if !gone.is_empty() {
        patch.insert(format!("{DELETE_FROM}{name}"), Value::Array(gone));
    }
}
