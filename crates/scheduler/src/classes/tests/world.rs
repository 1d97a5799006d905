//! A cluster in memory around one core: the server's objects, and what became of each decision.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{Node, Pod};
use api_koord::device::Device;
use api_koord::gang::PodGroup;
use api_koord::metric::NodeMetric;
use api_koord::quota::ElasticQuota;
use api_koord::topology::NodeResourceTopology;
use api_meta::{Object, ObjectKey};
use sched_classes::{NodeNotes, Settings};
use sched_core::NodeFact;
use sched_plugins::{Profile, Rules};
use serde_json::{Value, json};
use stdx::Time;

use crate::classes::ClassSteps;
use crate::core::{Bind, Core, Outcome};
use crate::evictor::Evicted;
use crate::inbox::{Change, OptionalKind, Projector};
use crate::preemption::Eviction;

/// What became of the pods that were tried.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Time,
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) nodes: BTreeMap<String, Value>,
    objects: Vec<Value>,
    /// The last sentence said of each pod that waits.
    pub(super) said: BTreeMap<String, String>,
    /// Binds under way.
    pub(super) flying: Vec<Bind>,
    projector: Projector,
}

fn core() -> Core {
    let profile = Profile { name: "default-scheduler".into(), rules: Rules::upstream() };
    Core::with(&[profile], Box::new(ClassSteps::new(&Settings::default())))
}

fn typed<T: Object>(object: &Value) -> T {
    T::decode(&object.to_string()).unwrap()
}

fn fact<T: OptionalKind>(object: &Value) -> Change {
    Change::Fact(Box::new(typed::<T>(object).fact(&Settings::default()).unwrap()))
}

impl World {
    pub(super) fn new() -> World {
        World {
            core: core(),
            now: Time::from_secs(1000),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            objects: Vec::new(),
            said: BTreeMap::new(),
            flying: Vec::new(),
            projector: Projector::new(Settings::default()),
        }
    }

    pub(super) fn take(&mut self, change: Change) {
        self.core.take(change, self.now);
        self.fetch();
    }

    /// A node with so many CPUs.
    pub(super) fn node(&mut self, name: &str, cpus: usize) {
        self.node_with(name, json!({"cpu": cpus.to_string(), "memory": "64Gi", "pods": "110"}));
    }

