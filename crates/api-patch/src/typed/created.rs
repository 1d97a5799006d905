//! What the writer of a new object owns, written at once in the form it is stored in.
//!
//! It is what a comparison with the zero object finds ([`Walker::compare`]), without the sets in between: most objects are created
//! once and changed seldom, and a pod has some hundred fields.

use serde_json::{Map, Value};

use super::shape::{Shape, Ty, Walker};
use crate::fieldset::{FieldSet, PathElement, label, text};

/// What is left out at a node.
#[derive(Clone, Copy)]
struct Except<'a> {
    /// Paths that are left out with all below them.
    below: Option<&'a FieldSet>,
    /// Paths that are left out themselves.
    alone: Option<&'a FieldSet>,
}

/// How a child is left out.
enum Fate<'a> {
    /// With all below it.
    Gone,
    /// Itself, unless it is a member all the same.
    Kept { may_be_member: bool, except: Except<'a> },
}

impl<'a> Except<'a> {
    fn child(self, key: &PathElement) -> Fate<'a> {
        if self.below.is_some_and(|set| set.has_child(key)) {
            return Fate::Gone;
        }
        let except = Except {
            below: self.below.and_then(|set| set.below(key)),
            alone: self.alone.and_then(|set| set.below(key)),
        };
        Fate::Kept { may_be_member: !self.alone.is_some_and(|set| set.has_child(key)), except }
    }

    fn is_nothing(self) -> bool {
        self.below.is_none() && self.alone.is_none()
    }
}

/// What a node is: in the way only, or owned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Way,
    Member,
}

