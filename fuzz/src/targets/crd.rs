//! Definitions of custom kinds: whether a schema may be, its compiled forms, and what they do to an object.

use api_schema::crd;
use api_schema::{Schema, Validator, apply_defaults, prune};
use cel_rules::rules::{self, Rules};
use serde_json::Value;

use super::{Target, seeds};
use crate::parts::{split, tree};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "crd",
        run: definition,
        seeds: || {
            seeds(&[
                "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1,\"default\":3},\"s\":{\"type\":\"string\",\"pattern\":\"^a\",\"maxLength\":3}},\"required\":[\"n\"],\"x-kubernetes-validations\":[{\"rule\":\"self.n > 1\",\"message\":\"m\"}]}}}\0{\"spec\":{\"n\":2,\"s\":\"b\",\"x\":1}}\0{\"spec\":{\"n\":1}}",
                "{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"maxItems\":3,\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"}}}},\"m\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\",\"format\":\"int32\"}}}}\0{\"l\":[{\"k\":\"a\"},{\"k\":\"a\"}],\"m\":{\"x\":1.5}}",
                "{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"anyOf\":[{\"required\":[\"a\"]},{\"not\":{\"required\":[\"b\"]}}],\"properties\":{\"q\":{\"x-kubernetes-int-or-string\":true},\"o\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true}}}\0{\"q\":\"1\",\"o\":{\"kind\":\"Pod\"}}",
                "{\"type\":\"object\",\"properties\":{\"d\":{\"type\":\"string\",\"format\":\"date-time\",\"nullable\":true,\"enum\":[null,\"a\"]},\"u\":{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"number\",\"multipleOf\":0.1,\"exclusiveMaximum\":true,\"maximum\":3}}}}\0{\"d\":null,\"u\":[1,1]}",
            ])
        },
        words: &[
            "type",
            "object",
            "array",
            "string",
            "integer",
            "number",
            "boolean",
            "properties",
            "items",
            "required",
            "additionalProperties",
            "default",
            "nullable",
            "enum",
            "pattern",
            "format",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "multipleOf",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
            "x-kubernetes-validations",
            "rule",
            "message",
            "messageExpression",
            "fieldPath",
            "reason",
            "optionalOldSelf",
            "x-kubernetes-list-type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-map-type",
            "x-kubernetes-int-or-string",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "self",
            "oldSelf",
            ".all(",
            "date-time",
            "int32",
            "int64",
            "byte",
            "uuid",
            "ipv4",
            "cidr",
            "email",
            "uri",
            "duration",
            "a{1000}",
        ],
    }]
}

/// Whatever the schema: nothing panics, pruning and defaulting twice is doing it once.
fn definition(data: &[u8]) {
    let [schema, new, old] = split(data);
    let Some(schema) = tree(schema).filter(Value::is_object) else { return };
    let found = crd::check(&schema, "spec.validation");
    let _ = (crd::non_structural(&schema, ".spec"), rules::check(&schema, "spec.validation"));
    let (types, root) = crd::compile(&schema, None);
    let (validator, rules) = (Validator::compile(&schema), Rules::compile(&schema));
    let compiled = Schema { types: &types, root };
    let decoded = |bytes: &[u8]| {
        let mut object = tree(bytes).filter(Value::is_object)?;
        prune(compiled, &mut object);
        let mut again = object.clone();
        assert_eq!(prune(compiled, &mut again), Vec::<String>::new());
        assert_eq!(again, object, "pruned twice");
        apply_defaults(compiled, &mut object);
        Some(object)
    };
    let Some(new) = decoded(new) else { return };
    let mut again = new.clone();
    apply_defaults(compiled, &mut again);
    // A default that does not fit its own schema is refused with the definition, so only good ones must be stable.
    assert!(!found.is_empty() || again == new, "defaulted twice: {new} then {again}");
    if let Ok(validator) = &validator {
        let _ = validator.validate(&new);
    }
    if let Some(rules) = rules {
        let old = decoded(old);
        assert_eq!(rules.judge(&new, old.as_ref()), rules.judge(&new, old.as_ref()));
    }
}
