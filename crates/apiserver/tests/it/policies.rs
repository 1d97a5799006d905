//! ValidatingAdmissionPolicy: what is denied, warned of and let through.

use apiserver::User;
use serde_json::{Value, json};

use crate::fixture::World;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

/// A policy about config maps with further parts of its spec.
fn policy(spec: Value) -> Value {
    let rules = json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]});
    let mut all = json!({"matchConstraints": rules});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": all})
}

fn binding(spec: Value) -> Value {
    let mut all = json!({"policyName": "p", "validationActions": ["Deny"]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": all})
}

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

async fn bound(spec: Value, binding_spec: Value) -> World {
    let w = World::new().await;
    let made = w.post(POLICIES, policy(spec)).await;
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    made.created();
    w.post(BINDINGS, binding(binding_spec)).await.created();
    w
}

/// What a policy says to this config map.
async fn said(spec: Value, binding_spec: Value, data: Value) -> String {
    let w = bound(spec, binding_spec).await;
    let answer = w.post(MAPS, map("a", data)).await;
    match answer.code {
        201 => "created".to_owned(),
        _ => answer.body["details"]["causes"][0]["message"].as_str().unwrap().to_owned(),
    }
}

const DENIED: &str = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: ";

#[tokio::test(start_paused = true)]
async fn a_policy_denies_in_upstreams_words_with_its_reason() {
    let w = bound(
        json!({
            "variables": [{"name": "keys", "expression": "has(object.data) ? object.data.map(k, k) : []"}],
            "matchConditions": [{"name": "c", "expression": "request.operation != 'DELETE'"}],
            "validations": [
                {"expression": "!('bad' in variables.keys)", "message": "bad is not allowed", "reason": "Forbidden"},
                {"expression": "variables.keys.size() < 3", "messageExpression": "'too many keys: ' + string(variables.keys.size())"},
                {"expression": "request.operation != 'UPDATE' || !has(oldObject.data) || !('lock' in oldObject.data)"},
            ],
        }),
        json!({}),
    )
    .await;
    let denied = w.post(MAPS, map("a", json!({"bad": "x"}))).await;
    assert_eq!(denied.code, 403);
    assert_eq!(denied.body["message"], format!("configmaps \"a\" is forbidden: {DENIED}bad is not allowed"));
    assert_eq!(denied.body["details"]["causes"], json!([{"message": format!("{DENIED}bad is not allowed")}]));
    w.post(MAPS, map("a", json!({"good": "x"}))).await.created();
    let one = format!("{MAPS}/a");
    let why = w.patch(&one, "merge", json!({"data": {"b": "x", "c": "x"}})).await.refused(422);
    assert!(why.ends_with("denied request: too many keys: 3"), "{why}");
    w.patch(&one, "merge", json!({"data": {"lock": "x"}})).await.ok();
    let why = w.patch(&one, "merge", json!({"data": {"lock": "y"}})).await.refused(422);
    assert!(why.contains("denied request: failed expression: request.operation != 'UPDATE' ||"), "{why}");
    let dry = w.post(&format!("{MAPS}?dryRun=All"), map("n", json!({"bad": "x"}))).await;
    assert_eq!(dry.code, 403);
    w.post("/api/v1/namespaces/ns/secrets", json!({"metadata": {"name": "a"}, "data": {"bad": "eA=="}}))
        .await
        .created();
    w.delete(&one, Value::Null).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_binding_may_warn_instead_and_chooses_by_labels() {
    let rule = json!({"validations": [{"expression": "false", "message": "never"}]});
    let w = bound(rule.clone(), json!({"validationActions": ["Warn", "Audit"]})).await;
    let told = w.post(MAPS, map("a", json!({}))).await;
    let text = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never";
    assert_eq!(told.warnings, [format!("299 - \"{text}\"")]);
    told.created();
    for (selector, outcome) in [
        (
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ns"}}}),
            format!("{DENIED}never"),
        ),
        (
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}),
            "created".to_owned(),
        ),
        (json!({"objectSelector": {"matchLabels": {"a": "b"}}}), "created".to_owned()),
        (
            json!({"excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["*"], "operations": ["*"],
                "resources": ["configmaps"], "resourceNames": ["a"]}]}),
            "created".to_owned(),
        ),
    ] {
        assert_eq!(said(rule.clone(), json!({"matchResources": selector}), json!({})).await, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_worked_out_denies_unless_the_policy_says_otherwise() {
    let rule = |policy: &str| json!({"failurePolicy": policy, "validations": [{"expression": "object.data.zz == 'x'"}]});
    let why = said(rule("Fail"), json!({}), json!({"a": "b"})).await;
    assert_eq!(why, format!("{DENIED}expression 'object.data.zz == 'x'' resulted in error: no such key: zz"));
    assert_eq!(said(rule("Ignore"), json!({}), json!({"a": "b"})).await, "created");
    let condition = json!({"matchConditions": [{"name": "c", "expression": "object.data.zz == 'x'"}],
        "validations": [{"expression": "false"}]});
    let why = said(condition, json!({}), json!({})).await;
    assert!(why.contains("expression 'object.data.zz == 'x'' resulted in error: no such key"), "{why}");
    let endless = (0..6).fold("true".to_owned(), |inner, i| format!("object.data.all(k{i}, {inner})"));
    let keys: serde_json::Map<String, Value> = (0..60).map(|i| (format!("k{i}"), json!("v"))).collect();
    let why = said(json!({"validations": [{"expression": endless}]}), json!({}), Value::Object(keys)).await;
    assert!(why.contains("resulted in error: operation cancelled: actual cost limit exceeded"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn parameters_are_objects_that_the_binding_names() {
    let rule = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [
        {"expression": "object.metadata.name == 'limits' || object.data.size() <= int(params.data.max)"}
    ]});
    let named = |action: &str| json!({"paramRef": {"name": "limits", "parameterNotFoundAction": action}});
    let why = said(rule.clone(), named("Deny"), json!({"a": "b"})).await;
    let missing =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(why, format!("{DENIED}{missing}"));
    assert_eq!(said(rule.clone(), named("Allow"), json!({"a": "b"})).await, "created");
    for reference in [
        json!({"name": "limits", "parameterNotFoundAction": "Allow"}),
        json!({"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}),
    ] {
        let w = bound(rule.clone(), json!({ "paramRef": reference })).await;
        let mut limits = map("limits", json!({"max": "1"}));
        limits["metadata"]["labels"] = json!({"limits": "yes"});
        w.post(MAPS, limits).await.created();
        w.post(MAPS, map("a", json!({"a": "b"}))).await.created();
        let why = w.post(MAPS, map("b", json!({"a": "b", "c": "d"}))).await.refused(422);
        assert!(why.contains("failed expression"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_sees_the_namespace_the_user_and_what_the_user_may() {
    for (expression, outcome) in [
        ("namespaceObject.metadata.name == 'ns' && namespaceObject.status.phase == 'Active'", true),
        ("namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'ns'", true),
        ("request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups", true),
        (
            "request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap' && request.namespace == 'ns'",
            true,
        ),
        ("has(request.subResource) || request.dryRun", false),
        ("authorizer.group('').resource('pods').namespace('ns').check('create').allowed()", true),
        ("authorizer.requestResource.check('delete').allowed()", true),
        ("authorizer.serviceAccount('ns', 'a').path('/healthz').check('get').allowed()", false),
        ("oldObject == null && object.metadata.namespace == 'ns'", true),
    ] {
        let said = said(json!({"validations": [{"expression": expression}]}), json!({}), json!({})).await;
        assert_eq!(said == "created", outcome, "{expression}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_right_is_refused_by_its_place() {
    let w = World::new().await;
    let why = |spec: Value| {
        let w = w.clone();
        async move { w.post(POLICIES, policy(spec)).await.refused(422) }
    };
    let text = why(json!({"validations": [{"expression": "'a'"}]})).await;
    assert!(
        text.ends_with(
            "spec.validations[0].expression: Invalid value: \"'a'\": must evaluate to bool but got string"
        ),
        "{text}"
    );
    let text = why(json!({"validations": [{"expression": "nope == 1"}]})).await;
    let compiled = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope == 1\n | ^";
    assert!(text.ends_with(compiled), "{text}");
    let validations = json!([{"expression": "true", "messageExpression": "1"}]);
    let text = why(json!({ "validations": validations })).await;
    assert!(
        text.contains("messageExpression: Invalid value: \"1\": must evaluate to string but got int"),
        "{text}"
    );
    let text = why(json!({"validations": [{"expression": "variables.later"}], "variables": [{"name": "a", "expression": "1"}]})).await;
    assert!(text.contains("undefined field 'later'"), "{text}");
    let text = why(json!({"validations": [{"expression": "true"}], "matchConditions": [{"name": "c", "expression": "nope("}]})).await;
    assert!(text.contains("spec.matchConditions[0].expression: Invalid value: \"nope(\": compilation failed: ERROR: <input>:1:6"), "{text}");
}

/// The policies that an installation puts on a fleet, here on the embedded server.
#[tokio::test(start_paused = true)]
async fn the_policies_of_an_installation_protect_from_deletion_here_too() {
    let w = World::new().await;
    for object in guard::policies() {
        let path = if object["kind"] == "ValidatingAdmissionPolicy" { POLICIES } else { BINDINGS };
        w.post(path, object).await.created();
    }
    let labelled = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"ports": [{"port": 80}]}});
    let services = "/api/v1/namespaces/ns/services";
    let used = json!({"knarr.dev/delete-protected": "true"});
    w.post(services, labelled("used", used)).await.created();
    w.post(services, labelled("free", json!({}))).await.created();
    let why = w.delete(&format!("{services}/used"), Value::Null).await.refused(403);
    let said = "ValidatingAdmissionPolicy 'knarr-delete-protection' with binding 'knarr-delete-protection' denied request: \
                it is in use: see its label; remove that first";
    assert!(why.ends_with(said), "{why}");
    w.delete(&format!("{services}/free"), Value::Null).await.ok();
    w.patch(
        &format!("{services}/used"),
        "merge",
        json!({"metadata": {"labels": {"knarr.dev/delete-protected": null}}}),
    )
    .await
    .ok();
    w.delete(&format!("{services}/used"), Value::Null).await.ok();
}

#[tokio::test(start_paused = true)]
async fn policies_themselves_stay_repairable() {
    let rule = json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
        "resources": ["*"]}]}, "validations": [{"expression": "false"}]});
    let w = bound(rule, json!({})).await;
    let user = w.as_user(User::new("other", &["system:masters"]));
    assert_eq!(user.post(MAPS, map("a", json!({}))).await.code, 422);
    w.delete(&format!("{BINDINGS}/b"), Value::Null).await.ok();
    user.post(MAPS, map("a", json!({}))).await.created();
}
