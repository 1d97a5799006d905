//! Rules about `metadata` that hold for every kind: what the server owns, names, labels, finalizers, immutability.

use api_meta::Cause;
use serde_json::{Map, Value};
use stdx::{Env, Time};

use crate::refuse::{cause, invalid_value, required};
use crate::registry::{Generation, Names, Served};

/// `metadata` as a map, made if it is not there.
pub(crate) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"].as_object_mut().expect("made one line above")
}

/// A text of `metadata`; empty when absent.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// Whether deletion was asked for.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Names in `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let list = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    list.filter_map(|f| f.as_str().map(str::to_owned)).collect()
}

/// Fields of `metadata` that a new object does not have.
const NOT_YET: [&str; 4] = ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"];

/// Drops what a client cannot say about a new object.
pub(crate) fn strip(object: &mut Value) {
    let metadata = of(object);
    NOT_YET.iter().for_each(|key| drop(metadata.remove(*key)));
}

/// What the server writes into the metadata of a new object.
pub(crate) fn stamp(object: &mut Value, served: &Served, namespace: &str, env: &Env) {
    strip(object);
    let metadata = of(object);
    metadata.remove("resourceVersion");
    metadata.insert("uid".into(), stdx::uid(&*env.rng).into());
    metadata.insert("creationTimestamp".into(), env.now().to_string().into());
    if namespace.is_empty() {
        metadata.remove("namespace");
    } else {
        metadata.insert("namespace".into(), namespace.into());
    }
    if served.facts.generation != Generation::None {
        metadata.insert("generation".into(), 1.into());
    }
}

/// Brings the server's own fields of `old` into `new`; a client that claims another identity is refused by validation.
pub(crate) fn carry(new: &mut Value, old: &Value) {
    let was = &old["metadata"];
    let metadata = of(new);
    if metadata.get("uid").is_none_or(Value::is_null) {
        metadata.insert("uid".into(), was["uid"].clone());
    }
    for key in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if was[key].is_null() {
            metadata.remove(key);
        } else {
            metadata.insert(key.into(), was[key].clone());
        }
    }
    match &was["generation"] {
        Value::Null => metadata.remove("generation"),
        generation => metadata.insert("generation".into(), generation.clone()),
    };
    metadata.remove("selfLink");
}

/// The next generation, when the desired state changed.
pub(crate) fn bump(new: &mut Value, old: &Value, rule: Generation) {
    let changed = match rule {
        Generation::None => false,
        Generation::Spec => new["spec"] != old["spec"],
        Generation::Whole => differs(new, old, &["metadata", "status"]),
        Generation::WithStatus => differs(new, old, &["metadata"]),
    };
    if changed {
        next_generation(new, old);
    }
}

/// One more than the generation of `old`.
pub(crate) fn next_generation(new: &mut Value, old: &Value) {
    let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
    of(new).insert("generation".into(), generation.into());
}

