//! Saying what happened: the pod's condition while it cannot be placed, and events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api_client::{Class, Client, Patch, WriteOptions};
use api_core::Pod;
use api_meta::{Object, ObjectKey, Resource};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sched_core::PodFact;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use stdx::{BoxFuture, Env, Time};

const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
/// Greatest number of events waiting to be written; beyond it the oldest are dropped and counted.
const EVENTS_WAITING_MAX: usize = 20_000;
/// An unchanged refusal is counted up in its event at most so often.
const REPEAT_MIN: Duration = Duration::from_secs(30);
/// Longest message of a condition or event, as upstream cuts it.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Writes conditions and events in the background, a bounded number at a time.
pub(crate) struct Teller {
    client: Client,
    env: Env,
    in_flight_max: usize,
    flying: FuturesUnordered<BoxFuture<()>>,
    /// What was last said of a pod that cannot be placed.
    said: BTreeMap<Arc<str>, Said>,
    /// Conditions to be written; the latest per pod.
    conditions: BTreeMap<Arc<str>, (ObjectKey, Value)>,
    events: VecDeque<Event>,
    dropped: u64,
}

struct Said {
    message: String,
    since: Time,
    event: String,
    count: u32,
    first: Time,
    last: Time,
}

enum Event {
    New(String, Value),
    Again(ObjectKey, Value),
}

impl Teller {
    pub(crate) fn new(client: Client, env: Env, in_flight_max: usize) -> Teller {
        Teller {
            client,
            env,
            in_flight_max: in_flight_max.max(1),
            flying: FuturesUnordered::new(),
            said: BTreeMap::new(),
            conditions: BTreeMap::new(),
            events: VecDeque::new(),
            dropped: 0,
        }
    }

    /// How many events were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A pod was bound.
    pub(crate) fn scheduled(&mut self, pod: &PodFact, node: &str, now: Time) {
        let message = format!("Successfully assigned {}/{} to {node}", pod.kin.namespace, pod.name);
        let name = self.event_name(pod);
        let event = event(pod, &name, ("Normal", "Scheduled", "Binding"), &message, now);
        self.push(Event::New(pod.kin.namespace.clone(), event));
    }

    /// A pod cannot be placed for now.
    pub(crate) fn refused(&mut self, pod: &PodFact, message: &str, now: Time) {
        self.failed(pod, "Unschedulable", message, now);
    }

    /// A decision could not be carried out.
    pub(crate) fn errored(&mut self, pod: &PodFact, message: &str, now: Time) {
        self.failed(pod, "SchedulerError", message, now);
    }

    /// A pod waits for room on a node from now on, or on none: written together with what is said of it.
    pub(crate) fn nominate(&mut self, pod: &PodFact, node: Option<&str>) {
        let (_, body) = self.conditions.entry(pod.uid.clone()).or_insert_with(|| (pod.key(), head(pod)));
        body["status"]["nominatedNodeName"] = json!(node);
    }

    /// A pod was sent away for a more important one; or, before it was bound, lost its place.
    pub(crate) fn preempted(
        &mut self,
        victim: &PodFact,
        (preemptor, node): (&PodFact, &str),
        in_memory: bool,
        now: Time,
    ) {
        let end = if in_memory { " (in kube-scheduler memory)." } else { "" };
        let message = format!("Preempted by pod {} on node {node}{end}", preemptor.uid);
        let name = self.event_name(victim);
        let mut event = event(victim, &name, ("Normal", "Preempted", "Preempting"), &message, now);
        event["related"] = reference(preemptor);
        for field in ["reportingComponent", "reportingInstance"] {
            event[field] = json!(&*preemptor.scheduler);
        }
        event["source"]["component"] = json!(&*preemptor.scheduler);
        self.push(Event::New(victim.kin.namespace.clone(), event));
    }

