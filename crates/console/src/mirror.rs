//! Keeps the keeper in step with the API server: one reflector for each kind that the board shows.

use std::future::Future;

use api_client::{Client, Consumer, Delta, Reflector, Seen};
use api_core::{Node, Pod};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::names::cafe;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stdx::Env;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use view::board::{AppFact, EventFact, Fact, Kind, NodeFact, PodFact};

use crate::keeper::Input;

/// CafeDeployments.
pub(crate) const APPS: Resource =
    Resource::namespaced(cafe::GROUP, "v1alpha1", "cafedeployments", "CafeDeployment");
const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");

/// Starts the mirrors. They end when the keeper does, at the latest when the set is dropped.
pub(crate) fn start(tasks: &mut JoinSet<()>, client: &Client, env: &Env, out: &mpsc::Sender<Input>) {
    let reflector = |resource: Resource| Reflector::new(client.clone(), env.clone(), resource);
    tasks.spawn(reflector(APPS).run_into(Feed { kind: Kind::App, out: out.clone(), open: app }));
    tasks.spawn(reflector(Pod::RESOURCE).run_into(Feed { kind: Kind::Pod, out: out.clone(), open: pod }));
    tasks.spawn(reflector(Node::RESOURCE).run_into(Feed { kind: Kind::Node, out: out.clone(), open: node }));
    tasks.spawn(reflector(EVENTS).run_into(Feed { kind: Kind::Event, out: out.clone(), open: event }));
}

/// Takes in one kind. What the keeper cannot take yet waits here, and with it the watch.
struct Feed<W> {
    kind: Kind,
    out: mpsc::Sender<Input>,
    open: fn(W) -> Seen<Option<Fact>>,
}

impl<W: DeserializeOwned + Send + 'static> Consumer for Feed<W> {
    type Item = (ObjectKey, Option<Fact>);

    fn open(&self, json: &str) -> Result<Seen<Self::Item>, serde_json::Error> {
        let seen = (self.open)(serde_json::from_str(json)?);
        Ok(Seen { item: (seen.key.clone(), seen.item), key: seen.key, version: seen.version })
    }

    fn take(&mut self, delta: Delta<Self::Item>, _: u64) -> impl Future<Output = bool> + Send {
        let input = match delta {
            Delta::Applied((key, Some(fact))) => Some(Input::Put(key, fact)),
            Delta::Applied((_, None)) => None,
            Delta::Deleted(key) => Some(Input::Gone(self.kind, key)),
            Delta::Synced(_) => Some(Input::Synced(self.kind)),
        };
        let out = self.out.clone();
        async move {
            match input {
                Some(input) => out.send(input).await.is_ok(),
                None => !out.is_closed(),
            }
        }
    }
}

fn app(object: Value) -> Seen<Option<Fact>> {
    let item = Some(Fact::App(Box::new(AppFact::of(&object))));
    Seen { key: key(&object), version: version(&object), item }
}

fn event(object: Value) -> Seen<Option<Fact>> {
    Seen { key: key(&object), version: version(&object), item: EventFact::of(&object).map(Fact::Event) }
}

fn pod(pod: Pod) -> Seen<Option<Fact>> {
    let item = Some(Fact::Pod(Box::new(PodFact::of(&pod))));
    Seen { key: pod.metadata.key(), version: pod.metadata.resource_version, item }
}

fn node(node: Node) -> Seen<Option<Fact>> {
    let item = Some(Fact::Node(NodeFact::of(&node)));
    Seen { key: node.metadata.key(), version: node.metadata.resource_version, item }
}

fn key(object: &Value) -> ObjectKey {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    ObjectKey::new(text("namespace"), text("name"))
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}
