//! Custom objects: defaults, pruning, validation, status, scale, columns.

use serde_json::{Value, json};

use super::{CRDS, WIDGETS, define, spec_of, until, version, widget, widgets, world};
use crate::fixture::World;

fn rich() -> Value {
    spec_of(json!({
        "name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
        "flag": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": true},
        "when": {"type": "string", "format": "date-time"},
        "opt": {"type": "string", "nullable": true, "default": "d"},
        "filled": {"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}
    }))
}

async fn rich_world() -> World {
    let w = world().await;
    define(&w, widgets(vec![version("v1", rich())])).await;
    w
}

#[tokio::test(start_paused = true)]
async fn defaults_fill_and_unknown_fields_are_dropped_with_a_warning() {
    let w = rich_world().await;
    let given = json!({"name": "abc", "opt": null, "flag": null, "odd": 1, "size": 2.0, "port": 80});
    let made = w.post(WIDGETS, widget("a", given)).await;
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    let expected =
        json!({"name": "abc", "opt": null, "size": 2, "port": 80, "mode": "fast", "filled": {"x": 1}});
    assert_eq!(made.created()["spec"], expected);
}

#[tokio::test(start_paused = true)]
async fn embedded_objects_have_the_metadata_of_objects() {
    let w = rich_world().await;
    let template =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "odd": 1}, "spec": {"a": "b"}});
    let made = w.post(WIDGETS, widget("a", json!({"template": template}))).await;
    assert_eq!(made.warnings, ["299 - \"unknown field \\\"spec.template.metadata.odd\\\"\""]);
    assert_eq!(made.created()["spec"]["template"]["metadata"], json!({"name": "x"}));
    let headless = json!({"template": {"metadata": {"name": "x"}}});
    let refused = w.post(WIDGETS, widget("b", headless)).await.refused(422);
    assert!(refused.contains("spec.template.apiVersion: Required value"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn invalid_objects_are_refused_in_the_words_of_upstream() {
    let w = rich_world().await;
    for (spec, why) in [
        (
            json!({"name": "a"}),
            "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long",
        ),
        (
            json!({"size": 11}),
            "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
        ),
        (json!({"mode": "x"}), "spec.mode: Unsupported value: \"x\": supported values: \"fast\", \"slow\""),
        (
            json!({"flag": "true"}),
            "spec.flag: Invalid value: \"string\": spec.flag in body must be of type boolean: \"string\"",
        ),
        (
            json!({"when": "noon"}),
            "spec.when: Invalid value: \"noon\": spec.when in body must be of type date-time: \"noon\"",
        ),
    ] {
        let refused = w.post(WIDGETS, widget("w", spec)).await.refused(422);
        assert_eq!(refused, format!("Widget.example.com \"w\" is invalid: {why}"));
    }
}

#[tokio::test(start_paused = true)]
async fn objects_older_than_the_definition_are_read_with_its_defaults() {
    let w = world().await;
    define(
        &w,
        widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}, "b": {"type": "string"}})))]),
    )
    .await;
    w.post(WIDGETS, widget("old", json!({"a": "x", "b": "y"}))).await.created();
    let schema = spec_of(json!({"a": {"type": "string"}, "c": {"type": "integer", "default": 7}}));
    let patch =
        json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": schema}]);
    w.patch(&format!("{CRDS}/widgets.example.com"), "json", patch).await.ok();
    let new = json!({"a": "x", "c": 7});
    until(|| async { w.get(&format!("{WIDGETS}/old")).await.ok()["spec"] == new }).await;
    assert_eq!(w.get(WIDGETS).await.ok()["items"][0]["spec"], new);
}

