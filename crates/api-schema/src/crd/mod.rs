//! Schemas of CustomResourceDefinitions: whether they may be, and their form as [`Types`](crate::Types).
//!
//! ```text
//! openAPIV3Schema --check--> findings, as kube-apiserver 1.36 words them
//!                \--compile--> Types: decode, prune, default, apply
//!                 \--Validator::compile--> constraints on values
//! ```
//!
//! What is absent: rules in CEL, of which only the words around them are judged here; `cel-rules` knows the language.

mod compile;
mod extensions;
mod structural;

pub use compile::compile;
pub use structural::{check, non_structural};

use serde_json::Value;

/// The schemas directly below one that say what values look like, with the step that leads to each.
fn children(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let named = properties.map(|(name, child)| (format!("properties[{name}]"), child));
    let single = ["additionalProperties", "items"].into_iter();
    let single = single.map(|k| (k.to_owned(), &schema[k])).filter(|(_, child)| child.is_object());
    named.chain(single)
}

/// The schemas directly below one that only constrain values, with the step that leads to each.
fn junctors(schema: &Value) -> impl Iterator<Item = (String, &Value)> {
    let many = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(move |k| {
        let list = schema[k].as_array().into_iter().flatten().enumerate();
        list.map(move |(i, child)| (format!("{k}[{i}]"), child))
    });
    many.chain(Some(("not".to_owned(), &schema["not"])).filter(|(_, child)| child.is_object()))
}

fn flag(schema: &Value, key: &str) -> bool {
    schema[key] == Value::Bool(true)
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema[key].as_str().unwrap_or_default()
}
