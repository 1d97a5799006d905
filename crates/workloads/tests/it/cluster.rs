//! A server in memory, nodes, traffic, and one set.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{ControllerRevision, PersistentVolumeClaim, Pod};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::{CloneSet, CloneSetSpec, InPlaceSet, names};
use reconcile::testing::{Bench, Refused};
use reconcile::{Action, Plan, Severity, Thinker};
use serde_json::{Value, json};
use stdx::Time;
use workload_kit::podfact;
use workloads::set::Observed;
use workloads::{cloneset, inplaceset};

use crate::traffic::Traffic;

/// The kinds of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    CloneSet,
    InPlaceSet,
}

impl Kind {
    fn resource(self) -> Resource {
        match self {
            Kind::CloneSet => CloneSet::RESOURCE,
            Kind::InPlaceSet => InPlaceSet::RESOURCE,
        }
    }
}

/// A cluster in which time passes by ticks of one second.
pub(crate) struct Cluster {
    pub(crate) bench: Bench,
    pub(crate) kind: Kind,
    pub(crate) traffic: Traffic,
    /// What happened to each pod: writes of the controller and of traffic, in order.
    pub(crate) history: BTreeMap<String, Vec<String>>,
    /// What others than the controller did since it was last told.
    elsewhere: String,
    pub(crate) key: ObjectKey,
    /// Images that no node can pull.
    pub(crate) bad_images: BTreeSet<String>,
    /// Nodes that can pull nothing more.
    pub(crate) bad_nodes: BTreeSet<String>,
    /// Ticks from running to ready.
    pub(crate) ready_after: u64,
    /// How many nodes there are.
    pub(crate) nodes: u64,
    /// Containers started, by pod and container.
    pub(crate) starts: BTreeMap<(String, String), u32>,
    /// Notes told in the last look of a story.
    said: Vec<String>,
    since: BTreeMap<String, Time>,
}

impl Cluster {
    /// A cluster with a CloneSet named `web` of this spec; selector and template are filled in.
    pub(crate) fn with(spec: Value) -> Cluster {
        Cluster::of(Kind::CloneSet, spec)
    }

    /// The same with a set of another kind.
    pub(crate) fn of(kind: Kind, spec: Value) -> Cluster {
        let mut cluster = Cluster {
            bench: Bench::new().with::<cloneset::Controller>().with::<inplaceset::Controller>(),
            kind,
            traffic: Traffic::default(),
            history: BTreeMap::new(),
            elsewhere: String::new(),
            key: ObjectKey::new("shop", "web"),
            bad_images: BTreeSet::new(),
            bad_nodes: BTreeSet::new(),
            ready_after: 1,
            nodes: 4,
            starts: BTreeMap::new(),
            said: Vec::new(),
            since: BTreeMap::new(),
        };
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        if spec["template"].is_null() {
            spec["template"] = json!({
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
            });
        }
        let body = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        cluster.bench.put(&kind.resource(), body);
        cluster
    }

