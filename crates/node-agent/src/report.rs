//! Writes pod statuses: the newest of each pod, one request at a time, again and again until the server has them.

use std::collections::BTreeMap;
use std::time::Duration;

use api_client::{Class, Client, DeleteOptions, Error, Patch, WriteOptions};
use api_core::Pod;
use api_meta::Object;
use serde::de::IgnoredAny;
use serde_json::Value;
use stdx::Env;
use tokio::sync::mpsc;

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A status to be written.
pub(crate) struct Report {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) patch: Value,
    /// Everything has ended: after this the object may go.
    pub(crate) is_final: bool,
}

/// Takes reports until dropped.
pub(crate) fn start(client: Client, env: &Env) -> mpsc::UnboundedSender<Report> {
    // Bounded by the number of pods: only the newest report of each is kept.
    let (sender, receiver) = mpsc::unbounded_channel();
    env.spawn("node reports", write(client, env.clone(), receiver));
    sender
}

async fn write(client: Client, env: Env, mut receiver: mpsc::UnboundedReceiver<Report>) {
    let mut waiting: BTreeMap<String, Report> = BTreeMap::new();
    let mut retry = RETRY_MIN;
    loop {
        if waiting.is_empty() {
            let Some(report) = receiver.recv().await else { return };
            keep(&mut waiting, report);
        }
        while let Ok(report) = receiver.try_recv() {
            keep(&mut waiting, report);
        }
        let mut failed = Vec::new();
        for (_, report) in std::mem::take(&mut waiting) {
            if let Err(error) = send(&client, &report).await {
                tracing::debug!(%error, pod = %report.name, "status not written yet");
                failed.push(report);
            }
        }
        if failed.is_empty() {
            retry = RETRY_MIN;
            continue;
        }
        env.sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
        // Newer reports that came meanwhile win.
        for report in failed {
            waiting.entry(report.uid.clone()).or_insert(report);
        }
    }
}

fn keep(waiting: &mut BTreeMap<String, Report>, mut report: Report) {
    if let Some(old) = waiting.remove(&report.uid) {
        report.is_final |= old.is_final;
        let mut patch = old.patch;
        // Conditions cleared by the older report must stay cleared.
        merge(&mut patch["status"], &report.patch["status"]);
        report.patch["status"] = patch["status"].take();
    }
    waiting.insert(report.uid.clone(), report);
}

/// The newer status over the older one; nulls of the older one's conditions survive where the newer says nothing.
fn merge(old: &mut Value, new: &Value) {
    let nulls: Vec<(Value, Vec<String>)> = old["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| {
            let fields = c.as_object().into_iter().flatten().filter(|(_, v)| v.is_null());
            (c["type"].clone(), fields.map(|(k, _)| k.clone()).collect())
        })
        .collect();
    *old = new.clone();
    for condition in old["conditions"].as_array_mut().into_iter().flatten() {
        let Some((_, fields)) = nulls.iter().find(|(kind, _)| *kind == condition["type"]) else { continue };
        for field in fields.iter().filter(|f| condition.get(f).is_none()).cloned().collect::<Vec<_>>() {
            condition[&field] = Value::Null;
        }
    }
}

/// Sends one report; refusals that will not change are over and done with.
async fn send(client: &Client, report: &Report) -> Result<(), Error> {
    let key = (report.namespace.as_str(), report.name.as_str());
    let patch = Patch::Strategic(report.patch.clone());
    let done: Result<IgnoredAny, Error> =
        client.patch(&Pod::RESOURCE, key, "status", &patch, &WriteOptions::default()).await;
    settle(done.map(drop), report)?;
    if !report.is_final {
        return Ok(());
    }
    let options =
        DeleteOptions { uid: report.uid.clone(), grace_period_seconds: Some(0), ..DeleteOptions::default() };
    settle(client.delete(&Pod::RESOURCE, key, &options).await, report)
}

fn settle(done: Result<(), Error>, report: &Report) -> Result<(), Error> {
    let Err(error) = done else { return Ok(()) };
    match error.class() {
        // Gone, or another pod of the same name: the mirror will tell.
        Class::NotFound | Class::Conflict => Ok(()),
        Class::Invalid | Class::Bug => {
            tracing::warn!(%error, namespace = %report.namespace, pod = %report.name, "status was refused");
            Ok(())
        }
        _ => Err(error),
    }
}