fn differs(a: &Value, b: &Value, except: &[&str]) -> bool {
    let keep = |v: &Value| -> Map<String, Value> {
        let entries = v.as_object().into_iter().flatten();
        entries.filter(|(k, _)| !except.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    keep(a) != keep(b)
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
    alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation \
    is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED_WHOLE: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// RFC 1123 label.
pub(crate) fn is_label(text: &str) -> bool {
    let b = text.as_bytes();
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(b.first())
        && edge(b.last())
        && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
}

/// RFC 1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && !text.is_empty() && text.split('.').all(|part| is_label_of(part, 253))
}

fn is_label_of(text: &str, length_max: usize) -> bool {
    text.len() <= length_max && {
        let b = text.as_bytes();
        let plain = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        b.first().is_some_and(plain)
            && b.last().is_some_and(plain)
            && b.iter().all(|c| plain(c) || *c == b'-')
    }
}

fn is_loose_name(text: &str, length_max: usize) -> bool {
    let b = text.as_bytes();
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= length_max
        && edge(b.first())
        && edge(b.last())
        && b.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

/// What is wrong with a name.
fn name_faults(name: &str, rule: Names) -> Vec<String> {
    let mut faults = Vec::new();
    let too_long = |max: usize| format!("must be no more than {max} characters");
    let (max, ok, text) = match rule {
        Names::Subdomain => {
            (253, name.is_empty() || name.split('.').all(|p| is_label_of(p, usize::MAX)), SUBDOMAIN)
        }
        Names::Label => (63, is_label_of(name, usize::MAX), LABEL),
        Names::Label1035 => {
            let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
            (63, starts && is_label_of(name, usize::MAX), LABEL_1035)
        }
        Names::Segment => return segment_faults(name),
    };
    if name.len() > max {
        faults.push(too_long(max));
    }
    if !ok {
        faults.push(text.to_owned());
    }
    faults
}

fn segment_faults(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"].iter().filter(|c| name.contains(**c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// Findings about the metadata of any object.
pub(crate) fn validate(object: &Value, served: &Served) -> Vec<Cause> {
    let mut out = Vec::new();
    let (name, prefix) = (text(object, "name"), text(object, "generateName"));
    if !prefix.is_empty() {
        let checked = prefix.trim_end_matches('-');
        let checked = if prefix.ends_with('-') { format!("{checked}a") } else { prefix.to_owned() };
        let faults = name_faults(&checked, served.facts.names);
        out.extend(faults.iter().map(|f| invalid_value("metadata.generateName", prefix, f)));
    }
    if name.is_empty() {
        out.push(required("metadata.name", "name or generateName is required"));
    } else {
        let faults = name_faults(name, served.facts.names);
        out.extend(faults.iter().map(|f| invalid_value("metadata.name", name, f)));
    }
    out.extend(validate_parts(object));
    if !OPEN_FINALIZERS.contains(&&*served.resource.group) && !served.is_custom() {
        for (i, name) in finalizers(object).iter().enumerate() {
            let field = format!("metadata.finalizers[{i}]");
            out.extend(finalizer_fault(name).map(|fault| invalid_value(&field, name, fault)));
        }
    }
    out
}

/// Built-in groups whose objects may carry finalizers of any name, as those of custom kinds may.
const OPEN_FINALIZERS: [&str; 2] = ["admissionregistration.k8s.io", "apiextensions.k8s.io"];

/// What is wrong with a finalizer of a built-in kind beyond its form.
pub(crate) fn finalizer_fault(name: &str) -> Option<&'static str> {
    let is_standard = matches!(name, "kubernetes" | "orphan" | "foregroundDeletion");
    let fault = "name is neither a standard finalizer name nor is it fully qualified";
    (!is_standard && !name.contains('/')).then_some(fault)
}

/// Findings about labels, annotations, owners and finalizers.
fn validate_parts(object: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let map = |key: &str| object["metadata"][key].as_object().into_iter().flatten();
    for (key, value) in map("labels") {
        out.extend(key_faults(key).iter().map(|f| invalid_value("metadata.labels", key, f)));
        let value = value.as_str().unwrap_or_default();
        out.extend(label_value_faults(value).iter().map(|f| invalid_value("metadata.labels", value, f)));
    }
    for (key, _) in map("annotations") {
        out.extend(
            key_faults(&key.to_lowercase()).iter().map(|f| invalid_value("metadata.annotations", key, f)),
        );
    }
    out.extend(annotation_size(object));
    out.extend(owners(object));
    out.extend(finalizer_names(object));
    out
}

/// What is wrong with a qualified key such as `example.com/name`.
pub(crate) fn key_faults(key: &str) -> Vec<String> {
    let mut out = Vec::new();
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((prefix, name)) => (Some(prefix), name),
    };
    if name.contains('/') {
        return vec![QUALIFIED_WHOLE.to_owned()];
    }
    match prefix {
        Some("") => out.push("prefix part must be non-empty".to_owned()),
        Some(prefix) if !is_subdomain(prefix) => out.push(format!("prefix part {SUBDOMAIN}")),
        _ => {}
    }
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_loose_name(name, usize::MAX) {
        out.push(QUALIFIED.to_owned());
    }
    out
}

/// What is wrong with the value of a label.
pub(crate) fn label_value_faults(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    if value.len() > 63 {
        out.push("must be no more than 63 characters".to_owned());
    }
    if !value.is_empty() && !is_loose_name(value, usize::MAX) {
        out.push(LABEL_VALUE.to_owned());
    }
    out
}

/// All annotations of an object together.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

fn annotation_size(object: &Value) -> Option<Cause> {
    let all = object["metadata"]["annotations"].as_object()?;
    let size: usize = all.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    let text = format!("Too long: may not be more than {ANNOTATIONS_BYTES_MAX} bytes");
    (size > ANNOTATIONS_BYTES_MAX).then(|| cause("FieldValueTooLong", "metadata.annotations", text))
}

fn owners(object: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let mut controllers = 0;
    for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences.{key}");
                let why = if key == "apiVersion" { "version must not be empty" } else { "must not be empty" };
                out.push(invalid_value(&field, "", why));
            }
        }
        if owner["apiVersion"] == "v1" && owner["kind"] == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            let text = format!("Invalid value: {owner}: {why}");
            out.push(cause("FieldValueInvalid", "metadata.ownerReferences", text));
        }
        controllers += usize::from(owner["controller"] == Value::Bool(true));
    }
    if controllers > 1 {
        let why = "Only one reference can have Controller set to true";
        out.push(invalid_value("metadata.ownerReferences", "", why));
    }
    out
}

