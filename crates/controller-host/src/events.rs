//! Turns notes into Event objects: repeated ones are counted on one object, and an object that is talked about too much is
//! talked about less (the limits are client-go's).
//!
//! ```text
//! note --> Ledger (pure): new? again? too many? --> create | count on --> API server
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api_client::{Class, Client, Error, MetaOnly, Patch, WriteOptions};
use api_meta::Resource;
use reconcile::{Severity, Target};
use serde_json::{Value, json};
use stdx::{Env, Time};
use tokio::sync::mpsc;

use crate::Clients;
use crate::metrics::Metrics;

const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
/// Notes that may wait to be recorded; more are lost and counted.
const BACKLOG: usize = 2048;
/// Events about one object by one controller at once; afterwards one per [`REFILL`].
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(300);
/// Different messages with one reason about one object before they are combined.
const SIMILAR_MAX: usize = 10;
/// How long events count as repeated or similar.
const WINDOW: Duration = Duration::from_secs(600);
/// Entries remembered.
const LEDGER_MAX: usize = 4096;

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    pub controller: &'static str,
    pub about: Target,
    pub severity: Severity,
    pub reason: &'static str,
    pub message: String,
}

/// Takes notes for recording; never waits.
#[derive(Clone)]
pub(crate) struct Recorder {
    backlog: mpsc::Sender<Occurrence>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Starts the recording task. It ends with the last handle.
    pub(crate) fn start(env: &Env, clients: Clients, metrics: Arc<Metrics>) -> Recorder {
        let (backlog, inbox) = mpsc::channel(BACKLOG);
        env.spawn("events", record(env.clone(), clients, inbox));
        Recorder { backlog, metrics }
    }

    /// Records an occurrence; loses it when too many wait.
    pub(crate) fn tell(&self, occurrence: Occurrence) {
        if self.backlog.try_send(occurrence).is_err() {
            self.metrics.event_lost();
        }
    }
}

async fn record(env: Env, clients: Clients, mut inbox: mpsc::Receiver<Occurrence>) {
    let mut ledger = Ledger::default();
    let mut known: BTreeMap<&'static str, Client> = BTreeMap::new();
    while let Some(occurrence) = inbox.recv().await {
        let controller = occurrence.controller;
        let client = known.entry(controller).or_insert_with(|| clients(controller)).clone();
        let Some(entry) = ledger.enter(&occurrence, env.now()) else { continue };
        if let Err(error) = write(&client, &occurrence, &entry).await {
            tracing::debug!(controller, reason = occurrence.reason, %error, "event not recorded");
            ledger.strike(&occurrence);
        }
    }
}

async fn write(client: &Client, occurrence: &Occurrence, entry: &Entry) -> Result<(), Error> {
    let namespace = event_namespace(&occurrence.about);
    let options = WriteOptions { manager: occurrence.controller.to_owned(), ..WriteOptions::default() };
    if entry.count > 1 {
        let again = json!({
            "count": entry.count, "lastTimestamp": entry.last, "message": entry.message,
        });
        let key = (namespace.as_str(), entry.name.as_str());
        match client.patch::<MetaOnly>(&EVENTS, key, "", &Patch::Merge(again), &options).await {
            // It has expired at the server: start a new one.
            Err(error) if error.class() == Class::NotFound => {}
            other => return other.map(drop),
        }
    }
    let body = event_body(occurrence, entry, &namespace);
    client.create::<MetaOnly>(&EVENTS, &namespace, &body, &options).await.map(drop)
}

fn event_namespace(about: &Target) -> String {
    if about.key.namespace.is_empty() { "default".to_owned() } else { about.key.namespace.clone() }
}

fn event_body(o: &Occurrence, entry: &Entry, namespace: &str) -> Value {
    let mut involved = json!({
        "apiVersion": o.about.resource.api_version(), "kind": o.about.resource.kind,
        "name": o.about.key.name, "uid": o.about.uid,
    });
    if !o.about.key.namespace.is_empty() {
        involved["namespace"] = json!(o.about.key.namespace);
    }
    if let Some(revision) = o.about.revision {
        involved["resourceVersion"] = json!(revision.to_string());
    }
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": entry.name, "namespace": namespace},
        "involvedObject": involved,
        "reason": o.reason, "message": entry.message,
        "type": if o.severity == Severity::Warning { "Warning" } else { "Normal" },
        "count": entry.count, "firstTimestamp": entry.first, "lastTimestamp": entry.last,
        "source": {"component": o.controller},
        "reportingComponent": o.controller, "reportingInstance": "",
    })
}

/// What was told lately.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<Line, Entry>,
    order: VecDeque<Line>,
    similar: BTreeMap<Subject, Similar>,
    allowance: BTreeMap<(&'static str, String), Allowance>,
    names: u64,
}

/// Controller, identity of the object, reason.
type Subject = (&'static str, String, &'static str);
/// The same with the message.
type Line = (Subject, String);

/// One Event object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub message: String,
    pub count: u32,
    pub first: Time,
    pub last: Time,
}

struct Similar {
    messages: std::collections::BTreeSet<String>,
    last: Time,
}

struct Allowance {
    left: u32,
    at: Time,
}

