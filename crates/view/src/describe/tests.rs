use expect_test::expect;
use serde_json::json;
use stdx::Time;

use super::{Related, describe};

#[test]
fn a_pod_that_waits_says_for_what() {
    let pod = json!({
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": [
            {"kind": "CloneSet", "name": "web", "controller": true}]},
        "spec": {"nodeName": "n1", "readinessGates": [{"conditionType": "InPlaceUpdateReady"}], "containers": [{
            "name": "main", "image": "shop:v2", "ports": [{"containerPort": 8080}],
            "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": [
            {"type": "InPlaceUpdateReady", "status": "False", "message": "updating"}], "containerStatuses": [
            {"name": "main", "ready": true, "restartCount": 1, "state": {"running": {"startedAt": "1970-01-01T00:10:00Z"}}}]},
    });
    let events = [json!({"type": "Normal", "reason": "Pulled", "message": "there already", "count": 3,
        "firstTimestamp": "1970-01-01T00:10:00Z", "lastTimestamp": "1970-01-01T00:15:00Z", "source": {"component": "node"}})];
    expect![[r#"
        Name:           web-1
        Namespace:      shop
        Labels:         app=web
        Annotations:    <none>
        Node:           n1
        Status:         Running
        IP:             10.0.0.7
        Controlled By:  CloneSet/web
        Waits For:      readiness gate InPlaceUpdateReady is closed: updating
        Containers:
          main:
            Image:          shop:v2
            Port:           8080/TCP
            State:          Running
              Started:      1970-01-01T00:10:00Z
            Ready:          True
            Restart Count:  1
            Readiness:      http-get http://:8080/ready delay=0s timeout=1s period=10s #success=1 #failure=3
            Environment:
              TOKEN:  <set to the key 'k' in secret 's'>
            Mounts:  <none>
        Readiness Gates:
          InPlaceUpdateReady:  False
        Conditions:
          Type                 Status   Reason   Message
          ----                 ------   ------   -------
          InPlaceUpdateReady   False             updating
        Volumes:         <none>
        Node-Selectors:  <none>
        Tolerations:     <none>
        Events:
          Type     Reason   Age                    From   Message
          ----     ------   ----                   ----   -------
          Normal   Pulled   100s (x3 over 6m40s)   node   there already
    "#]]
    .assert_eq(&describe(&pod, Related { events: &events, pods: &[] }, Time::from_secs(1000)));
}

#[test]
fn a_workload_tells_counts_batch_and_reasons() {
    let set = json!({
        "kind": "CloneSet",
        "metadata": {"name": "web", "namespace": "shop", "generation": 3, "creationTimestamp": "1970-01-01T00:00:00Z"},
        "spec": {"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 6, "maxUnavailable": "20%"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "shop:v2"}]}}},
        "status": {"observedGeneration": 3, "replicas": 10, "updatedReplicas": 3, "updatedAvailableReplicas": 2,
            "expectedUpdatedReplicas": 4, "availableReplicas": 9, "readyReplicas": 9, "updateRevision": "web-2", "currentRevision": "web-1"},
    });
    let stuck = json!({"metadata": {"name": "web-7"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running",
        "containerStatuses": [{"name": "main", "ready": false, "state": {"running": {}}}]}});
    let related = Related { events: &[], pods: &[stuck] };
    expect![[r#"
        Name:               web
        Namespace:          shop
        Labels:             <none>
        Annotations:        <none>
        CreationTimestamp:  1970-01-01T00:00:00Z
        Selector:           app=web
        Replicas:           10 desired | 3 updated | 10 total | 9 available | 1 unavailable
        Batch:              4 of 10 pods at the new revision, the rest held by the partition
        Update Revision:    web-2
        Current Revision:   web-1
        Rollout:            [##########----------] 3 of 4 pods of this batch are updated
        Waits For:          web-7: container main is not ready
        Update Strategy:
          maxUnavailable:  20%
          partition:       6
          type:            RollingUpdate
        Pod Template:
          Labels:  app=web
          Containers:
            main:
              Image:        shop:v2
              Port:         <none>
              Environment:  <none>
              Mounts:       <none>
          Volumes:  <none>
        Events:  <none>
    "#]]
    .assert_eq(&describe(&set, related, Time::from_secs(1000)));
}

#[test]
fn a_node_sums_up_what_its_pods_ask_for() {
    let node = json!({"kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": [
            {"key": "knarr.dev/runtime", "value": "process", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}, "capacity": {"cpu": "4", "memory": "8Gi"}}});
    let pod = |name: &str, phase: &str| {
        json!({"metadata": {"name": name, "namespace": "shop"}, "status": {"phase": phase}, "spec": {"containers": [
            {"resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}, {"resources": {"requests": {"cpu": "1"}}}]}})
    };
    let pods = [pod("a", "Running"), pod("b", "Succeeded")];
    expect![[r#"
        Name:               n1
        Labels:             <none>
        Annotations:        <none>
        CreationTimestamp:
        Taints:             knarr.dev/runtime=process:NoSchedule
        Unschedulable:      false
        Capacity:
          cpu:     4
          memory:  8Gi
        Allocatable:
          cpu:     4
          memory:  8Gi
        System Info:
        Non-terminated Pods (1 in total):
          Namespace   Name   CPU Requests   CPU Limits   Memory Requests   Memory Limits
          ---------   ----   ------------   ----------   ---------------   -------------
          shop        a      1500m          0            512Mi             0
        Allocated resources:
          Resource            Requests      Limits
          --------            --------      ------
          cpu                 1500m (37%)   0 (0%)
          memory              512Mi (6%)    0 (0%)
          ephemeral-storage   0 (0%)        0 (0%)
        Events:  <none>
    "#]]
    .assert_eq(&describe(&node, Related { events: &[], pods: &pods }, Time::from_secs(0)));
}

#[test]
fn other_kinds_are_printed_field_by_field() {
    let object = json!({"apiVersion": "x/v1", "kind": "Widget", "metadata": {"name": "w", "generation": 2},
        "spec": {"maxSize": 3, "tags": ["a", "b"], "ports": [{"port": 1}, {"port": 2}], "empty": {}}});
    expect![[r#"
        Name:         w
        Labels:       <none>
        Annotations:  <none>
        API Version:  x/v1
        Kind:         Widget
        Metadata:
          Generation:  2
        Spec:
          Empty:     <none>
          Max Size:  3
          Ports:
            Port:  1

            Port:  2
          Tags:  a
                 b
        Events:  <none>
    "#]]
    .assert_eq(&describe(&object, Related::default(), Time::from_secs(0)));
}

#[test]
fn secrets_are_measured_and_not_shown() {
    let object = json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "aHVudGVyMg=="}});
    let page = describe(&object, Related::default(), Time::from_secs(0));
    assert!(page.contains("key:  7 bytes") && !page.contains("aHVudGVyMg"), "{page}");
}

#[test]
fn a_cafe_deployment_shows_its_groups_cells_and_how_to_go_on() {
    let mut cafe = crate::release::tests::cafe();
    cafe["spec"] = json!({"replicas": 10, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "shop:v2"}]}}});
    let page = describe(&cafe, Related::default(), Time::from_secs(700));
    let from = page.find("Rollout:").unwrap();
    let to = page.find("Pod Template:").unwrap();
    expect![[r#"
        Rollout:            [####----------------] group beta is done and waits for confirmation
        Waits For:          <none>
        Phase:              WaitingForConfirmation
        Release Waits For:  group beta is done (for 88s)
        To Go On:           knarr release confirm web (or annotate cafe.sofastack.io/upgrade-confirmed=true)
        Groups:
          GROUP     CellA   CellB   PODS   PHASE                    DONE               TOOK
          beta      1       1       2      WaitingForConfirmation   [##########] 2/2   12s
          group-1   2       2       4      Planned                  [----------] 0/4
          group-2   2       2       4      Planned                  [----------] 0/4
        Cells:
          CELL    WANTED   UPDATED   AVAILABLE   MINIMUM   STATE
          CellA   5        1         5           4         well
          CellB   5        1         4           4         short
    "#]]
    .assert_eq(&page[from..to]);
}