#[tokio::test(start_paused = true)]
async fn what_was_wrong_before_does_not_stand_in_the_way() {
    let w = world().await;
    define(
        &w,
        widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}, "b": {"type": "string"}})))]),
    )
    .await;
    w.post(WIDGETS, widget("a", json!({"a": "longvalue", "b": "x"}))).await.created();
    let patch = json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a/maxLength", "value": 3}]);
    w.patch(&format!("{CRDS}/widgets.example.com"), "json", patch).await.ok();
    until(|| async {
        w.post(&format!("{WIDGETS}?dryRun=All"), widget("b", json!({"a": "longvalue"}))).await.code == 422
    })
    .await;
    let path = format!("{WIDGETS}/a");
    w.patch(&path, "merge", json!({"spec": {"b": "y"}})).await.ok();
    let refused = w.patch(&path, "merge", json!({"spec": {"a": "alsolong"}})).await.refused(422);
    assert!(refused.contains("spec.a: Too long: may not be more than 3 bytes"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_was_missing_before_may_stay_missing_while_its_parent_stays_as_it_is() {
    let w = world().await;
    let inner = |required: Value| {
        let part = json!({"type": "object", "required": required, "properties": {
            "kind": {"type": "string"}, "size": {"type": "integer"},
        }});
        widgets(vec![version("v1", spec_of(json!({"part": part, "other": {"type": "string"}})))])
    };
    define(&w, inner(json!([]))).await;
    w.post(WIDGETS, widget("a", json!({"part": {"size": 1}}))).await.created();
    let stricter = inner(json!(["kind"]))["spec"]["versions"].clone();
    let crd = format!("{CRDS}/widgets.example.com");
    w.patch(&crd, "merge", json!({"spec": {"versions": stricter}})).await.ok();
    until(|| async {
        w.post(&format!("{WIDGETS}?dryRun=All"), widget("b", json!({"part": {}}))).await.code == 422
    })
    .await;
    let at = format!("{WIDGETS}/a");
    w.patch(&at, "merge", json!({"metadata": {"labels": {"l": "m"}}})).await.ok();
    w.patch(&at, "merge", json!({"spec": {"other": "x"}})).await.ok();
    let refused = w.patch(&at, "merge", json!({"spec": {"part": {"size": 2}}})).await.refused(422);
    assert!(refused.ends_with("spec.part.kind: Required value"), "{refused}");
}

fn scaled() -> Value {
    let mut one = version(
        "v1",
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0}, "x": {"type": "string"}}},
            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}
        }}),
    );
    one["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"
    }});
    one
}

#[tokio::test(start_paused = true)]
async fn a_status_has_its_own_door() {
    let w = world().await;
    define(&w, widgets(vec![scaled()])).await;
    let mut given = widget("a", json!({"replicas": 3}));
    given["status"] = json!({"replicas": 9});
    assert_eq!(w.post(WIDGETS, given).await.created()["status"], Value::Null);
    let path = format!("{WIDGETS}/a");
    assert_eq!(w.patch(&path, "merge", json!({"status": {"replicas": 9}})).await.ok()["status"], Value::Null);
    let both = json!({"spec": {"x": "2"}, "status": {"replicas": 2, "selector": "a=b"}, "metadata": {"labels": {"q": "r"}}});
    let after = w.patch(&format!("{path}/status"), "merge", both).await.ok();
    assert_eq!((&after["spec"], &after["metadata"]["labels"]), (&json!({"replicas": 3}), &Value::Null));
    assert_eq!(after["metadata"]["generation"], 1);
    let scale = w.get(&format!("{path}/scale")).await.ok();
    assert_eq!(
        (&scale["spec"], &scale["status"]),
        (&json!({"replicas": 3}), &json!({"replicas": 2, "selector": "a=b"}))
    );
    w.patch(&format!("{path}/scale"), "merge", json!({"spec": {"replicas": 5}})).await.ok();
    let after = w.get(&path).await.ok();
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(5), &json!(2)));
    let refused =
        w.patch(&format!("{path}/scale"), "merge", json!({"spec": {"replicas": -5}})).await.refused(422);
    assert!(refused.contains("spec.replicas in body should be greater than or equal to 0"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn columns_show_what_their_paths_find() {
    let w = world().await;
    let mut one = version("v1", json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
    one["additionalPrinterColumns"] = json!([
        {"name": "Text", "type": "string", "jsonPath": ".spec.text", "description": "the text"},
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count"},
        {"name": "Cond", "type": "string", "jsonPath": ".spec.conds[?(@.type==\"Ready\")].status"},
        {"name": "Obj", "type": "string", "jsonPath": ".spec.obj", "priority": 1}
    ]);
    define(&w, widgets(vec![one])).await;
    let spec = json!({
        "text": "hello", "count": 5, "obj": {"a": 1},
        "conds": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]
    });
    w.post(WIDGETS, widget("a", spec)).await.created();
    w.post(WIDGETS, widget("b", json!({"count": "x"}))).await.created();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = w.call("GET", WIDGETS, &accept, bytes::Bytes::new()).await.ok();
    let heads: Vec<String> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{} {} {}", c["name"].as_str().unwrap(), c["type"].as_str().unwrap(), c["priority"]))
        .collect();
    assert_eq!(heads, ["Name string 0", "Text string 0", "Count integer 0", "Cond string 0", "Obj string 1"]);
    assert_eq!(table["columnDefinitions"][1]["description"], "the text");
    assert_eq!(table["rows"][0]["cells"], json!(["a", "hello", 5, "True", "{\"a\":1}"]));
    assert_eq!(table["rows"][1]["cells"], json!(["b", null, null, null, null]));
}
