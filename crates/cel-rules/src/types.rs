//! Types of expressions, with the sizes that a schema promises.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A size that nothing bounds.
pub const UNBOUND: u64 = u64::MAX;

/// The type of a value. Sizes are for estimates only: types that differ in them alone are the same.
#[derive(Clone, Debug)]
pub enum Type {
    /// Anything; judged when it runs.
    Dyn,
    /// The type of `null`.
    Null,
    /// Truth value.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// IEEE 754 double.
    Double,
    /// Text of at most so many characters.
    Text(u64),
    /// At most so many octets.
    Bytes(u64),
    /// A length of time.
    Duration,
    /// A moment.
    Timestamp,
    /// A list.
    List(Arc<ListType>),
    /// A map.
    Map(Arc<MapType>),
    /// An object with known fields.
    Object(Arc<ObjectType>),
    /// Something that may be absent.
    Optional(Arc<Type>),
    /// The type of types.
    Type,
    /// A type of a library, such as `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A type still to be found: a parameter of a function, or of an empty list.
    Var(usize),
}

/// A list: what is in it, how many at most, and how equality and `+` take it.
#[derive(Clone, Debug)]
pub struct ListType {
    /// Type of the items.
    pub item: Type,
    /// Items at most.
    pub max: u64,
    /// How it is compared and joined.
    pub merge: Merge,
}

/// How a list is compared and joined (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// In order.
    #[default]
    Atomic,
    /// Without order.
    Set,
    /// By these fields of the items, without order.
    Map(Arc<[String]>),
}

/// A map: keys, values, how many at most.
#[derive(Clone, Debug)]
pub struct MapType {
    /// Type of the keys.
    pub key: Type,
    /// Type of the values.
    pub value: Type,
    /// Entries at most.
    pub max: u64,
}

/// An object with known fields.
#[derive(Clone, Debug, Default)]
pub struct ObjectType {
    /// Name in messages.
    pub name: String,
    /// Fields by the name they have in expressions (escaped).
    pub fields: BTreeMap<String, FieldType>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct FieldType {
    /// Name in JSON.
    pub json: String,
    /// Its type.
    pub of: Type,
}

impl Type {
    /// Text without a bound.
    pub const TEXT: Type = Type::Text(UNBOUND);

    /// A list without a bound.
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(ListType { item, max: UNBOUND, merge: Merge::Atomic }))
    }

    /// A map without a bound.
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(MapType { key, value, max: UNBOUND }))
    }

    /// An optional value.
    pub fn optional(of: Type) -> Type {
        Type::Optional(Arc::new(of))
    }

    /// An object whose fields are called in JSON as in expressions.
    pub fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
        let field = |(name, of): (&str, Type)| (name.to_owned(), FieldType { json: name.to_owned(), of });
        let fields = fields.into_iter().map(field).collect();
        Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
    }

    /// Elements at most: characters, items, entries; one for what has no size.
    pub(crate) fn max(&self) -> u64 {
        match self {
            Type::Text(max) | Type::Bytes(max) => *max,
            Type::List(list) => list.max,
            Type::Map(map) => map.max,
            Type::Object(object) => object.fields.len() as u64,
            Type::Dyn | Type::Optional(_) | Type::Opaque(_) | Type::Var(_) => UNBOUND,
            _ => 1,
        }
    }

    /// Whether `null` is one of its values.
    fn is_nullable(&self) -> bool {
        use Type::{Duration, Dyn, Null, Object, Opaque, Optional, Timestamp};
        matches!(self, Dyn | Null | Object(_) | Duration | Timestamp | Optional(_) | Opaque(_))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn | Type::Var(_) => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::Text(_) => f.write_str("string"),
            Type::Bytes(_) => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::List(list) => write!(f, "list({})", list.item),
            Type::Map(map) => write!(f, "map({}, {})", map.key, map.value),
            Type::Object(object) => f.write_str(&object.name),
            Type::Optional(of) => write!(f, "optional_type({of})"),
            Type::Type => f.write_str("type"),
            Type::Opaque(name) => f.write_str(name),
        }
    }
}

/// What type variables stand for, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    bound: Vec<Option<Type>>,
}

/// Types that name themselves are refused by this depth.
const TYPE_DEPTH_MAX: usize = 64;

