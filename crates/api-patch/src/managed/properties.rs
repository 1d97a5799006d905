//! Properties of apply, on a custom kind with one list or map of each sort.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stdx::Time;

use super::{Change, OnConflict, apply, unfold, update};
use crate::fieldset::FieldSet;
use crate::testing::{Schema, widget};

fn text() -> impl Strategy<Value = Value> {
    "[ab]".prop_map(Value::from)
}

fn words(keys: &'static str) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(keys, text(), 0..3).prop_map(|m| json!(m))
}

fn items(ids: &'static str) -> impl Strategy<Value = Value> {
    let item = (prop::option::of(text()), prop::option::of(text()));
    prop::collection::btree_map(ids, item, 0..3).prop_map(|items| {
        let one = |(id, (v, w)): (String, (Option<Value>, Option<Value>))| {
            let mut map = Map::from_iter([("id".to_owned(), Value::from(id))]);
            map.extend(v.map(|v| ("v".to_owned(), v)));
            map.extend(w.map(|w| ("w".to_owned(), w)));
            Value::Object(map)
        };
        items.into_iter().map(one).collect()
    })
}

/// An applied object; `keys` and `ids` are the names it may use below maps and lists.
fn config(keys: &'static str) -> impl Strategy<Value = Value> {
    let set = prop::collection::btree_set(keys, 0..3).prop_map(|s| json!(s));
    let parts = (
        prop::option::of(0i32..3),
        prop::option::of(set),
        prop::option::of(items(keys)),
        prop::option::of(words(keys)),
        prop::option::of(words(keys)),
    );
    parts.prop_map(|(size, set, map, granular, any)| {
        let mut spec = Map::new();
        let mut put = |name: &str, v: Option<Value>| spec.extend(v.map(|v| (name.to_owned(), v)));
        put("size", size.map(Value::from));
        put("set", set);
        put("map", map);
        put("granular", granular);
        put("any", any);
        json!({"apiVersion": "x/v1", "kind": "W", "metadata": {"name": "a"}, "spec": spec})
    })
}

fn without_size(mut config: Value) -> Value {
    config["spec"].as_object_mut().unwrap().remove("size");
    config
}

static NONE: FieldSet = FieldSet::new();

fn by<'a>(schema: &'a Schema, manager: &'a str) -> Change<'a> {
    Change {
        types: &schema.types,
        root: schema.root,
        manager,
        subresource: "",
        api_version: "x/v1",
        now: Time::from_secs(7),
        reset: &NONE,
    }
}

fn owned(object: &Value, manager: &str) -> FieldSet {
    let mut object = object.clone();
    unfold(&mut object);
    let entries = object["metadata"]["managedFields"].as_array();
    let entry = entries.into_iter().flatten().find(|e| e["manager"] == manager);
    entry.map_or_else(FieldSet::new, |e| FieldSet::parse(&e["fieldsV1"]).unwrap())
}

/// The object without empty maps, lists and nulls: what decoding makes of them is not apply's business.
fn tidy(value: &Value) -> Value {
    let kept = |v: &Value| match v {
        Value::Object(m) => !m.is_empty(),
        Value::Array(l) => !l.is_empty(),
        other => !other.is_null(),
    };
    match value {
        Value::Object(map) => {
            map.iter().map(|(k, v)| (k.clone(), tidy(v))).filter(|(_, v)| kept(v)).collect()
        }
        Value::Array(list) => list.iter().map(tidy).filter(kept).collect(),
        scalar => scalar.clone(),
    }
}

fn spec(object: &Value) -> Value {
    let mut spec = tidy(&json!({"spec": object["spec"]}))["spec"].take();
    // The order of items is the order of their first apply.
    for name in ["set", "map"] {
        if let Some(list) = spec.get_mut(name).and_then(Value::as_array_mut) {
            list.sort_by_key(Value::to_string);
        }
    }
    spec
}

