//! Protobuf bodies of the built-in kinds.

use api_schema::proto::{self, decode, encode};
use api_schema::{Unknown, check_fields};
use api_tables::tables;
use proptest::prelude::*;
use serde_json::{Value, json};

fn round_trip(group: &str, version: &str, kind: &str, body: Value) {
    let schema = tables().schema(group, version, kind).unwrap();
    let mut expected = body.clone();
    check_fields(schema, &mut expected, Unknown::Name).unwrap();
    let mut back = decode(schema, &encode(schema, &body).unwrap()).unwrap();
    for word in ["apiVersion", "kind"] {
        if let Some(v) = body.get(word) {
            back[word] = v.clone();
        }
    }
    assert_eq!(check_fields(schema, &mut back, Unknown::Name).unwrap(), Vec::<String>::new());
    assert_eq!(back, expected);
}

#[test]
fn a_pod_with_everything_survives() {
    round_trip(
        "",
        "v1",
        "Pod",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"x": "y"}, "creationTimestamp": "2020-01-01T00:00:00Z",
                "managedFields": [{"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {".": {}}}}],
                "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u", "controller": true}]},
            "spec": {"containers": [{"name": "c", "image": "i",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "500m"}},
                    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": false}}}],
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 10},
                    "securityContext": {"runAsUser": 0, "privileged": false}}],
                "ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "c"}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m", "defaultMode": 420}}],
                "securityContext": {"supplementalGroups": [1, 2, -3]},
                "terminationGracePeriodSeconds": 0, "nodeSelector": {"a": "b"}},
            "status": {"phase": "Running", "startTime": "2020-01-01T00:00:00Z",
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
        }),
    );
}

#[test]
fn special_forms_survive() {
    round_trip(
        "",
        "v1",
        "Secret",
        json!({"metadata": {"name": "s"}, "data": {"k": "AAEC/w=="}, "type": "Opaque"}),
    );
    round_trip(
        "coordination.k8s.io",
        "v1",
        "Lease",
        json!({"metadata": {"name": "l"}, "spec": {"renewTime": "2020-01-01T00:00:00.000123Z", "leaseTransitions": 3}}),
    );
    round_trip(
        "apps",
        "v1",
        "ControllerRevision",
        json!({"metadata": {"name": "r"}, "data": {"spec": [1, null]}, "revision": 2}),
    );
    round_trip(
        "",
        "v1",
        "Service",
        json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}]}}),
    );
    round_trip(
        "authorization.k8s.io",
        "v1",
        "SubjectAccessReview",
        json!({"spec": {"user": "u", "extra": {"scopes": ["a", "b"]}}, "status": {"allowed": true}}),
    );
    round_trip("autoscaling", "v1", "Scale", json!({"metadata": {"name": "d"}, "spec": {"replicas": 3}}));
    round_trip(
        "policy",
        "v1",
        "Eviction",
        json!({"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}}),
    );
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "a": {"type": "array", "items": {"type": "string", "default": "x", "enum": ["x", 1]}},
        "b": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "c": {"type": "object", "additionalProperties": true}}});
    round_trip(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        json!({"metadata": {"name": "x"},
        "spec": {"group": "g", "scope": "Namespaced", "names": {"plural": "xs", "kind": "X"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}}),
    );
}

#[test]
fn the_envelope_names_the_object() {
    let schema = tables().schema("", "v1", "DeleteOptions").unwrap();
    let raw = encode(schema, &json!({"propagationPolicy": "Orphan"})).unwrap();
    let sealed = proto::seal("v1", "DeleteOptions", &raw);
    let opened = proto::open(&sealed).unwrap();
    assert_eq!(
        (opened.api_version.as_str(), opened.kind.as_str(), opened.raw),
        ("v1", "DeleteOptions", &raw[..])
    );
    let error = proto::open(b"{}").unwrap_err().to_string();
    assert_eq!(
        error,
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    );
}

#[test]
fn bytes_of_upstream_are_read() {
    // A ConfigMap as Go writes it: zero strings of the metadata are written too.
    let meta = [&b"\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00"[..]].concat();
    let mut raw = vec![0x0a, u8::try_from(meta.len()).unwrap()];
    raw.extend_from_slice(&meta);
    raw.extend_from_slice(b"\x12\x06\x0a\x01k\x12\x01v");
    let schema = tables().schema("", "v1", "ConfigMap").unwrap();
    let mut tree = decode(schema, &raw).unwrap();
    check_fields(schema, &mut tree, Unknown::Name).unwrap();
    assert_eq!(tree, json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let schema = tables().schema("", "v1", "Pod").unwrap();
        let _ = decode(schema, &bytes);
        let _ = proto::open(&bytes);
    }

    #[test]
    fn no_broken_pod_makes_it_panic(at in 0usize..200, byte in any::<u8>()) {
        let schema = tables().schema("", "v1", "Pod").unwrap();
        let body = json!({"metadata": {"name": "a", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c",
            "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}}}]}});
        let mut bytes = encode(schema, &body).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(mut tree) = decode(schema, &bytes) {
            let _ = check_fields(schema, &mut tree, Unknown::Name);
        }
    }
}