impl Walker<'_> {
    /// FieldsV1 of the paths that `new` has beyond `zero`, without those of `gone` and what is below them, and without those of
    /// `unowned` themselves; `{}` when there are none. Nothing when `zero` holds lists with items, which no zero object does.
    pub(crate) fn created(
        &self,
        zero: &Value,
        new: &Value,
        gone: &FieldSet,
        unowned: &FieldSet,
    ) -> Option<String> {
        let mut out = String::with_capacity(4096);
        let some = |set| Some(set).filter(|set: &&FieldSet| !set.is_empty());
        let except = Except { below: some(gone), alone: some(unowned) };
        out.push('{');
        self.both(self.root(), zero, new, except, &mut out)?;
        out.push('}');
        Some(out)
    }

    /// Writes the members below a node that both have, and says whether it is one itself.
    fn both(&self, ty: Ty, old: &Value, new: &Value, except: Except<'_>, out: &mut String) -> Option<Node> {
        let leaf = if old == new { Node::Way } else { Node::Member };
        Some(match (self.shape(ty, old), self.shape(ty, new)) {
            (Shape::Leaf, Shape::Leaf) => leaf,
            (Shape::Map, Shape::Map) => match (old.as_object(), new.as_object()) {
                (old, new) if old.is_none_or(Map::is_empty) && new.is_none_or(Map::is_empty) => leaf,
                (old, Some(new)) => {
                    self.fields_beyond(ty, old, new, except, out)?;
                    Node::Way
                }
                (_, None) => Node::Way,
            },
            (Shape::List(..), Shape::List(keys, item)) => {
                if old.as_array().is_some_and(|items| !items.is_empty()) {
                    return None;
                }
                match new.as_array() {
                    Some(items) if !items.is_empty() => {
                        self.items_of(keys, item, items, except, out);
                        Node::Way
                    }
                    _ => leaf,
                }
            }
            _ => {
                self.below(ty, new, except, out);
                Node::Member
            }
        })
    }

    fn fields_beyond(
        &self,
        ty: Ty,
        old: Option<&Map<String, Value>>,
        new: &Map<String, Value>,
        except: Except<'_>,
        out: &mut String,
    ) -> Option<()> {
        for (name, value) in new {
            let child = self.field_type(ty, name);
            match old.and_then(|old| old.get(name)) {
                None => self.field(name, child, value, except, out),
                Some(was) => {
                    let Fate::Kept { may_be_member, except } = except.child(&PathElement::field(name)) else {
                        continue;
                    };
                    let start = open(out, |out| quoted_field(name, out));
                    let inner = out.len();
                    let node = self.both(child, was, value, except, out)?;
                    let is_member = may_be_member && node == Node::Member;
                    if is_member && out.len() > inner {
                        out.insert_str(inner, SELF);
                    }
                    close(out, start, inner, is_member);
                }
            }
        }
        Some(())
    }

    /// All members below a node that only the new object has.
    fn below(&self, ty: Ty, value: &Value, except: Except<'_>, out: &mut String) {
        match (self.shape(ty, value), value) {
            (Shape::Map, Value::Object(map)) => {
                for (name, child) in map {
                    self.field(name, self.field_type(ty, name), child, except, out);
                }
            }
            (Shape::List(keys, item), Value::Array(items)) => self.items_of(keys, item, items, except, out),
            _ => {}
        }
    }

    /// A field that only the new object has.
    fn field(&self, name: &str, ty: Ty, value: &Value, except: Except<'_>, out: &mut String) {
        let (may_be_member, except) = if except.is_nothing() {
            (true, except)
        } else {
            match except.child(&PathElement::field(name)) {
                Fate::Gone => return,
                Fate::Kept { may_be_member, except } => (may_be_member, except),
            }
        };
        let start = open(out, |out| quoted_field(name, out));
        self.member(start, may_be_member, ty, value, except, out);
    }

    /// The items of a list that only the new object has, in the order of their labels. Those without a key belong to nobody; of a
    /// key that occurs twice only the key itself is owned.
    fn items_of(&self, keys: &[String], item: Ty, items: &[Value], except: Except<'_>, out: &mut String) {
        let named = |(at, value)| Some((self.item_label(keys, item, value)?, at));
        let mut named: Vec<(String, usize)> = items.iter().enumerate().filter_map(named).collect();
        named.sort();
        let mut rest = named.as_slice();
        while let [(name, at), ..] = rest {
            let count = rest.iter().take_while(|other| other.0 == *name).count();
            rest = &rest[count..];
            let value = &items[*at];
            let fate = if except.is_nothing() {
                Fate::Kept { may_be_member: true, except }
            } else {
                self.element(keys, item, value).map_or(Fate::Gone, |key| except.child(&key))
            };
            let Fate::Kept { may_be_member, except } = fate else { continue };
            let start = open(out, |out| text(name, out));
            let value = if count == 1 { value } else { &Value::Null };
            self.member(start, may_be_member, item, value, except, out);
        }
    }

    /// The label of an item that has a key. Most have one text, which is written without a detour.
    fn item_label(&self, keys: &[String], item: Ty, value: &Value) -> Option<String> {
        let mut name = String::with_capacity(48);
        if let [key] = keys
            && let Some(Value::String(own)) = value.get(key)
        {
            name.push_str("k:{");
            text(key, &mut name);
            name.push(':');
            text(own, &mut name);
            name.push('}');
        } else {
            label(&self.element(keys, item, value).ok()?, &mut name);
        }
        Some(name)
    }

    /// Writes what is below a child whose label has been written, and ends it.
    fn member(
        &self,
        start: usize,
        is_member: bool,
        ty: Ty,
        value: &Value,
        except: Except<'_>,
        out: &mut String,
    ) {
        let inner = out.len();
        // Scalars are the many.
        if matches!(value, Value::Object(_) | Value::Array(_)) {
            if is_member {
                out.push_str(SELF);
            }
            let from = out.len();
            self.below(ty, value, except, out);
            if out.len() == from {
                out.truncate(inner);
            }
        }
        close(out, start, inner, is_member);
    }
}

/// How a member names itself where there are others below it.
const SELF: &str = "\".\":{},";

/// Begins a child of the node that is being written; gives the place to go back to if there is nothing to say of it.
fn open(out: &mut String, name: impl FnOnce(&mut String)) -> usize {
    let start = out.len();
    if !out.ends_with(['{', ',']) {
        out.push(',');
    }
    name(out);
    out.push_str(":{");
    start
}

fn close(out: &mut String, start: usize, inner: usize, is_member: bool) {
    if out.len() == inner && !is_member {
        out.truncate(start);
    } else {
        out.push('}');
    }
}

fn quoted_field(name: &str, out: &mut String) {
    if name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.push_str("\"f:");
        out.push_str(name);
        out.push('"');
    } else {
        text(&format!("f:{name}"), out);
    }
}

#[cfg(test)]
mod tests {
    use api_schema::{ListKind, Type, TypeId, Types};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fieldset::Path;
    use crate::testing::{Schema, deployment, widget};

