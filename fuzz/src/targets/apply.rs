//! Server-side apply and the sets of fields it keeps.

use api_patch::fieldset::FieldSet;
use api_patch::managed::{Change, OnConflict, apply, is_folded, keep_times, unfold, update};
use api_schema::{Unknown, apply_defaults, check_fields, complete};
use serde_json::Value;
use stdx::Time;

use super::{Target, seeds};
use crate::parts::{kind, split, tree};
use crate::sample;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "apply",
            run: applied,
            seeds: || {
                seeds(&[
                    "v1/ConfigMap\0{\"metadata\":{\"name\":\"a\"},\"data\":{\"a\":\"1\"}}\0{\"metadata\":{\"name\":\"a\"},\"data\":{\"a\":\"2\",\"b\":\"1\"}}\0{\"data\":{\"b\":\"1\"}}",
                    "v1/Pod\0{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"x\",\"ports\":[{\"containerPort\":80}]}]}}\0{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"y\"},{\"name\":\"b\",\"image\":\"x\"}]}}\0{\"spec\":{\"containers\":[{\"name\":\"b\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}]}]}}",
                    "v1/Service\0{\"metadata\":{\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":1,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}}}}}]},\"spec\":{\"ports\":[{\"port\":1,\"protocol\":\"TCP\"}]}}\0{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2}]}}\0{}",
                ])
            },
            words: sample::WORDS,
        },
        Target {
            name: "fields",
            run: fields,
            seeds: || {
                seeds(&[
                    r#"{"f:a":{".":{},"f:b":{}},"k:{\"n\":1,\"p\":\"T\"}":{},"v:\"x\"":{},"i:3":{}}"#,
                    "{\"f:a\":{}}\0{\"f:a\":{\".\":{},\"f:b\":{}}}",
                    "{\"f:a\":{}}\0{\"metadata\":{\"managedFields\":[{\"fieldsV1\":\"{\\\"f:a\\\":{}}\"},{\"fieldsV1\":{\"f:b\":{}}}]}}",
                ])
            },
            words: &[
                "f:",
                "k:{\\\"",
                "v:",
                "i:",
                "\".\":{}",
                "\\\"",
                "fieldsV1",
                "metadata",
                "managedFields",
                "e:",
            ],
        },
    ]
}

/// Manager `a` creates, `b` applies over it, `a` writes again. Applying twice is applying once; with force it is never refused
/// for a conflict.
fn applied(data: &[u8]) {
    let [name, live, applied, written] = split(data);
    let (kind, schema) = kind(name);
    let version = kind.api_version();
    let decoded = |bytes: &[u8], full: bool| {
        let mut v = tree(bytes).filter(Value::is_object)?;
        (v["apiVersion"], v["kind"]) = (version.as_str().into(), kind.kind.as_str().into());
        check_fields(schema, &mut v, Unknown::Name).ok()?;
        if full {
            apply_defaults(schema, &mut v);
            complete(schema, &mut v);
        }
        Some(v)
    };
    let Some(mut live) = decoded(live, true) else { return };
    let none = FieldSet::new();
    let change = |manager: &'static str| Change {
        types: schema.types,
        root: schema.root,
        manager,
        subresource: "",
        api_version: &version,
        now: Time::from_secs(1_600_000_000),
        reset: &none,
    };
    update(&change("a"), None, &mut live);
    if let Some(wanted) = decoded(applied, false) {
        let _ = apply(&change("b"), Some(&live), &wanted, OnConflict::Refuse);
        if let Ok(once) = apply(&change("b"), Some(&live), &wanted, OnConflict::Force) {
            let twice = apply(&change("b"), Some(&once), &wanted, OnConflict::Refuse);
            assert_eq!(twice.as_ref(), Ok(&once), "applying again is refused or changes something");
            live = once;
        }
    }
    if let Some(mut written) = decoded(written, true) {
        update(&change("a"), Some(&live), &mut written);
        let again = &mut written.clone();
        update(&change("a"), Some(&written), again);
        keep_times(&written, again);
        assert_eq!(*again, written, "a write of the same changes something");
        unfold(&mut written);
    }
}

/// A set reads back as it was written, and sets of fields are sets.
fn fields(data: &[u8]) {
    let [one, other] = split(data);
    let Some(mut tree_of_other) = tree(other).or(Some(Value::Null)) else { return };
    let sets = (tree(one).map(|v| FieldSet::parse(&v)), FieldSet::parse(&tree_of_other));
    if let (Some(Ok(a)), b) = &sets {
        assert_eq!(FieldSet::parse(&a.to_json()).ok().as_ref(), Some(a));
        if let Ok(b) = b {
            algebra(a, b);
        }
    }
    let _ = is_folded(&tree_of_other);
    if tree_of_other.is_object() {
        unfold(&mut tree_of_other);
        let once = tree_of_other.clone();
        unfold(&mut tree_of_other);
        assert_eq!(tree_of_other, once, "what is unfolded stays so");
    }
}

fn algebra(a: &FieldSet, b: &FieldSet) {
    let (both, either, rest) = (a.intersection(b), a.union(b), a.difference(b));
    assert_eq!(either, b.union(a));
    assert_eq!(both, b.intersection(a));
    assert_eq!(rest.union(&both), *a, "a is what b has of it and what b has not");
    assert!(rest.intersection(b).is_empty());
    assert_eq!(either.difference(b), rest);
    assert!(
        a.recursive_difference(b).difference(&rest).is_empty(),
        "whole subtrees are at least the members"
    );
    assert!(a.leaves().difference(a).is_empty());
}
