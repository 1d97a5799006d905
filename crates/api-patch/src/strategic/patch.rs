//! Laying a patch over an object, or over another patch.

use api_schema::{TypeId, Types};
use serde_json::{Map, Value};

use super::Error;
use super::lists::{self, DELETE_FROM, Items, ORDER, PATCH, RETAIN_KEYS};
use super::meta::{Place, Rule};
use super::words::go_text;

/// Applies a strategic merge patch to an object of the kind whose root type is `ty`. After an error the target is half changed.
pub fn apply(types: &Types, ty: TypeId, target: &mut Value, patch: &Value) -> Result<(), Error> {
    let Value::Object(patch) = patch else { return Err(Error::NotAnObject) };
    let Value::Object(map) = target else { return Err(Error::NotAnObject) };
    merge_map(map, patch.clone(), Place::new(types, ty), Onto::Object, 0)
}

/// What the patch is laid over.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Onto {
    /// An object: directives are carried out.
    Object,
    /// Another patch: directives are kept.
    Patch,
}

const DEPTH_MAX: usize = 200;

pub(super) fn merge_map(
    map: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    place: Place<'_>,
    onto: Onto,
    depth: usize,
) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    if let Some(directive) = patch.get(PATCH) {
        return whole_map(map, directive.clone(), patch);
    }
    retain_keys(map, &mut patch, onto)?;
    ordered_lists(map, &mut patch, place, onto, depth)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            match onto {
                Onto::Patch => drop(map.insert(name, value)),
                Onto::Object => delete_items(map, list, &value)?,
            }
            continue;
        }
        merge_field(map, name, value, place, onto, depth)?;
    }
    Ok(())
}

fn whole_map(
    map: &mut Map<String, Value>,
    directive: Value,
    mut patch: Map<String, Value>,
) -> Result<(), Error> {
    match directive.as_str() {
        Some("replace") => {
            patch.remove(PATCH);
            *map = patch;
            Ok(())
        }
        Some("delete") => {
            map.clear();
            Ok(())
        }
        _ => Err(Error::UnknownDirective {
            directive: go_text(&directive),
            map: go_text(&Value::Object(patch)),
        }),
    }
}

/// `$retainKeys`: keys that it does not name go; it must name every key that the patch sets.
fn retain_keys(
    map: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    onto: Onto,
) -> Result<(), Error> {
    let Some(names) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(list) = &names else { return Err(Error::RetainKeys) };
    let named = |name: &str| list.iter().any(|n| n == name);
    let directive = |name: &str| name.starts_with(DELETE_FROM) || name.starts_with(ORDER);
    if patch.iter().any(|(name, v)| !v.is_null() && !directive(name) && !named(name)) {
        return Err(Error::RetainKeys);
    }
    map.retain(|name, _| named(name));
    if onto == Onto::Patch {
        map.insert(RETAIN_KEYS.to_owned(), names);
    }
    Ok(())
}

