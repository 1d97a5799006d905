//! Validation of custom objects by their OpenAPI schema, in the words of upstream's validator.
//!
//! A schema is compiled once, with its patterns; validation then walks the tree. Findings carry the field's path, a
//! reason such as `FieldValueInvalid`, and a message. What is absent: rules in CEL (`x-kubernetes-validations`).

mod compile;
mod formats;
mod rules;

use std::collections::BTreeMap;

use api_meta::Cause;
use regex::Regex;
use serde_json::Value;

pub use compile::SchemaError;

/// A compiled schema.
#[derive(Clone, Debug, Default)]
pub struct Validator {
    kind: Kind,
    is_nullable: bool,
    format: String,
    choices: Vec<Value>,
    pattern: Option<Regex>,
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<f64>,
    length: Range,
    items_count: Range,
    properties_count: Range,
    is_unique: bool,
    list: List,
    is_embedded: bool,
    required: Vec<String>,
    properties: BTreeMap<String, Validator>,
    additional: Option<Box<Validator>>,
    items: Option<Box<Validator>>,
    all_of: Vec<Validator>,
    any_of: Vec<Validator>,
    one_of: Vec<Validator>,
    not: Option<Box<Validator>>,
}

/// `type` of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

/// A numeric bound.
#[derive(Clone, Copy, Debug)]
struct Bound {
    at: f64,
    is_exclusive: bool,
}

/// Least and greatest count.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    min: Option<u64>,
    max: Option<u64>,
}

/// Uniqueness that a list type brings.
#[derive(Clone, Debug, Default)]
enum List {
    #[default]
    Plain,
    Set,
    Map(Vec<String>),
}

impl Validator {
    /// Findings about a whole object.
    pub fn validate(&self, value: &Value) -> Vec<Cause> {
        let mut found = Vec::new();
        self.check(value, "", &mut found);
        found
    }

    /// Findings about the value at a path.
    pub fn validate_at(&self, value: &Value, path: &str) -> Vec<Cause> {
        let mut found = Vec::new();
        self.check(value, path, &mut found);
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_too_few_properties_the_count_is_shown() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "object", "minProperties": 1}}});
        let found = Validator::compile(&schema).expect("a fixed schema").validate(&json!({"a": {}}));
        let told: Vec<_> = found.iter().map(|c| (c.field.as_str(), c.message.as_str())).collect();
        assert_eq!(told, [("a", "Invalid value: 0: a in body should have at least 1 properties")]);
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_told_of_in_all_that_is_wrong_with_it() {
        let schema = json!({"type": "object", "properties": {
            "mode": {"type": "string", "enum": ["x"]},
            "either": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "count": {"type": "integer", "format": "int64"},
            "when": {"type": "string", "format": "date-time"},
        }});
        let schema = Validator::compile(&schema).expect("a fixed schema");
        let told = |value: Value| -> Vec<String> {
            schema.validate(&value).into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
        };
        assert_eq!(
            told(json!({"mode": ["y"]})),
            [
                "mode: Invalid value: \"array\": mode in body must be of type string: \"array\"",
                "mode: Unsupported value: [\"y\"]: supported values: \"x\"",
            ]
        );
        assert_eq!(
            told(json!({"either": []})),
            [
                "either: Invalid value: \"array\": either in body must be of type integer,string: \"array\"",
                "<nil>: Invalid value: \"\": \"either\" must validate at least one schema (anyOf)",
                "either: Invalid value: \"array\": either in body must be of type integer: \"array\"",
            ]
        );
        // Formats are looked at before kinds.
        assert_eq!(
            told(json!({"count": {}})),
            ["count: Invalid value: \"\": count in body must be of type int64: \"\""]
        );
        assert_eq!(
            told(json!({"when": 5})),
            ["when: Invalid value: \"int64\": when in body must be of type date-time: \"int64\""]
        );
        assert_eq!(
            told(json!({"count": "5"})),
            ["count: Invalid value: \"string\": count in body must be of type integer: \"string\""]
        );
        assert_eq!(told(json!({"when": ["5"]})), Vec::<String>::new());
    }
}
