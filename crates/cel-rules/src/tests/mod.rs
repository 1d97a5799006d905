//! The language as a whole: values, texts of errors, costs, and whatever anybody may type.

mod fuzz;
mod language;
mod libraries;
mod rules;

use serde_json::{Value as Json, json};

use crate::{Budget, CALL_COST_MAX, Env, Type, Value, schema};

/// What an expression gives, as text; errors too.
fn shown(source: &str) -> String {
    let object =
        json!({"name": "a", "n": 3, "list": [1, 2, 3], "map": {"k": "v"}, "nested": {"x": {"y": 1}}});
    let env = Env::default().with("object", Type::Dyn);
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    match program.run(&[("object", Value::of(&object))], &mut Budget::new(CALL_COST_MAX)) {
        Ok(value) => text(&value),
        Err(error) => format!("error: {error}"),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => format!("{n}u"),
        Value::Double(n) => format!("{n:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(list) => format!("[{}]", list.items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entry = |(k, v): (&crate::Key, &Value)| format!("{}: {}", text(&k.value()), text(v));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(inner)) => format!("some({})", text(inner)),
        Value::Duration(nanos) => format!("{nanos}ns"),
        Value::Timestamp(moment) => moment.to_string(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(cidr) => cidr.to_string(),
        other => other.type_name().to_owned(),
    }
}

fn check(pairs: &[(&str, &str)]) {
    for (source, expected) in pairs {
        assert_eq!(shown(source), *expected, "{source}");
    }
}

/// An expression about `self` of a schema.
fn about(schema: &Json, source: &str, own: &Json) -> String {
    let of = schema::type_of(schema, false).unwrap();
    match Env::default().with("self", of.clone()).compile(source) {
        Ok(program) => {
            match program.run(&[("self", schema::value(own, &of))], &mut Budget::new(CALL_COST_MAX)) {
                Ok(value) => text(&value),
                Err(error) => format!("error: {error}"),
            }
        }
        Err(error) => error.to_string(),
    }
}
