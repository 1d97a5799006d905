//! What the schema says about merging a field.

use api_schema::{Field, Type, TypeId, Types};

/// The schema at one place of the tree; unknown below fields that the schema does not name.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    types: &'a Types,
    ty: Option<TypeId>,
}

/// How a field merges.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    /// The schema below: of the value, or of the items when the value is a list.
    pub(super) below: Place<'a>,
    /// Strategy and key of the field.
    field: Option<&'a Field>,
    /// Whether the value is a plain map, which has no meaning when empty.
    pub(super) plain_map: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(types: &'a Types, root: TypeId) -> Place<'a> {
        Place { types, ty: Some(root) }
    }

    pub(super) fn rule(self, name: &str) -> Rule<'a> {
        let (ty, field) = match self.ty.map(|ty| self.types.get(ty)) {
            Some(Type::Object(set)) => match set.fields.get(name) {
                Some(field) => (Some(field.ty), Some(field)),
                None => (set.other, None),
            },
            Some(Type::Map { value, .. }) => (Some(*value), None),
            _ => (None, None),
        };
        let (below, plain_map) = match ty.map(|ty| self.types.get(ty)) {
            Some(Type::List { item, .. }) => (Some(*item), false),
            Some(Type::Map { .. }) => (ty, true),
            _ => (ty, false),
        };
        Rule { below: Place { types: self.types, ty: below }, field, plain_map }
    }

    /// A name for messages.
    pub(super) fn name(self) -> String {
        match self.ty.map(|ty| self.types.get(ty)) {
            Some(Type::Object(set)) => set.message.clone().unwrap_or_default(),
            _ => String::new(),
        }
    }
}

impl<'a> Rule<'a> {
    fn has(self, strategy: &str) -> bool {
        self.field.is_some_and(|f| f.patch_strategy.split(',').any(|s| s == strategy))
    }

    /// Lists merge item by item.
    pub(super) fn merges(self) -> bool {
        self.has("merge")
    }

    /// Maps are replaced as a whole.
    pub(super) fn replaces(self) -> bool {
        self.has("replace")
    }

    /// Patches name the keys to keep.
    pub(super) fn retains_keys(self) -> bool {
        self.has("retainKeys")
    }

    /// Key of the list's items; empty for scalars.
    pub(super) fn key(self) -> &'a str {
        self.field.map_or("", |f| &f.patch_merge_key)
    }
}
