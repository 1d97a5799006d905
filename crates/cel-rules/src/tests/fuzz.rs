//! Whatever is typed: an answer, within the budget, and never a panic.

use proptest::prelude::*;
use serde_json::json;

use crate::rules::{Rules, check};
use crate::{Budget, Env, Type, Value};

/// Pieces that expressions are made of, so that many of those made at random can be compiled.
const PIECES: [&str; 44] = [
    "object",
    "self",
    "1",
    "-1",
    "2u",
    "1.5",
    "'a'",
    "b'a'",
    "true",
    "null",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ".",
    "?",
    ":",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "<",
    "in",
    "&&",
    "||",
    ".all(x, ",
    ".map(x, x",
    ".filter(y, ",
    ".size()",
    "has(",
    "object.list",
    "object.map",
    ".replace('a', 'bb')",
    ".matches('a+')",
    "x",
    "[?",
    "'%s'.format([",
    ".split('')",
];

fn run(source: &str) {
    let env = Env::default().with("object", Type::Dyn).with("self", Type::Dyn);
    let Ok(program) = env.compile(source) else { return };
    let object = json!({"list": [1, "a", null, [2]], "map": {"a": 1, "b": {"c": "d"}}});
    let mut budget = Budget::new(20_000);
    let value = Value::of(&object);
    let _ = program.run(&[("object", value.clone()), ("self", value)], &mut budget);
    // One call may overdraw; nothing runs after it.
    assert!(budget.spent() < 1_000_000_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(source in "\\PC{0,60}") {
        run(&source);
    }

    #[test]
    fn any_arrangement_of_pieces_is_answered(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24)) {
        run(&pieces.concat());
        run(&pieces.join(" "));
    }

    #[test]
    fn any_rule_on_any_schema_is_judged(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..16),
        kind in prop::sample::select(vec!["string", "integer", "number", "boolean", "object", "array"]),
        own in prop::sample::select(vec![json!("a"), json!(1), json!(null), json!({"a": 1}), json!([1])]),
    ) {
        let rules = json!([{"rule": pieces.join(" "), "messageExpression": pieces.concat(), "fieldPath": pieces.concat()}]);
        let part = json!({"type": kind, "items": {"type": "string"}, "x-kubernetes-validations": rules});
        let schema = json!({"type": "object", "properties": {"a": part}});
        check(&schema, "s");
        if let Some(rules) = Rules::compile(&schema) {
            rules.judge(&json!({ "a": own }), Some(&json!({"a": "b"})));
        }
    }
}
