//! Lists: finding items by key, and the order of a merged list.

use serde_json::{Map, Value};

use super::Error;
use super::words::go_text;

pub(super) const PATCH: &str = "$patch";
pub(super) const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const ORDER: &str = "$setElementOrder/";
pub(super) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// What a list holds.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Items {
    Maps,
    Scalars,
}

/// What the items of both lists are; all must be of one sort.
pub(super) fn sort_of(lists: &[&[Value]]) -> Result<Items, Error> {
    let mut found = None;
    for item in lists.iter().copied().flatten() {
        let sort = match item {
            Value::Object(_) => Items::Maps,
            Value::Array(_) => return Err(Error::MixedList),
            _ => Items::Scalars,
        };
        if found.is_some_and(|f| f != sort) {
            return Err(Error::MixedList);
        }
        found = Some(sort);
    }
    Ok(found.unwrap_or(Items::Scalars))
}

/// The key value of an item.
pub(super) fn key_of<'v>(item: &'v Value, key: &str) -> Result<&'v Value, Error> {
    item.get(key).ok_or_else(|| Error::NoMergeKey { map: go_text(item), key: key.to_owned() })
}

/// Whether two items are the same one: by key, or by value when there is none.
fn same(a: &Value, b: &Value, key: &str) -> bool {
    if key.is_empty() {
        return a == b;
    }
    matches!((a.get(key), b.get(key)), (Some(x), Some(y)) if x == y)
}

pub(super) fn place(list: &[Value], item: &Value, key: &str) -> Option<usize> {
    list.iter().position(|other| same(other, item, key))
}

pub(super) fn is_deletion(item: &Value) -> bool {
    item.get(PATCH).is_some_and(|d| d == "delete")
}

/// Items in the order of `order`; deletions last.
pub(super) fn sorted(list: Vec<Value>, order: &[Value], key: &str) -> Vec<Value> {
    let (gone, mut kept): (Vec<Value>, Vec<Value>) = list.into_iter().partition(is_deletion);
    kept.sort_by_key(|item| place(order, item, key).unwrap_or(usize::MAX));
    kept.extend(gone);
    kept
}

/// The merged items in their final order: items of the patch in the patch's order, the others in the server's, interleaved
/// where the server knows both places; otherwise the patch's item goes first.
pub(super) fn ordered(merged: Vec<Value>, patch_order: &[Value], server: &[Value], key: &str) -> Vec<Value> {
    let (ours, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(patch_order, item, key).is_some());
    let ours = sorted(ours, patch_order, key);
    let others = sorted(others, server, key);
    let at = |item: &Value| place(server, item, key);
    let mut out = Vec::with_capacity(ours.len() + others.len());
    let (mut left, mut right) = (others.into_iter().peekable(), ours.into_iter().peekable());
    loop {
        let first = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => matches!((at(l), at(r)), (Some(a), Some(b)) if a < b),
        };
        out.extend(if first { left.next() } else { right.next() });
    }
}

/// Checks that `$setElementOrder` names the items of the patch, in their order.
pub(super) fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), Error> {
    let named = |item: &&Value| item.get(PATCH).is_none();
    let mut wanted = patch.iter().filter(named).peekable();
    if order.is_empty() {
        return Ok(());
    }
    for step in order {
        if !key.is_empty() {
            key_of(step, key)?;
        }
        if let Some(item) = wanted.peek()
            && same(item, step, key)
        {
            wanted.next();
        }
    }
    match wanted.peek() {
        None => Ok(()),
        Some(item) if !key.is_empty() && item.get(key).is_none() => key_of(item, key).map(drop),
        Some(_) => Err(Error::OrderMismatch {
            patch: go_text(&Value::Array(patch.to_vec())),
            order: go_text(&Value::Array(order.to_vec())),
        }),
    }
}

/// A value that enters an object where nothing was: nulls and directives have no meaning there.
pub(super) fn settled(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            if map.get(PATCH).is_some_and(|d| d == "delete") {
                return None;
            }
            let out: Map<String, Value> = map
                .into_iter()
                .filter(|(name, _)| {
                    name != PATCH
                        && name != RETAIN_KEYS
                        && !name.starts_with(ORDER)
                        && !name.starts_with(DELETE_FROM)
                })
                .filter_map(|(name, value)| Some((name, settled(value)?)))
                .collect();
            Some(Value::Object(out))
        }
        Value::Array(list) => {
            let only_directive =
                |v: &Value| v.as_object().is_some_and(|m| m.len() == 1 && m.contains_key(PATCH));
            Some(Value::Array(list.into_iter().filter(|v| !only_directive(v)).filter_map(settled).collect()))
        }
        scalar => Some(scalar),
    }
}