    /// Changes the spec as a user does.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let key = self.key.clone();
        self.bench.edit(&self.kind.resource(), &key, |set| change(&mut set["spec"]));
    }

    /// Sets the image of the first container.
    pub(crate) fn image(&mut self, image: &str) {
        self.edit(|spec| spec["template"]["spec"]["containers"][0]["image"] = json!(image));
    }

    /// Changes a pod as a user does.
    pub(crate) fn pod(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        self.bench.edit(&Pod::RESOURCE, &ObjectKey::new("shop", name), change);
    }

    /// The set; its spec is as its kind writes it.
    pub(crate) fn set(&self) -> CloneSet {
        serde_json::from_value(self.bench.get(&self.kind.resource(), &self.key).unwrap().clone()).unwrap()
    }

    /// What the controller sees.
    pub(crate) fn seen(&self) -> Observed {
        let world = &self.bench.world;
        match self.kind {
            Kind::CloneSet => cloneset::Controller::observe(world, &self.key),
            Kind::InPlaceSet => inplaceset::Controller::observe(world, &self.key),
        }
        .unwrap()
    }

    /// The spec in the form that all kinds are planned in.
    pub(crate) fn spec(&self) -> CloneSetSpec {
        self.seen().spec.unwrap()
    }

    pub(crate) fn pods(&self) -> Vec<Pod> {
        self.bench.world.cache::<Pod>().iter().map(|pod| Pod::clone(pod)).collect()
    }

    pub(crate) fn active(&self) -> Vec<Pod> {
        self.pods().into_iter().filter(Pod::is_active).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.active().into_iter().map(|p| p.metadata.name).collect()
    }

    pub(crate) fn claims(&self) -> Vec<String> {
        let all = self.bench.list(&PersistentVolumeClaim::RESOURCE).into_iter();
        all.map(|c| c["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn revisions(&self) -> Vec<(String, i64)> {
        let all = self.bench.list(&ControllerRevision::RESOURCE).into_iter();
        let mut all: Vec<_> = all
            .map(|r| (r["metadata"]["name"].as_str().unwrap().to_owned(), r["revision"].as_i64().unwrap()))
            .collect();
        all.sort_by_key(|(_, number)| *number);
        all
    }

    pub(crate) fn plan(&self) -> Plan {
        workloads::set::plan(&self.seen(), self.bench.now)
    }

    /// Lets the controller act until it has nothing left to do at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..60 {
            let plan = self.plan();
            if plan.is_quiet() {
                return;
            }
            self.apply(&plan);
        }
        panic!("never at rest: {:#?}", self.plan());
    }

    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            self.act(action).unwrap_or_else(|refused| panic!("{refused:?} {action:?}"));
        }
    }

    /// One second: the controller until it rests, then the nodes and the traffic.
    pub(crate) fn tick(&mut self) {
        self.settle();
        self.pass();
    }

    /// One second for everybody but the controller.
    pub(crate) fn pass(&mut self) {
        self.bench.pass(1);
        self.run_nodes();
        self.run_traffic();
    }

    /// Notes something that happened to a pod by others than the controller.
    pub(crate) fn happened(&mut self, pod: &str, what: &str) {
        self.elsewhere += &format!("  -- {pod}: {what}\n");
        self.history.entry(pod.to_owned()).or_default().push(what.to_owned());
    }

    pub(crate) fn ticks(&mut self, count: usize) {
        (0..count).for_each(|_| self.tick());
    }

    /// Whether all wanted pods are at the newest revision and available, and nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        let status = self.set().status;
        let wanted = self.seen().spec.map_or(-1, |s| s.replicas);
        self.plan().is_quiet()
            && status.observed_generation == self.set().metadata.generation
            && status.updated_available_replicas == wanted
            && status.replicas == wanted
            && self.pods().len() == self.active().len()
    }

    /// Ticks until done.
    pub(crate) fn finish(&mut self, ticks_max: usize) -> usize {
        for tick in 0..ticks_max {
            self.tick();
            self.settle();
            if self.is_done() {
                return tick + 1;
            }
        }
        panic!("not done after {ticks_max} ticks:\n{}", self.table());
    }

    /// What nodes do within one tick.
    pub(crate) fn run_nodes(&mut self) {
        for key in self.bench.keys(&Pod::RESOURCE) {
            self.run_pod(&key);
        }
    }

    fn run_pod(&mut self, key: &ObjectKey) {
        let Some(pod) = self.bench.get(&Pod::RESOURCE, key).cloned() else { return };
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
                self.bench.drop(&Pod::RESOURCE, key);
            }
            return;
        }
        if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
            return;
        }
        let number: u64 = uid.trim_start_matches("uid-").parse().unwrap();
        let node = match pod["spec"]["nodeName"].as_str() {
            Some(node) => node.to_owned(),
            None => format!("node-{}", number % self.nodes),
        };
        let old = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        let mut statuses = Vec::new();
        for container in &containers {
            let known = old.iter().find(|s| s["name"] == container["name"]);
            statuses.push(self.run_container(&key.name, &node, container, known));
        }
        let runs = statuses.iter().all(|s| s["state"]["running"].is_object());
        if !runs {
            self.since.remove(&uid);
        }
        let now = self.bench.now;
        let since = if runs { Some(*self.since.entry(uid).or_insert(now)) } else { None };
        let healthy = since.is_some_and(|s| now.since(s).as_secs() >= self.ready_after);
        for status in &mut statuses {
            status["ready"] = json!(healthy && status["state"]["running"].is_object());
        }
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_true = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
        let gates = pod["spec"]["readinessGates"].as_array().cloned().unwrap_or_default();
        let open = gates.iter().all(|g| is_true(g["conditionType"].as_str().unwrap()));
        let ready = if healthy && open { "True" } else { "False" };
        let has_run = runs || pod["status"]["phase"] == "Running";
        self.bench.edit(&Pod::RESOURCE, key, |pod| {
            pod["spec"]["nodeName"] = json!(node);
            pod["status"]["phase"] = json!(if has_run { "Running" } else { "Pending" });
            pod["status"]["podIP"] = json!(format!("10.0.0.{number}"));
            pod["status"]["containerStatuses"] = json!(statuses);
            let mut conditions = conditions.clone();
            if !conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == ready) {
                conditions.retain(|c| c["type"] != "Ready");
                conditions.push(json!({"type": "Ready", "status": ready, "lastTransitionTime": now}));
            }
            pod["status"]["conditions"] = json!(conditions);
        });
    }

    /// A container keeps running until its image differs; then one tick of waiting, then the new one, if it can be pulled.
    fn run_container(&mut self, pod: &str, node: &str, container: &Value, known: Option<&Value>) -> Value {
        let image = container["image"].as_str().unwrap().to_owned();
        let name = container["name"].as_str().unwrap().to_owned();
        let runs = known.filter(|s| s["state"]["running"].is_object());
        let waits = known.filter(|s| s["state"]["waiting"].is_object() && s["wants"] == json!(image));
        let restarts = known.and_then(|s| s["restartCount"].as_i64()).unwrap_or(-1);
        if let Some(status) = runs.filter(|s| s["wants"] == json!(image)) {
            return status.clone();
        }
        let bad = self.bad_images.contains(&image) || self.bad_nodes.contains(node);
        if waits.is_none() || bad {
            let mut status = known.cloned().unwrap_or_else(|| json!({"name": name, "image": image}));
            let reason = if bad { "ErrImagePull" } else { "ContainerCreating" };
            let message = format!("Back-off pulling image {image:?}");
            status["state"] = json!({"waiting": {"reason": reason, "message": message}});
            status["wants"] = json!(image);
            return status;
        }
        let starts = self.starts.entry((pod.to_owned(), name.clone())).or_default();
        *starts += 1;
        json!({
            "name": name, "image": image, "imageID": format!("sha256:{image}"), "wants": image,
            "containerID": format!("sim://{pod}/{name}/{starts}"), "restartCount": restarts + 1,
            "state": {"running": {"startedAt": self.bench.now}},
        })
    }

    pub(crate) fn is_available(&self, pod: &Pod) -> bool {
        let set = self.bench.get(&self.kind.resource(), &self.key).unwrap();
        let wait = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0).try_into().unwrap();
        pod.is_active() && podfact::is_available(pod, wait, self.bench.now)
    }

    pub(crate) fn available(&self) -> usize {
        self.bench.world.cache::<Pod>().iter().filter(|p| self.is_available(p)).count()
    }

    /// Carries out one action and tells what it was refused for.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Refused> {
        self.bench.act(action)?;
        if let Action::Patch { target, body, .. } = action
            && *action.resource() == Pod::RESOURCE
        {
            self.history.entry(target.key.name.clone()).or_default().push(gist("pods", body));
        }
        Ok(())
    }

    /// The pods as a table: letters instead of ids, so that the text is stable to read.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        for pod in self.pods() {
            let label = |key: &str| pod.metadata.labels.get(key).cloned().unwrap_or_default();
            let image = pod.spec.containers.first().map_or("", |c| c.image.as_str());
            let gate = pod.condition(names::INPLACE_READY).map_or("-", |c| c.status.as_str());
            out += &format!(
                "{} {image} {} gate={gate} {}{}{}\n",
                pod.metadata.name,
                pod.status.phase,
                label(names::LIFECYCLE_STATE_LABEL),
                if self.is_available(&pod) { " available" } else { "" },
                if pod.metadata.is_terminating() { " terminating" } else { "" },
            );
        }
        out
    }

    /// One look of the controller in words: what it does, what it says; then it is carried out.
    pub(crate) fn look(&mut self) -> String {
        let plan = self.plan();
        let mut out = String::new();
        for action in &plan.actions {
            out += &format!("  {}\n", told(action));
        }
        let notes = plan.notes.iter().filter(|n| n.severity != Severity::Normal);
        let said: Vec<String> =
            notes.map(|n| format!("  ({:?} {}) {}\n", n.severity, n.reason, n.message)).collect();
        out.extend(said.iter().filter(|s| !self.said.contains(s)).cloned());
        self.said = said;
        self.apply(&plan);
        out
    }

    /// Ticks told in words, with the available pods at each; ticks in which nothing is done and nothing new is said are
    /// left out.
    pub(crate) fn story(&mut self, ticks: usize) -> String {
        let mut out = String::new();
        for tick in 0..ticks {
            let mut told = std::mem::take(&mut self.elsewhere);
            for _ in 0..60 {
                told += &self.look();
                if self.plan().is_quiet() {
                    break;
                }
            }
            if !told.is_empty() {
                out +=
                    &format!("{tick} s, {} of {} available\n{told}", self.available(), self.active().len());
            }
            self.pass();
        }
        self.without_ids(out)
    }

    /// Pod names in order of appearance become `web-A`, `web-B`, …; revisions become `web#1`, ….
    pub(crate) fn without_ids(&self, text: String) -> String {
        let mut text = text;
        for (name, number) in self.revisions() {
            text = text.replace(&name, &format!("web#{number}"));
        }
        let mut letters: BTreeMap<String, char> = BTreeMap::new();
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("web-") {
            let end = at + 4 + workload_kit::ids::LENGTH;
            let name = rest.get(at..end).unwrap_or(&rest[at..]).to_owned();
            let next = char::from(b'A' + u8::try_from(letters.len() % 26).unwrap());
            let letter = *letters.entry(name.clone()).or_insert(next);
            out += &rest[..at];
            out += &format!("web-{letter}");
            rest = &rest[at + name.len()..];
        }
        out + rest
    }
}

