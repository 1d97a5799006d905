//! Small schemas for the tests of this crate, written as the schemas of custom kinds are.

use api_schema::{Field, FieldSet, ListKind, Presence, Type, TypeId, Types};
use serde_json::{Value, json};

/// A schema with its root.
pub(crate) struct Schema {
    pub(crate) types: Types,
    pub(crate) root: TypeId,
}

/// Compiles a schema. `message` marks the objects of built-in kinds.
pub(crate) fn schema(source: &Value) -> Schema {
    let mut types = Types::default();
    let root = compile(&mut types, source);
    Schema { types, root }
}

fn compile(types: &mut Types, s: &Value) -> TypeId {
    let text = |name: &str| s[name].as_str().unwrap_or_default();
    let atomic = text("x-kubernetes-map-type") == "atomic";
    let ty = match text("type") {
        "string" => Type::String { format: String::new() },
        "integer" => Type::Int { bits: 32 },
        "array" => {
            let item = compile(types, &s["items"]);
            let keys = s["x-kubernetes-list-map-keys"].as_array();
            let kind = match text("x-kubernetes-list-type") {
                "map" => ListKind::Map(
                    keys.into_iter().flatten().filter_map(|k| k.as_str().map(str::to_owned)).collect(),
                ),
                "set" => ListKind::Set,
                _ => ListKind::Atomic,
            };
            Type::List { item, kind }
        }
        "object" if s.get("additionalProperties").is_some() => {
            Type::Map { value: compile(types, &s["additionalProperties"]), atomic }
        }
        "object" => {
            let mut set =
                FieldSet { atomic, message: s["message"].as_str().map(str::to_owned), ..FieldSet::default() };
            for (name, f) in s["properties"].as_object().into_iter().flatten() {
                let required = s["required"].as_array().is_some_and(|r| r.iter().any(|n| n == name));
                set.fields.insert(name.clone(), field(types, f, required));
            }
            Type::Object(set)
        }
        _ => Type::Any,
    };
    types.push(ty)
}

fn field(types: &mut Types, f: &Value, required: bool) -> Field {
    let text = |name: &str| f[name].as_str().unwrap_or_default().to_owned();
    let presence = match f["presence"].as_str() {
        Some("always") => Presence::Always,
        _ => Presence::Keep,
    };
    Field {
        required,
        default: f.get("default").cloned(),
        patch_strategy: text("x-kubernetes-patch-strategy"),
        patch_merge_key: text("x-kubernetes-patch-merge-key"),
        presence,
        ..Field::new(compile(types, f))
    }
}

fn keyed(item: Value, strategy: &str) -> Value {
    json!({
        "type": "array", "items": item,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "x-kubernetes-patch-strategy": strategy, "x-kubernetes-patch-merge-key": "name",
    })
}

fn object(message: &str, properties: Value) -> Value {
    json!({"type": "object", "message": message, "properties": properties})
}

/// A cut-down Deployment with the merge rules of the real one.
pub(crate) fn deployment() -> Schema {
    let text = json!({"type": "string"});
    let words = json!({"type": "object", "additionalProperties": text});
    let name = json!({"type": "string", "default": ""});
    let env = keyed(object("EnvVar", json!({"name": name, "value": text})), "merge");
    let ports = json!({
        "type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "containerPort",
        "items": object("ContainerPort", json!({
            "containerPort": {"type": "integer", "default": 0}, "name": text,
            "protocol": {"type": "string", "default": "TCP"},
        })),
    });
    let list = json!({"type": "array", "items": text});
    let container =
        object("Container", json!({"name": name, "image": text, "args": list, "env": env, "ports": ports}));
    let volume = object(
        "Volume",
        json!({
            "name": name, "emptyDir": {"type": "object", "message": "EmptyDir", "properties": {}},
            "hostPath": object("HostPath", json!({"path": text})),
        }),
    );
    let mut containers = keyed(container, "merge");
    containers["presence"] = json!("always");
    let pod_spec = object(
        "PodSpec",
        json!({
            "containers": containers,
            "volumes": keyed(volume, "merge,retainKeys"),
            "nodeSelector": {"type": "object", "additionalProperties": text, "x-kubernetes-map-type": "atomic"},
            "tolerations": {"type": "array", "items": object("Toleration", json!({"key": text}))},
        }),
    );
    let always = |mut o: Value| {
        o["presence"] = json!("always");
        o
    };
    let meta = || {
        always(object(
            "ObjectMeta",
            json!({
                "name": text, "namespace": text, "uid": text, "resourceVersion": text,
                "labels": words, "annotations": words,
                "finalizers": {"type": "array", "items": text, "x-kubernetes-list-type": "set",
                    "x-kubernetes-patch-strategy": "merge"},
                "managedFields": {"type": "array", "items": {}},
            }),
        ))
    };
    let mut strategy = always(object(
        "DeploymentStrategy",
        json!({
            "type": text, "rollingUpdate": object("RollingUpdate", json!({"maxSurge": text})),
        }),
    ));
    strategy["x-kubernetes-patch-strategy"] = json!("retainKeys");
    let template = always(object(
        "PodTemplateSpec",
        json!({
            "metadata": meta(), "spec": always(pod_spec),
        }),
    ));
    let spec = always(object(
        "DeploymentSpec",
        json!({
            "replicas": {"type": "integer"}, "strategy": strategy, "template": template,
        }),
    ));
    let status = always(object("DeploymentStatus", json!({"replicas": {"type": "integer"}})));
    schema(&object(
        "Deployment",
        json!({
            "apiVersion": text, "kind": text, "metadata": meta(), "spec": spec, "status": status,
        }),
    ))
}

/// A custom kind with one list or map of each sort.
pub(crate) fn widget() -> Schema {
    let text = json!({"type": "string"});
    let words = json!({"type": "object", "additionalProperties": text});
    let mut atomic = words.clone();
    atomic["x-kubernetes-map-type"] = json!("atomic");
    schema(&json!({"type": "object", "properties": {
        "apiVersion": text, "kind": text,
        "metadata": {"type": "object", "properties": {
            "name": text, "namespace": text, "labels": words, "annotations": words,
            "managedFields": {"type": "array", "items": {}},
        }},
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "plain": {"type": "array", "items": text},
            "set": {"type": "array", "items": text, "x-kubernetes-list-type": "set"},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {"id": text, "v": text, "w": text}}},
            "atomic": atomic, "granular": words, "any": {},
        }},
    }}))
}
