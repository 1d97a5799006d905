//! A traffic component of the simulation: sends requests to pods in service, drains them, and is honest about its finalizer.
//!
//! It plays by `docs/adr/2026-11-28-drain.md`: its finalizer is on the pod before the first request is sent, and comes off when
//! the last one has ended. No crash of the plane reaches it, as none reaches the proxy of a real cluster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_client::{Client, ListOptions, Patch, WriteOptions};
use api_core::{Pod, drain};
use api_meta::Object;
use serde_json::json;

use crate::log::Log;
use crate::machine::{Dice, SimClock};

/// The Service whose traffic it is.
const SERVICE: &str = "web";
/// How often it looks.
const LOOK: Duration = Duration::from_millis(150);
/// Longest time for which a request may stay open after the last was sent.
const OPEN_MAX: Duration = Duration::from_secs(4);

/// Which pods have open requests, and until when.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<BTreeMap<String, Until>>>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    /// More are sent all the time.
    Serving,
    /// The last ends then, in virtual time since the beginning.
    Draining(Duration),
}

impl Requests {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Until>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a pod has open requests.
    pub(crate) fn is_open(&self, uid: &str, now: Duration) -> bool {
        match self.all().get(uid) {
            Some(Until::Serving) => true,
            Some(Until::Draining(end)) => *end > now,
            None => false,
        }
    }
}

/// What it is made of.
pub(crate) struct Traffic {
    pub(crate) client: Client,
    pub(crate) clock: SimClock,
    pub(crate) dice: Dice,
    pub(crate) log: Log,
    pub(crate) requests: Requests,
    pub(crate) namespace: &'static str,
    pub(crate) labels: String,
    /// While true, nothing is let go of: a component that hangs.
    pub(crate) is_stuck: Arc<AtomicBool>,
    /// A bug: the finalizer comes off while requests are open.
    pub(crate) is_hasty: bool,
}

impl Traffic {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        loop {
            let options = ListOptions { labels: self.labels.clone(), ..ListOptions::default() };
            if let Ok(list) = self.client.list::<Pod>(&Pod::RESOURCE, self.namespace, &options).await {
                for pod in &list.items {
                    self.look(pod).await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self, pod: &Pod) {
        let uid = &pod.metadata.uid;
        let now = self.clock.elapsed();
        let finalizer = drain::protection_of(SERVICE);
        let is_protected = pod.metadata.finalizers.contains(&finalizer);
        if pod.is_ready() && pod.is_active() && !pod.metadata.is_terminating() {
            if is_protected {
                self.requests.all().insert(uid.clone(), Until::Serving);
            } else if drain::takes_part(pod) {
                self.protect(pod, &finalizer).await;
            }
            return;
        }
        let end = match self.requests.all().get(uid).copied() {
            Some(Until::Serving) => now + self.dice.shorter_than(OPEN_MAX),
            Some(Until::Draining(end)) => end,
            None => now,
        };
        self.requests.all().insert(uid.clone(), Until::Draining(end));
        let is_stuck = self.is_stuck.load(Ordering::Relaxed);
        if is_protected && !is_stuck && (end <= now || self.is_hasty) {
            self.release(pod, &finalizer).await;
        }
    }

    async fn protect(&self, pod: &Pod, finalizer: &str) {
        let mut finalizers = pod.metadata.finalizers.clone();
        finalizers.push(finalizer.to_owned());
        let mut expected = drain::expected(pod);
        expected.insert(format!("Service/{}/{SERVICE}", self.namespace), finalizer.to_owned());
        let conditions = json!({"expectedFinalizers": expected}).to_string();
        let body = json!({"metadata": {
            "resourceVersion": pod.metadata.resource_version, "uid": pod.metadata.uid,
            "finalizers": finalizers, "annotations": {drain::AVAILABLE_CONDITIONS: conditions},
        }});
        self.patch(pod, body, "protects").await;
    }

    async fn release(&self, pod: &Pod, finalizer: &str) {
        let finalizers: Vec<&String> = pod.metadata.finalizers.iter().filter(|f| *f != finalizer).collect();
        let body = json!({"metadata": {
            "resourceVersion": pod.metadata.resource_version, "uid": pod.metadata.uid, "finalizers": finalizers,
        }});
        self.patch(pod, body, "releases").await;
    }

    async fn patch(&self, pod: &Pod, body: serde_json::Value, verb: &str) {
        let key = (self.namespace, pod.metadata.name.as_str());
        let options = WriteOptions::default();
        let done = self.client.patch::<Pod>(&Pod::RESOURCE, key, "", &Patch::Merge(body), &options).await;
        let outcome = done.map_or_else(|e| e.to_string(), |_| "done".to_owned());
        self.log.line(&format!("traffic: {verb} {}: {outcome}", pod.metadata.name));
    }
}
