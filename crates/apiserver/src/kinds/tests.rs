//! What the kinds say about objects, through the same steps as a request: decode, default, prepare, judge.
//!
//! The expectations follow recorded answers of kube-apiserver 1.36.2.

use api_schema::{Unknown, apply_defaults, check_fields, complete};
use api_tables::tables;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use stdx::Time;

use super::table::facts;
use crate::registry::{Context, Facts};

const NOW: Time = Time::from_secs(1_600_000_000);

fn context(subresource: &'static str) -> Context<'static> {
    Context { now: NOW, namespace: "d", subresource, user: "u" }
}

/// The object as it would be judged before a create.
fn decoded(group: &str, plural: &str, mut v: Value) -> (Value, &'static Facts) {
    let kind = tables().kinds.iter().find(|k| k.group == group && k.plural == plural).expect("a served kind");
    let schema = tables().schema_of(kind.root);
    let facts = facts(group, plural);
    v["apiVersion"] = kind.api_version().into();
    v["kind"] = kind.kind.as_str().into();
    if v["metadata"].is_null() {
        v["metadata"] = json!({"name": "a", "uid": "u-1", "namespace": "d"});
    }
    check_fields(schema, &mut v, Unknown::Name).expect("the types fit");
    apply_defaults(schema, &mut v);
    (facts.default)(&mut v);
    complete(schema, &mut v);
    (v, facts)
}

fn created(group: &str, plural: &str, v: Value) -> Value {
    let (mut v, facts) = decoded(group, plural, v);
    (facts.prepare_create)(&mut v, &context(""));
    v
}

fn lines(causes: Vec<api_meta::Cause>) -> String {
    causes
        .iter()
        .map(|c| format!("{} | {} | {}\n", c.field, c.reason.trim_start_matches("FieldValue"), c.message))
        .collect()
}

fn refused(group: &str, plural: &str, v: Value, expected: Expect) {
    let (mut v, facts) = decoded(group, plural, v);
    (facts.prepare_create)(&mut v, &context(""));
    expected.assert_eq(&lines((facts.validate_create)(&v, &context(""))));
}

fn changed(group: &str, plural: &str, old: Value, change: impl FnOnce(&mut Value), expected: Expect) {
    let old = created(group, plural, old);
    let mut new = old.clone();
    change(&mut new);
    let (mut new, facts) = decoded(group, plural, new);
    (facts.prepare_update)(&mut new, &old, &context(""));
    expected.assert_eq(&lines((facts.validate_update)(&new, &old, &context(""))));
}

fn pod(spec: Value) -> Value {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c", "image": "nginx:1"}]);
    }
    json!({"spec": spec})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

#[test]
fn a_minimal_pod_gets_what_upstream_gives_it() {
    let v = created("", "pods", pod(json!({})));
    expect![[r#"{"containers":[{"image":"nginx:1","imagePullPolicy":"IfNotPresent","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}"#]]
    .assert_eq(&v["spec"].to_string());
    expect![[r#"{"phase":"Pending","qosClass":"BestEffort"}"#]].assert_eq(&v["status"].to_string());
}

#[test]
fn pods_are_refused_for_every_mistake_at_once() {
    let containers = json!([
        {"name": "A_", "image": " i ", "ports": [{"containerPort": 0}, {"containerPort": 70000, "name": "a"}],
         "livenessProbe": {"httpGet": {"port": "-a-"}, "successThreshold": 2},
         "volumeMounts": [{"name": "v", "mountPath": "/a"}]},
        {"name": "b", "image": "i:1", "resources": {"requests": {"cpu": "2", "gpu": "1"}, "limits": {"cpu": "1"}}}]);
    refused(
        "",
        "pods",
        pod(json!({"containers": containers, "restartPolicy": "X"})),
        expect![[r#"
        spec.containers[0].name | Invalid | Invalid value: "A_": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[0].image | Invalid | Invalid value: " i ": must not have leading or trailing whitespace
        spec.containers[0].ports[0].containerPort | Required | Required value
        spec.containers[0].ports[1].containerPort | Invalid | Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].volumeMounts[0].name | NotFound | Not found: "v"
        spec.containers[0].livenessProbe.httpGet.port | Invalid | Invalid value: "-a-": must not begin or end with a hyphen
        spec.containers[0].livenessProbe.successThreshold | Invalid | Invalid value: 2: must be 1
        spec.containers[1].resources.requests | Invalid | Invalid value: "2": must be less than or equal to cpu limit of 1
        spec.containers[1].resources.requests[gpu] | Invalid | Invalid value: "gpu": must be a standard resource type or fully qualified
        spec.containers[1].resources.requests[gpu] | Invalid | Invalid value: "gpu": must be a standard resource for containers
        spec.restartPolicy | NotSupported | Unsupported value: "X": supported values: "Always", "OnFailure", "Never"
    "#]],
    );
}

#[test]
fn of_a_running_pod_only_images_and_a_few_more_fields_may_change() {
    changed(
        "",
        "pods",
        pod(json!({})),
        |v| v["spec"]["containers"][0]["image"] = "nginx:2".into(),
        expect![""],
    );
    changed(
        "",
        "pods",
        pod(json!({})),
        |v| v["spec"]["nodeName"] = "n".into(),
        expect![[r#"
        spec | Forbidden | Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
    "#]],
    );
    let gated = pod(json!({"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}));
    changed("", "pods", gated.clone(), |v| v["spec"]["nodeSelector"]["c"] = "d".into(), expect![""]);
    changed(
        "",
        "pods",
        gated,
        |v| v["spec"]["nodeSelector"] = json!({"a": "x"}),
        expect![[r#"
        spec.nodeSelector | Invalid | Invalid value: {"a":"x"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)
    "#]],
    );
}

#[test]
fn services_are_defaulted_by_type_and_drop_what_another_type_had() {
    let v = created("", "services", json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}));
    expect![[r#"{"allocateLoadBalancerNodePorts":true,"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"LoadBalancer"}"#]]
    .assert_eq(&v["spec"].to_string());
    let (mut new, facts) = decoded("", "services", {
        let mut v = v.clone();
        v["spec"]["type"] = "ClusterIP".into();
        v
    });
    (facts.prepare_update)(&mut new, &v, &context(""));
    expect![[r#"{"internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ClusterIP"}"#]]
    .assert_eq(&new["spec"].to_string());
}

#[test]
fn services_are_refused_in_upstreams_words() {
    refused(
        "",
        "services",
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 80}], "externalTrafficPolicy": "Local"}}),
        expect![[r#"
        spec.ports[0].name | Required | Required value
        spec.ports[1].name | Required | Required value
        spec.ports[1] | Duplicate | Duplicate value: {"AppProtocol":null,"Name":"","NodePort":0,"Port":80,"Protocol":"TCP","TargetPort":0}
        spec.ports[0].nodePort | Forbidden | Forbidden: may not be used when `type` is 'ClusterIP'
        spec.externalTrafficPolicy | Invalid | Invalid value: "Local": may only be set for externally-accessible services
    "#]],
    );
}

#[test]
fn a_job_selects_its_own_pods() {
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}});
    let v = created("batch", "jobs", json!({"spec": spec}));
    expect![[r#"{"matchLabels":{"batch.kubernetes.io/controller-uid":"u-1"}}"#]]
        .assert_eq(&v["spec"]["selector"].to_string());
    expect![[r#"{"batch.kubernetes.io/controller-uid":"u-1","batch.kubernetes.io/job-name":"a","controller-uid":"u-1","job-name":"a"}"#]]
    .assert_eq(&v["metadata"]["labels"].to_string());
    refused("batch", "jobs", json!({"spec": spec}), expect![""]);
    changed(
        "batch",
        "jobs",
        json!({"spec": spec}),
        |v| v["spec"]["completions"] = 4.into(),
        expect![[r#"
        spec.completions | Invalid | Invalid value: 4: field is immutable
    "#]],
    );
}

#[test]
fn workloads_are_defaulted_and_their_selectors_stay() {
    let set = json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template()}});
    let v = created("apps", "deployments", set.clone());
    expect![[r#"{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"}"#]]
        .assert_eq(&v["spec"]["strategy"].to_string());
    changed(
        "apps",
        "deployments",
        set.clone(),
        |v| {
            v["spec"]["selector"] = json!({"matchLabels": {"b": "c"}});
            v["spec"]["template"]["metadata"]["labels"] = json!({"b": "c"});
        },
        expect![[r#"
        spec.selector | Invalid | Invalid value: {"matchLabels":{"b":"c"}}: field is immutable
    "#]],
    );
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mut stateful = set.clone();
    stateful["spec"]["volumeClaimTemplates"] = json!([claim]);
    stateful["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/d"}]);
    refused("apps", "statefulsets", stateful.clone(), expect![""]);
    changed(
        "apps",
        "statefulsets",
        stateful,
        |v| v["spec"]["podManagementPolicy"] = "Parallel".into(),
        expect![[r#"
        spec | Forbidden | Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
}

#[test]
fn secrets_are_coded_and_frozen_ones_stay() {
    let v = created("", "secrets", json!({"stringData": {"k": "hello"}, "data": {"l": "eA=="}}));
    expect![[r#"{"k":"aGVsbG8=","l":"eA=="}"#]].assert_eq(&v["data"].to_string());
    changed(
        "",
        "secrets",
        json!({"immutable": true, "data": {"l": "eA=="}}),
        |v| v["stringData"] = json!({"l": "y"}),
        expect![[r#"
        data | Forbidden | Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    refused(
        "",
        "secrets",
        json!({"type": "kubernetes.io/tls"}),
        expect![[r#"
        data[tls.crt] | Required | Required value
        data[tls.key] | Required | Required value
    "#]],
    );
}

#[test]
fn a_node_is_not_ready_until_it_says_so() {
    let v = created(
        "",
        "nodes",
        json!({"spec": {"podCIDR": "10.0.0.0/24"}, "status": {"capacity": {"cpu": "4"}}}),
    );
    expect![[r#"{"podCIDR":"10.0.0.0/24","podCIDRs":["10.0.0.0/24"],"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready"}]}"#]]
    .assert_eq(&v["spec"].to_string());
    expect![[r#"{"cpu":"4"}"#]].assert_eq(&v["status"]["allocatable"].to_string());
}

#[test]
fn claims_and_volumes_are_judged() {
    refused(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"accessModes": ["X"]}}),
        expect![[r#"
        spec.accessModes | NotSupported | Unsupported value: "X": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.resources[storage] | Required | Required value
    "#]],
    );
    refused(
        "",
        "persistentvolumes",
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
        expect![[r#"
        spec | Required | Required value: must specify a volume type
    "#]],
    );
}

#[test]
fn networking_kinds_are_judged() {
    let path = json!({"path": "a", "pathType": "Prefix", "backend": {}});
    refused(
        "networking.k8s.io",
        "ingresses",
        json!({"spec": {"rules": [{"host": "1.2.3.4", "http": {"paths": [path]}}]}}),
        expect![[r#"
        spec.rules[0].host | Invalid | Invalid value: "1.2.3.4": must be a DNS name, not an IP address
        spec.rules[0].http.paths[0].path | Invalid | Invalid value: "a": must be an absolute path
        spec.rules[0].http.paths[0].backend | Invalid | Invalid value: "": resource or service backend is required
    "#]],
    );
    refused(
        "networking.k8s.io",
        "networkpolicies",
        json!({"spec": {"podSelector": {}, "ingress": [{"from": [{}], "ports": [{"endPort": 5}]}]}}),
        expect![[r#"
        spec.ingress[0].ports[0].endPort | Invalid | Invalid value: 5: may not be specified when `port` is not specified
        spec.ingress[0].from[0] | Required | Required value: must specify a peer
    "#]],
    );
    refused(
        "discovery.k8s.io",
        "endpointslices",
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.64.0.1"]}, {"addresses": ["x"]}]}),
        expect![[r#"
            endpoints[0].addresses[0] | Invalid | Invalid value: "127.64.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            endpoints[1].addresses[0] | Invalid | Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        "#]],
    );
}

#[test]
fn rows_show_what_kubectl_shows() {
    let row = |group: &str, plural: &str, v: Value| {
        let (v, facts) = decoded(group, plural, v);
        Value::Array((facts.row)(&v, NOW)).to_string()
    };
    let metadata = json!({"name": "a", "creationTimestamp": "2020-09-13T12:20:00Z"});
    expect![[r#"["a","1/3",2,1,"6m40s","c","i:1","app=a"]"#]].assert_eq(&row("apps", "deployments", json!({
        "metadata": metadata, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": template()},
        "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}})));
    expect![[r#"["a","ClusterIP","10.0.0.1","<none>","80/TCP,53/UDP","6m40s","app=a"]"#]].assert_eq(&row(
        "",
        "services",
        json!({
        "metadata": metadata, "spec": {"clusterIP": "10.0.0.1", "selector": {"app": "a"},
        "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}}),
    ));
    expect![[r#"["a","Deployment/d","cpu: 10%/80%","1",5,2,"6m40s"]"#]].assert_eq(&row("autoscaling", "horizontalpodautoscalers", json!({
        "metadata": metadata, "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
        "targetCPUUtilizationPercentage": 80}, "status": {"currentReplicas": 2, "currentCPUUtilizationPercentage": 10}})));
    expect![[r#"["a","10.1.2.4:80,10.1.2.3:80","6m40s"]"#]].assert_eq(&row("", "endpoints", json!({
        "metadata": metadata, "subsets": [{"addresses": [{"ip": "10.1.2.4"}, {"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]})));
}