/// `$setElementOrder/<list>`: merges that list here and puts its items in the order asked for.
fn ordered_lists(
    map: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place<'_>,
    onto: Onto,
    depth: usize,
) -> Result<(), Error> {
    let names: Vec<String> = patch.keys().filter(|n| n.starts_with(ORDER)).cloned().collect();
    for directive in names {
        let Some(Value::Array(order)) = patch.remove(&directive) else { return Err(Error::ElementOrder) };
        let name = &directive[ORDER.len()..];
        if onto == Onto::Patch {
            map.insert(directive.clone(), Value::Array(order.clone()));
        }
        let rule = place.rule(name);
        let ours = match patch.get(name) {
            None => None,
            Some(Value::Array(list)) => Some(list.clone()),
            Some(_) => continue,
        };
        lists::check_order(ours.as_deref().unwrap_or_default(), &order, rule.key())?;
        patch.remove(name);
        let server = match map.get(name) {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        let merged = match ours {
            None if !map.contains_key(name) => continue,
            None => server.clone(),
            Some(ours) => merge_list(server.clone(), ours, rule, onto, depth)?,
        };
        map.insert(name.to_owned(), Value::Array(lists::ordered(merged, &order, &server, rule.key())));
    }
    Ok(())
}

fn delete_items(map: &mut Map<String, Value>, name: &str, gone: &Value) -> Result<(), Error> {
    if let (Some(Value::Array(list)), Value::Array(gone)) = (map.get_mut(name), gone) {
        list.retain(|item| !gone.contains(item));
    }
    Ok(())
}

fn merge_field(
    map: &mut Map<String, Value>,
    name: String,
    value: Value,
    place: Place<'_>,
    onto: Onto,
    depth: usize,
) -> Result<(), Error> {
    if value.is_null() {
        map.remove(&name);
        if onto == Onto::Patch {
            map.insert(name, value);
        }
        return Ok(());
    }
    let rule = place.rule(&name);
    match (map.get_mut(&name), value) {
        (Some(Value::Object(old)), Value::Object(new)) if !rule.replaces() => {
            let deleted = new.get(PATCH).is_some_and(|d| d == "delete");
            merge_map(old, new, rule.below, onto, depth + 1)?;
            if deleted && rule.plain_map {
                map.remove(&name);
            }
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let old = std::mem::take(old);
            let merged = merge_list(old, new, rule, onto, depth)?;
            map.insert(name, Value::Array(merged));
        }
        (_, new) => {
            unknown_directive(&new)?;
            let new = if onto == Onto::Object { lists::settled(new) } else { Some(new) };
            if let Some(new) = new {
                map.insert(name, new);
            }
        }
    }
    Ok(())
}

/// A directive must be known even where there is nothing to merge with.
fn unknown_directive(value: &Value) -> Result<(), Error> {
    match value.get(PATCH) {
        None => Ok(()),
        Some(d) if d == "replace" || d == "delete" || d == "merge" => Ok(()),
        Some(d) => Err(Error::UnknownDirective { directive: go_text(d), map: go_text(value) }),
    }
}

fn merge_list(
    old: Vec<Value>,
    new: Vec<Value>,
    rule: Rule<'_>,
    onto: Onto,
    depth: usize,
) -> Result<Vec<Value>, Error> {
    if !rule.merges() {
        return Ok(new);
    }
    if lists::sort_of(&[&old, &new])? == Items::Scalars {
        let mut merged: Vec<Value> = Vec::with_capacity(old.len() + new.len());
        for item in old.iter().chain(&new) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return Ok(lists::ordered(merged, &new, &old, ""));
    }
    let key = rule.key();
    if key.is_empty() {
        return Err(Error::NoKeyDeclared(rule.below.name()));
    }
    let (mut merged, new) = special_items(old.clone(), new, key)?;
    let order = new.clone();
    for item in new {
        lists::key_of(&item, key)?;
        match (lists::place(&merged, &item, key), item) {
            (Some(at), Value::Object(patch)) => {
                if let Value::Object(map) = &mut merged[at] {
                    merge_map(map, patch, rule.below, onto, depth + 1)?;
                }
            }
            (_, item) if onto == Onto::Patch => merged.push(item),
            (_, item) => merged.extend(lists::settled(item)),
        }
    }
    Ok(lists::ordered(merged, &order, &old, key))
}

/// Carries out `$patch` items; what is left of the old list, and the plain items of the new one.
fn special_items(mut old: Vec<Value>, new: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut plain = Vec::with_capacity(new.len());
    let mut replace = false;
    for item in new {
        match item.get(PATCH).map(|d| d.as_str().unwrap_or_default()) {
            None => plain.push(item),
            Some("delete") => {
                let gone = lists::key_of(&item, key)?;
                old.retain(|o| o.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(Error::MergeInList),
            Some(other) => {
                return Err(Error::UnknownDirective { directive: other.to_owned(), map: go_text(&item) });
            }
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    Ok((old, plain))
}