fn told(action: &Action) -> String {
    let name = action.key().name;
    let plural = &action.resource().plural;
    match action {
        Action::Require { .. } => format!("require {plural} {name}"),
        Action::Create { .. } => format!("create {plural} {name}"),
        Action::Delete { risk, .. } => format!("delete {plural} {name} [{risk:?}]"),
        Action::Patch { subresource, body, risk, .. } => {
            let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            format!("patch {plural}{part} {name}: {} [{risk:?}]", gist(plural, body))
        }
    }
}

/// The changed parts that a reader cares for.
fn gist(plural: &str, body: &Value) -> String {
    let mut parts = Vec::new();
    let labels = body["metadata"]["labels"].as_object().into_iter().flatten();
    for (key, value) in labels {
        match key.as_str() {
            names::LIFECYCLE_STATE_LABEL => parts.push(format!("state {}", value.as_str().unwrap())),
            names::REVISION_LABEL => parts.push(format!("revision {}", value.as_str().unwrap())),
            names::TEMPLATE_HASH_LABEL => {}
            key => parts.push(format!("label {key}={value}")),
        }
    }
    for container in body["spec"]["containers"].as_array().into_iter().flatten() {
        parts.push(format!(
            "{}={}",
            container["name"].as_str().unwrap(),
            container["image"].as_str().unwrap()
        ));
    }
    let conditions = body["status"]["conditions"].as_array().into_iter().flatten();
    for condition in conditions.filter(|_| plural == "pods") {
        parts.push(format!(
            "{}={}",
            condition["type"].as_str().unwrap(),
            condition["status"].as_str().unwrap()
        ));
    }
    if plural.ends_with("sets") && body["status"].is_object() {
        let status = &body["status"];
        parts.push(format!(
            "{} pods, {} ready, {} updated",
            status["replicas"], status["readyReplicas"], status["updatedReplicas"]
        ));
        let conditions = status["conditions"].as_array().into_iter().flatten();
        parts.extend(
            conditions
                .map(|c| format!("{}: {}", c["type"].as_str().unwrap(), c["message"].as_str().unwrap())),
        );
    }
    if let Some(names) = body["spec"]["scaleStrategy"]["podsToDelete"].as_array() {
        parts.push(format!("podsToDelete {names:?}"));
    }
    if !body["metadata"]["ownerReferences"].is_null() {
        parts.push("owners".to_owned());
    }
    if let Some(number) = body["revision"].as_i64() {
        parts.push(format!("revision number {number}"));
    }
    parts.join(", ")
}
