//! What is known of the cluster, and how it comes here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_client::{Client, Consumer, Delta, MetaOnly, Reflector, Seen};
use api_core::{EndpointSlice, Node, Pod, Service};
use api_meta::{Object, ObjectKey, ObjectMeta};
use serde::de::DeserializeOwned;
use stdx::{BoxFuture, Env, Timer};
use tokio::sync::mpsc;

use crate::config::RECONNECT_MAX;
use crate::facts::{CELL, PodFact, PodWire, ServiceFact, ServiceWire, SliceFact, SliceWire};

/// Label of nodes whose pods have addresses on loopback.
const PROCESS_NODES: &str = "knarr.dev/runtime=process";

/// One change of what is known.
#[derive(Debug)]
pub(crate) enum News {
    /// A Service; none when it is gone or not the proxy's business.
    Service(ObjectKey, Option<ServiceFact>),
    /// An EndpointSlice.
    Slice(ObjectKey, Option<SliceFact>),
    /// A pod.
    Pod(ObjectKey, Option<PodFact>),
    /// The cell of a node.
    Node(ObjectKey, Option<String>),
    /// All there is of one collection has been told.
    Synced(&'static str),
}

/// What is known of the cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    /// Services with an address on loopback.
    pub(crate) services: BTreeMap<ObjectKey, ServiceFact>,
    /// Slices of all Services.
    pub(crate) slices: BTreeMap<ObjectKey, SliceFact>,
    /// Pods on loopback, and protected ones.
    pub(crate) pods: BTreeMap<ObjectKey, PodFact>,
    /// Cells of process nodes.
    pub(crate) cells: BTreeMap<String, String>,
    synced: Vec<&'static str>,
}

/// Pods that have an address.
const HAS_ADDRESS: &str = "status.podIP!=";
/// The collections without which nothing is decided. Nodes are not among them: their cells are a preference.
const NEEDED: [&str; 3] = ["services", "endpointslices", "pods"];

impl Mirror {
    /// Whether Services, slices and pods have all been listed once. Before that, what is not seen may well exist.
    pub(crate) fn is_synced(&self) -> bool {
        NEEDED.iter().all(|name| self.synced.contains(name))
    }

    /// Takes in a change; whether anything that matters has changed.
    pub(crate) fn take(&mut self, news: News) -> bool {
        match news {
            News::Service(key, fact) => put(&mut self.services, key, fact),
            News::Slice(key, fact) => put(&mut self.slices, key, fact),
            News::Pod(key, fact) => self.take_pod(key, fact),
            News::Node(key, cell) => put(&mut self.cells, key.name, cell),
            News::Synced(name) => {
                let is_first = !self.synced.contains(&name);
                if is_first {
                    self.synced.push(name);
                }
                is_first
            }
        }
    }

    fn take_pod(&mut self, key: ObjectKey, fact: Option<PodFact>) -> bool {
        let (Some(new), Some(old)) = (&fact, self.pods.get(&key)) else {
            return put(&mut self.pods, key, fact);
        };
        // The answer to a write may be known before the watch has told of it.
        if new.uid == old.uid && new.revision() < old.revision() {
            return false;
        }
        let changed = !new.says_as(old);
        put(&mut self.pods, key, fact);
        changed
    }

    /// Takes in what a write or a read answered. A pod that is not known any more stays unknown: its end was told already.
    pub(crate) fn take_answer(&mut self, key: &ObjectKey, fact: Option<PodFact>) {
        let Some(old) = self.pods.get(key) else { return };
        match fact {
            Some(new) if new.uid == old.uid => {
                self.take_pod(key.clone(), Some(new));
            }
            // Another pod of the same name, or none: the watch will tell.
            _ => {}
        }
    }
}

fn put<K: Ord, T: PartialEq>(all: &mut BTreeMap<K, T>, key: K, fact: Option<T>) -> bool {
    match fact {
        Some(fact) if all.get(&key) == Some(&fact) => false,
        Some(fact) => {
            all.insert(key, fact);
            true
        }
        None => all.remove(&key).is_some(),
    }
}

/// A timer that never waits long. Mirrors wait longer and longer while the API server is away; pods that leave service wait
/// for the proxy to hear of it, and the server is on this machine.
struct Impatient(Arc<dyn Timer>);

impl Timer for Impatient {
    fn sleep(&self, length: Duration) -> BoxFuture<()> {
        self.0.sleep(length.min(RECONNECT_MAX))
    }
}

