//! Random objects of every kind: whatever fits the types, no function of a kind may panic, and decoding is stable.

use api_schema::{Type, TypeId, Types, Unknown, Wire, apply_defaults, check_fields, complete, proto};
use api_tables::tables;
use serde_json::{Map, Value, json};
use stdx::{Rng, SeededRng, Time};

use super::table::facts;
use crate::registry::Context;

/// Texts that functions look for, and ones that they do not expect.
const WORDS: [&str; 16] = [
    "",
    "a",
    "A_b",
    "..",
    "-1",
    "100%",
    "Always",
    "RollingUpdate",
    "ClusterIP",
    "None",
    "In",
    "Exists",
    "TCP",
    "ä/ö",
    "metadata.labels[x",
    "127.0.0.1",
];
const QUANTITIES: [&str; 6] = ["0", "1", "500m", "1Gi", "-1", "9e9"];

struct Dice(SeededRng);

impl Dice {
    fn below(&self, n: usize) -> usize {
        usize::try_from(self.0.next_u64() % n as u64).expect("less than n")
    }

    fn word(&self) -> Value {
        WORDS[self.below(WORDS.len())].into()
    }

    /// A value of a type; deeper levels are sparser.
    fn value(&self, types: &Types, ty: TypeId, depth: usize) -> Value {
        match types.get(ty) {
            Type::Any | Type::FieldsV1 => json!({"x": 1}),
            Type::String { format } if format == "byte" => "eA==".into(),
            Type::String { .. } | Type::Duration => self.word(),
            Type::Int { .. } | Type::Number => json!([0, 1, -1, 7, 65_536][self.below(5)]),
            Type::Bool => (self.below(2) == 0).into(),
            Type::IntOrString if self.below(2) == 0 => self.word(),
            Type::IntOrString => json!(self.below(3)),
            Type::Quantity => QUANTITIES[self.below(QUANTITIES.len())].into(),
            Type::Time => "2020-01-01T00:00:00Z".into(),
            Type::MicroTime => "2020-01-01T00:00:00.000001Z".into(),
            Type::Map { value, .. } => {
                let keys = ["a", "cpu", "kubernetes.io/x"];
                let entries = keys.iter().take(self.below(3));
                entries
                    .map(|k| ((*k).to_owned(), self.value(types, *value, depth + 1)))
                    .collect::<Map<_, _>>()
                    .into()
            }
            Type::List { item, .. } => {
                (0..self.below(3)).map(|_| self.value(types, *item, depth + 1)).collect()
            }
            Type::Object(set) => {
                let share = 2 + depth;
                // Only apiVersion and kind have no place in a protobuf message.
                let carried = set.fields.iter().filter(|(k, f)| {
                    let word = matches!(k.as_str(), "apiVersion" | "kind");
                    assert!(f.proto.is_some() || word, "{k} of {:?}", set.message);
                    f.proto.is_some()
                });
                let chosen = carried.filter(|_| depth < 9 && self.below(share) < 2);
                chosen
                    .map(|(k, f)| {
                        let is_union = f.proto.as_ref().is_some_and(|p| p.wire == Wire::SchemaUnion);
                        let value = if is_union { self.union(k) } else { self.value(types, f.ty, depth + 1) };
                        (k.clone(), value)
                    })
                    .collect::<Map<_, _>>()
                    .into()
            }
        }
    }

    /// One of the untagged unions of a JSON schema.
    fn union(&self, name: &str) -> Value {
        let schema = json!({"type": "string", "maxLength": 3});
        match (name, self.below(2)) {
            ("dependencies", 0) => json!({"x": ["y", "z"], "w": []}),
            ("dependencies", _) => json!({"x": schema}),
            ("items", 0) => json!([schema, {"type": "integer"}]),
            ("additionalProperties" | "additionalItems", 0) => json!(self.below(2) == 0),
            _ => schema,
        }
    }
}

#[test]
fn no_object_that_fits_its_types_makes_a_kind_panic() {
    let dice = Dice(SeededRng::new(7));
    let now = Time::from_secs(1_600_000_000);
    for kind in &tables().kinds {
        let (schema, facts) = (tables().schema_of(kind.root), facts(&kind.group, &kind.plural));
        let make = || {
            let mut v = dice.value(&tables().types, kind.root, 0);
            v["metadata"]["name"] = "a".into();
            check_fields(schema, &mut v, Unknown::Name).expect("it was made to fit");
            apply_defaults(schema, &mut v);
            (facts.default)(&mut v);
            complete(schema, &mut v);
            v
        };
        for round in 0..40 {
            let (mut new, old) = (make(), make());
            let subresource = ["", "status", "resize", "ephemeralcontainers", "finalize"][round % 5];
            let context = Context { now, namespace: "d", subresource, user: "u" };
            (facts.prepare_create)(&mut new, &context);
            let _ = (facts.validate_create)(&new, &context);
            (facts.prepare_update)(&mut new, &old, &context);
            let _ = (facts.validate_update)(&new, &old, &context);
            let _ = (facts.warnings)(&new, Some(&old));
            let _ = (facts.conditions)(&new);
            assert_eq!((facts.row)(&new, now).len(), facts.columns.len(), "{}", kind.kind);
            facts.selectable.iter().for_each(|f| drop((facts.field)(&new, f)));
        }
    }
}

#[test]
fn decoding_again_changes_nothing_and_protobuf_carries_all() {
    let dice = Dice(SeededRng::new(11));
    for kind in &tables().kinds {
        let schema = tables().schema_of(kind.root);
        for _ in 0..10 {
            let mut once = dice.value(&tables().types, kind.root, 0);
            check_fields(schema, &mut once, Unknown::Name).expect("it was made to fit");
            let mut twice = once.clone();
            assert_eq!(check_fields(schema, &mut twice, Unknown::Name), Ok(Vec::new()));
            assert_eq!(twice, once, "{}", kind.kind);
            let bytes = proto::encode(schema, &once).expect("it fits the types");
            let mut back = proto::decode(schema, &bytes).expect("it was just written");
            check_fields(schema, &mut back, Unknown::Name).expect("it fits the types");
            assert_eq!(back, once, "{}", kind.kind);
        }
    }
}
