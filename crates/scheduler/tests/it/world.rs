//! A scheduler over the server, and what one sees of it.

use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use reconcile::{AllowAll, Permit};
use scheduler::{Config, Metrics, Scheduler};
use serde_json::{Value, json};
use stdx::Time;

use crate::server::Server;

pub(crate) fn start(server: &Server) -> Arc<Metrics> {
    start_guarded(server, Arc::new(AllowAll))
}

pub(crate) fn start_guarded(server: &Server, guard: Arc<dyn Permit>) -> Arc<Metrics> {
    let env = os::virtual_env(Time::from_secs(1_700_000_000), 1);
    let client = Client::new(Arc::new(server.clone()), "scheduler");
    let scheduler = Scheduler::new(client, env, Config::upstream()).with_guard(guard);
    let metrics = scheduler.metrics();
    tokio::spawn(scheduler.run());
    metrics
}

pub(crate) fn node(name: &str, cpu: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "100"}}})
}

pub(crate) fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
        "spec": {"schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

pub(crate) async fn settle(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

/// Who told what, in order of the pods' names.
pub(crate) fn events(server: &Server) -> String {
    let line = |e: &Value| {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} x{} {}: {}\n",
            text(&e["type"]),
            text(&e["reason"]),
            e["count"],
            text(&e["involvedObject"]["name"]),
            text(&e["message"])
        )
    };
    let mut lines: Vec<String> = server.list("events").iter().map(line).collect();
    lines.sort();
    lines.concat()
}