proptest! {
    #[test]
    fn apply_is_idempotent(first in config("[a-c]"), second in config("[a-c]")) {
        let s = widget();
        let one = apply(&by(&s, "one"), None, &first, OnConflict::Refuse).unwrap();
        let both = apply(&by(&s, "two"), Some(&one), &second, OnConflict::Force).unwrap();
        let mut later = by(&s, "two");
        later.now = Time::from_secs(8);
        prop_assert_eq!(&apply(&later, Some(&both), &second, OnConflict::Refuse).unwrap(), &both);
    }

    #[test]
    fn folded_and_unfolded_objects_are_treated_alike(
        first in config("[a-c]"), second in config("[a-c]"), third in config("[a-c]"), keeps in any::<bool>(),
    ) {
        let s = widget();
        let end = |folds: bool| {
            let seen = |mut object: Value| {
                if !folds {
                    unfold(&mut object);
                }
                object
            };
            let one = seen(apply(&by(&s, "one"), None, &first, OnConflict::Refuse).unwrap());
            let mut put = second.clone();
            if keeps {
                // Clients send back what they were shown.
                put["metadata"] = one["metadata"].clone();
                unfold(&mut put);
            }
            update(&by(&s, "put"), Some(&one), &mut put);
            let put = seen(put);
            let mut status = third.clone();
            let mut through = by(&s, "status");
            through.subresource = "status";
            update(&through, Some(&put), &mut status);
            let mut end = apply(&by(&s, "two"), Some(&seen(status)), &third, OnConflict::Force).unwrap();
            unfold(&mut end);
            end
        };
        prop_assert_eq!(end(true), end(false));
    }

    #[test]
    fn a_lone_manager_gets_exactly_what_it_applies(first in config("[a-c]"), second in config("[a-c]")) {
        let s = widget();
        let one = apply(&by(&s, "one"), None, &first, OnConflict::Refuse).unwrap();
        let again = apply(&by(&s, "one"), Some(&one), &second, OnConflict::Refuse).unwrap();
        prop_assert_eq!(spec(&again), spec(&second));
    }

    #[test]
    fn managers_of_different_fields_never_conflict(first in config("[a-c]"), second in config("[d-f]")) {
        let s = widget();
        let second = without_size(second);
        let one = apply(&by(&s, "one"), None, &first, OnConflict::Refuse).unwrap();
        let both = apply(&by(&s, "two"), Some(&one), &second, OnConflict::Refuse).unwrap();
        prop_assert_eq!(owned(&both, "one"), owned(&one, "one"));
        // One lets go of everything: exactly the other's fields stay.
        let nothing = json!({"apiVersion": "x/v1", "kind": "W", "metadata": {"name": "a"}});
        let rest = apply(&by(&s, "one"), Some(&both), &nothing, OnConflict::Refuse).unwrap();
        prop_assert_eq!(spec(&rest), spec(&second));
        prop_assert!(owned(&rest, "one").is_empty());
    }

    #[test]
    fn every_leaf_has_an_owner_and_every_owned_leaf_is_there(
        first in config("[a-c]"), second in config("[a-c]"), third in config("[a-c]"),
    ) {
        let s = widget();
        let one = apply(&by(&s, "one"), None, &first, OnConflict::Refuse).unwrap();
        let mut put = second;
        put["metadata"] = one["metadata"].clone();
        update(&by(&s, "put"), Some(&one), &mut put);
        let end = apply(&by(&s, "two"), Some(&put), &third, OnConflict::Force).unwrap();
        let all = ["one", "two", "put", "before-first-apply"].iter().fold(FieldSet::new(), |a, m| a.union(&owned(&end, m)));
        let there = crate::typed::Walker::new(&s.types, s.root).field_set(&tidy(&end));
        let there = there.leaves().difference(&super::update::META);
        prop_assert!(there.difference(&all).is_empty(), "unowned: {:?}", there.difference(&all).paths());
    }
}
