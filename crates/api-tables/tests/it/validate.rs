//! Custom schemas: pruning is tested with the registry of custom kinds; here the findings of validation.

use api_schema::Validator;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn check(value: Value, expected: Expect) {
    let spec = json!({"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "ratio": {"type": "number", "exclusiveMinimum": true, "minimum": 0},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "flag": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true},
        "when": {"type": "string", "format": "date-time"},
        "small": {"type": "integer", "format": "int32"},
        "tags": {"type": "array", "maxItems": 2, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
        "opt": {"type": "string", "nullable": true},
        "one": {"type": "object", "oneOf": [{"required": ["p"]}, {"required": ["q"]}]},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true}}});
    let schema = json!({"type": "object", "required": ["spec"], "properties": {"spec": spec}});
    let found = Validator::compile(&schema).unwrap().validate(&json!({"spec": value}));
    let lines = found.iter().map(|c| format!("{} | {} | {}\n", c.field, c.reason, c.message));
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn a_fitting_object_has_no_findings() {
    check(
        json!({"name": "abc", "size": 2.0, "port": "http", "opt": null, "when": "2020-01-01T00:00:00Z"}),
        expect![""],
    );
}

#[test]
fn findings_speak_as_upstream_does() {
    check(
        json!({}),
        expect![[r#"
        spec.name | FieldValueRequired | Required value
    "#]],
    );
    check(
        json!({"name": "a", "size": 11, "ratio": 0, "mode": "x"}),
        expect![[r#"
        spec.mode | FieldValueNotSupported | Unsupported value: "x": supported values: "fast", "slow"
        spec.name | FieldValueInvalid | Invalid value: "a": spec.name in body should be at least 2 chars long
        spec.ratio | FieldValueInvalid | Invalid value: 0: spec.ratio in body should be greater than 0
        spec.size | FieldValueInvalid | Invalid value: 11: spec.size in body should be less than or equal to 10
    "#]],
    );
    check(
        json!({"name": "abcdef", "size": "2", "flag": "true", "port": true, "when": "yesterday"}),
        expect![[r#"
        spec.flag | FieldValueTypeInvalid | Invalid value: "string": spec.flag in body must be of type boolean: "string"
        spec.name | FieldValueTooLong | Too long: may not be more than 5 bytes
        spec.port | FieldValueTypeInvalid | Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"
        spec.size | FieldValueTypeInvalid | Invalid value: "string": spec.size in body must be of type integer: "string"
        spec.when | FieldValueTypeInvalid | Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"
    "#]],
    );
    check(
        json!({"name": "ABC", "small": 3000000000i64, "tags": ["a", "b", "c"], "template": {"metadata": {}}}),
        expect![[r#"
        spec.name | FieldValueInvalid | Invalid value: "ABC": spec.name in body should match '^[a-z]+$'
        <nil> | FieldValueInvalid | Invalid value: "": Checked value must be of type integer with format int32 in spec.small
        spec.tags | FieldValueTooMany | Too many: 3: must have at most 2 items
        spec.template.apiVersion | FieldValueRequired | Required value
        spec.template.kind | FieldValueRequired | Required value
    "#]],
    );
}

#[test]
fn lists_of_sets_and_maps_have_no_duplicates() {
    check(
        json!({"name": "abc", "tags": ["a", "a"], "parts": [{"id": "a"}, {"id": "a"}]}),
        expect![[r#"
        spec.parts[1] | FieldValueDuplicate | Duplicate value: {"id":"a"}
        spec.tags[1] | FieldValueDuplicate | Duplicate value: "a"
    "#]],
    );
}

#[test]
fn alternatives_are_counted() {
    check(
        json!({"name": "abc", "one": {}}),
        expect![[r#"
        <nil> | FieldValueInvalid | Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid
        spec.one.p | FieldValueRequired | Required value
    "#]],
    );
    check(
        json!({"name": "abc", "one": {"p": "a", "q": "b"}}),
        expect![[r#"
        <nil> | FieldValueInvalid | Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives
    "#]],
    );
}

#[test]
fn a_broken_pattern_is_named() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}});
    assert_eq!(Validator::compile(&schema).unwrap_err().path, "properties[a].pattern");
}
