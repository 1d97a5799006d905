//! What a body becomes when it is decoded; the expectations follow recorded answers of kube-apiserver 1.36.2.

use api_schema::{Unknown, apply_defaults, check_fields, complete};
use api_tables::tables;
use serde_json::{Value, json};

fn decoded(group: &str, version: &str, kind: &str, mut body: Value) -> Result<(Value, Vec<String>), String> {
    let schema = tables().schema(group, version, kind).expect("a built-in kind");
    let unknown = check_fields(schema, &mut body, Unknown::Name).map_err(|e| e.to_string())?;
    Ok((body, unknown))
}

fn refusal(group: &str, version: &str, kind: &str, body: Value) -> String {
    decoded(group, version, kind, body).expect_err("the body is wrong")
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn unknown_fields_are_dropped_and_named_by_their_path() {
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "nope": 1},
        "spec": {"foo": "bar", "template": {"spec": {"containers": [{"name": "c", "imagee": "x"}]}}}});
    let (stored, unknown) = decoded("apps", "v1", "Deployment", body).unwrap();
    assert_eq!(unknown, ["metadata.nope", "spec.foo", "spec.template.spec.containers[0].imagee"]);
    assert_eq!(stored["spec"].get("foo"), None);
}

#[test]
fn wrong_types_are_refused_in_the_words_of_go() {
    let wrong = |spec| refusal("", "v1", "Pod", pod(spec));
    assert_eq!(
        wrong(json!({"containers": [{"ports": [{"containerPort": "80"}]}]})),
        "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
    );
    assert_eq!(
        wrong(json!({"containers": {"name": "a"}})),
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
    );
    assert_eq!(
        wrong(json!({"terminationGracePeriodSeconds": 1.5})),
        "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64"
    );
    assert_eq!(
        wrong(json!({"containers": [{"ports": [{"containerPort": 99999999999i64}]}]})),
        "json: cannot unmarshal number 99999999999 into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
    );
    assert_eq!(
        wrong(json!({"containers": [{"resources": {"requests": {"cpu": "1x"}}}]})),
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
    let labels = |labels: Value| refusal("", "v1", "Pod", json!({"metadata": {"labels": labels}}));
    assert_eq!(
        labels(json!(["a"])),
        "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"
    );
    assert_eq!(
        labels(json!({"a": 5})),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    );
    assert_eq!(
        refusal("", "v1", "ConfigMap", json!({"metadata": "a"})),
        "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"
    );
    assert_eq!(
        refusal("", "v1", "ConfigMap", json!({"binaryData": {"k": "!!"}})),
        "illegal base64 data at input byte 0"
    );
}

#[test]
fn nulls_and_omitted_zeros_leave_no_trace_but_pointers_keep_theirs() {
    let body =
        pod(json!({"containers": [], "hostNetwork": false, "nodeName": "", "priority": 0, "subdomain": null,
        "terminationGracePeriodSeconds": 0, "tolerations": []}));
    let (stored, _) = decoded("", "v1", "Pod", body).unwrap();
    assert_eq!(
        stored["spec"],
        json!({"containers": null, "priority": 0, "terminationGracePeriodSeconds": 0})
    );
}

#[test]
fn what_go_always_writes_is_filled_in() {
    let (stored, _) = decoded("", "v1", "Pod", pod(json!({"containers": [{"image": "i"}]}))).unwrap();
    assert_eq!(stored["spec"]["containers"][0], json!({"image": "i", "name": "", "resources": {}}));
    assert_eq!(stored["status"], json!({}));
    let (role, _) =
        decoded("rbac.authorization.k8s.io", "v1", "ClusterRole", json!({"metadata": {"name": "a"}}))
            .unwrap();
    assert_eq!(role["rules"], Value::Null);
    let (event, _) = decoded("", "v1", "Event", json!({"metadata": {"name": "a"}})).unwrap();
    assert_eq!(event["eventTime"], Value::Null);
    assert_eq!(event["reportingComponent"], "");
    let (map, _) = decoded("", "v1", "ConfigMap", json!({"metadata": {"name": "a"}})).unwrap();
    assert_eq!(map, json!({"metadata": {"name": "a"}}));
}

#[test]
fn quantities_and_times_take_their_stored_form() {
    let limits = json!({"cpu": 0.5, "memory": "1024Mi", "gpu": 2});
    let body = pod(json!({"containers": [{"name": "c", "resources": {"limits": limits}}]}));
    let (stored, _) = decoded("", "v1", "Pod", body).unwrap();
    let limits = &stored["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(*limits, json!({"cpu": "500m", "memory": "1Gi", "gpu": "2"}));
    let lease = json!({"spec": {"renewTime": "2020-01-01T00:00:00.5Z"}});
    assert!(refusal("coordination.k8s.io", "v1", "Lease", lease).starts_with("parsing time"));
}

#[test]
fn static_defaults_reach_into_lists() {
    let schema = tables().schema("", "v1", "Pod").unwrap();
    let mut body = pod(
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}]}),
    );
    check_fields(schema, &mut body, Unknown::Name).unwrap();
    apply_defaults(schema, &mut body);
    let ports = &body["spec"]["containers"][0]["ports"];
    assert_eq!(
        *ports,
        json!([{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}])
    );
}

#[test]
fn completing_a_complete_tree_changes_nothing() {
    let schema = tables().schema("", "v1", "Pod").unwrap();
    let mut body = pod(json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 1}}}]}));
    check_fields(schema, &mut body, Unknown::Name).unwrap();
    let before = body.clone();
    complete(schema, &mut body);
    assert_eq!(body, before);
}
