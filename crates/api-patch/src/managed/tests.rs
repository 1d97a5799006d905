use expect_test::{Expect, expect};
use serde_json::{Value, json};
use stdx::Time;

use super::{ApplyError, Change, OnConflict, apply, keep_times, unfold, update};
use crate::fieldset::{FieldSet, Path};
use crate::testing::{Schema, deployment, widget};

/// An object and the writes that happen to it, a second apart.
struct World {
    schema: Schema,
    version: &'static str,
    reset: FieldSet,
    live: Option<Value>,
    now: i64,
}

impl World {
    fn new(schema: Schema, version: &'static str) -> World {
        World {
            schema,
            version,
            reset: FieldSet::of([Path::fields(&["status"])]),
            live: None,
            now: 1_000_000_000,
        }
    }

    fn change<'a>(&'a self, manager: &'a str, subresource: &'a str, none: &'a FieldSet) -> Change<'a> {
        Change {
            types: &self.schema.types,
            root: self.schema.root,
            manager,
            subresource,
            api_version: self.version,
            now: Time::from_secs(self.now),
            reset: if subresource.is_empty() { &self.reset } else { none },
        }
    }

    fn put(&mut self, manager: &str, object: Value) {
        self.put_through(manager, "", object);
    }

    fn put_through(&mut self, manager: &str, subresource: &str, mut object: Value) {
        self.now += 1;
        object["apiVersion"] = json!(self.version);
        update(&self.change(manager, subresource, &FieldSet::new()), self.live.as_ref(), &mut object);
        if let Some(live) = &self.live {
            keep_times(live, &mut object);
        }
        self.live = Some(object);
    }

    fn apply(&mut self, manager: &str, object: Value) -> Result<(), ApplyError> {
        self.apply_or(manager, object, OnConflict::Refuse)
    }

    fn apply_or(&mut self, manager: &str, mut object: Value, on: OnConflict) -> Result<(), ApplyError> {
        self.now += 1;
        object["apiVersion"] = json!(self.version);
        let mut done = apply(&self.change(manager, "", &FieldSet::new()), self.live.as_ref(), &object, on)?;
        if let Some(live) = &self.live {
            keep_times(live, &mut done);
        }
        self.live = Some(done);
        Ok(())
    }

    fn unfolded(&self) -> Value {
        let mut live = self.live.clone().unwrap();
        unfold(&mut live);
        live
    }

    /// The object without metadata, then one line per owner.
    fn check(&self, want: Expect) {
        let live = self.unfolded();
        let mut out = format!("{}\n", live["spec"]);
        for e in live["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let text = |n: &str| e[n].as_str().unwrap_or_default().to_owned();
            let time = text("time").chars().rev().skip(1).take(2).collect::<String>();
            let time: String = time.chars().rev().collect();
            out += &format!(
                "{} {}{} :{time} {}\n",
                text("operation"),
                text("manager"),
                text("subresource"),
                e["fieldsV1"]
            );
        }
        want.assert_eq(&out);
    }
}

fn plain() -> World {
    World::new(widget(), "x/v1")
}

#[test]
fn a_built_in_kind_owns_no_node_that_is_always_there() {
    let mut w = World::new(deployment(), "apps/v1");
    let container = json!({"name": "c", "image": "i:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "env": [{"name": "A"}]});
    w.put("m", json!({
        "kind": "Deployment", "metadata": {"name": "a", "uid": "u", "labels": {"x": "1"}},
        "spec": {"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"nodeSelector": {"a": "b"}, "containers": [container]}}},
        "status": {"replicas": 0},
    }));
    let live = w.unfolded();
    let fields = &live["metadata"]["managedFields"][0]["fieldsV1"];
    let want = json!({
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {
                "f:nodeSelector": {},
                "f:containers": {"k:{\"name\":\"c\"}": {
                    ".": {}, "f:name": {}, "f:image": {},
                    "f:env": {".": {}, "k:{\"name\":\"A\"}": {".": {}, "f:name": {}}},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                        ".": {}, "f:containerPort": {}, "f:protocol": {}}},
                }},
            }},
        },
    });
    assert_eq!(*fields, want);
}

