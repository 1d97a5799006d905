//! OpenAPI schema -> types.

use serde_json::Value;

use super::{flag, text};
use crate::{Field, FieldSet, ListKind, Schema, Type, TypeId, Types};

/// The types of a custom kind. `metadata` is the type of object metadata, which every root and every embedded object has.
///
/// Takes any schema: what [`check`](super::check) would refuse becomes [`Type::Any`] where nothing better can be said.
pub fn compile(schema: &Value, metadata: Option<Schema<'_>>) -> (Types, TypeId) {
    let mut out = Types::default();
    let metadata = metadata.map(|m| copy(m, m.root, &mut out, &mut Vec::new()));
    let text = out.push(Type::String { format: String::new() });
    let mut compiler = Compiler { out, metadata, text };
    let root = compiler.object(schema, true);
    (compiler.out, root)
}

/// Copies a type with everything it refers to.
fn copy(from: Schema<'_>, id: TypeId, out: &mut Types, done: &mut Vec<(TypeId, TypeId)>) -> TypeId {
    if let Some((_, copied)) = done.iter().find(|(original, _)| *original == id) {
        return *copied;
    }
    let place = out.push(Type::Any);
    done.push((id, place));
    let mut whole = from.types.get(id).clone();
    match &mut whole {
        Type::Map { value, .. } => *value = copy(from, *value, out, done),
        Type::List { item, .. } => *item = copy(from, *item, out, done),
        Type::Object(set) => {
            for field in set.fields.values_mut() {
                field.ty = copy(from, field.ty, out, done);
            }
            set.other = set.other.map(|other| copy(from, other, out, done));
        }
        _ => {}
    }
    out.types[place.0 as usize] = whole;
    place
}

struct Compiler {
    out: Types,
    metadata: Option<TypeId>,
    /// Plain text: type of `apiVersion` and `kind`.
    text: TypeId,
}

impl Compiler {
    fn schema(&mut self, schema: &Value) -> TypeId {
        if flag(schema, "x-kubernetes-int-or-string") {
            return self.out.push(Type::IntOrString);
        }
        let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let kind = match text(schema, "type") {
            "string" => Type::String { format: text(schema, "format").to_owned() },
            "integer" if text(schema, "format") == "int32" => Type::Int { bits: 32 },
            "integer" => Type::Int { bits: 64 },
            "number" => Type::Number,
            "boolean" => Type::Bool,
            "array" => Type::List { item: self.schema(&schema["items"]), kind: list_kind(schema) },
            "object" => return self.object(schema, flag(schema, "x-kubernetes-embedded-resource")),
            _ if preserve && schema["properties"].is_object() => return self.object(schema, false),
            _ => Type::Any,
        };
        self.out.push(kind)
    }

    /// An object type; `is_whole` for the root and for embedded resources.
    fn object(&mut self, schema: &Value, is_whole: bool) -> TypeId {
        let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
        let preserve_unknown = flag(schema, "x-kubernetes-preserve-unknown-fields");
        let properties = schema["properties"].as_object();
        let other = match &schema["additionalProperties"] {
            values @ Value::Object(_) => Some(self.schema(values)),
            Value::Bool(true) => Some(self.out.push(Type::Any)),
            _ => None,
        };
        if let (Some(value), None, false) = (other, properties, is_whole) {
            return self.out.push(Type::Map { value, atomic });
        }
        let mut set = FieldSet { other, preserve_unknown, atomic, embedded: is_whole, ..FieldSet::default() };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, child) in properties.into_iter().flatten() {
            let ty = self.schema(child);
            let field = Field {
                required: required.contains(&name.as_str()),
                nullable: flag(child, "nullable"),
                default: child.get("default").filter(|d| !d.is_null()).cloned(),
                ..Field::new(ty)
            };
            set.fields.insert(name.clone(), field);
        }
        if is_whole {
            self.whole(&mut set);
        }
        self.out.push(Type::Object(set))
    }

    /// What every whole object has, whatever its schema says of it.
    fn whole(&self, set: &mut FieldSet) {
        for name in ["apiVersion", "kind"] {
            set.fields.insert(name.to_owned(), Field::new(self.text));
        }
        if let Some(metadata) = self.metadata {
            set.fields.insert("metadata".to_owned(), Field::new(metadata));
        }
    }
}

fn list_kind(schema: &Value) -> ListKind {
    match text(schema, "x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            ListKind::Map(keys.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => ListKind::Atomic,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{apply_defaults, prune};

    fn widget() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "size": {"type": "integer", "format": "int32", "default": 3},
            "opt": {"type": "string", "nullable": true, "default": "d"},
            "nonnull": {"type": "string", "default": "d"},
            "flag": {"type": "boolean"},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "filled": {"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
            "deep": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": {"type": "string"}, "n": {"type": "integer", "default": 7}}}},
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}
        }}}})
    }

    /// The object as it would be stored, and what was dropped on the way.
    fn stored(mut spec: Value) -> (Value, Vec<String>) {
        let (types, root) = compile(&widget(), None);
        let schema = Schema { types: &types, root };
        let mut object =
            json!({"apiVersion": "a/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": spec.take()});
        let dropped = prune(schema, &mut object);
        apply_defaults(schema, &mut object);
        (object["spec"].take(), dropped)
    }

    #[test]
    fn defaults_fill_and_nulls_follow_nullable() {
        let filled = json!({"size": 3, "opt": "d", "nonnull": "d", "filled": {"x": 1}});
        assert_eq!(stored(json!({})).0, filled);
        assert_eq!(stored(json!({"nonnull": null, "flag": null})).0, filled, "null is as good as absent");
        assert_eq!(stored(json!({"opt": null})).0["opt"], Value::Null, "a nullable null stays");
    }

    #[test]
    fn only_what_is_specified_stays() {
        let (spec, dropped) = stored(json!({
            "free": {"a": {"b": 1}}, "map": {"k": 1}, "odd": 1, "deep": {"y": 1},
            "parts": [{"id": "a", "z": 1}], "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"q": 1}}
        }));
        assert_eq!(dropped, ["spec.deep.y", "spec.odd", "spec.parts[0].z"]);
        assert_eq!(spec["free"], json!({"a": {"b": 1}}));
        assert_eq!(spec["deep"], json!({"x": 1}));
        assert_eq!(spec["parts"], json!([{"id": "a", "n": 7}]));
        assert_eq!(spec["template"]["spec"], json!({"q": 1}));
    }

    #[test]
    fn metadata_brings_its_own_types_along() {
        let mut from = Types::default();
        let text = from.push(Type::String { format: String::new() });
        let set = from.push(Type::List { item: text, kind: ListKind::Set });
        let mut fields = FieldSet::default();
        fields.fields.insert("finalizers".to_owned(), Field::new(set));
        let root = from.push(Type::Object(fields));
        let (types, root) = compile(&widget(), Some(Schema { types: &from, root }));
        let found = Schema { types: &types, root }.at(&["metadata", "finalizers"]).unwrap();
        assert!(matches!(types.get(found.root), Type::List { kind: ListKind::Set, .. }));
    }
}
