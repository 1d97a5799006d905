//! Protobuf facts of object fields: numbers, forms, and the messages around fields that JSON does not show.

use anyhow::Context;
use api_schema::{FieldSet, Proto, Wire};

use super::facts::Facts;

/// JSON names that protobuf spells otherwise.
const RENAMED: [(&str, &str); 5] =
    [("ref", "$ref"), ("schema", "$schema"), ("uID", "uid"), ("aPIGroup", "apiGroup"), ("Raw", "raw")];

/// The message of an OpenAPI type, if there is one.
pub(super) fn message(facts: &Facts, openapi: &str) -> Option<String> {
    let name = openapi.replacen("io.k8s.", "k8s.io.", 1).replace('-', "_");
    facts.messages.contains_key(&name).then_some(name)
}

/// Tells every field of `set` how the message carries it.
pub(super) fn annotate(facts: &Facts, message: &str, set: &mut FieldSet) -> anyhow::Result<()> {
    walk(facts, message, &[], set)
}

fn walk(facts: &Facts, message: &str, within: &[u32], set: &mut FieldSet) -> anyhow::Result<()> {
    let package = message.rsplit_once('.').map_or("", |(p, _)| p);
    for (tag, name, kind, label) in &facts.messages[message] {
        let map = label == "map";
        let value = if map { kind.trim_start_matches("map<string,").trim_end_matches('>') } else { kind };
        let Some(field) = set.fields.get_mut(&json_name(name, set_names(message))) else {
            let inner = full_name(facts, package, value)
                .with_context(|| format!("{message}.{name} has no JSON field and is no message"))?;
            let mut path = within.to_vec();
            path.push(*tag);
            walk(facts, &inner, &path, set)?;
            continue;
        };
        if field.proto.is_some() {
            continue;
        }
        let wire = wire(value);
        field.proto =
            Some(Proto { tag: *tag, within: within.to_vec(), wire, repeated: label == "repeated", map });
    }
    Ok(())
}

/// Whether the message is the one whose JSON names carry dashes.
fn set_names(message: &str) -> bool {
    message.ends_with(".JSONSchemaProps")
}

fn json_name(proto: &str, is_json_schema: bool) -> String {
    if let Some(rest) = proto.strip_prefix("xKubernetes") {
        let dashed = rest.chars().flat_map(|c| {
            let dash = c.is_ascii_uppercase().then_some('-');
            dash.into_iter().chain([c.to_ascii_lowercase()])
        });
        return format!("x-kubernetes{}", dashed.collect::<String>());
    }
    let special =
        RENAMED.iter().find(|(from, to)| *from == proto && (is_json_schema || !to.starts_with('$')));
    if let Some((_, to)) = special {
        return (*to).to_owned();
    }
    match proto {
        "Webhooks" | "Expression" | "Name" => proto.to_ascii_lowercase(),
        _ => proto.to_owned(),
    }
}

fn full_name(facts: &Facts, package: &str, kind: &str) -> Option<String> {
    let name = kind.strip_prefix('.').map_or_else(|| format!("{package}.{kind}"), str::to_owned);
    facts.messages.contains_key(&name).then_some(name)
}

fn wire(kind: &str) -> Wire {
    match kind {
        "string" => Wire::String,
        "bytes" => Wire::Bytes,
        "int32" => Wire::Int32,
        "int64" => Wire::Int64,
        "bool" => Wire::Bool,
        "double" => Wire::Double,
        "ExtraValue" => Wire::Strings,
        "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" => {
            Wire::SchemaUnion
        }
        _ => Wire::Message,
    }
}