    pub(super) fn node_with(&mut self, name: &str, allocatable: Value) {
        let node = json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}});
        self.nodes.insert(name.to_owned(), node.clone());
        self.take(node_change(&node));
    }

    /// An object of an optional kind.
    pub(super) fn object(&mut self, object: Value) {
        self.take(object_change(&object));
        self.objects.push(object);
    }

    /// A group's object goes.
    pub(super) fn lose_group(&mut self, name: &str) {
        self.objects.retain(|o| o["metadata"]["name"] != name);
        self.take(Change::Gone(sched_classes::Gone::Gang(format!("d/{name}"))));
    }

    /// The CPUs of a node, two threads of each core, as its agent tells them.
    pub(super) fn topology(&mut self, name: &str, cpus: usize) {
        let row = |id: usize| json!({"id": id, "core": id % (cpus / 2), "socket": 0, "node": 0});
        let detail: Vec<Value> = (0..cpus).map(row).collect();
        let text = json!({ "detail": detail }).to_string();
        self.object(json!({"kind": "NodeResourceTopology", "metadata": {"name": name,
            "annotations": {"node.koordinator.sh/cpu-topology": text}}}));
    }

    /// A pod with these labels, annotations and requests.
    pub(super) fn pod(&mut self, name: &str, labels: Value, annotations: Value, requests: Value) {
        let priority = if labels["koordinator.sh/qosClass"].is_null() { 0 } else { 9500 };
        let pod = json!({
            "metadata": {"namespace": "d", "name": name, "uid": name, "labels": labels, "annotations": annotations,
                "creationTimestamp": self.now},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]},
        });
        self.pods.insert(name.to_owned(), pod);
        self.show(name);
    }

    /// A member of a gang that says so itself.
    pub(super) fn member(&mut self, name: &str, gang: &str, min: usize, cpu: &str) {
        let annotations = json!({"gang.scheduling.koordinator.sh/name": gang,
            "gang.scheduling.koordinator.sh/min-available": min.to_string()});
        self.pod(name, json!({}), annotations, json!({ "cpu": cpu }));
    }

    /// The mirror shows a pod.
    pub(super) fn show(&mut self, name: &str) {
        let pod: Pod = typed(&self.pods[name]);
        let change = self.projector.change(&pod);
        self.take(change);
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.pods.remove(name);
        self.said.remove(name);
        self.take(Change::PodGone(ObjectKey::new("d", name)));
    }

    /// A node is lost with all its pods.
    pub(super) fn lose_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.objects.retain(|o| o["metadata"]["name"] != name);
        self.take(Change::Gone(sched_classes::Gone::Topology(name.to_owned())));
        self.take(Change::NodeGone(name.to_owned()));
        let there: Vec<String> =
            self.pods.iter().filter(|(_, p)| p["spec"]["nodeName"] == name).map(|(n, _)| n.clone()).collect();
        there.iter().for_each(|pod| self.delete(pod));
    }

    /// Decides about everybody who is ready; binds stay under way.
    pub(super) fn decide(&mut self) {
        self.core.end_waits(self.now);
        self.fetch();
        for _ in 0..1000 {
            let more = self.core.decide(self.now);
            self.fetch();
            if !more {
                return;
            }
        }
        panic!("decisions without an end");
    }

    fn fetch(&mut self) {
        while let Some(outcome) = self.core.outcome() {
            match outcome {
                Outcome::Bind(bind) => self.flying.push(bind),
                Outcome::Refused(pod, refusal) => {
                    self.said.insert(pod.uid.to_string(), refusal.message());
                }
                Outcome::Nominated(..) => {}
                Outcome::Evict(eviction) => self.evict(eviction),
                Outcome::Volumes(..) | Outcome::Failed(..) => panic!("no pod here has claims"),
            }
        }
    }

    /// Victims of a more important pod go at once.
    fn evict(&mut self, eviction: Eviction) {
        let names: Vec<String> = eviction.victims.iter().map(|v| v.name.to_string()).collect();
        let outcomes = vec![reconcile::Outcome::Done(None); names.len()];
        self.core.evicted(&Evicted { eviction, outcomes }, self.now);
        names.iter().for_each(|name| self.delete(name));
    }

    /// The server takes a bind that is under way, and the mirror shows it.
    pub(super) fn land(&mut self, bind: &Bind) {
        let name = bind.pod.name.to_string();
        let Some(pod) = self.pods.get_mut(&name) else { return self.fail(bind) };
        pod["spec"]["nodeName"] = json!(&*bind.placement.node);
        for (key, text) in &bind.annotations {
            pod["metadata"]["annotations"][key] = json!(text);
        }
        self.said.remove(&name);
        self.core.bound(bind, self.now);
        self.show(&name);
    }

    /// The server refuses a bind that is under way.
    pub(super) fn fail(&mut self, bind: &Bind) {
        self.core.unbound(bind, self.now);
        self.fetch();
    }

    /// Decides, and lets every bind succeed, until nothing more happens.
    pub(super) fn run(&mut self) {
        loop {
            self.decide();
            let binds = std::mem::take(&mut self.flying);
            if binds.is_empty() {
                return;
            }
            binds.iter().for_each(|bind| self.land(bind));
        }
    }

    /// Lets time pass in steps, deciding at each.
    pub(super) fn pass(&mut self, secs: i64) {
        for _ in 0..secs {
            self.now = Time::from_secs(self.now.secs() + 1);
            self.run();
        }
    }

    /// Names of pods on nodes.
    pub(super) fn bound(&self) -> BTreeSet<&str> {
        let on = self.pods.iter().filter(|(_, p)| p["spec"]["nodeName"].is_string());
        on.map(|(name, _)| name.as_str()).collect()
    }

    /// A core that has seen nothing but the objects as they are.
    pub(super) fn rebuilt(&self) -> Core {
        let mut core = core();
        for pod in self.pods.values() {
            core.take(self.projector.change(&typed(pod)), self.now);
        }
        for node in self.nodes.values() {
            core.take(node_change(node), self.now);
        }
        for object in &self.objects {
            core.take(object_change(object), self.now);
        }
        core
    }
}

fn node_change(node: &Value) -> Change {
    let node: Node = typed(node);
    Change::Node(NodeFact::of(&node), NodeNotes::of(&node).map(Box::new))
}

fn object_change(object: &Value) -> Change {
    match object["kind"].as_str().unwrap() {
        "ElasticQuota" => fact::<ElasticQuota>(object),
        "PodGroup" => fact::<PodGroup>(object),
        "NodeMetric" => fact::<NodeMetric>(object),
        "NodeResourceTopology" => fact::<NodeResourceTopology>(object),
        "Device" => fact::<Device>(object),
        other => panic!("no optional kind {other}"),
    }
}
