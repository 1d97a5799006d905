//! Behaviour of the kind CustomResourceDefinition itself.

use serde_json::{Map, Value, json};
use stdx::Time;

use super::{is_true, text, validate, versions};
use crate::registry::{Cell, Column, Context, Facts, Generation, Names};

/// The row of the kind table.
pub static FACTS: Facts = Facts {
    default,
    prepare_create,
    prepare_update,
    validate_create: |new, _| validate::create(new),
    validate_update: |new, old, context| validate::update(new, old, context.subresource),
    generation: Generation::Spec,
    names: Names::Subdomain,
    needs_version: true,
    columns: &[Column::new("Name", "string", "name", 0), Column::new("Created At", "date", "", 0)],
    row,
    ..Facts::PLAIN
};

/// Names that follow from others, and no conversion.
fn default(object: &mut Value) {
    let kind = text(object, "/spec/names/kind").to_owned();
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", if kind.is_empty() { kind } else { format!("{kind}List") });
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec.insert("conversion".to_owned(), json!({"strategy": "None"}));
    }
    service_ports(&mut spec["conversion"]);
}

fn fill(map: &mut Map<String, Value>, key: &str, value: String) {
    if map.get(key).and_then(Value::as_str).unwrap_or_default().is_empty() && !value.is_empty() {
        map.insert(key.to_owned(), Value::String(value));
    }
}

fn service_ports(conversion: &mut Value) {
    if let Some(service) =
        conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut)
    {
        service.entry("port").or_insert(443.into());
    }
}

fn prepare_create(object: &mut Value, _: &Context<'_>) {
    object["status"] =
        json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null});
    store_version(object);
    drop_preserve(object);
}

fn prepare_update(new: &mut Value, old: &Value, context: &Context<'_>) {
    if context.subresource.is_empty() {
        new["status"] = old["status"].clone();
        store_version(new);
        drop_preserve(new);
    }
}

/// `false` is what is served; it is left out as upstream does.
fn drop_preserve(object: &mut Value) {
    if object["spec"]["preserveUnknownFields"] == false {
        object["spec"].as_object_mut().map(|spec| spec.remove("preserveUnknownFields"));
    }
}

/// The version that new objects are stored in joins those that may still be on disk.
fn store_version(object: &mut Value) {
    let stored = versions(object).find(|v| v["storage"] == true).map(|v| v["name"].clone());
    let Some(stored) = stored else { return };
    let known = &mut object["status"]["storedVersions"];
    match known.as_array_mut() {
        Some(all) if all.contains(&stored) => {}
        Some(all) => all.push(stored),
        None => *known = json!([stored]),
    }
}

fn row(object: &Value, _: Time) -> Vec<Cell> {
    vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()]
}

/// Whether objects of the definition are served.
pub(super) fn is_served(definition: &Value) -> bool {
    is_true(definition, "Established") && is_true(definition, "NamesAccepted")
}
