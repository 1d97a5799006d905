//! A traffic component, and who takes pods out of service for operations of others: as far as the words of the drain
//! bind them.

use std::collections::BTreeMap;

use api_core::{Pod, drain};
use serde_json::{Value, json};
use stdx::Time;
use workload_kit::drain as planning;

use crate::cluster::Cluster;

/// Sends traffic to ready pods.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Its name; nobody sends traffic while it is empty.
    pub(crate) name: String,
    /// Seconds from a closed gate to the end of the last request.
    pub(crate) drains_in: u64,
    /// It does nothing.
    pub(crate) is_dead: bool,
    /// Since when it no longer chooses a pod.
    ending: BTreeMap<String, Time>,
}

impl Cluster {
    /// The cluster with traffic that ends so many seconds after a gate is closed.
    pub(crate) fn with_traffic(mut self, drains_in: u64) -> Cluster {
        self.traffic = Traffic { name: "web".into(), drains_in, ..Traffic::default() };
        self
    }

    /// What traffic and the drain controller do within one tick.
    pub(crate) fn run_traffic(&mut self) {
        for pod in self.pods() {
            self.answer_requests(&pod);
            if !self.traffic.name.is_empty() && !self.traffic.is_dead {
                self.serve(&pod);
            }
        }
    }

    /// Closes the gate of a pod that an operation asks for. The pod's set opens it again.
    fn answer_requests(&mut self, pod: &Pod) {
        let Some(gate) = drain::gate(pod).filter(|_| drain::requests(pod).next().is_some()) else { return };
        if pod.condition(gate).is_some_and(|c| c.status == "False") {
            return;
        }
        let body = planning::close(pod, gate, "Requested", self.bench.now);
        let action = reconcile::Action::Patch {
            target: reconcile::Target::at(pod),
            subresource: "status",
            form: reconcile::Form::Strategic,
            body,
            risk: reconcile::Risk::None,
        };
        self.bench.act(&action).unwrap();
        self.happened(&pod.metadata.name, "an operation closes the gate");
    }

    fn serve(&mut self, pod: &Pod) {
        let (now, name) = (self.bench.now, pod.metadata.name.clone());
        let finalizer = drain::protection_of(&self.traffic.name);
        let is_mine = pod.metadata.finalizers.contains(&finalizer);
        let is_chosen = pod.is_ready() && pod.is_active() && drain::takes_part(pod);
        if is_chosen {
            self.traffic.ending.remove(&name);
        }
        if is_chosen && !is_mine {
            self.happened(&name, "protected");
            return self.pod(&name, |pod| protect(pod, &finalizer));
        }
        if is_mine && !is_chosen {
            let since = *self.traffic.ending.entry(name.clone()).or_insert(now);
            if now.since(since).as_secs() >= self.traffic.drains_in {
                self.happened(&name, "let go");
                self.pod(&name, |pod| {
                    let list = pod["metadata"]["finalizers"].as_array_mut().unwrap();
                    list.retain(|f| *f != json!(finalizer));
                });
            }
        }
    }
}

fn protect(pod: &mut Value, finalizer: &str) {
    let meta = &mut pod["metadata"];
    let mut list = meta["finalizers"].as_array().cloned().unwrap_or_default();
    list.push(json!(finalizer));
    meta["finalizers"] = json!(list);
    let expected = json!({"expectedFinalizers": {"Service/shop/web": finalizer}});
    meta["annotations"][drain::AVAILABLE_CONDITIONS] = json!(expected.to_string());
}
