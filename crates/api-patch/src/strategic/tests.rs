use serde_json::{Value, json};

use super::{apply, diff, three_way};
use crate::testing::deployment;

fn live() -> Value {
    json!({"metadata": {"name": "a", "finalizers": ["a", "b"]}, "spec": {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
        "template": {"spec": {
            "nodeSelector": {"x": "y"}, "tolerations": [{"key": "t"}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}],
            "containers": [
                {"name": "c", "image": "i:1", "args": ["x", "y"],
                 "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                 "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 443, "name": "https"}]},
                {"name": "d", "image": "j:1"}],
        }},
    }})
}

/// The pod spec after a patch of it, or the error's text.
fn pod(patch: Value) -> Result<Value, String> {
    let schema = deployment();
    let mut object = live();
    let patch = json!({"spec": {"template": {"spec": patch}}});
    apply(&schema.types, schema.root, &mut object, &patch).map_err(|e| e.to_string())?;
    Ok(object["spec"]["template"]["spec"].take())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect()
}

#[test]
fn keyed_lists_merge_and_new_items_go_first() {
    let changed = pod(json!({"containers": [{"name": "d", "image": "j:2"}]})).unwrap();
    assert_eq!(
        (names(&changed["containers"]), &changed["containers"][1]["image"]),
        (vec!["c", "d"], &json!("j:2"))
    );
    let added = pod(json!({"containers": [{"name": "e", "image": "k:1"}]})).unwrap();
    assert_eq!(names(&added["containers"]), ["e", "c", "d"]);
}

#[test]
fn lists_without_strategy_are_replaced() {
    let done = pod(json!({"containers": [{"name": "c", "args": ["z"]}], "tolerations": []})).unwrap();
    assert_eq!((&done["containers"][0]["args"], &done["tolerations"]), (&json!(["z"]), &json!([])));
}

#[test]
fn items_merge_by_the_strategy_key_alone() {
    let patch = json!({"containers": [{"name": "c", "ports": [{"containerPort": 443, "name": "tls"}]}]});
    let done = pod(patch).unwrap();
    assert_eq!(names(&done["containers"][0]["ports"]), ["http", "tls"]);
}

#[test]
fn directives_replace_and_delete() {
    let done = pod(json!({"containers": [{"$patch": "replace"}, {"name": "z"}],
        "nodeSelector": {"$patch": "replace", "z": "w"}, "volumes": [{"name": "v", "$patch": "delete"}]}));
    let done = done.unwrap();
    assert_eq!(done["containers"], json!([{"name": "z"}]));
    assert_eq!(done["nodeSelector"], json!({"z": "w"}));
    assert_eq!(names(&done["volumes"]), ["w"]);
    let done = pod(json!({"nodeSelector": {"$patch": "delete"}})).unwrap();
    assert_eq!(done.get("nodeSelector"), None);
}

#[test]
fn null_removes() {
    let done = pod(json!({"containers": [{"name": "c", "args": null}], "nodeSelector": null})).unwrap();
    assert_eq!((done.get("nodeSelector"), done["containers"][0].get("args")), (None, None));
}

#[test]
fn element_order_is_set() {
    let done = pod(json!({"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}],
        "containers": [{"name": "c", "$setElementOrder/env": [{"name": "B"}, {"name": "N"}, {"name": "A"}],
            "env": [{"name": "N", "value": "n"}]}]}));
    let done = done.unwrap();
    assert_eq!(names(&done["containers"]), ["d", "c"]);
    assert_eq!(names(&done["containers"][1]["env"]), ["B", "N", "A"]);
    let order_only = pod(json!({"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}]})).unwrap();
    assert_eq!(names(&order_only["containers"]), ["d", "c"]);
}

#[test]
fn retained_keys_drop_the_others() {
    let patch =
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]});
    let done = pod(patch).unwrap();
    assert_eq!(done["volumes"][0], json!({"name": "v", "hostPath": {"path": "/x"}}));
}

