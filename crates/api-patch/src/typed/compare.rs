//! Which paths were added, changed and removed between two trees.

use serde_json::{Map, Value};

use super::shape::{Shape, Ty, Walker};
use crate::fieldset::{FieldSet, PathElement};

/// Paths that differ. Added and removed name inner nodes too, changed names leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diff {
    pub(crate) removed: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) added: FieldSet,
}

/// What happened to a node itself.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Kept,
    Added,
    Removed,
    Modified,
}

impl Diff {
    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Without the given paths and all below them.
    pub(crate) fn without(mut self, set: &FieldSet) -> Diff {
        self.removed.remove_below(set);
        self.modified.remove_below(set);
        self.added.remove_below(set);
        self
    }

    /// Added and changed paths, and removed ones.
    pub(crate) fn into_parts(self) -> (FieldSet, FieldSet) {
        let mut touched = self.added;
        touched.add_all(self.modified);
        (touched, self.removed)
    }

    fn put(&mut self, mark: Mark, below: Diff, key: impl FnOnce() -> PathElement) {
        if mark == Mark::Kept && below.is_empty() {
            return;
        }
        let key = key();
        let place = |set: &mut FieldSet, member: bool, below: FieldSet| {
            if member || !below.is_empty() {
                set.put(key.clone(), member, below);
            }
        };
        place(&mut self.removed, mark == Mark::Removed, below.removed);
        place(&mut self.modified, mark == Mark::Modified, below.modified);
        if mark == Mark::Added || !below.added.is_empty() {
            self.added.put(key, mark == Mark::Added, below.added);
        }
    }
}

