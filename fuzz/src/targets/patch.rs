//! Patches: JSON patch, merge patch, strategic merge patch and the diffs that lead from one object to another.

use api_patch::{json, merge, strategic};
use api_schema::{Unknown, check_fields};

use super::{Target, seeds};
use crate::parts::{kind, split, tree};

/// Words of all three.
const WORDS: &[&str] = &[
    "\"op\":",
    "\"add\"",
    "\"remove\"",
    "\"replace\"",
    "\"move\"",
    "\"copy\"",
    "\"test\"",
    "\"path\":",
    "\"from\":",
    "\"value\":",
    "/-",
    "~0",
    "~1",
    "/0",
    "null",
    "$patch",
    "replace",
    "delete",
    "merge",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "metadata",
    "finalizers",
    "spec",
    "containers",
    "name",
    "env",
    "ports",
    "containerPort",
    "volumes",
    "tolerations",
];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "json-patch",
            run: json_patch,
            seeds: || {
                seeds(&[
                    "{\"a\":[1,{\"b\":2}]}\0[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":3},{\"op\":\"test\",\"path\":\"/a/0\",\"value\":1}]",
                    "{\"a\":{\"~/\":1}}\0[{\"op\":\"move\",\"from\":\"/a/~0~1\",\"path\":\"/b\"},{\"op\":\"copy\",\"from\":\"\",\"path\":\"/c\"},{\"op\":\"remove\",\"path\":\"/b\"}]",
                ])
            },
            words: WORDS,
        },
        Target {
            name: "merge-patch",
            run: merge_patch,
            seeds: || {
                seeds(&[
                    "{\"a\":{\"b\":1,\"c\":2}}\0{\"a\":{\"b\":null,\"d\":[null]}}",
                    "1\0{\"a\":{\"b\":null}}",
                ])
            },
            words: WORDS,
        },
        Target {
            name: "strategic",
            run: strategic_patch,
            seeds: || {
                seeds(&[
                    "v1/Pod\0{\"metadata\":{\"finalizers\":[\"a\",\"b\"]},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x\"},{\"name\":\"b\",\"ports\":[{\"containerPort\":80}]}]}}\0{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"a\"]},\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"b\",\"$patch\":\"delete\"},{\"name\":\"c\"}]}}",
                    "apps/v1/Deployment\0{\"spec\":{\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":1}}}}\0{\"spec\":{\"strategy\":{\"$retainKeys\":[\"type\"],\"type\":\"Recreate\"}}}",
                    "v1/Service\0{\"spec\":{\"ports\":[{\"port\":1}]}}\0{\"spec\":{\"$patch\":\"replace\",\"ports\":[{\"port\":2}]}}",
                ])
            },
            words: WORDS,
        },
    ]
}

fn json_patch(data: &[u8]) {
    let [object, patch] = split(data);
    let (Some(mut object), Some(patch)) = (tree(object), tree(patch)) else { return };
    let _ = json::apply(&mut object, &patch);
}

/// A merge patch applied twice is applied once.
fn merge_patch(data: &[u8]) {
    let [object, patch] = split(data);
    let (Some(mut once), Some(patch)) = (tree(object), tree(patch)) else { return };
    merge::apply(&mut once, &patch);
    let mut twice = once.clone();
    merge::apply(&mut twice, &patch);
    assert_eq!(twice, once);
}

/// A patch applies or is refused. A diff of two objects at rest (no nulls, no unknown fields) can be applied, and leads to an object
/// that does not differ from itself.
fn strategic_patch(data: &[u8]) {
    let [name, object, patch] = split(data);
    let (_, schema) = kind(name);
    let (Some(mut object), Some(mut patch)) = (tree(object), tree(patch)) else { return };
    if !object.is_object() || !patch.is_object() {
        return;
    }
    let mut patched = object.clone();
    let _ = strategic::apply(schema.types, schema.root, &mut patched, &patch);
    let _ = strategic::three_way(schema.types, schema.root, Some(&object), &patch, &patched);
    let at_rest = |v: &mut serde_json::Value| check_fields(schema, v, Unknown::Name).is_ok();
    if !at_rest(&mut object) || !at_rest(&mut patch) {
        return;
    }
    if let Ok(way) = strategic::diff(schema.types, schema.root, &object, &patch)
        && strategic::apply(schema.types, schema.root, &mut object, &way).is_ok()
    {
        let rest = strategic::diff(schema.types, schema.root, &object, &object);
        assert_eq!(rest.ok(), Some(serde_json::json!({})), "{object}");
    }
}
