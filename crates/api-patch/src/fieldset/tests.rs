use proptest::prelude::*;
use serde_json::json;

use super::{FieldSet, Path, PathElement, Scalar};

fn element() -> impl Strategy<Value = PathElement> {
    prop_oneof![
        "[a-c]".prop_map(|n| PathElement::field(&n)),
        ("[a-b]", 0i64..2).prop_map(|(n, v)| PathElement::key([(n.as_str().into(), Scalar::Int(v))])),
        "[x-z]".prop_map(|n| PathElement::Value(Scalar::Text(n.as_str().into()))),
        (0i64..3).prop_map(PathElement::Index),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    prop::collection::vec(prop::collection::vec(element(), 1..4).prop_map(Path), 0..8).prop_map(FieldSet::of)
}

proptest! {
    #[test]
    fn members_follow_the_algebra(a in set(), b in set()) {
        let (or, and, minus) = (a.union(&b), a.intersection(&b), a.difference(&b));
        for path in or.paths() {
            let (in_a, in_b) = (a.has(&path), b.has(&path));
            prop_assert!(in_a || in_b);
            prop_assert_eq!(and.has(&path), in_a && in_b);
            prop_assert_eq!(minus.has(&path), in_a && !in_b);
        }
        prop_assert_eq!(or.len() + and.len(), a.len() + b.len());
        prop_assert_eq!(minus.union(&and), a.clone());
        prop_assert!(minus.intersection(&b).is_empty());
        prop_assert_eq!(or, b.union(&a));
    }

    #[test]
    fn recursive_difference_takes_whole_subtrees(a in set(), b in set()) {
        let left = a.recursive_difference(&b);
        let below = |p: &Path| (1..=p.0.len()).any(|n| b.has(&Path(p.0[..n].to_vec())));
        for path in a.paths() {
            prop_assert_eq!(left.has(&path), !below(&path));
        }
    }

    #[test]
    fn fields_v1_reads_back(a in set()) {
        prop_assert_eq!(FieldSet::of_text(&a.to_text()), Some(a.clone()));
        prop_assert_eq!(a.to_text(), a.to_json().to_string());
        prop_assert_eq!(FieldSet::parse(&a.to_json()).unwrap(), a);
    }

    #[test]
    fn a_text_meets_a_set_where_its_tree_does(a in set(), b in set()) {
        let meets = a.meets(&b);
        prop_assert_eq!(b.meets_json(&a.to_json()), meets);
        prop_assert_eq!(b.meets_text(&a.to_text()), meets);
    }

    #[test]
    fn leaves_are_members_with_none_below(a in set()) {
        for path in a.paths() {
            let inner = a.paths().iter().any(|p| p.0.len() > path.0.len() && p.0.starts_with(&path.0));
            prop_assert_eq!(a.leaves().has(&path), !inner);
        }
    }
}

#[test]
fn fields_v1_is_written_as_upstream_writes_it() {
    let source = json!({
        "f:spec": {"f:containers": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}},
        "f:finalizers": {"v:\"example.com/a\"": {}}, "f:list": {"i:3": {}},
    });
    assert_eq!(FieldSet::parse(&source).unwrap().to_json(), source);
}

#[test]
fn unknown_sorts_of_members_are_skipped_and_broken_ones_refused() {
    assert!(FieldSet::parse(&json!({"x:data": {}})).unwrap().is_empty());
    for bad in [json!([]), json!({"f:a": 1}), json!({"nope": {}}), json!({"k:[]": {}}), json!({"i:x": {}})] {
        assert!(FieldSet::parse(&bad).is_err(), "{bad}");
    }
}
