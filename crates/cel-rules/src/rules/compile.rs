//! Schemas into trees of compiled rules.

use serde_json::Value as Json;

use super::{Node, Rule, Words, path, rules_of};
use crate::env::{Env, Program};
use crate::schema;
use crate::types::Type;

pub(super) fn root(schema: &Json) -> Option<Node> {
    node(schema, schema, schema::type_of(schema, true)?)
}

/// What expressions of a part may read.
pub(super) fn env(of: &Type, is_old_optional: bool) -> Env {
    let old = if is_old_optional { Type::optional(of.clone()) } else { of.clone() };
    Env::default().with("self", of.clone()).with("oldSelf", old)
}

fn is_embedded(schema: &Json) -> bool {
    schema["x-kubernetes-embedded-resource"] == Json::Bool(true)
}

/// Rules of `validation`, which is the schema itself or a constraint on it, over values of `schema`.
fn node(validation: &Json, schema: &Json, of: Type) -> Option<Node> {
    let child = |validation: &Json, schema: &Json| {
        let of = schema::type_of(schema, is_embedded(schema))?;
        node(validation, schema, of)
    };
    let both = |key: &str| {
        let (v, s) = (&validation[key], &schema[key]);
        if v.is_object() && s.is_object() { child(v, s).map(Box::new) } else { None }
    };
    let properties = validation["properties"].as_object().into_iter().flatten();
    let properties = properties.filter_map(|(name, v)| {
        let s = schema["properties"].get(name)?;
        child(v, s).map(|n| (name.clone(), n))
    });
    let all_of = validation["allOf"].as_array().into_iter().flatten();
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    let is_keyed = schema["x-kubernetes-list-type"] == "map";
    let out = Node {
        rules: rules_of(validation).filter_map(|r| rule(Words::of(r), schema, &of)).collect(),
        properties: properties.collect(),
        additional: both("additionalProperties"),
        items: both("items"),
        all_of: all_of.filter_map(|v| node(v, schema, of.clone())).collect(),
        keys: is_keyed.then(|| keys.filter_map(Json::as_str).map(str::to_owned).collect()),
        is_granular: schema["x-kubernetes-map-type"] != "atomic",
        of,
    };
    let has_some = !(out.rules.is_empty() && out.properties.is_empty() && out.all_of.is_empty())
        || out.additional.is_some()
        || out.items.is_some();
    has_some.then_some(out)
}

/// A rule; nothing when it cannot be compiled, which a definition is refused for before it comes here.
fn rule(words: Words, schema: &Json, of: &Type) -> Option<Rule> {
    let env = env(of, words.optional_old == Some(true));
    let program = env.compile(&words.rule).ok()?;
    let message = match words.message_expression.as_str() {
        "" => None,
        text => env.compile(text).ok(),
    };
    let below = path::normal(&words.field_path, schema).unwrap_or_default();
    Some(Rule { reads_old: reads_old(&program), words, program, message, below })
}

pub(super) fn reads_old(program: &Program) -> bool {
    program.reads("oldSelf")
}
