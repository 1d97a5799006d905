use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn check(level: Level, spec: Value, expected: Expect) {
    let standard = Standard { level, version: Version::Latest };
    expected.assert_eq(&told(&evaluate(standard, &json!({}), &spec)));
}

fn hardened() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
        }}],
        "volumes": [{"name": "v", "emptyDir": {}}]
    })
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let spec = json!({"containers": [{"name": "test"}]});
    check(Level::Baseline, spec.clone(), expect![[""]]);
    check(
        Level::Restricted,
        spec,
        expect![[
            r#"allowPrivilegeEscalation != false (container "test" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "test" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "test" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "test" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        ]],
    );
}

#[test]
fn a_hardened_pod_is_restricted() {
    check(Level::Restricted, hardened(), expect![[""]]);
}

#[test]
fn the_ways_to_more_rights_are_named() {
    let spec = json!({
        "hostNetwork": true, "hostPID": true,
        "securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]},
        "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
        "containers": [
            {"name": "a", "securityContext": {"privileged": true}, "ports": [{"hostPort": 80}, {"hostPort": 81}]},
            {"name": "b", "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}},
            {"name": "c", "securityContext": {
                "procMount": "Unmasked", "seccompProfile": {"type": "Unconfined"}, "seLinuxOptions": {"user": "u"}
            }}
        ]
    });
    check(
        Level::Baseline,
        spec,
        expect![[
            r#"non-default capabilities (container "b" must not include "SYS_ADMIN" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume "h"), hostPort (container "a" uses hostPorts 80, 81), privileged (containers "a", "b" must not set securityContext.privileged=true), procMount (container "c" must not set securityContext.procMount to "Unmasked"), seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: user may not be set), seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined"), forbidden sysctls (kernel.msgmax)"#
        ]],
    );
}

#[test]
fn restricted_replaces_what_it_makes_stricter() {
    let mut spec = hardened();
    spec["volumes"] = json!([{"name": "h", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}]);
    spec["securityContext"]["runAsUser"] = json!(0);
    spec["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN"]);
    check(
        Level::Restricted,
        spec,
        expect![[
            r#"unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add), restricted volume types (volumes "h", "n" use restricted volume types "hostPath", "nfs"), runAsUser=0 (pod must not set runAsUser=0)"#
        ]],
    );
}

#[test]
fn an_older_version_asks_for_what_it_knew() {
    let spec = json!({"containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false}}],
        "securityContext": {"runAsNonRoot": true}});
    let old = Standard { level: Level::Restricted, version: Version::Minor(18) };
    assert_eq!(evaluate(old, &json!({}), &spec), []);
    assert_eq!(old.to_string(), "restricted:v1.18");
}

#[test]
fn labels_are_read_and_mistakes_are_strict() {
    let namespace = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30",
        "pod-security.kubernetes.io/warn": "strict"
    }}});
    let (policy, faults) = Policy::of(&namespace);
    assert_eq!(policy.enforce.to_string(), "baseline:v1.30");
    assert_eq!((policy.warn.level, faults.len()), (Level::Privileged, 1));
    assert_eq!(faults[0].field, "metadata.labels[pod-security.kubernetes.io/warn]");
    let (policy, _) =
        Policy::of(&json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "x"}}}));
    assert_eq!(policy.enforce.level, Level::Restricted);
    assert!(Policy::of(&json!({})).0.is_open());
    assert_eq!(Version::parse("v1.01"), None);
}

#[test]
fn workloads_have_their_pods_in_a_template() {
    let job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"hostPID": true}}}}}});
    assert_eq!(template("cronjobs.batch", &job).unwrap()["spec"]["hostPID"], true);
    assert!(template("services", &job).is_none());
}
