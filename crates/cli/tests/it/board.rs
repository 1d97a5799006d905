//! The board, in front of workloads whose status a test writes.

use std::time::Duration;

use api_client::{Patch, WriteOptions};
use api_meta::Resource;
use serde_json::{Value, json};

use crate::fixture::World;

const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

const WEB: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'shop:v1'}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
";

async fn status(w: &World, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    let options = WriteOptions::default();
    let _: Value =
        w.client().patch(&DEPLOYMENTS, ("default", "web"), "status", &patch, &options).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn follow_ends_when_all_workloads_have_rolled_out() {
    let w = World::new("follow").await;
    let file = w.file("web.yaml", WEB);
    let manifests = cli::read_manifests(file.as_ref()).unwrap();
    cli::apply_all(&w.client(), &w.env, &manifests).await.unwrap();
    let (client, env) = (w.client(), w.env.clone());
    let followed = tokio::spawn(async move { cli::follow(&client, &env, &manifests).await });
    let counts = |available: i32| json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": available, "availableReplicas": available});
    status(&w, counts(1)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!followed.is_finished(), "one of two pods is not available");
    status(&w, counts(2)).await;
    tokio::time::timeout(Duration::from_secs(5), followed).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_board_ends_when_it_is_told_to() {
    let w = World::new("board").await;
    let focus =
        vec![cli::Focus { resource: DEPLOYMENTS, namespace: "default".into(), name: "absent".into() }];
    let stop = tokio::time::sleep(Duration::from_secs(3));
    cli::board(&w.client(), &w.env, focus, stop).await.unwrap();
}