    /// A pod has left: nothing more is to be said of it.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.said.remove(uid);
        self.conditions.remove(uid);
    }

    fn failed(&mut self, pod: &PodFact, reason: &str, message: &str, now: Time) {
        let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        if let Some(said) = self.said.get_mut(&pod.uid).filter(|s| s.message == message) {
            if now.since(said.last) >= REPEAT_MIN {
                said.last = now;
                said.count += 1;
                let key = ObjectKey::new(pod.kin.namespace.clone(), said.event.clone());
                let body = json!({"count": said.count, "lastTimestamp": now, "firstTimestamp": said.first});
                self.push(Event::Again(key, body));
            }
            return;
        }
        let since = self.said.get(&pod.uid).map_or(now, |s| s.since);
        let name = self.event_name(pod);
        let event = event(pod, &name, ("Warning", "FailedScheduling", "Scheduling"), &message, now);
        self.push(Event::New(pod.kin.namespace.clone(), event));
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastProbeTime": null, "lastTransitionTime": since,
        });
        // Beside what is to be said of it already: where it waits for room, or that it waits nowhere any more.
        let (_, body) = self.conditions.entry(pod.uid.clone()).or_insert_with(|| (pod.key(), head(pod)));
        body["status"]["conditions"] = json!([condition]);
        self.said
            .insert(pod.uid.clone(), Said { message, since, event: name, count: 1, first: now, last: now });
    }

    fn event_name(&self, pod: &PodFact) -> String {
        format!("{}.{:016x}", pod.name, self.env.rng.next_u64())
    }

    fn push(&mut self, event: Event) {
        if self.events.len() >= EVENTS_WAITING_MAX {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.events.push_back(event);
    }

    /// Starts as many writes as may be under way; conditions first.
    pub(crate) fn start(&mut self) {
        while self.flying.len() < self.in_flight_max {
            let client = self.client.clone();
            if let Some((_, (key, body))) = self.conditions.pop_first() {
                let env = self.env.clone();
                self.flying.push(Box::pin(write_condition(client, env, key, body)));
            } else if let Some(event) = self.events.pop_front() {
                self.flying.push(Box::pin(write(client, event)));
            } else {
                return;
            }
        }
    }

    /// Waits for a write to end; never ends while none is under way.
    pub(crate) async fn next(&mut self) {
        if self.flying.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// A change of a pod's status, fenced by its identity and version, that says nothing yet.
fn head(pod: &PodFact) -> Value {
    let mut body = json!({"metadata": {"uid": &*pod.uid}, "status": {}});
    if pod.revision != 0 {
        body["metadata"]["resourceVersion"] = json!(pod.revision.to_string());
    }
    body
}

fn reference(pod: &PodFact) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "namespace": pod.kin.namespace, "name": &*pod.name, "uid": &*pod.uid,
    })
}

/// An event about a pod, from the profile that schedules it.
fn event(pod: &PodFact, name: &str, what: (&str, &str, &str), message: &str, now: Time) -> Value {
    let ((kind, reason, action), component) = (what, &*pod.scheduler);
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": pod.kin.namespace},
        "involvedObject": reference(pod),
        "type": kind, "reason": reason, "action": action, "message": message,
        "source": {"component": component},
        "reportingComponent": component, "reportingInstance": component,
        "eventTime": null, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

/// Attempts to write one condition.
const ATTEMPTS_MAX: u32 = 5;
/// Pause between them.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Writes a condition, fenced by the pod's version: it must not land on a pod that has been bound meanwhile.
async fn write_condition(client: Client, env: Env, key: ObjectKey, mut body: Value) {
    let path = (key.namespace.as_str(), key.name.as_str());
    for _ in 0..ATTEMPTS_MAX {
        let (patch, options) = (Patch::Strategic(body.clone()), WriteOptions::default());
        let Err(error) = client.patch::<IgnoredAny>(&Pod::RESOURCE, path, "status", &patch, &options).await
        else {
            return;
        };
        match error.class() {
            Class::Conflict => {
                let Ok(pod) = client.get::<Pod>(&Pod::RESOURCE, path.0, path.1).await else { continue };
                if !pod.spec.node_name.is_empty() || body["metadata"]["uid"] != *pod.metadata.uid {
                    return;
                }
                body["metadata"]["resourceVersion"] = json!(pod.metadata.resource_version);
            }
            Class::Transient => env.sleep(ATTEMPT_PAUSE).await,
            _ => {
                tracing::debug!(pod = %key, %error, "condition not written");
                return;
            }
        }
    }
}

async fn write(client: Client, event: Event) {
    let written = match &event {
        Event::New(namespace, body) => {
            client.create::<IgnoredAny>(&EVENTS, namespace, body, &WriteOptions::default()).await
        }
        Event::Again(key, body) => {
            let key = (key.namespace.as_str(), key.name.as_str());
            client
                .patch::<IgnoredAny>(&EVENTS, key, "", &Patch::Merge(body.clone()), &WriteOptions::default())
                .await
        }
    };
    if let Err(error) = written {
        tracing::debug!(%error, "event not written");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api_client::{Error, Request, Response, Transport};
    use sched_core::Interner;

    use super::*;

    /// A server that never answers.
    struct Silent;

    impl Transport for Silent {
        fn send(&self, _: Request) -> BoxFuture<Result<Response, Error>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_goes_out_together_with_the_nomination_that_ended_before_it() {
        let env = os::virtual_env(Time::from_secs(0), 1);
        let mut teller = Teller::new(Client::new(Arc::new(Silent), "scheduler"), env, 1);
        let pod = json!({"metadata": {"namespace": "d", "name": "a", "uid": "u"}});
        let pod = Interner::default().project(&serde_json::from_value(pod).unwrap());
        teller.nominate(&pod, None);
        teller.refused(&pod, "0/1 nodes are available.", Time::from_secs(1));
        let (_, body) = &teller.conditions["u"];
        let status = body["status"].as_object().unwrap();
        assert_eq!(status.get("nominatedNodeName"), Some(&Value::Null), "{body}");
        assert_eq!(body["status"]["conditions"][0]["message"], "0/1 nodes are available.");
    }
}
