use std::sync::Arc;
use std::time::Duration;

use api_client::{Client, DeleteOptions};
use api_core::{Namespace, ReplicaSet};
use api_meta::{Object, Reason, Status};
use builtins::replicaset::ReplicaSets;
use controller_host::{Host, HostConfig, over};
use reconcile::{AllowAll, Row};
use serde_json::{Value, json};

use crate::env;
use crate::server::Server;

const MAPS: &str = "/api/v1/configmaps";
const NAMESPACES: &str = "/api/v1/namespaces";
const PODS: &str = "/api/v1/pods";
const SETS: &str = "/apis/apps/v1/replicasets";

fn start(server: &Server) -> Client {
    let client = Client::new(Arc::new(server.clone()), "test");
    let config = HostConfig::alone().with_duties();
    let rows = vec![Row::of::<ReplicaSets>()];
    let host = Host::new(over(client.clone()), env(), rows, Arc::new(AllowAll), config);
    tokio::spawn(host.run());
    client
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

fn set(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "cart"}},
            "template": {"metadata": {"labels": {"app": "cart"}}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}},
        },
    })
}

async fn delete(client: &Client, policy: &'static str) {
    let options = DeleteOptions { propagation: policy, ..DeleteOptions::default() };
    client.delete(&ReplicaSet::RESOURCE, ("shop", "cart"), &options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_terminating_namespace_is_emptied_and_goes() {
    let server = Server::new();
    let client = start(&server);
    for name in ["shop", "other"] {
        server.put(NAMESPACES, json!({"metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}}));
        server.put(MAPS, json!({"metadata": {"name": "a", "namespace": name}}));
    }
    server.put(
        MAPS,
        json!({"metadata": {"name": "held", "namespace": "shop", "finalizers": ["example.com/hold"]}}),
    );
    server.put(SETS, set(3));
    pass(5).await;
    client.delete(&Namespace::RESOURCE, ("", "shop"), &DeleteOptions::default()).await.unwrap();
    pass(10).await;
    let shop = server.list(NAMESPACES).into_iter().find(|n| n["metadata"]["name"] == "shop").unwrap();
    let remaining = shop["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "NamespaceContentRemaining");
    assert_eq!(
        remaining.unwrap()["message"],
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    server.edit(MAPS, "shop", "held", |m| m["metadata"]["finalizers"] = json!([]));
    pass(10).await;
    let names: Vec<Value> = server.list(NAMESPACES).iter().map(|n| n["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["other"]);
    assert_eq!((server.list(MAPS).len(), server.list(PODS).len(), server.list(SETS).len()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner() {
    for policy in ["Background", "Foreground"] {
        let server = Server::new();
        let client = start(&server);
        server.put(SETS, set(5));
        pass(5).await;
        delete(&client, policy).await;
        pass(5).await;
        assert_eq!((server.list(SETS).len(), server.list(PODS).len()), (0, 0), "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_not_taken_back() {
    let server = Server::new();
    let client = start(&server);
    server.put(SETS, set(5));
    pass(5).await;
    delete(&client, "Orphan").await;
    pass(10).await;
    let pods = server.list(PODS);
    assert_eq!((server.list(SETS).len(), pods.len()), (0, 5));
    assert!(pods.iter().all(|p| p["metadata"]["ownerReferences"] == json!([])));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_the_mirror_does_not_show_is_looked_at_live() {
    let server = Server::new();
    start(&server);
    pass(5).await;
    server.stall(&[SETS]);
    server.put(SETS, set(0));
    let uid = server.list(SETS)[0]["metadata"]["uid"].clone();
    let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart", "uid": uid}]);
    server.put(MAPS, json!({"metadata": {"name": "a", "namespace": "shop", "ownerReferences": owners}}));
    pass(10).await;
    assert_eq!(server.list(MAPS).len(), 1);
    assert!(server.requests().contains(&"GET /apis/apps/v1/namespaces/shop/replicasets/cart".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_collected_while_a_kind_cannot_be_listed() {
    let server = Server::new();
    server.refuse(|method, path| {
        let sets = method == "GET" && path.ends_with("/replicasets");
        sets.then(|| Status::failure(Reason::ServiceUnavailable, "not yet"))
    });
    let owners = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "gone"}]);
    server.put(MAPS, json!({"metadata": {"name": "a", "namespace": "shop", "ownerReferences": owners}}));
    start(&server);
    pass(30).await;
    assert_eq!(server.list(MAPS).len(), 1);
    server.serve_all();
    pass(60).await;
    assert_eq!(server.list(MAPS).len(), 0, "its owner has really gone");
}