impl Walker<'_> {
    /// What changed from `old` to `new`.
    pub(crate) fn compare(&self, old: &Value, new: &Value) -> Diff {
        let mut diff = Diff::default();
        self.node(self.root(), Some(old), Some(new), &mut diff);
        diff
    }

    fn node(&self, ty: Ty, old: Option<&Value>, new: Option<&Value>, below: &mut Diff) -> Mark {
        let shape = match (old, new) {
            (None, None) => return Mark::Kept,
            (Some(v), None) => {
                self.whole(ty, v, &mut below.removed);
                return Mark::Removed;
            }
            (None, Some(v)) => {
                self.whole(ty, v, &mut below.added);
                return Mark::Added;
            }
            (Some(a), Some(b)) => match (self.shape(ty, a), self.shape(ty, b)) {
                (Shape::Map, Shape::Map) => Shape::Map,
                (Shape::List(..), list @ Shape::List(..)) => list,
                (Shape::Leaf, Shape::Leaf) => Shape::Leaf,
                // The old value's inner paths are gone, the new one's are there, and the node is another thing.
                _ => {
                    self.node(ty, old, None, below);
                    self.node(ty, None, new, below);
                    return Mark::Modified;
                }
            },
        };
        match shape {
            Shape::Leaf => leaf(old, new),
            Shape::Map => {
                let (a, b) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                    return leaf(old, new);
                }
                // Most of an object stays as it is; told at once, that costs no look at the schema.
                if a == b {
                    return Mark::Kept;
                }
                self.maps(ty, a, b, below);
                inner(old, new)
            }
            Shape::List(keys, item) => {
                let (a, b) = (items(old), items(new));
                if a.is_empty() && b.is_empty() {
                    return leaf(old, new);
                }
                if a != b {
                    self.lists(keys, item, a, b, below);
                }
                inner(old, new)
            }
        }
    }

    /// All paths below a node that is on one side only.
    fn whole(&self, ty: Ty, value: &Value, out: &mut FieldSet) {
        match (self.shape(ty, value), value) {
            (Shape::Map, Value::Object(map)) => {
                out.reserve(map.len());
                for (name, child) in map {
                    let mut below = FieldSet::new();
                    self.whole(self.field_type(ty, name), child, &mut below);
                    out.put(PathElement::field(name), true, below);
                }
            }
            (Shape::List(keys, item), Value::Array(list)) => {
                out.reserve(list.len());
                let mut named = self.named(keys, item, list);
                // Of a key that occurs twice only the key itself is owned.
                let twice = |n: &[(PathElement, usize)], i: usize| {
                    (i > 0 && n[i - 1].0 == n[i].0) || n.get(i + 1).is_some_and(|next| next.0 == n[i].0)
                };
                let plain: Vec<bool> = (0..named.len()).map(|i| !twice(&named, i)).collect();
                for ((key, at), plain) in named.drain(..).zip(plain) {
                    let mut below = FieldSet::new();
                    if plain {
                        self.whole(item, &list[at], &mut below);
                    }
                    out.put(key, true, below);
                }
            }
            _ => {}
        }
    }

    /// The items that have a key, with their places, sorted by key.
    fn named(&self, keys: &[String], item: Ty, list: &[Value]) -> Vec<(PathElement, usize)> {
        let named = |(i, v)| self.element(keys, item, v).ok().map(|e| (e, i));
        let mut all: Vec<_> = list.iter().enumerate().filter_map(named).collect();
        all.sort();
        all
    }

    fn maps(
        &self,
        ty: Ty,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        out: &mut Diff,
    ) {
        let mut child = |name: &str, a: Option<&Value>, b: Option<&Value>| {
            let mut below = Diff::default();
            let mark = self.node(self.field_type(ty, name), a, b, &mut below);
            out.put(mark, below, || PathElement::field(name));
        };
        for (name, b) in new.into_iter().flatten() {
            child(name, old.and_then(|m| m.get(name)), Some(b));
        }
        for (name, a) in old.into_iter().flatten() {
            if new.is_none_or(|m| !m.contains_key(name)) {
                child(name, Some(a), None);
            }
        }
    }

    /// Items without a readable key belong to nobody and are left out.
    fn lists(&self, keys: &[String], item: Ty, old: &[Value], new: &[Value], out: &mut Diff) {
        let (a, b) = (self.named(keys, item, old), self.named(keys, item, new));
        let (mut i, mut j) = (0, 0);
        while i < a.len() || j < b.len() {
            let key = match (a.get(i), b.get(j)) {
                (Some(x), Some(y)) => (&x.0).min(&y.0),
                (Some(x), None) | (None, Some(x)) => &x.0,
                (None, None) => return,
            };
            let run = |list: &[(PathElement, usize)], at: usize| {
                list[at..].iter().take_while(|(e, _)| e == key).count()
            };
            let (m, n) = (run(&a, i), run(&b, j));
            let left: Vec<&Value> = a[i..i + m].iter().map(|(_, at)| &old[*at]).collect();
            let right: Vec<&Value> = b[j..j + n].iter().map(|(_, at)| &new[*at]).collect();
            let mut below = Diff::default();
            let mark = self.twins(item, &left, &right, &mut below);
            out.put(mark, below, || key.clone());
            (i, j) = (i + m, j + n);
        }
    }

    /// Items of one key; a key that occurs twice is owned as a whole.
    fn twins(&self, item: Ty, old: &[&Value], new: &[&Value], below: &mut Diff) -> Mark {
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => self.node(item, old.first().copied(), new.first().copied(), below),
            (2.., 2..) if old == new => Mark::Kept,
            (2.., 2..) => Mark::Modified,
            (2.., _) => {
                self.node(item, None, new.first().copied(), below);
                Mark::Removed
            }
            _ => {
                self.node(item, old.first().copied(), None, below);
                Mark::Added
            }
        }
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Mark {
    match (old, new) {
        (Some(a), Some(b)) if a == b => Mark::Kept,
        (Some(_), Some(_)) => Mark::Modified,
        _ => inner(old, new),
    }
}

fn inner(old: Option<&Value>, new: Option<&Value>) -> Mark {
    match (old, new) {
        (None, Some(_)) => Mark::Added,
        (Some(_), None) => Mark::Removed,
        _ => Mark::Kept,
    }
}