#[test]
fn scalar_lists_merge_and_lose_items() {
    let schema = deployment();
    let mut object = live();
    let mut step = |patch: Value| {
        apply(&schema.types, schema.root, &mut object, &json!({"metadata": patch})).unwrap();
        object["metadata"]["finalizers"].clone()
    };
    assert_eq!(step(json!({"finalizers": ["c"]})), json!(["c", "a", "b"]));
    assert_eq!(step(json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), json!(["c", "b"]));
    assert_eq!(step(json!({"$setElementOrder/finalizers": ["b", "c"]})), json!(["b", "c"]));
}

#[test]
fn refusals_speak_upstreams_words() {
    let refused = |patch: Value| pod(patch).unwrap_err();
    assert_eq!(
        refused(json!({"containers": [{"image": "z:1"}]})),
        "map: map[image:z:1] does not contain declared merge key: name"
    );
    assert_eq!(
        refused(json!({"containers": [{"$patch": "delete", "image": "q"}]})),
        "map: map[$patch:delete image:q] does not contain declared merge key: name"
    );
    assert_eq!(refused(json!({"$patch": "nope"})), "unknown patch type: nope in map: map[$patch:nope]");
    assert_eq!(
        refused(
            json!({"$setElementOrder/containers": [{"name": "d"}], "containers": [{"name": "c", "image": "i:2"}]})
        ),
        "The order in patch list:\n[map[image:i:2 name:c]]\n doesn't match $setElementOrder list:\n[map[name:d]]\n"
    );
    assert_eq!(
        refused(json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]})),
        "invalid patch format of retainKeys"
    );
}

fn there_and(to: Value) -> Value {
    let schema = deployment();
    let patch = diff(&schema.types, schema.root, &live(), &to).unwrap();
    let mut object = live();
    apply(&schema.types, schema.root, &mut object, &patch).unwrap();
    assert_eq!(object, to, "by {patch}");
    patch
}

#[test]
fn a_diff_leads_from_one_object_to_the_other() {
    assert_eq!(there_and(live()), json!({}));
    let mut image = live();
    image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("i:2");
    assert_eq!(
        there_and(image),
        json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "d"}],
            "containers": [{"name": "c", "image": "i:2"}]}}}})
    );
    let mut other = live();
    let pod = &mut other["spec"]["template"]["spec"];
    pod["containers"] = json!([{"name": "e"}, {"name": "d", "image": "j:1"}]);
    pod["volumes"] = json!([{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "emptyDir": {}}]);
    pod["nodeSelector"] = json!({"q": "r"});
    other["metadata"]["finalizers"] = json!(["b", "c"]);
    other["spec"]["strategy"] = json!({"type": "Recreate"});
    there_and(other);
}

#[test]
fn client_side_apply_keeps_what_others_set() {
    let schema = deployment();
    let original = json!({"spec": {"template": {"spec": {"nodeSelector": {"x": "y"},
        "containers": [{"name": "c", "image": "i:1", "args": ["x", "y"]}, {"name": "d", "image": "j:1"}]}}}});
    let modified = json!({"spec": {"replicas": 3, "template": {"spec": {
        "containers": [{"name": "c", "image": "i:2"}]}}}});
    let patch = three_way(&schema.types, schema.root, Some(&original), &modified, &live()).unwrap();
    let mut object = live();
    apply(&schema.types, schema.root, &mut object, &patch).unwrap();
    let pod = &object["spec"]["template"]["spec"];
    assert_eq!(pod.get("nodeSelector"), None, "by {patch}");
    assert_eq!(
        (names(&pod["containers"]), &pod["containers"][0]["image"]),
        (vec!["c"], &json!("i:2")),
        "by {patch}"
    );
    assert_eq!(
        (pod["containers"][0].get("args"), names(&pod["containers"][0]["env"])),
        (None, vec!["A", "B"])
    );
    assert_eq!((names(&pod["volumes"]), &object["spec"]["replicas"]), (vec!["v", "w"], &json!(3)));
}
