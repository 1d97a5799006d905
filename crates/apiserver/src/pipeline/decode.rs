//! Stage: the body becomes a tree of the expected kind; what it should not contain is refused, warned of or dropped.

use api_meta::{Reason, Status};
use api_schema::{Schema, Unknown};
use serde_json::{Map, Value};

use crate::refuse::{Outcome, Refusal, bad_request, refuse};
use crate::registry::Served;
use crate::server::Call;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Json,
    Yaml,
    Protobuf,
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    Ignore,
    Warn,
    Strict,
}

/// What kind of object a body should be.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) schema: Option<Schema<'a>>,
    pub(crate) is_custom: bool,
}

impl Expected<'_> {
    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Objects of a served resource.
pub(crate) fn expected(served: &Served) -> Expected<'_> {
    Expected {
        group: &served.resource.group,
        version: &served.resource.version,
        kind: &served.resource.kind,
        schema: served.schema(),
        is_custom: served.is_custom(),
    }
}

const ACCEPTED: &str = "the body of the request was in an unknown format - accepted media types include: \
                        application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// How the body of a request is written.
pub(crate) fn wire(call: &Call) -> Outcome<Wire> {
    match media_type(call) {
        "" | "application/json" => Ok(Wire::Json),
        "application/yaml" => Ok(Wire::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Wire::Protobuf),
        _ => Err(refuse(Reason::UnsupportedMediaType, ACCEPTED)),
    }
}