impl Ledger {
    /// The Event object to write for an occurrence; nothing when the object is talked about too much.
    pub(crate) fn enter(&mut self, o: &Occurrence, now: Time) -> Option<Entry> {
        if !self.allows((o.controller, o.about.uid.clone()), now) {
            return None;
        }
        let line = self.line(o, now);
        if let Some(entry) = self.entries.get_mut(&line).filter(|e| now.since(e.last) < WINDOW) {
            entry.count += 1;
            entry.last = now;
            return Some(entry.clone());
        }
        self.names += 1;
        // The name must be new, readable and shorter than the limit; upstream appends the time in hexadecimal as well.
        let base: String = o.about.key.name.chars().take(200).collect();
        let stamp = now.micros().unsigned_abs().wrapping_mul(1000).wrapping_add(self.names % 1000);
        let name = format!("{base}.{stamp:x}");
        let entry = Entry { name, message: line.1.clone(), count: 1, first: now, last: now };
        if self.entries.insert(line.clone(), entry.clone()).is_none() {
            self.order.push_back(line);
        }
        self.trim();
        Some(entry)
    }

    /// Forgets an occurrence that could not be written, so that the next one starts anew.
    pub(crate) fn strike(&mut self, o: &Occurrence) {
        let subject = subject(o);
        self.entries.remove(&(subject.clone(), o.message.clone()));
        self.entries.remove(&(subject, combined(&o.message)));
    }

    /// Where an occurrence is counted: under its message, or under a common one when there are too many different ones.
    fn line(&mut self, o: &Occurrence, now: Time) -> Line {
        let subject = subject(o);
        let similar = self
            .similar
            .entry(subject.clone())
            .or_insert_with(|| Similar { messages: Default::default(), last: now });
        if now.since(similar.last) >= WINDOW {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX || similar.messages.contains(&o.message) {
            similar.messages.insert(o.message.clone());
            return (subject, o.message.clone());
        }
        let known = self.entries.range((subject.clone(), String::new())..);
        let common = known.take_while(|((s, _), _)| *s == subject).map(|((_, m), _)| m);
        let common = common.into_iter().find(|m| m.starts_with(COMBINED)).cloned();
        (subject, common.unwrap_or_else(|| combined(&o.message)))
    }

    fn allows(&mut self, who: (&'static str, String), now: Time) -> bool {
        let allowance = self.allowance.entry(who).or_insert(Allowance { left: BURST, at: now });
        let gained = now.since(allowance.at).as_secs() / REFILL.as_secs();
        if gained > 0 {
            allowance.left = allowance.left.saturating_add(u32::try_from(gained).unwrap_or(BURST)).min(BURST);
            allowance.at = now;
        }
        let allowed = allowance.left > 0;
        allowance.left = allowance.left.saturating_sub(1);
        allowed
    }

    fn trim(&mut self) {
        while self.order.len() > LEDGER_MAX {
            let Some(line) = self.order.pop_front() else { return };
            self.similar.remove(&line.0);
            self.allowance.remove(&(line.0.0, line.0.1.clone()));
            self.entries.remove(&line);
        }
    }
}

const COMBINED: &str = "(combined from similar events): ";

fn combined(message: &str) -> String {
    format!("{COMBINED}{message}")
}

fn subject(o: &Occurrence) -> Subject {
    (o.controller, o.about.uid.clone(), o.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_meta::ObjectKey;

    const T0: Time = Time::from_secs(1_700_000_000);

    fn told(message: &str) -> Occurrence {
        let resource = Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet");
        let key = ObjectKey::new("shop", "cart");
        let about = Target { resource, key, uid: "u1".into(), revision: None };
        Occurrence {
            controller: "replicaset-controller",
            about,
            severity: Severity::Normal,
            reason: "SuccessfulCreate",
            message: message.into(),
        }
    }

    #[test]
    fn a_repeated_note_is_counted_on_one_event() {
        let mut ledger = Ledger::default();
        let first = ledger.enter(&told("a"), T0).unwrap();
        let again = ledger.enter(&told("a"), T0 + Duration::from_secs(5)).unwrap();
        assert_eq!((first.count, again.count), (1, 2));
        assert_eq!((first.name, T0), (again.name, again.first));
    }

    #[test]
    fn many_different_messages_are_combined() {
        let mut ledger = Ledger::default();
        let entries: Vec<Entry> =
            (0..13).map(|i| ledger.enter(&told(&format!("Created pod: {i}")), T0).unwrap()).collect();
        assert_eq!(entries[9].message, "Created pod: 9");
        assert_eq!(entries[10].message, "(combined from similar events): Created pod: 10");
        assert_eq!((entries[12].count, &entries[12].name), (3, &entries[10].name));
    }

    #[test]
    fn an_object_is_not_talked_about_without_end() {
        let mut ledger = Ledger::default();
        let count = |ledger: &mut Ledger, at| (0..40).filter_map(|_| ledger.enter(&told("a"), at)).count();
        assert_eq!(count(&mut ledger, T0), 25);
        assert_eq!(count(&mut ledger, T0 + REFILL), 1);
    }

    #[test]
    fn the_body_is_an_event_as_kubectl_describes_it() {
        let entry = Ledger::default().enter(&told("Created pod: a"), T0).unwrap();
        let body = event_body(&told("Created pod: a"), &entry, "shop");
        assert_eq!(body["involvedObject"]["kind"], "ReplicaSet");
        assert_eq!(body["source"]["component"], "replicaset-controller");
        assert_eq!((&body["type"], &body["count"]), (&json!("Normal"), &json!(1)));
        assert!(body["metadata"]["name"].as_str().unwrap().starts_with("cart."));
    }
}
