//! The schema form: types in one arena, named by index.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::named::Fields;

/// Index of a type within [`Types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TypeId(pub u32);

/// All types that a set of kinds needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Types {
    /// The arena; [`TypeId`] indexes it.
    pub types: Vec<Type>,
}

impl Types {
    /// The type behind an index.
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// A field of an object type; nothing for other types and unknown names.
    pub fn field(&self, id: TypeId, name: &str) -> Option<&Field> {
        match self.get(id) {
            Type::Object(set) => set.fields.get(name),
            _ => None,
        }
    }

    /// The type one step down: of a field or of the values of a map.
    pub fn child(&self, id: TypeId, name: &str) -> Option<TypeId> {
        match self.get(id) {
            Type::Object(set) => set.fields.get(name).map(|f| f.ty).or(set.other),
            Type::Map { value, .. } => Some(*value),
            _ => None,
        }
    }

    /// The type of a list's items and how apply merges them.
    pub fn items(&self, id: TypeId) -> Option<(TypeId, &ListKind)> {
        match self.get(id) {
            Type::List { item, kind } => Some((*item, kind)),
            _ => None,
        }
    }

    /// Adds a type.
    pub fn push(&mut self, t: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(t);
        id
    }
}

/// A kind's root type with the arena it lives in.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    /// The arena.
    pub types: &'a Types,
    /// The type of the whole object.
    pub root: TypeId,
}

impl<'a> Schema<'a> {
    /// The type of a field by its path from the root; list items are passed through without a step.
    pub fn at(self, path: &[&str]) -> Option<Schema<'a>> {
        let mut root = self.root;
        for step in path {
            while let Some((item, _)) = self.types.items(root) {
                root = item;
            }
            root = self.types.child(root, step)?;
        }
        Some(Schema { types: self.types, root })
    }
}

/// What a value may be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Type {
    /// Anything; kept as it is (RawExtension, x-kubernetes-preserve-unknown-fields without properties).
    Any,
    /// Text.
    String {
        /// `date-time`, `byte`, … or empty.
        format: String,
    },
    /// Whole number; 32 or 64 bits.
    Int {
        /// Width in bits.
        bits: u8,
    },
    /// Number.
    Number,
    /// Truth value.
    Bool,
    /// Number or text.
    IntOrString,
    /// A resource quantity (text, or a number that becomes text).
    Quantity,
    /// A moment, whole seconds; protobuf carries it as a message {seconds, nanos}.
    Time,
    /// A moment, microseconds.
    MicroTime,
    /// A meta/v1 Duration: text such as `1m0s`.
    Duration,
    /// A meta/v1 FieldsV1: a tree that is opaque here.
    FieldsV1,
    /// Text keys to values of one type.
    Map {
        /// Type of the values.
        value: TypeId,
        /// Replaced as a whole by apply (x-kubernetes-map-type: atomic).
        atomic: bool,
    },
    /// A sequence.
    List {
        /// Type of the items.
        item: TypeId,
        /// How apply merges it.
        kind: ListKind,
    },
    /// Named fields.
    Object(FieldSet),
}

/// How server-side apply treats a list (x-kubernetes-list-type).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListKind {
    /// Replaced as a whole.
    Atomic,
    /// Each item is its own key.
    Set,
    /// Items are objects with these key fields (x-kubernetes-list-map-keys).
    Map(Vec<String>),
}

/// The fields of an object type.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FieldSet {
    /// Fields by JSON name.
    pub fields: Fields,
    /// Type of values under names that are not listed; unknown fields are an error or pruned when absent.
    pub other: Option<TypeId>,
    /// Keep unknown fields as they are (x-kubernetes-preserve-unknown-fields).
    pub preserve_unknown: bool,
    /// Replaced as a whole by apply (x-kubernetes-map-type: atomic).
    pub atomic: bool,
    /// Full name of the protobuf message, when there is one.
    pub message: Option<String>,
    /// A whole object with its own apiVersion, kind and metadata (x-kubernetes-embedded-resource).
    pub embedded: bool,
}

/// One field.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Field {
    /// Type of its value.
    pub ty: TypeId,
    /// Must be there.
    pub required: bool,
    /// May be null and stay so (custom kinds only).
    pub nullable: bool,
    /// Filled in when absent.
    pub default: Option<Value>,
    /// `merge`, `replace`, `retainKeys` (joined by commas) of strategic merge patch.
    pub patch_strategy: String,
    /// Key field of a list merged by strategic merge patch.
    pub patch_merge_key: String,
    /// How protobuf carries it.
    pub proto: Option<Proto>,
    /// What the canonical form does with a zero value.
    pub presence: Presence,
    /// Value constraints of custom kinds (enum, pattern, minimum, …) as in the source schema.
    pub checks: Option<Value>,
}

impl Field {
    /// An optional field without any facts beyond its type.
    pub fn new(ty: TypeId) -> Field {
        Field {
            ty,
            required: false,
            nullable: false,
            default: None,
            patch_strategy: String::new(),
            patch_merge_key: String::new(),
            proto: None,
            presence: Presence::Keep,
            checks: None,
        }
    }
}

/// What the canonical form of a built-in kind does with a zero value, as the Go types of upstream do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// Stays as given; absent stays absent (a Go pointer; every field of a custom kind).
    #[default]
    Keep,
    /// A zero value is dropped (`omitempty`).
    Drop,
    /// An absent value is filled with the type's zero: `""`, `0`, `false`, `{}`, and null for lists, maps and times.
    Always,
    /// An absent value is written as null (a Go pointer without `omitempty`).
    Null,
}

/// How protobuf carries a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proto {
    /// Field number.
    pub tag: u32,
    /// Field number of the message around it that JSON does not show (a Go inlined struct), outermost first.
    pub within: Vec<u32>,
    /// Form on the wire; of the values when `map`, of the items when `repeated`.
    pub wire: Wire,
    /// May occur many times.
    pub repeated: bool,
    /// `map<string, …>`.
    pub map: bool,
}

/// Form of a single value on the protobuf wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wire {
    /// Text.
    String,
    /// Octets; base64 in JSON.
    Bytes,
    /// 32 bits, two's complement.
    Int32,
    /// 64 bits, two's complement.
    Int64,
    /// Truth value.
    Bool,
    /// IEEE 754 double.
    Double,
    /// A message; its shape follows from the field's type.
    Message,
    /// A message `{items: [string]}` that JSON shows as a plain list.
    Strings,
    /// JSONSchemaPropsOrArray, …OrBool, …OrStringArray of apiextensions: a union that JSON does not tag.
    SchemaUnion,
}