/// Media type of the body without parameters.
pub(crate) fn media_type(call: &Call) -> &str {
    call.header(http::header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim()
}

/// What the request wants done about unknown and duplicate fields.
pub(crate) fn strictness(call: &Call) -> Strictness {
    match call.query.get("fieldValidation") {
        "Ignore" => Strictness::Ignore,
        "Strict" => Strictness::Strict,
        _ => Strictness::Warn,
    }
}

/// Refuses a body that is too large.
pub(crate) fn check_size(call: &Call) -> Outcome<()> {
    let limit = call.server.limits.body_bytes_max;
    if call.body.len() > limit {
        let text = format!("Request entity too large: limit is {limit}");
        return Err(Status::failure(Reason::RequestEntityTooLarge, text).into());
    }
    Ok(())
}

/// The whole object in the body: of the expected kind, checked, not yet defaulted.
pub(crate) fn object(call: &Call, expected: &Expected<'_>) -> Outcome<Value> {
    check_size(call)?;
    let (tree, duplicates) = match wire(call)? {
        Wire::Json => json(&call.body, expected)?,
        Wire::Yaml => yaml(&call.body, expected)?,
        Wire::Protobuf => (protobuf(&call.body, expected)?, Vec::new()),
    };
    let mut object = whole(&call.body, tree, expected)?;
    type_meta(call, &mut object, expected)?;
    let found = check(&mut object, expected).map_err(|e| cannot_be_handled(&object, expected, &e))?;
    let findings = findings(&duplicates, &found);
    match strictness(call) {
        Strictness::Ignore => {}
        Strictness::Warn => findings.into_iter().for_each(|f| call.warn(f)),
        Strictness::Strict if findings.is_empty() => {}
        Strictness::Strict => {
            let text = format!("strict decoding error: {}", findings.join(", "));
            return Err(cannot_be_handled(&object, expected, &text));
        }
    }
    Ok(object)
}

/// Findings as sentences: duplicates first.
pub(crate) fn findings(duplicates: &[String], unknown: &[String]) -> Vec<String> {
    let duplicates = duplicates
        .iter()
        .map(|d| if d.starts_with("line ") { d.clone() } else { format!("duplicate field \"{d}\"") });
    duplicates.chain(unknown.iter().map(|u| format!("unknown field \"{u}\""))).collect()
}

/// Drops what the kind does not know and brings the rest into its stored form; gives the names of what was dropped.
pub(crate) fn check(object: &mut Value, expected: &Expected<'_>) -> Result<Vec<String>, String> {
    let owners = cleared_owners(object);
    let found = match expected.schema {
        None => Ok(Vec::new()),
        Some(schema) if expected.is_custom => {
            check_metadata(object).map(|()| api_schema::prune(schema, object))
        }
        Some(schema) => api_schema::check_fields(schema, object, Unknown::Name).map_err(|e| e.0),
    };
    put_owners(object, owners);
    found
}

/// Metadata of a custom object has the types of any object's metadata; its record of managers is read elsewhere.
fn check_metadata(object: &Value) -> Result<(), String> {
    let schema = api_tables::tables().schema("", "v1", "ConfigMap").and_then(|s| s.at(&["metadata"]));
    let (Some(schema), Some(metadata)) = (schema, object["metadata"].as_object()) else { return Ok(()) };
    let told = metadata.iter().filter(|(key, _)| *key != "managedFields");
    let mut told = Value::Object(told.map(|(k, v)| (k.clone(), v.clone())).collect());
    api_schema::check_fields(schema, &mut told, Unknown::Ignore).map(drop).map_err(|e| e.0)
}

/// `managedFields: []` asks to clear them, which the stored form cannot tell from absent.
fn cleared_owners(object: &Value) -> Option<Value> {
    let owners = object.get("metadata")?.get("managedFields")?;
    let is_cleared = owners.as_array().is_some_and(|list| match list.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    is_cleared.then(|| Value::Array(Vec::new()))
}

fn put_owners(object: &mut Value, owners: Option<Value>) {
    if let Some(owners) = owners
        && let Some(metadata) = object["metadata"].as_object_mut()
    {
        metadata.insert("managedFields".into(), owners);
    }
}

/// Schema defaults, then the kind's own.
pub(crate) fn default(object: &mut Value, served: &Served) {
    let owners = cleared_owners(object);
    if let Some(schema) = served.schema() {
        api_schema::apply_defaults(schema, object);
    }
    (served.facts.default)(object);
    if &*served.storage_key == "namespaces" {
        super::admit::namespace_label(object);
    }
    complete(object, served);
    put_owners(object, owners);
}

/// Writes out what upstream's types write even when it is empty (`status: {}`, `resources: {}`).
pub(crate) fn complete(object: &mut Value, served: &Served) {
    if let (Some(schema), false) = (served.schema(), served.is_custom()) {
        api_schema::complete(schema, object);
    }
}

/// The same after `status` was taken out of an object that was complete, and what the server owns of `metadata` put in.
pub(crate) fn complete_without_status(object: &mut Value, served: &Served) {
    if let (Some(schema), false) = (served.schema(), served.is_custom()) {
        api_schema::complete_parts(schema, object, &["metadata"]);
    }
}

/// The tree of a body in JSON with its duplicate fields.
fn json(bytes: &[u8], expected: &Expected<'_>) -> Outcome<(Value, Vec<String>)> {
    api_schema::decode_json(bytes).map_err(|e| {
        unrecognized(expected, &format!("couldn't get version/kind; json parse error: {e}"), bytes)
    })
}

fn yaml(bytes: &[u8], expected: &Expected<'_>) -> Outcome<(Value, Vec<String>)> {
    let text = String::from_utf8_lossy(bytes);
    super::read_yaml::read(&text).map_err(|e| unrecognized(expected, &format!("yaml: {e}"), bytes))
}

fn protobuf(bytes: &[u8], expected: &Expected<'_>) -> Outcome<Value> {
    crate::pipeline::protobuf::decode(bytes, expected)
}

/// The tree as an object; null counts as an empty one.
fn whole(bytes: &[u8], tree: Value, expected: &Expected<'_>) -> Outcome<Value> {
    match tree {
        Value::Object(_) => Ok(tree),
        Value::Null => Ok(Value::Object(Map::new())),
        other => {
            let found = go_kind(&other);
            let why = format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct \
                 {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
            );
            Err(unrecognized(expected, &why, bytes))
        }
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Bytes of a body that are quoted in a refusal.
const EXCERPT_BYTES: usize = 30;

pub(crate) fn unrecognized(expected: &Expected<'_>, why: &str, bytes: &[u8]) -> Box<Refusal> {
    let head = &bytes[..bytes.len().min(EXCERPT_BYTES)];
    let more = if bytes.len() > EXCERPT_BYTES { " ..." } else { "" };
    let excerpt = match std::str::from_utf8(head) {
        _ if bytes.is_empty() => "<empty>".to_owned(),
        Ok(text) if text.starts_with('{') => format!("{text}{more}"),
        _ => format!("{}{more}", head.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    };
    bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({excerpt})",
        expected.kind
    ))
}

fn cannot_be_handled(object: &Value, expected: &Expected<'_>, why: &str) -> Box<Refusal> {
    let kind = object["kind"].as_str().unwrap_or(expected.kind);
    let version = object["apiVersion"].as_str().unwrap_or(expected.version);
    let version = version.rsplit('/').next().unwrap_or_default();
    bad_request(format!("{kind} in version {version:?} cannot be handled as a {}: {why}", expected.kind))
}

/// Checks that the object says it is what is expected, or fills that in where nothing is said.
fn type_meta(call: &Call, object: &mut Value, expected: &Expected<'_>) -> Outcome<()> {
    let wanted = expected.api_version();
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() && expected.is_custom {
        let excerpt = String::from_utf8_lossy(&call.body);
        return Err(unrecognized(expected, &format!("Object 'Kind' is missing in '{excerpt}'"), &call.body));
    }
    if version.matches('/').count() > 1 {
        let why = format!("unexpected GroupVersion string: {version}");
        return Err(unrecognized(expected, &why, &call.body));
    }
    if !version.is_empty() && version != wanted || !kind.is_empty() && kind != expected.kind {
        return Err(other_kind(call, object, expected, &version, &kind));
    }
    object["apiVersion"] = Value::String(wanted);
    object["kind"] = Value::String(expected.kind.to_owned());
    Ok(())
}

fn other_kind(
    call: &Call,
    object: &Value,
    expected: &Expected<'_>,
    version: &str,
    kind: &str,
) -> Box<Refusal> {
    let wanted = expected.api_version();
    let kind = if kind.is_empty() { expected.kind } else { kind };
    let version = if version.is_empty() { &wanted } else { version };
    if expected.is_custom && *version == wanted {
        let text = format!("Invalid value: {kind:?}: must be {}", expected.kind);
        let causes = vec![crate::refuse::cause("FieldValueInvalid", "kind", text)];
        return crate::refuse::invalid(expected.group, kind, super::metadata::text(object, "name"), causes);
    }
    let is_known = call.snapshot.by_kind(version, kind).is_some();
    let group = version.split_once('/').map_or("", |(g, _)| g);
    let same_kind = kind == expected.kind && group == expected.group;
    if expected.is_custom || (is_known && same_kind) {
        return bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        ));
    }
    if !is_known {
        let why = format!("no kind {kind:?} is registered for version {version:?} in scheme \"{SCHEME}\"");
        return cannot_be_handled(object, expected, &why);
    }
    let short = version.rsplit('/').next().unwrap_or_default();
    let inner =
        if expected.group.is_empty() { "core" } else { expected.group.split('.').next().unwrap_or_default() };
    let why = format!("converting ({short}.{kind}) to ({inner}.{}): unknown conversion", expected.kind);
    cannot_be_handled(object, expected, &why)
}

/// Where upstream registers its kinds; part of messages that people search for.
const SCHEME: &str = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30";
