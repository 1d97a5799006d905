//! Definitions: what is refused, what becomes of names, how they end.

use serde_json::{Value, json};
use store::MemoryDisk;

use super::{
    CRDS, Known, WIDGETS, condition, define, spec_of, start, until, version, widget, widgets, world,
};

/// Fields that a definition is refused for.
async fn refused(definition: Value) -> Vec<String> {
    let answer = world().await.post(CRDS, definition).await;
    assert_eq!(answer.code, 422, "{}", answer.text);
    let causes = answer.body["details"]["causes"].as_array().unwrap();
    causes
        .iter()
        .map(|c| format!("{} {}", c["field"].as_str().unwrap(), c["reason"].as_str().unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_completed_and_established() {
    let w = world().await;
    let made =
        w.post(CRDS, widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}})))])).await.created();
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made["spec"]["names"]["singular"], "widget");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    let status =
        json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": ["v1"]});
    assert_eq!(made["status"], status);
    until(|| async { condition(&w, "widgets.example.com", "Established").await == "True" }).await;
    let there = w.get(&format!("{CRDS}/widgets.example.com")).await.ok();
    assert_eq!(there["status"]["acceptedNames"], made["spec"]["names"]);
    assert_eq!(there["metadata"]["generation"], 1);
    assert_eq!(w.get(WIDGETS).await.ok()["kind"], "WidgetList");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_named_by_field() {
    assert_eq!(
        refused(widgets(vec![])).await,
        ["spec.versions FieldValueInvalid", "status.storedVersions FieldValueInvalid"]
    );
    let bare = json!({"name": "v1", "served": true, "storage": true});
    assert_eq!(
        refused(widgets(vec![bare])).await,
        ["spec.versions[0].schema.openAPIV3Schema FieldValueRequired"]
    );
    let mut badly_named = widgets(vec![version("v1", spec_of(json!({})))]);
    badly_named["spec"]["names"]["kind"] = json!("wid_get");
    assert_eq!(
        refused(badly_named).await,
        [
            "spec.names.singular FieldValueInvalid",
            "spec.names.kind FieldValueInvalid",
            "spec.names.listKind FieldValueInvalid"
        ]
    );
    let mut elsewhere = widgets(vec![version("v1", spec_of(json!({})))]);
    elsewhere["spec"]["group"] = json!("Example");
    assert_eq!(refused(elsewhere).await, ["metadata.name FieldValueInvalid", "spec.group FieldValueInvalid"]);
    let mut column = version("v1", spec_of(json!({})));
    column["additionalPrinterColumns"] = json!([{"name": "A", "type": "text", "jsonPath": "spec.a"}]);
    assert_eq!(
        refused(widgets(vec![column])).await,
        [
            "spec.additionalPrinterColumns[0].type FieldValueInvalid",
            "spec.additionalPrinterColumns[0].JSONPath FieldValueInvalid"
        ]
    );
    let mut selectable = version("v1", spec_of(json!({"a": {"type": "string"}})));
    selectable["selectableFields"] = json!([{"jsonPath": ".spec.zz"}, {"jsonPath": ".spec"}]);
    assert_eq!(
        refused(widgets(vec![selectable])).await,
        [
            "spec.selectableFields[0].jsonPath FieldValueInvalid",
            "spec.selectableFields[1].jsonPath FieldValueInvalid"
        ]
    );
    let mut converted = widgets(vec![version("v1", spec_of(json!({})))]);
    converted["spec"]["conversion"] = json!({"strategy": "Magic"});
    assert_eq!(refused(converted).await, ["spec.conversion.strategy FieldValueNotSupported"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_the_wrong_shape_is_told_that_its_rules_were_not_run() {
    let w = world().await;
    let rules = json!([{"rule": "self != 'longvalue'"}]);
    let schema = spec_of(json!({"a": {"type": "string", "maxLength": 3, "x-kubernetes-validations": rules}}));
    define(&w, widgets(vec![version("v1", schema)])).await;
    let why = w.post(super::WIDGETS, super::widget("a", json!({"a": "longvalue"}))).await.refused(422);
    let told = "[spec.a: Too long: may not be more than 3 bytes, <nil>: Invalid value: null: some validation rules were not \
                checked because the object was invalid; correct the existing errors to complete validation]";
    assert!(why.ends_with(told), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_does_not_compile_is_refused_by_its_place() {
    let with = |rule: &str| {
        let schema = spec_of(json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": rule}]}}));
        widgets(vec![version("v1", schema)])
    };
    let why = world().await.post(CRDS, with("self.zz == 1")).await.refused(422);
    let field =
        "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[0].rule";
    assert!(why.contains(field), "{why}");
    assert!(
        why.contains(
            "compilation failed: ERROR: <input>:1:5: type 'string' does not support field selection"
        ),
        "{why}"
    );
    assert!(world().await.post(CRDS, with("self != 'b'")).await.warnings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_in_use_is_told_in_conditions_and_freed_by_deletion() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    let mut second = widgets(vec![version("v1", spec_of(json!({})))]);
    second["metadata"]["name"] = json!("gadgets.example.com");
    second["spec"]["names"]["plural"] = json!("gadgets");
    w.post(CRDS, second).await.created();
    until(|| async { condition(&w, "gadgets.example.com", "NamesAccepted").await == "False" }).await;
    let told = w.get(&format!("{CRDS}/gadgets.example.com")).await.ok();
    assert_eq!(told["status"]["conditions"][0]["message"], "\"WidgetList\" is already in use");
    assert_eq!(told["status"]["acceptedNames"], json!({"kind": "", "plural": "gadgets"}));
    assert_eq!(w.get("/apis/example.com/v1/namespaces/ns/gadgets").await.code, 404);
    w.delete(&format!("{CRDS}/widgets.example.com"), Value::Null).await.ok();
    until(|| async { condition(&w, "gadgets.example.com", "Established").await == "True" }).await;
    w.get("/apis/example.com/v1/namespaces/ns/gadgets").await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_stored_version_may_not_vanish_and_the_scope_may_not_change() {
    let w = world().await;
    let mut beta = version("v1beta1", spec_of(json!({})));
    beta["storage"] = json!(false);
    define(&w, widgets(vec![version("v1", spec_of(json!({}))), beta])).await;
    let path = format!("{CRDS}/widgets.example.com");
    let gone = json!([{"op": "remove", "path": "/spec/versions/0"}, {"op": "replace", "path": "/spec/versions/0/storage", "value": true}]);
    let refused = w.patch(&path, "json", gone).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    assert_eq!(refused.body["details"]["causes"][0]["field"], "status.storedVersions[0]");
    let refused = w.patch(&path, "merge", json!({"spec": {"scope": "Cluster"}})).await;
    assert_eq!(refused.body["details"]["causes"][0]["field"], "spec.scope", "{}", refused.text);
}

#[tokio::test(start_paused = true)]
async fn a_definition_goes_after_its_objects() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    w.post(WIDGETS, widget("a", json!({}))).await.created();
    let mut held = widget("b", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    w.post(WIDGETS, held).await.created();
    let path = format!("{CRDS}/widgets.example.com");
    let going = w.delete(&path, Value::Null).await.ok();
    assert_eq!(going["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(going["status"]["conditions"][2]["reason"], "InstanceDeletionPending");
    until(|| async { w.get(&format!("{WIDGETS}/a")).await.code == 404 }).await;
    until(|| async { w.post(WIDGETS, widget("c", json!({}))).await.code == 405 }).await;
    assert_eq!(w.get(&path).await.code, 200, "an object is held, so the definition stays");
    w.patch(&format!("{WIDGETS}/b"), "merge", json!({"metadata": {"finalizers": null}})).await.ok();
    until(|| async { w.get(&path).await.code == 404 }).await;
    until(|| async { w.get(WIDGETS).await.code == 404 }).await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    assert_eq!(w.get(WIDGETS).await.ok()["items"], json!([]), "made again it is empty");
}

#[tokio::test(start_paused = true)]
async fn definitions_are_served_from_the_first_request_after_a_restart() {
    let disk = MemoryDisk::default();
    let w = start(&disk, Known::default()).await;
    define(&w, widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}})))])).await;
    let made = w.post(WIDGETS, widget("a", json!({"a": "x"}))).await.created();
    drop(w);
    let w = start(&disk, Known::default()).await;
    assert_eq!(w.get(&format!("{WIDGETS}/a")).await.ok(), made);
    w.delete(&format!("{CRDS}/widgets.example.com"), Value::Null).await.ok();
    until(|| async { w.get(WIDGETS).await.code == 404 }).await;
}

#[tokio::test(start_paused = true)]
async fn discovery_and_openapi_show_what_is_served() {
    let w = world().await;
    let mut one = version("v1", spec_of(json!({"a": {"type": "string"}})));
    one["subresources"] = json!({"status": {}});
    define(&w, widgets(vec![one])).await;
    let list = w.get("/apis/example.com/v1").await.ok();
    let names: Vec<&str> =
        list["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["widgets", "widgets/status"]);
    let index = w.get("/openapi/v3").await.ok();
    let path = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = w.get(&path).await.ok();
    assert!(document["components"]["schemas"].as_object().unwrap().keys().any(|k| k.ends_with(".Widget")));
}

#[tokio::test(start_paused = true)]
async fn applying_a_definition_again_changes_nothing() {
    let w = world().await;
    let path = format!("{CRDS}/widgets.example.com?fieldManager=installer&force=true");
    let definition = widgets(vec![version("v1", spec_of(json!({"a": {"type": "string", "default": "d"}})))]);
    w.patch(&path, "apply", definition.clone()).await.created();
    until(|| async { condition(&w, "widgets.example.com", "Established").await == "True" }).await;
    let first = w.get(&format!("{CRDS}/widgets.example.com")).await.ok();
    assert_eq!(w.patch(&path, "apply", definition).await.ok(), first);
    w.post(WIDGETS, widget("a", json!({}))).await.created();
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_its_definition_after_it_told_of_the_objects() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    w.post(WIDGETS, widget("a", json!({}))).await.created();
    let mut watch = w.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.take(1).await, ["ADDED a"]);
    w.delete(&format!("{CRDS}/widgets.example.com"), Value::Null).await.ok();
    let told = watch.rest().await;
    let told: Vec<_> = told.iter().map(|e| (&e["type"], &e["object"]["metadata"]["name"])).collect();
    assert_eq!(told, [(&json!("DELETED"), &json!("a"))]);
    assert_eq!(w.get(WIDGETS).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_kind_is_served_otherwise_and_lasts_while_it_is_not() {
    let w = world().await;
    define(&w, widgets(vec![version("v1", spec_of(json!({})))])).await;
    let mut watch = w.watch(&format!("{WIDGETS}?watch=1")).await;
    let path = format!("{CRDS}/widgets.example.com");
    w.patch(&path, "merge", json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    w.post(WIDGETS, widget("a", json!({}))).await.created();
    assert_eq!(watch.take(1).await, ["ADDED a"]);
    let wider = spec_of(json!({"size": {"type": "integer"}}));
    w.patch(&path, "merge", json!({"spec": {"versions": [version("v1", wider)]}})).await.ok();
    assert_eq!(watch.rest().await, Vec::<Value>::new());
    let mut again = w.watch(&format!("{WIDGETS}?watch=1")).await;
    w.patch(&format!("{WIDGETS}/a"), "merge", json!({"spec": {"size": 1}})).await.ok();
    assert_eq!(again.take(2).await, ["ADDED a", "MODIFIED a"]);
}
