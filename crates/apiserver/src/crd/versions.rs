//! Findings about the versions of a definition.
//!
//! A part that is the same in all versions is named without a version, as upstream does: it stores it once.

use api_meta::Cause;
use serde_json::Value;

use super::{text, versions};
use crate::pipeline::metadata::is_label;
use crate::refuse::{cause, required};
use crate::represent::path;

pub(super) fn check(definition: &Value, found: &mut Vec<Cause>) {
    let all: Vec<&Value> = versions(definition).collect();
    let stored = all.iter().filter(|v| v["storage"] == true).count();
    if stored != 1 {
        let why = "must have exactly one version marked as storage version";
        let shown = &definition["spec"]["versions"];
        found.push(cause("FieldValueInvalid", "spec.versions", format!("Invalid value: {shown}: {why}")));
    }
    for (i, version) in all.iter().enumerate() {
        let name = text(version, "/name");
        let field = format!("spec.versions[{i}].name");
        if !is_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let why = format!(
                "Invalid value: {name:?}: a DNS-1035 label must consist of lower case alphanumeric characters or '-'"
            );
            found.push(cause("FieldValueInvalid", &field, why));
        }
        if all[..i].iter().any(|other| other["name"] == version["name"]) {
            found.push(cause("FieldValueDuplicate", &field, format!("Duplicate value: {name:?}")));
        }
    }
    let shared = |pointer: &str| all.iter().all(|v| v.pointer(pointer) == all[0].pointer(pointer));
    for (i, version) in all.iter().enumerate() {
        let place = |pointer: &str, once: &str, each: &str| {
            if shared(pointer) {
                (once.to_owned(), i == 0)
            } else {
                (format!("spec.versions[{i}].{each}"), true)
            }
        };
        let schema = &version["schema"]["openAPIV3Schema"];
        let (field, is_first) = place("/schema", "spec.validation.openAPIV3Schema", "schema.openAPIV3Schema");
        if schema.is_null() {
            found.push(required(&format!("spec.versions[{i}].schema.openAPIV3Schema"), ""));
        } else if is_first {
            found.extend(api_schema::crd::check(schema, &field));
            found.extend(cel_rules::rules::check(schema, &field));
        }
        let (field, is_first) = place("/subresources", "spec.subresources", "subresources");
        if is_first {
            scale(&version["subresources"]["scale"], &format!("{field}.scale"), found);
        }
        let (field, is_first) =
            place("/additionalPrinterColumns", "spec.additionalPrinterColumns", "additionalPrinterColumns");
        if is_first {
            columns(&version["additionalPrinterColumns"], &field, found);
        }
        let (field, is_first) = place("/selectableFields", "spec.selectableFields", "selectableFields");
        if is_first {
            selectable(&version["selectableFields"], schema, &field, found);
        }
    }
}

fn invalid(field: String, value: &Value, why: &str) -> Cause {
    Cause { reason: "FieldValueInvalid".to_owned(), field, message: format!("Invalid value: {value}: {why}") }
}

const SIMPLE: &str = "must be a simple json path starting with .";

/// A path of plain keys.
fn is_simple(text: &str) -> bool {
    text.starts_with('.') && path::is_readable(text) && !text.contains("..")
}

fn scale(scale: &Value, field: &str, found: &mut Vec<Cause>) {
    if !scale.is_object() {
        return;
    }
    let rules: [(&str, &[&str], &str); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], "should be a json path under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .spec or .status"),
    ];
    for (key, homes, why) in rules {
        let field = format!("{field}.{key}");
        match scale[key].as_str() {
            None | Some("") if key == "labelSelectorPath" => {}
            None | Some("") => found.push(required(&field, "")),
            Some(path) if !is_simple(path) => found.push(invalid(field, &scale[key], SIMPLE)),
            Some(path) if !homes.iter().any(|h| path.starts_with(h)) => {
                found.push(invalid(field, &scale[key], why))
            }
            Some(_) => {}
        }
    }
}

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

fn columns(columns: &Value, field: &str, found: &mut Vec<Cause>) {
    for (i, column) in columns.as_array().into_iter().flatten().enumerate() {
        let at = |key: &str| format!("{field}[{i}].{key}");
        if text(column, "/name").is_empty() {
            found.push(required(&at("name"), ""));
        }
        match text(column, "/type") {
            "" => found.push(required(&at("type"), &format!("must be one of {}", COLUMN_TYPES.join(",")))),
            kind if !COLUMN_TYPES.contains(&kind) => {
                found.push(invalid(
                    at("type"),
                    &column["type"],
                    &format!("must be one of {}", COLUMN_TYPES.join(",")),
                ));
            }
            _ => {}
        }
        let format = text(column, "/format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            found.push(invalid(at("format"), &column["format"], &why));
        }
        match text(column, "/jsonPath") {
            "" => found.push(required(&at("JSONPath"), "")),
            path if !path.starts_with('.') || !path::is_readable(path) => {
                found.push(invalid(at("JSONPath"), &column["jsonPath"], SIMPLE));
            }
            _ => {}
        }
    }
}

/// Most fields that objects may be selected by.
const SELECTABLE_MAX: usize = 8;

fn selectable(fields: &Value, schema: &Value, field: &str, found: &mut Vec<Cause>) {
    let all = fields.as_array().map_or(&[][..], Vec::as_slice);
    if all.len() > SELECTABLE_MAX {
        let message = format!("Too many: {}: must have at most {SELECTABLE_MAX} items", all.len());
        found.push(cause("FieldValueTooMany", field, message));
    }
    for (i, one) in all.iter().enumerate() {
        let at = format!("{field}[{i}].jsonPath");
        let path = text(one, "/jsonPath");
        if path.is_empty() {
            found.push(required(&at, ""));
        } else if all[..i].contains(one) {
            found.push(cause("FieldValueDuplicate", &at, format!("Duplicate value: {path:?}")));
        } else if path == ".metadata" || path.starts_with(".metadata.") {
            found.push(invalid(at, &one["jsonPath"], "must not point to fields in metadata"));
        } else {
            found.extend(target(path, schema).err().map(|why| invalid(at, &one["jsonPath"], why)));
        }
    }
}

/// Whether a path leads to a scalar that the schema specifies.
fn target(path: &str, schema: &Value) -> Result<(), &'static str> {
    const NOWHERE: &str = "is an invalid path: does not refer to a valid field";
    let mut at = schema;
    for key in path.trim_start_matches('.').split('.') {
        at = &at["properties"][key];
    }
    match text(at, "/type") {
        "" => Err(NOWHERE),
        "string" | "boolean" | "integer" => Ok(()),
        _ => Err(
            "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
        ),
    }
}
