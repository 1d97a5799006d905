use serde_json::{Value as Json, json};

use crate::rules::{Rules, check};

fn rule(text: &str) -> Json {
    json!([{"rule": text}])
}

fn found(schema: &Json, new: &Json, old: Option<&Json>) -> Vec<String> {
    let found = Rules::compile(schema).expect("it has rules").judge(new, old);
    let warned = found.warnings.into_iter().map(|w| format!("warning {w}"));
    found
        .causes
        .into_iter()
        .map(|c| format!("{}: {} ({})", c.field, c.message, c.reason))
        .chain(warned)
        .collect()
}

fn judged(spec: Json, new: Json, old: Option<Json>) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    found(&schema, &json!({"spec": new}), old.map(|old| json!({"spec": old})).as_ref())
}

#[test]
fn messages_paths_and_reasons_are_those_of_the_rule() {
    let spec = json!({"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}},
    "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "message": "min over max", "fieldPath": ".min"},
        {"rule": "self.max < 10", "messageExpression": "'max is ' + string(self.max)", "reason": "FieldValueForbidden"},
        {"rule": "self.max != 20", "reason": "FieldValueDuplicate"},
    ]});
    assert_eq!(
        judged(spec, json!({"min": 30, "max": 20}), None),
        [
            "spec.min: Invalid value: min over max (FieldValueInvalid)",
            "spec: Forbidden: max is 20 (FieldValueForbidden)",
            "spec: Duplicate value (FieldValueDuplicate)",
        ]
    );
}

#[test]
fn findings_show_scalars_and_name_the_place() {
    let spec = json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rule("self != 'bad'")}},
        "map": {"type": "object", "additionalProperties": {"type": "integer", "x-kubernetes-validations": rule("self > 0")}},
    }});
    assert_eq!(
        judged(spec, json!({"list": ["good", "bad"], "map": {"k": 0}}), None),
        [
            "spec.list[1]: Invalid value: \"bad\": failed rule: self != 'bad' (FieldValueInvalid)",
            "spec.map[k]: Invalid value: 0: failed rule: self > 0 (FieldValueInvalid)",
        ]
    );
}

#[test]
fn rules_about_changes_run_where_the_old_value_is_known() {
    let keyed = json!({"type": "object", "properties": {"items": {"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id"], "items": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string"}, "v": {"type": "integer", "x-kubernetes-validations": rule("self >= oldSelf")}}}}}});
    let old = json!({"items": [{"id": "a", "v": 1}, {"id": "b", "v": 5}]});
    let moved = json!({"items": [{"id": "b", "v": 4}, {"id": "a", "v": 2}, {"id": "c", "v": 0}]});
    assert_eq!(
        judged(keyed.clone(), moved, Some(old.clone())),
        ["spec.items[0].v: Invalid value: 4: failed rule: self >= oldSelf (FieldValueInvalid)"]
    );
    assert!(judged(keyed, old, None).is_empty());
}

#[test]
fn an_optional_old_value_lets_a_rule_run_on_creation() {
    let spec = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "x-kubernetes-validations": [
        {"rule": "!oldSelf.hasValue() ? self.n == 1 : self.n >= oldSelf.value().n", "optionalOldSelf": true}
    ]});
    assert_eq!(judged(spec.clone(), json!({"n": 2}), None).len(), 1);
    assert!(judged(spec.clone(), json!({"n": 1}), None).is_empty());
    assert_eq!(judged(spec, json!({"n": 0}), Some(json!({"n": 1}))).len(), 1);
}

#[test]
fn what_was_broken_before_and_is_as_it_was_is_told_and_not_refused() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": rule("self != 'x'")}, "b": {"type": "string"},
        "l": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rule("self != 'x'")}},
    }});
    let old = json!({"a": "x", "b": "1", "l": ["x"]});
    assert_eq!(
        judged(spec.clone(), json!({"a": "x", "b": "2", "l": ["x"]}), Some(old.clone())),
        [
            "warning spec.a: Invalid value: \"x\": failed rule: self != 'x'",
            "warning spec.l[0]: Invalid value: \"x\": failed rule: self != 'x'",
        ]
    );
    // The items of this list are not known again, so a change of any of them is a change of all.
    assert_eq!(
        judged(spec, json!({"a": "x", "b": "1", "l": ["x", "y"]}), Some(old)),
        [
            "spec.l[0]: Invalid value: \"x\": failed rule: self != 'x' (FieldValueInvalid)",
            "warning spec.a: Invalid value: \"x\": failed rule: self != 'x'",
        ]
    );
}