fn finalizer_names(object: &Value) -> Vec<Cause> {
    let mut out = Vec::new();
    let all = finalizers(object);
    for name in &all {
        for fault in key_faults(name) {
            out.push(invalid_value("metadata.finalizers", name, &fault));
        }
    }
    let both = ["foregroundDeletion", "orphan"].iter().all(|f| all.iter().any(|a| a == f));
    if both {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        out.push(invalid_value("metadata.finalizers", &all, why));
    }
    out
}

/// Findings about a change of metadata.
pub(crate) fn validate_change(new: &Value, old: &Value) -> Vec<Cause> {
    let mut out = validate_parts(new);
    for key in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let (is, was) = (&new["metadata"][key], &old["metadata"][key]);
        if is != was {
            let shown = is.as_str().map_or_else(|| is.to_string(), |s| format!("{s:?}"));
            let text = format!("Invalid value: {shown}: field is immutable");
            out.push(cause("FieldValueInvalid", &format!("metadata.{key}"), text));
        }
    }
    if is_terminating(old) {
        let before = finalizers(old);
        let added: Vec<String> = finalizers(new).into_iter().filter(|f| !before.contains(f)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let why = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            out.push(cause("FieldValueForbidden", "metadata.finalizers", why));
        }
    }
    out
}

/// A moment as stored in `metadata`.
pub(crate) fn moment(time: Time) -> Value {
    Value::String(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        for (name, rule, ok) in [
            ("a.b-c", Names::Subdomain, true),
            ("A", Names::Subdomain, false),
            ("a_b", Names::Subdomain, false),
            ("a.b", Names::Label, false),
            ("1a", Names::Label1035, false),
            ("system:node", Names::Segment, true),
            ("a/b", Names::Segment, false),
        ] {
            assert_eq!(name_faults(name, rule).is_empty(), ok, "{name}");
        }
        assert_eq!(name_faults(&"a".repeat(254), Names::Subdomain), ["must be no more than 253 characters"]);
    }

    #[test]
    fn label_keys_may_have_a_domain() {
        assert!(key_faults("example.com/Name_1").is_empty());
        for bad in ["", "/a", "a/", "a/b/c", "UPPER.com/a", "-a"] {
            assert!(!key_faults(bad).is_empty(), "{bad}");
        }
    }
}