    /// Draws from a list of numbers, for ever.
    struct Draw<'a>(&'a [u8], usize);

    impl Draw<'_> {
        fn next(&mut self, below: usize) -> usize {
            self.1 += 1;
            let at = self.1 % self.0.len().max(1);
            (usize::from(self.0.get(at).copied().unwrap_or(0)) + self.1 / 97) % below
        }
    }

    /// A value that fits its type mostly, with names that need care, nulls, empty parts and keys that occur twice.
    fn value(types: &Types, ty: TypeId, draw: &mut Draw<'_>, depth: usize) -> Value {
        match draw.next(24) {
            0 => return Value::Null,
            1 => return json!({}),
            2 => return json!([]),
            3 => return json!("other"),
            4 => return json!([{"name": "a"}, 7, {"x": {}}]),
            _ if depth > 6 => return json!("deep"),
            _ => {}
        }
        const NAMES: [&str; 6] = ["a", "b", "é", "a\"q", "b\\s", "n\n"];
        match types.get(ty) {
            Type::Object(set) => {
                let mut map = Map::new();
                for (name, field) in set.fields.iter() {
                    if draw.next(3) > 0 {
                        map.insert(name.clone(), value(types, field.ty, draw, depth + 1));
                    }
                }
                if draw.next(5) == 0 {
                    map.insert("unknown".to_owned(), json!({"x": 1}));
                }
                Value::Object(map)
            }
            Type::Map { value: below, .. } => {
                let count = draw.next(3);
                let entry = |_| (NAMES[draw.next(6)].to_owned(), value(types, *below, draw, depth + 1));
                (0..count).map(entry).collect::<Map<_, _>>().into()
            }
            Type::List { item, kind } => {
                let count = draw.next(4);
                let one = |_| {
                    let mut one = value(types, *item, draw, depth + 1);
                    if let (ListKind::Map(keys), Some(map)) = (kind, one.as_object_mut()) {
                        for key in keys {
                            if draw.next(6) > 0 {
                                map.insert(key.clone(), NAMES[draw.next(6)].into());
                            }
                        }
                    }
                    one
                };
                (0..count).map(one).collect()
            }
            Type::Int { .. } => json!(draw.next(3)),
            _ => json!(NAMES[draw.next(6)]),
        }
    }

    /// The same by comparison, which is the rule.
    fn compared(
        walker: &Walker<'_>,
        zero: &Value,
        new: &Value,
        gone: &FieldSet,
        unowned: &FieldSet,
    ) -> String {
        let (mut own, _) = walker.compare(zero, new).without(gone).into_parts();
        own.remove_all(unowned);
        own.to_text()
    }

    fn check(schema: &Schema, numbers: &[u8]) {
        let mut draw = Draw(numbers, 0);
        let walker = Walker::new(&schema.types, schema.root);
        let new = value(&schema.types, schema.root, &mut draw, 0);
        let all = walker.compare(&json!({}), &new).added.paths();
        let mut some = || {
            let count = draw.next(4);
            FieldSet::of((0..count).filter_map(|_| all.get(draw.next(all.len().max(1))).cloned()))
        };
        let (gone, unowned) = (some(), some());
        let nothing = FieldSet::new();
        for zero in [walker.zero(), json!({})] {
            for (gone, unowned) in
                [(&nothing, &nothing), (&gone, &unowned), (&gone, &nothing), (&nothing, &unowned)]
            {
                let wanted = compared(&walker, &zero, &new, gone, unowned);
                assert_eq!(
                    walker.created(&zero, &new, gone, unowned),
                    Some(wanted),
                    "{new}\n{gone:?}\n{unowned:?}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_creator_owns_what_a_comparison_with_nothing_finds(numbers in prop::collection::vec(any::<u8>(), 1..300)) {
            check(&deployment(), &numbers);
            check(&widget(), &numbers);
        }
    }

    #[test]
    fn a_list_that_was_there_is_left_to_the_comparison() {
        let schema = widget();
        let walker = Walker::new(&schema.types, schema.root);
        let (old, new) = (json!({"spec": {"set": ["a"]}}), json!({"spec": {"set": ["a", "b"]}}));
        let nothing = FieldSet::new();
        assert_eq!(walker.created(&old, &new, &nothing, &nothing), None);
        let gone = FieldSet::of([Path::fields(&["spec"])]);
        assert_eq!(walker.created(&old, &new, &gone, &nothing).as_deref(), Some("{}"));
    }
}