#[test]
fn errors_of_a_run_are_findings() {
    let spec = json!({"type": "object", "properties": {
        "a": {"type": "string"}, "n": {"x-kubernetes-int-or-string": true}
    }, "x-kubernetes-validations": [{"rule": "self.a == 'x'"}, {"rule": "self.n > 1", "message": "n!"}]});
    assert_eq!(
        judged(spec, json!({"n": "s"}), None),
        [
            "spec: Invalid value: no such key: a evaluating rule: self.a == 'x' (FieldValueInvalid)",
            "spec: Invalid value: 'no such overload': call arguments did not match a supported operator, function or macro \
             signature for rule: n! (FieldValueInvalid)",
        ]
    );
}

#[test]
fn the_root_sees_names_and_nothing_else_of_metadata() {
    let mut schema = json!({"type": "object", "x-kubernetes-validations": [
        {"rule": "self.metadata.name.startsWith('w')", "message": "name must begin with w"}
    ]});
    assert_eq!(
        found(&schema, &json!({"metadata": {"name": "a"}}), None),
        ["<nil>: Invalid value: name must begin with w (FieldValueInvalid)"]
    );
    schema["x-kubernetes-validations"] = rule("has(self.metadata.labels)");
    assert!(check(&schema, "s")[0].message.contains("undefined field 'labels'"));
}

#[test]
fn a_definition_with_wrong_rules_is_refused_in_upstreams_words() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}},
        "x-kubernetes-validations": rule("self.zz == 1")}}});
    let causes = check(&schema, "spec.validation.openAPIV3Schema");
    assert_eq!(
        causes[0].field,
        "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    );
    assert_eq!(
        causes[0].message,
        "Invalid value: {\"Rule\":\"self.zz == 1\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\
         \"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: undefined field 'zz'\n | self.zz == 1\n | ....^"
    );
}

fn fields(schema: Json) -> Vec<String> {
    check(&schema, "s").into_iter().map(|c| format!("{}: {}", c.field, c.message)).collect()
}

#[test]
fn a_rule_must_be_a_truth_its_message_a_text_and_its_path_a_field() {
    let with = |rule: Json| {
        fields(json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}},
        "x-kubernetes-validations": [rule]}))
    };
    assert!(with(json!({"rule": "self.a"}))[0].ends_with("cel expression must evaluate to a bool"));
    assert!(
        with(json!({"rule": "true", "messageExpression": "1"}))[0]
            .ends_with("messageExpression must evaluate to a string")
    );
    assert!(
        with(json!({"rule": "true", "fieldPath": ".b"}))[0]
            .starts_with("s.x-kubernetes-validations[0].fieldPath")
    );
    assert!(
        with(json!({"rule": "true", "optionalOldSelf": true}))[0]
            .contains("may not be set if oldSelf is not used")
    );
    assert!(
        with(json!({"rule": "self.a == oldSelf.a", "messageExpression": "'was ' + oldSelf.a"})).is_empty()
    );
}

#[test]
fn a_rule_that_may_cost_too_much_is_refused() {
    let list = |max: Option<u64>| {
        let mut list = json!({"type": "array", "items": {"type": "string", "maxLength": 100},
            "x-kubernetes-validations": rule("self.all(x, self.all(y, x == y))")});
        if let Some(max) = max {
            list["maxItems"] = max.into();
        }
        fields(json!({"type": "object", "properties": {"l": list}}))
    };
    assert!(list(Some(50)).is_empty());
    let open = list(None);
    assert!(
        open[0].contains("Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try"),
        "{open:?}"
    );
    assert!(open.iter().any(|c| c.contains("cost total for entire OpenAPIv3 schema exceeds budget")));
}

#[test]
fn changes_of_items_that_are_not_known_again_cannot_be_judged() {
    let schema = json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 3, "items": {"type": "integer",
        "x-kubernetes-validations": rule("self == oldSelf")}}}});
    assert_eq!(
        fields(schema),
        [
            "s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on \
          the uncorrelatable portion of the schema within s.properties[l]"
        ]
    );
}

#[test]
fn rules_stand_also_in_constraints() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "allOf": [
        {"properties": {"a": {"x-kubernetes-validations": rule("self > 1")}}}
    ]});
    assert_eq!(found(&schema, &json!({"a": 1}), None).len(), 1);
}