#[test]
fn updates_move_changed_fields_and_keep_the_rest() {
    let mut w = plain();
    w.put("one", json!({"spec": {"granular": {"k": "v"}}}));
    w.put("two", json!({"spec": {"granular": {"k": "v", "z": "z"}}}));
    w.put("two", json!({"spec": {"granular": {"k": "w", "z": "z"}}}));
    w.check(expect![[r#"
        {"granular":{"k":"w","z":"z"}}
        Update one :41 {"f:spec":{".":{},"f:granular":{}}}
        Update two :43 {"f:spec":{"f:granular":{"f:k":{},"f:z":{}}}}
    "#]]);
    w.put("three", json!({"spec": {"granular": {}}}));
    w.check(expect![[r#"
        {"granular":{}}
        Update one :41 {"f:spec":{".":{},"f:granular":{}}}
    "#]]);
}

#[test]
fn a_write_that_changes_nothing_changes_no_entry() {
    let mut w = plain();
    let object = json!({"spec": {"size": 1}});
    w.put("one", object.clone());
    let before = w.live.clone();
    w.put("one", object.clone());
    assert_eq!(w.live, before);
    w.put("two", object.clone());
    assert_eq!(w.live, before);
    w.apply("three", object.clone()).unwrap();
    let applied = w.live.clone();
    w.apply("three", object).unwrap();
    assert_eq!(w.live, applied);
}

#[test]
fn conflicts_name_manager_version_and_path() {
    let mut w = plain();
    w.apply(
        "one",
        json!({"kind": "W", "metadata": {"name": "a"}, "spec": {"plain": ["a"], "atomic": {"a": "b"}}}),
    )
    .unwrap();
    let error = w.apply("two", json!({"spec": {"plain": ["a", "b"], "atomic": {"c": "d"}}})).unwrap_err();
    let ApplyError::Conflicts(conflicts) = &error else { panic!("{error}") };
    expect![[r#"
        Apply failed with 2 conflicts: conflicts with "one":
        - .spec.atomic
        - .spec.plain"#]]
    .assert_eq(&error.to_string());
    assert_eq!(conflicts.causes()[1].message, "conflict with \"one\"");
    w.put_through("editor", "sub", json!({"spec": {"plain": ["c"], "atomic": {"a": "b"}}}));
    let error = w.apply("two", json!({"spec": {"plain": ["a", "b"]}})).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "editor" with subresource "sub" using x/v1: .spec.plain"#]]
        .assert_eq(&error.to_string());
}

#[test]
fn force_takes_over() {
    let mut w = plain();
    w.apply("one", json!({"spec": {"granular": {"k": "v", "l": "v"}}})).unwrap();
    w.apply_or("two", json!({"spec": {"granular": {"k": "w"}}}), OnConflict::Force).unwrap();
    w.check(expect![[r#"
        {"granular":{"k":"w","l":"v"}}
        Apply one :41 {"f:spec":{"f:granular":{"f:l":{}}}}
        Apply two :42 {"f:spec":{"f:granular":{"f:k":{}}}}
    "#]]);
}

#[test]
fn equal_values_are_shared_and_stay_until_the_last_owner_lets_go() {
    let mut w = plain();
    w.apply("one", json!({"spec": {"size": 3, "granular": {"k": "v"}}})).unwrap();
    w.apply("two", json!({"spec": {"size": 3}})).unwrap();
    w.apply("one", json!({"spec": {"granular": {"k": "v"}}})).unwrap();
    w.check(expect![[r#"
        {"granular":{"k":"v"},"size":3}
        Apply two : {"f:spec":{"f:size":{}}}
        Apply one :41 {"f:spec":{"f:granular":{"f:k":{}}}}
    "#]]);
    w.apply("two", json!({"spec": {"granular": {"k": "v"}}})).unwrap();
    assert_eq!(w.live.as_ref().unwrap()["spec"], json!({"granular": {"k": "v"}}));
}

#[test]
fn lists_merge_by_their_sort() {
    let mut w = plain();
    w.apply(
        "one",
        json!({"spec": {"plain": ["a"], "set": ["a", "b"], "map": [{"id": "x", "v": "1"}],
        "atomic": {"a": "b"}, "granular": {"a": "b"}}}),
    )
    .unwrap();
    w.apply(
        "two",
        json!({"spec": {"set": ["c", "b"], "map": [{"id": "y", "v": "2"}, {"id": "x", "w": "3"}],
        "granular": {"c": "d"}}}),
    )
    .unwrap();
    w.check(expect![[r#"
        {"atomic":{"a":"b"},"granular":{"a":"b","c":"d"},"map":[{"id":"y","v":"2"},{"id":"x","v":"1","w":"3"}],"plain":["a"],"set":["a","c","b"]}
        Apply one :41 {"f:spec":{"f:atomic":{},"f:granular":{"f:a":{}},"f:map":{"k:{\"id\":\"x\"}":{".":{},"f:id":{},"f:v":{}}},"f:plain":{},"f:set":{"v:\"a\"":{},"v:\"b\"":{}}}}
        Apply two :42 {"f:spec":{"f:granular":{"f:c":{}},"f:map":{"k:{\"id\":\"x\"}":{".":{},"f:id":{},"f:w":{}},"k:{\"id\":\"y\"}":{".":{},"f:id":{},"f:v":{}}},"f:set":{"v:\"b\"":{},"v:\"c\"":{}}}}
    "#]]);
    w.apply("one", json!({"spec": {"set": ["a"], "map": [], "granular": {}}})).unwrap();
    w.check(expect![[r#"
        {"granular":{"c":"d"},"map":[{"id":"y","v":"2"},{"id":"x","w":"3"}],"set":["a","c","b"]}
        Apply two :42 {"f:spec":{"f:granular":{"f:c":{}},"f:map":{"k:{\"id\":\"x\"}":{".":{},"f:id":{},"f:w":{}},"k:{\"id\":\"y\"}":{".":{},"f:id":{},"f:v":{}}},"f:set":{"v:\"b\"":{},"v:\"c\"":{}}}}
        Apply one :43 {"f:spec":{"f:granular":{},"f:set":{"v:\"a\"":{}}}}
    "#]]);
}

#[test]
fn a_removed_item_leaves_what_others_put_into_it() {
    let mut w = World::new(deployment(), "apps/v1");
    let pod = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    w.apply("one", pod(json!([{"name": "c", "image": "i:1", "args": ["a"]}]))).unwrap();
    w.apply("two", pod(json!([{"name": "c", "env": [{"name": "X", "value": "y"}]}]))).unwrap();
    w.apply("one", pod(json!([{"name": "d", "image": "i"}]))).unwrap();
    let containers = &w.live.as_ref().unwrap()["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        *containers,
        json!([{"name": "c", "env": [{"name": "X", "value": "y"}]}, {"name": "d", "image": "i"}])
    );
}

#[test]
fn the_first_apply_meets_what_was_there_before() {
    let mut w = plain();
    w.put("one", json!({"spec": {"size": 1, "granular": {"k": "v"}}}));
    let mut cleared = w.live.clone().unwrap();
    cleared["metadata"]["managedFields"] = json!([{}]);
    w.put("one", cleared);
    assert_eq!(w.live.as_ref().unwrap()["metadata"], json!({}));
    let mut still = w.live.clone().unwrap();
    still["spec"]["size"] = json!(2);
    w.put("one", still);
    assert_eq!(w.live.as_ref().unwrap()["metadata"], json!({}), "an untracked object stays untracked");
    let error = w.apply("two", json!({"spec": {"size": 3}})).unwrap_err();
    expect![[r#"Apply failed with 1 conflict: conflict with "before-first-apply" using x/v1: .spec.size"#]]
        .assert_eq(&error.to_string());
    w.apply_or("two", json!({"spec": {"size": 3}}), OnConflict::Force).unwrap();
    w.check(expect![[r#"
        {"granular":{"k":"v"},"size":3}
        Apply two :45 {"f:spec":{"f:size":{}}}
        Update before-first-apply :45 {"f:spec":{".":{},"f:granular":{".":{},"f:k":{}}}}
    "#]]);
}

#[test]
fn kubectl_takes_over_what_its_client_side_apply_set() {
    let mut w = plain();
    let last = json!({"apiVersion": "x/v1", "kind": "W", "metadata": {"name": "a"}, "spec": {"size": 1}})
        .to_string();
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let object = json!({"kind": "W", "metadata": {"name": "a", "annotations": annotations}, "spec": {"size": 1, "plain": ["a"]}});
    w.put("kubectl-client-side-apply", object);
    let next = |size: i32, plain: &str| json!({"kind": "W", "metadata": {"name": "a"}, "spec": {"size": size, "plain": [plain]}});
    assert!(w.apply("other", next(2, "a")).is_err());
    let error = w.apply("kubectl", next(2, "b")).unwrap_err();
    expect![[
        r#"Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using x/v1: .spec.plain"#
    ]]
    .assert_eq(&error.to_string());
    w.apply("kubectl", next(2, "a")).unwrap();
    let live = w.live.as_ref().unwrap();
    let text =
        live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["spec"]["size"], 2);
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_subresource_owns_apart_from_the_object() {
    let mut w = World::new(deployment(), "apps/v1");
    w.put("m", json!({"spec": {"replicas": 1}, "status": {"replicas": 7}}));
    w.put_through("ctl", "status", json!({"spec": {"replicas": 1}, "status": {"replicas": 3}}));
    w.check(expect![[r#"
        {"replicas":1}
        Update m :41 {"f:spec":{"f:replicas":{}}}
        Update ctlstatus :42 {"f:status":{"f:replicas":{}}}
    "#]]);
}

#[test]
fn a_tree_that_does_not_fit_is_refused() {
    let mut w = plain();
    let refused = |w: &mut World, o: Value| w.apply("m", o).unwrap_err().to_string();
    let named = |spec: Value| json!({"kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
    expect!["failed to create typed patch object (/a; x/v1, Kind=Widget): .spec.map: duplicate entries for key [id=\"q\"]"]
        .assert_eq(&refused(&mut w, named(json!({"map": [{"id": "q"}, {"id": "q"}]}))));
    expect!["failed to create typed patch object (/a; x/v1, Kind=Widget): .spec.nope: field not declared in schema"]
        .assert_eq(&refused(&mut w, named(json!({"nope": 1}))));
    expect!["failed to create typed patch object (/a; x/v1, Kind=Widget): .spec.size: expected numeric (int or float), got string"]
        .assert_eq(&refused(&mut w, named(json!({"size": "x"}))));
    let owned = json!({"metadata": {"managedFields": []}});
    assert_eq!(refused(&mut w, owned), "metadata.managedFields must be nil");
}

#[test]
fn only_so_many_updaters_are_kept_apart() {
    let mut w = plain();
    for i in 0..14 {
        let mut object = w.live.clone().unwrap_or_else(|| json!({"spec": {"granular": {}}}));
        object["spec"]["granular"][format!("k{i}")] = json!("v");
        w.put(&format!("m{i:02}"), object);
    }
    let managers: Vec<&str> = w.live.as_ref().unwrap()["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["manager"].as_str().unwrap())
        .collect();
    assert_eq!(managers.len(), 10);
    assert_eq!(managers[..2], ["ancient-changes", "m05"]);
}

#[test]
fn entries_sent_by_the_client_count_when_they_can_be_read() {
    let mut w = plain();
    w.put("one", json!({"spec": {"size": 1}}));
    let entry = |op: &str, fields: Value| json!([{"manager": "m", "operation": op, "apiVersion": "x/v1", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    let mut send = |list: Value| {
        w.put("one", json!({"metadata": {"managedFields": list}, "spec": {"size": 1}}));
        w.live.as_ref().unwrap()["metadata"].get("managedFields").cloned()
    };
    let kept = send(entry("Nope", json!({}))).unwrap();
    assert_eq!(kept[0]["manager"], "one");
    let taken = send(entry("Update", json!({"f:spec": {"f:size": {}}}))).unwrap();
    assert_eq!(taken[0]["manager"], "m");
    assert_eq!(send(entry("Update", json!({"x:spec": {}}))), None);
}
