//! Lays an applied tree over a live one.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::shape::{Shape, Ty, Walker};
use crate::fieldset::PathElement;

impl Walker<'_> {
    /// The live tree with the applied one laid over it: leaves of the applied win, maps and keyed lists grow together.
    pub(crate) fn merge(&self, live: &Value, applied: &Value) -> Value {
        self.merge_node(self.root(), Some(live), Some(applied)).unwrap_or(Value::Null)
    }

    fn merge_node(&self, ty: Ty, live: Option<&Value>, applied: Option<&Value>) -> Option<Value> {
        let (Some(old), Some(new)) = (live, applied) else { return applied.or(live).cloned() };
        match (self.shape(ty, old), self.shape(ty, new)) {
            (Shape::Map, Shape::Map) => {
                let (a, b) = (old.as_object(), new.as_object());
                if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                    return Some(new.clone());
                }
                Some(Value::Object(self.merge_maps(ty, a, b)))
            }
            (Shape::List(keys, item), Shape::List(..)) => {
                let items = |v: &Value| v.as_array().is_none_or(Vec::is_empty);
                if items(old) && items(new) {
                    return Some(new.clone());
                }
                let (a, b) = (old.as_array(), new.as_array());
                Some(Value::Array(self.merge_lists(
                    keys,
                    item,
                    a.map_or(&[], Vec::as_slice),
                    b.map_or(&[], Vec::as_slice),
                )))
            }
            _ => Some(new.clone()),
        }
    }

    fn merge_maps(
        &self,
        ty: Ty,
        live: Option<&Map<String, Value>>,
        applied: Option<&Map<String, Value>>,
    ) -> Map<String, Value> {
        let mut out = live.cloned().unwrap_or_default();
        for (name, new) in applied.into_iter().flatten() {
            let merged =
                self.merge_node(self.field_type(ty, name), live.and_then(|m| m.get(name)), Some(new));
            out.insert(name.clone(), merged.unwrap_or(Value::Null));
        }
        out
    }

    /// Keeps the order of the applied items; live items stay at their place relative to the shared ones.
    fn merge_lists(&self, keys: &[String], item: Ty, live: &[Value], applied: &[Value]) -> Vec<Value> {
        let name = |v: &Value| self.element(keys, item, v).ok();
        let left: Vec<Option<PathElement>> = live.iter().map(name).collect();
        let right: Vec<Option<PathElement>> = applied.iter().map(name).collect();
        let mut live_at: BTreeMap<&PathElement, Option<usize>> = BTreeMap::new();
        for (i, key) in left.iter().enumerate() {
            if let Some(key) = key {
                // A key that occurs twice cannot be merged item by item.
                live_at.entry(key).and_modify(|at| *at = None).or_insert(Some(i));
            }
        }
        let applied_at: BTreeMap<&PathElement, usize> =
            right.iter().enumerate().filter_map(|(i, k)| Some((k.as_ref()?, i))).collect();
        let shared = |k: &Option<PathElement>| k.as_ref().is_some_and(|k| live_at.contains_key(k));
        let mut out = Vec::with_capacity(live.len() + applied.len());
        let mut done = vec![false; applied.len()];
        let (mut l, mut r) = (0, 0);
        while l < live.len() || r < applied.len() {
            if let Some(key) = left.get(l) {
                let twin = key.as_ref().and_then(|k| applied_at.get(k)).copied();
                match twin {
                    None => {
                        out.push(live[l].clone());
                        l += 1;
                        continue;
                    }
                    // Taken already with the applied item.
                    Some(at) if done[at] || at == r => l += 1,
                    // Its turn comes later, with the applied item.
                    Some(at) if next_shared(&right[r..], shared).is_some_and(|n| n + r != at) => {
                        l += 1;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            if r < applied.len() {
                let old = right[r].as_ref().and_then(|k| *live_at.get(k)?).map(|i| &live[i]);
                out.extend(self.merge_node(item, old, Some(&applied[r])));
                done[r] = true;
                r += 1;
            }
        }
        out
    }
}

fn next_shared(
    right: &[Option<PathElement>],
    shared: impl Fn(&Option<PathElement>) -> bool,
) -> Option<usize> {
    right.iter().position(shared)
}