/// Starts the four mirrors. They end when nobody takes their news any more.
pub(crate) fn start(client: &Client, env: &Env, news: &mpsc::Sender<News>) {
    let env = &Env { timer: Arc::new(Impatient(env.timer.clone())), ..env.clone() };
    let services = Feed {
        name: NEEDED[0],
        news: news.clone(),
        make: News::Service,
        meta: |w: &ServiceWire| &w.metadata,
        fact: ServiceWire::fact,
    };
    services.start(Reflector::new(client.clone(), env.clone(), Service::RESOURCE), env);
    let slices = Feed {
        name: NEEDED[1],
        news: news.clone(),
        make: News::Slice,
        meta: |w: &SliceWire| &w.metadata,
        fact: SliceWire::fact,
    };
    slices.start(Reflector::new(client.clone(), env.clone(), EndpointSlice::RESOURCE), env);
    let pods = Feed {
        name: NEEDED[2],
        news: news.clone(),
        make: News::Pod,
        meta: |w: &PodWire| &w.metadata,
        fact: PodWire::fact,
    };
    // A pod without an address has no traffic yet, and nothing of this proxy's on it.
    pods.start(Reflector::new(client.clone(), env.clone(), Pod::RESOURCE).fields(HAS_ADDRESS), env);
    let nodes = Feed {
        name: "nodes",
        news: news.clone(),
        make: News::Node,
        meta: |w: &MetaOnly| &w.metadata,
        fact: |w| w.metadata.labels.get(CELL).cloned(),
    };
    let mirror = Reflector::new(client.metadata_only(), env.clone(), Node::RESOURCE);
    nodes.start(mirror.labels(PROCESS_NODES), env);
}

/// One collection on its way into the inbox. It waits while the inbox is full.
struct Feed<W, F> {
    name: &'static str,
    news: mpsc::Sender<News>,
    make: fn(ObjectKey, Option<F>) -> News,
    meta: fn(&W) -> &ObjectMeta,
    fact: fn(W) -> Option<F>,
}

impl<W: DeserializeOwned + Send + 'static, F: Send + 'static> Feed<W, F> {
    fn start(self, reflector: Reflector, env: &Env) {
        env.spawn("proxy mirror", reflector.run_into(self));
    }
}

impl<W: DeserializeOwned + Send + 'static, F: Send + 'static> Consumer for Feed<W, F> {
    type Item = (ObjectKey, Option<F>);

    fn open(&self, json: &str) -> Result<Seen<Self::Item>, serde_json::Error> {
        let wire: W = serde_json::from_str(json)?;
        let meta = (self.meta)(&wire);
        let (key, version) = (meta.key(), meta.resource_version.clone());
        Ok(Seen { key: key.clone(), version, item: (key, (self.fact)(wire)) })
    }

    async fn take(&mut self, delta: Delta<Self::Item>, _: u64) -> bool {
        let news = match delta {
            Delta::Applied((key, fact)) => (self.make)(key, fact),
            Delta::Deleted(key) => (self.make)(key, None),
            Delta::Synced(_) => News::Synced(self.name),
        };
        self.news.send(news).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, version: u64) -> PodFact {
        let wire = serde_json::json!({
            "metadata": {"name": "a", "uid": uid, "resourceVersion": version.to_string()},
            "status": {"podIP": "127.4.64.1"},
        });
        serde_json::from_value::<PodWire>(wire).unwrap().fact().unwrap()
    }

    #[test]
    fn the_answer_to_a_write_is_not_undone_by_older_news() {
        let key = ObjectKey::new("shop", "a");
        let mut mirror = Mirror::default();
        mirror.take(News::Pod(key.clone(), Some(pod("u1", 5))));
        let mut answer = pod("u1", 9);
        answer.finalizers.push("f".into());
        mirror.take_answer(&key, Some(answer));
        assert!(!mirror.take(News::Pod(key.clone(), Some(pod("u1", 7)))));
        assert_eq!(mirror.pods[&key].finalizers, ["f"]);
        assert!(mirror.take(News::Pod(key.clone(), Some(pod("u2", 6)))), "another pod of that name");
        mirror.take(News::Pod(key.clone(), None));
        mirror.take_answer(&key, Some(pod("u2", 11)));
        assert!(mirror.pods.is_empty(), "what has ended does not come back");
    }

    #[test]
    fn a_pod_of_which_only_the_version_changed_is_no_news_but_its_version_counts() {
        let key = ObjectKey::new("shop", "a");
        let mut mirror = Mirror::default();
        assert!(mirror.take(News::Pod(key.clone(), Some(pod("u1", 5)))));
        assert!(!mirror.take(News::Pod(key.clone(), Some(pod("u1", 6)))));
        assert_eq!(mirror.pods[&key].version, "6");
    }

    #[test]
    fn nothing_is_synced_before_all_three_are() {
        let mut mirror = Mirror::default();
        for name in ["nodes", "pods", "services"] {
            mirror.take(News::Synced(name));
            assert!(!mirror.is_synced());
        }
        assert!(mirror.take(News::Synced("endpointslices")));
        assert!(mirror.is_synced());
    }
}
