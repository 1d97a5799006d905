//! Objects of built-in kinds with every field set once: what mutations start from.

use api_schema::{Schema, Type, TypeId, Types, Unknown, Wire, check_fields};
use api_tables::{Kind, tables};
use serde_json::{Map, Value, json};

/// Kinds with more to them than most.
const HOT: [&str; 17] = [
    "v1/Pod",
    "v1/Service",
    "v1/Node",
    "v1/ConfigMap",
    "v1/Secret",
    "v1/Event",
    "v1/LimitRange",
    "apps/v1/Deployment",
    "apps/v1/StatefulSet",
    "batch/v1/CronJob",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "policy/v1/PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1/ClusterRole",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration",
    "apiextensions.k8s.io/v1/CustomResourceDefinition",
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
];

/// Names of kinds, as [`crate::parts::kind`] takes them.
pub(crate) const NAMES: &[&str] = &HOT;

/// Words of objects.
pub(crate) const WORDS: &[&str] = &[
    "v1/Pod",
    "v1/Service",
    "v1/Node",
    "apps/v1/Deployment",
    "batch/v1/CronJob",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "fieldsV1",
    "spec",
    "status",
    "template",
    "containers",
    "image",
    "env",
    "valueFrom",
    "ports",
    "containerPort",
    "protocol",
    "resources",
    "limits",
    "cpu",
    "memory",
    "volumes",
    "selector",
    "matchLabels",
    "replicas",
    "strategy",
    "rollingUpdate",
    "maxSurge",
    "25%",
    "schedule",
    "*/5 * * * *",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "1Gi",
    "2020-01-01T00:00:00Z",
    "nodeAffinity",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "matchExpressions",
    "operator",
    "In",
    "topologySpreadConstraints",
    "whenUnsatisfiable",
    "tolerations",
    "clusterIP",
    "None",
    "nodePort",
];

/// How deep a sample goes below its root.
const DEPTH_MAX: usize = 4;

/// One input for each of the hot kinds: its name, NUL, and what `write` makes of a sample, at two depths.
pub(crate) fn of_hot_kinds(write: impl Fn(&Kind, Schema<'static>, &Value) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for name in HOT {
        for depth in [2, DEPTH_MAX] {
            let (kind, schema) = crate::parts::kind(name.as_bytes());
            let mut value = value(&tables().types, kind.root, depth);
            value["apiVersion"] = kind.api_version().into();
            value["kind"] = kind.kind.as_str().into();
            value["metadata"] = json!({"name": "a", "labels": {"a": "b"}});
            if check_fields(schema, &mut value, Unknown::Name).is_err() {
                continue;
            }
            let mut input = name.as_bytes().to_vec();
            input.push(0);
            input.extend_from_slice(&write(kind, schema, &value));
            out.push(input);
        }
    }
    out
}

fn value(types: &Types, ty: TypeId, depth: usize) -> Value {
    match types.get(ty) {
        Type::Any | Type::FieldsV1 => json!({"f:a": {}}),
        Type::String { format } if format == "byte" => "eA==".into(),
        Type::String { .. } => "a".into(),
        Type::Duration => "5s".into(),
        Type::Int { .. } | Type::Number | Type::IntOrString => json!(1),
        Type::Bool => true.into(),
        Type::Quantity => "1".into(),
        Type::Time => "2020-01-01T00:00:00Z".into(),
        Type::MicroTime => "2020-01-01T00:00:00.000001Z".into(),
        Type::Map { value: of, .. } => json!({"a": value(types, *of, depth.saturating_sub(1))}),
        Type::List { item, .. } => json!([value(types, *item, depth.saturating_sub(1))]),
        Type::Object(set) if depth == 0 => {
            let _ = set;
            json!({})
        }
        Type::Object(set) => {
            let known = set
                .fields
                .iter()
                .filter(|(_, f)| f.proto.as_ref().is_some_and(|p| p.wire != Wire::SchemaUnion));
            known.map(|(k, f)| (k.clone(), value(types, f.ty, depth - 1))).collect::<Map<_, _>>().into()
        }
    }
}
