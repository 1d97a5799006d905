//! Pods with claims: what they wait for, what is written for them, and what is said when it does not come.

use expect_test::expect;
use serde_json::{Value, json};

use crate::server::Server;
use crate::world::{events, node, pod, settle, start};

fn with_claim(name: &str, claim: &str) -> Value {
    let mut pod = pod(name, "100m");
    pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
    pod
}

fn claim(name: &str, class: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("claim-{name}")},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    })
}

fn class(name: &str, provisioner: &str, mode: &str) -> Value {
    json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode})
}

fn volume(name: &str, class: &str, on: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("volume-{name}")},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "capacity": {"storage": "2Gi"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [on]}]}]}}},
        "status": {"phase": "Available"},
    })
}

fn find(server: &Server, collection: &str, name: &str) -> Value {
    let list = server.list(collection);
    list.into_iter().find(|o| o["metadata"]["name"] == name).expect("it is there")
}

/// What the volume controller does in the end.
fn bind(server: &Server, name: &str, volume: &str) {
    let mut claim = find(server, "persistentvolumeclaims", name);
    claim["spec"]["volumeName"] = json!(volume);
    claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
    server.put("persistentvolumeclaims", claim);
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_for_its_pod_s_node_and_the_pod_for_its_claim() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("storageclasses", class("made", "csi.x", "WaitForFirstConsumer"));
    server.put("persistentvolumeclaims", claim("c", "made"));
    server.put("pods", with_claim("p", "c"));
    start(&server);
    settle(5).await;
    let annotations = find(&server, "persistentvolumeclaims", "c")["metadata"]["annotations"].clone();
    assert_eq!(annotations["volume.kubernetes.io/selected-node"], "n1");
    assert_eq!(server.places(), ["p -> -"], "the volume is not there yet");
    bind(&server, "c", "v");
    settle(1).await;
    assert_eq!(server.places(), ["p -> n1"]);
}

#[tokio::test(start_paused = true)]
async fn a_free_volume_is_set_aside_where_it_can_be_reached() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("nodes", node("n2", "1"));
    server.put("storageclasses", class("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"));
    server.put("persistentvolumes", volume("v", "local", "n2"));
    server.put("persistentvolumeclaims", claim("c", "local"));
    server.put("persistentvolumeclaims", claim("late", "local"));
    server.put("pods", with_claim("p", "c"));
    start(&server);
    settle(1).await;
    server.put("pods", with_claim("q", "late"));
    settle(5).await;
    let reference = find(&server, "persistentvolumes", "v")["spec"]["claimRef"].clone();
    assert_eq!((&reference["name"], &reference["uid"]), (&json!("c"), &json!("claim-c")));
    bind(&server, "c", "v");
    settle(1).await;
    assert_eq!(server.places(), ["p -> n2", "q -> -"]);
    expect![[r#"
        Normal Scheduled x1 p: Successfully assigned d/p to n2
        Warning FailedScheduling x1 q: 0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
    "#]]
    .assert_eq(&events(&server));
}

#[tokio::test(start_paused = true)]
async fn claims_that_are_missing_or_not_bound_are_named_and_their_coming_wakes_the_pod() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("storageclasses", class("now", "csi.x", "Immediate"));
    server.put("pods", with_claim("p", "c"));
    start(&server);
    settle(1).await;
    server.put("persistentvolumeclaims", claim("c", "now"));
    settle(5).await;
    server.put("persistentvolumes", volume("v", "now", "n1"));
    bind(&server, "c", "v");
    settle(5).await;
    assert_eq!(server.places(), ["p -> n1"]);
    expect![[r#"
        Normal Scheduled x1 p: Successfully assigned d/p to n1
        Warning FailedScheduling x1 p: 0/1 nodes are available: persistentvolumeclaim "c" not found. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
        Warning FailedScheduling x1 p: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.
    "#]]
    .assert_eq(&events(&server));
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_made_sends_the_pod_elsewhere() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("storageclasses", class("made", "csi.x", "WaitForFirstConsumer"));
    server.put("persistentvolumeclaims", claim("c", "made"));
    server.put("pods", with_claim("p", "c"));
    start(&server);
    settle(1).await;
    // The provisioner gives up, and says so by taking the node off.
    let mut given_up = find(&server, "persistentvolumeclaims", "c");
    given_up["metadata"]["annotations"] = json!({});
    server.put("nodes", node("n0", "8"));
    server.put("persistentvolumeclaims", given_up);
    settle(5).await;
    let annotations = find(&server, "persistentvolumeclaims", "c")["metadata"]["annotations"].clone();
    assert_eq!(annotations["volume.kubernetes.io/selected-node"], "n0");
    assert!(events(&server).contains(
        "FailedScheduling x1 p: running PreBind plugin \"VolumeBinding\": binding volumes: provisioning failed for PVC \"c\""
    ));
}

#[tokio::test(start_paused = true)]
async fn a_claim_for_one_pod_waits_until_the_other_is_gone() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    let mut alone = claim("c", "now");
    alone["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    alone["spec"]["volumeName"] = json!("v");
    alone["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    server.put("storageclasses", class("now", "csi.x", "Immediate"));
    server.put("persistentvolumeclaims", alone);
    server.put("persistentvolumes", volume("v", "now", "n1"));
    server.put("pods", with_claim("a", "c"));
    start(&server);
    settle(1).await;
    server.put("pods", with_claim("b", "c"));
    settle(5).await;
    assert_eq!(server.places(), ["a -> n1", "b -> -"]);
    assert!(events(&server).contains("1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."));
    server.remove("pods", "a");
    settle(5).await;
    assert_eq!(server.places(), ["b -> n1"]);
}