impl Bindings {
    /// A type nobody has spoken of yet.
    pub(crate) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Var(self.bound.len() - 1)
    }

    /// How many variables there are; [`Bindings::reset`] goes back to it.
    pub(crate) fn mark(&self) -> Bindings {
        self.clone()
    }

    /// Forgets what was found since a mark.
    pub(crate) fn reset(&mut self, mark: Bindings) {
        *self = mark;
    }

    /// The type that a variable stands for; other types as they are.
    pub(crate) fn head(&self, of: &Type) -> Type {
        let mut of = of.clone();
        for _ in 0..TYPE_DEPTH_MAX {
            match of {
                Type::Var(i) => match self.bound.get(i).and_then(Option::as_ref) {
                    Some(next) => of = next.clone(),
                    None => return of,
                },
                _ => return of,
            }
        }
        Type::Dyn
    }

    /// The type with all known variables put in.
    pub(crate) fn resolve(&self, of: &Type) -> Type {
        self.resolve_within(of, 0)
    }

    fn resolve_within(&self, of: &Type, depth: usize) -> Type {
        if depth > TYPE_DEPTH_MAX {
            return Type::Dyn;
        }
        let below = |of: &Type| self.resolve_within(of, depth + 1);
        match self.head(of) {
            Type::List(list) if has_var(&list.item) => Type::List(Arc::new(ListType {
                item: below(&list.item),
                max: list.max,
                merge: list.merge.clone(),
            })),
            Type::Map(map) if has_var(&map.key) || has_var(&map.value) => {
                Type::Map(Arc::new(MapType { key: below(&map.key), value: below(&map.value), max: map.max }))
            }
            Type::Optional(inner) if has_var(&inner) => Type::optional(below(&inner)),
            other => other,
        }
    }

    /// Whether a value of type `from` may stand where `to` is wanted; learns what variables are.
    pub(crate) fn takes(&mut self, to: &Type, from: &Type) -> bool {
        self.takes_within(to, from, 0)
    }

    fn takes_within(&mut self, to: &Type, from: &Type, depth: usize) -> bool {
        if depth > TYPE_DEPTH_MAX {
            return true;
        }
        let (to, from) = (self.head(to), self.head(from));
        match (&to, &from) {
            (Type::Var(a), Type::Var(b)) if a == b => true,
            (Type::Var(a), _) => self.bind(*a, from),
            (_, Type::Var(b)) => self.bind(*b, to),
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::Null, other) | (other, Type::Null) => other.is_nullable(),
            (Type::List(a), Type::List(b)) => self.takes_within(&a.item, &b.item, depth + 1),
            (Type::Map(a), Type::Map(b)) => {
                self.takes_within(&a.key, &b.key, depth + 1)
                    && self.takes_within(&a.value, &b.value, depth + 1)
            }
            (Type::Optional(a), Type::Optional(b)) => self.takes_within(a, b, depth + 1),
            (Type::Object(a), Type::Object(b)) => Arc::ptr_eq(a, b) || a.fields.keys().eq(b.fields.keys()),
            (Type::Opaque(a), Type::Opaque(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    fn bind(&mut self, var: usize, to: Type) -> bool {
        if !self.is_within(var, &to, 0) {
            self.bound[var] = Some(to);
        }
        true
    }

    /// Whether a type speaks of a variable: binding it to that would never end.
    fn is_within(&self, var: usize, of: &Type, depth: usize) -> bool {
        if depth > TYPE_DEPTH_MAX {
            return true;
        }
        match self.head(of) {
            Type::Var(i) => i == var,
            Type::List(list) => self.is_within(var, &list.item, depth + 1),
            Type::Map(map) => {
                self.is_within(var, &map.key, depth + 1) || self.is_within(var, &map.value, depth + 1)
            }
            Type::Optional(of) => self.is_within(var, &of, depth + 1),
            _ => false,
        }
    }

    /// Lets a bound variable become less certain: what was `null` or known is also something else.
    pub(crate) fn join(&mut self, a: &Type, b: &Type) -> Type {
        let is_first_null = matches!(self.head(a), Type::Null);
        if !self.takes(a, b) || matches!(self.head(b), Type::Dyn) {
            return Type::Dyn;
        }
        if is_first_null { b.clone() } else { a.clone() }
    }
}

fn has_var(of: &Type) -> bool {
    match of {
        Type::Var(_) => true,
        Type::List(list) => has_var(&list.item),
        Type::Map(map) => has_var(&map.key) || has_var(&map.value),
        Type::Optional(of) => has_var(of),
        _ => false,
    }
}
