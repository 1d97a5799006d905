//! A server in memory, nodes in cells, one CafeDeployment, and pod sets that keep the contract of an InPlaceSet, a CloneSet
//! and a ReplicaSet in the simplest way.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{Node, Pod, ReplicaSet, lost};
use api_meta::{Object, ObjectKey, Resource};
use api_workload::names::cafe as words;
use api_workload::{CafeDeployment, CafePhase, CloneSet, GroupPhase, InPlaceSet};
use reconcile::testing::{Bench, Refused};
use reconcile::{Action, Plan};
use release::cafe::Controller;
use serde_json::{Value, json};

/// Kind of the pod sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    InPlace,
    Clone,
    Replica,
}

/// A cluster in which time passes by ticks of one second.
pub(crate) struct Cluster {
    pub(crate) bench: Bench,
    pub(crate) key: ObjectKey,
    pub(crate) kind: Kind,
    /// Images whose process exits at start.
    pub(crate) bad_images: BTreeSet<String>,
    /// Most pods that the nodes of a cell have room for.
    pub(crate) room: BTreeMap<String, usize>,
    /// Pods that were ever changed or deleted by their set, by name.
    pub(crate) touched: BTreeSet<String>,
    /// The user confirms every group as soon as asked.
    pub(crate) confirms: bool,
    pods_made: u64,
    /// Templates that each set has had, by uid: its revisions.
    templates: BTreeMap<String, Vec<Value>>,
}

impl Cluster {
    /// Two or more cells with two nodes each, and a CafeDeployment named `web`.
    pub(crate) fn with(kind: Kind, cells: &[&str], spec: Value) -> Cluster {
        let mut cluster = Cluster {
            bench: Bench::new().with::<Controller>(),
            key: ObjectKey::new("shop", "web"),
            kind,
            bad_images: BTreeSet::new(),
            room: BTreeMap::new(),
            touched: BTreeSet::new(),
            confirms: false,
            pods_made: 0,
            templates: BTreeMap::new(),
        };
        for cell in cells {
            for n in 1..=2 {
                let name = format!("node-{}-{n}", cell.to_lowercase());
                let node = json!({
                    "metadata": {"name": name, "labels": {words::CELL_LABEL: cell}},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
                });
                cluster.bench.put(&Node::RESOURCE, node);
            }
        }
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        spec["podSetType"] = json!(match kind {
            Kind::InPlace => "InPlaceSet",
            Kind::Clone => "CloneSet",
            Kind::Replica => "ReplicaSet",
        });
        spec["template"] = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        });
        if spec["topology"]["values"].is_null() {
            spec["topology"]["values"] = json!(cells);
        }
        let body = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        cluster.bench.put(&CafeDeployment::RESOURCE, body);
        cluster
    }

    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let key = self.key.clone();
        self.bench.edit(&CafeDeployment::RESOURCE, &key, change);
    }

    pub(crate) fn image(&mut self, image: &str) {
        self.edit(|c| c["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
    }

    pub(crate) fn annotate(&mut self, key: &str, value: &str) {
        self.edit(|c| c["metadata"]["annotations"][key] = json!(value));
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<String> {
        self.cafe().metadata.annotations.get(key).cloned()
    }

    pub(crate) fn confirm(&mut self) {
        self.annotate(words::CONFIRMED, "true");
    }

    pub(crate) fn cafe(&self) -> CafeDeployment {
        serde_json::from_value(self.bench.get(&CafeDeployment::RESOURCE, &self.key).unwrap().clone()).unwrap()
    }

    pub(crate) fn phase(&self) -> CafePhase {
        self.cafe().status.phase
    }

    pub(crate) fn pods(&self) -> Vec<Pod> {
        let all = self.bench.list(&Pod::RESOURCE).into_iter();
        all.map(|p| serde_json::from_value(p.clone()).unwrap()).collect()
    }

    pub(crate) fn cell_of(pod: &Pod) -> String {
        pod.metadata.labels.get(words::UNIT_LABEL).cloned().unwrap_or_default()
    }

    pub(crate) fn image_of(pod: &Pod) -> &str {
        &pod.spec.containers[0].image
    }

    /// Ready pods of a cell.
    pub(crate) fn available(&self, cell: &str) -> i32 {
        let serves = |p: &&Pod| Cluster::cell_of(p) == cell && p.is_active() && p.is_ready();
        i32::try_from(self.pods().iter().filter(serves).count()).unwrap()
    }

    /// Pods of a cell with this image.
    pub(crate) fn at(&self, cell: &str, image: &str) -> usize {
        let is = |p: &&Pod| Cluster::cell_of(p) == cell && p.is_active() && Cluster::image_of(p) == image;
        self.pods().iter().filter(is).count()
    }

    pub(crate) fn set_node_ready(&mut self, cell: &str, ready: bool) {
        for key in self.bench.keys(&Node::RESOURCE) {
            self.bench.edit(&Node::RESOURCE, &key, |node| {
                if node["metadata"]["labels"][words::CELL_LABEL] == cell {
                    let status = if ready { "True" } else { "False" };
                    node["status"]["conditions"] = json!([{"type": "Ready", "status": status}]);
                }
            });
        }
    }

    pub(crate) fn is_node_ready(&self, name: &str) -> bool {
        let node = self.bench.get(&Node::RESOURCE, &ObjectKey::new("", name));
        node.is_some_and(|n| n["status"]["conditions"][0]["status"] == "True")
    }

    pub(crate) fn plan(&self) -> Plan {
        self.bench.plan::<Controller>(&self.key).unwrap_or_default()
    }

    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Refused> {
        self.bench.act(action)
    }

    /// Lets the controller act until it has nothing left to do at this moment.
    pub(crate) fn settle(&mut self) {
        let key = self.key.clone();
        self.bench.settle::<Controller>(&key, 60);
    }

    /// One second: the controller until it rests, the pod sets one step each, the nodes, the user.
    pub(crate) fn tick(&mut self) {
        self.settle();
        self.world_tick();
    }

    /// The same without the controller.
    pub(crate) fn world_tick(&mut self) {
        self.run_sets();
        self.bench.pass(1);
        self.run_nodes();
        if self.confirms && self.annotation(words::CONFIRMED).as_deref() == Some("false") {
            self.confirm();
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        let cafe = self.cafe();
        let (status, wanted) = (&cafe.status, cafe.read_spec().unwrap().replicas);
        self.plan().is_quiet()
            && status.phase == CafePhase::Stable
            && status.observed_generation == cafe.metadata.generation
            && status.updated_available_replicas == wanted
            && status.replicas == wanted
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
        panic!("not done after {ticks_max} ticks:\n{}\n{:#?}", self.table(), self.cafe().status);
    }

    fn resource(&self) -> Resource {
        match self.kind {
            Kind::InPlace => InPlaceSet::RESOURCE,
            Kind::Clone => CloneSet::RESOURCE,
            Kind::Replica => ReplicaSet::RESOURCE,
        }
    }

    /// Every set takes one step towards what it is told.
    pub(crate) fn run_sets(&mut self) {
        for key in self.bench.keys(&self.resource()) {
            let set = self.bench.get(&self.resource(), &key).unwrap().clone();
            self.run_set(&set);
            let mine = self.own(&set).len();
            self.bench.edit(&self.resource(), &key, |s| {
                s["status"]["replicas"] = json!(mine);
                s["status"]["observedGeneration"] = s["metadata"]["generation"].clone();
            });
        }
    }

    /// The revision that a cell's set makes pods of.
    pub(crate) fn template_revision(&self, cell: &str) -> Option<String> {
        let sets = self.bench.keys(&self.resource()).into_iter();
        let sets = sets.map(|key| self.bench.get(&self.resource(), &key).expect("it was listed"));
        let mut labels = sets.map(|set| &set["spec"]["template"]["metadata"]["labels"]);
        let mine = labels.find(|l| l[words::UNIT_LABEL] == *cell)?;
        mine[words::REVISION_LABEL].as_str().map(str::to_owned)
    }

    fn own(&self, set: &Value) -> Vec<Pod> {
        let uid = set["metadata"]["uid"].as_str().unwrap();
        let owned = |p: &Pod| p.metadata.controller().is_some_and(|o| o.uid == uid);
        self.pods().into_iter().filter(owned).collect()
    }

    fn run_set(&mut self, set: &Value) {
        let spec = &set["spec"];
        let revision =
            spec["template"]["metadata"]["labels"][words::REVISION_LABEL].as_str().unwrap().to_owned();
        let is_new = |p: &Pod| p.metadata.labels[words::REVISION_LABEL] == revision;
        let mut own: Vec<Pod> = self.own(set).into_iter().filter(Pod::is_active).collect();
        let replicas = usize::try_from(spec["replicas"].as_i64().unwrap()).unwrap();
        let partition = match self.kind {
            Kind::InPlace => spec["strategy"]["partition"].as_u64(),
            Kind::Clone => spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64(),
            Kind::Replica => Some(0),
        };
        let partition = usize::try_from(partition.unwrap()).unwrap();
        // Old pods first, those that do not serve before those that do.
        own.sort_by_key(|p| (is_new(p), p.is_ready(), p.metadata.name.clone()));
        let old = own.iter().filter(|p| !is_new(p)).count();
        let uid = set["metadata"]["uid"].as_str().unwrap().to_owned();
        let templates = self.templates.entry(uid).or_default();
        if templates.last() != Some(&spec["template"]) {
            templates.push(spec["template"].clone());
        }
        let mut new = own.len() - old;
        for _ in own.len()..replicas {
            let at_new = new + partition < replicas;
            new += usize::from(at_new);
            self.make_pod(set, at_new);
        }
        let surplus = own.len().saturating_sub(replicas);
        let mut doomed: Vec<&Pod> = own.iter().collect();
        doomed.sort_by_key(|p| (p.is_ready(), is_new(p), p.metadata.name.clone()));
        for pod in doomed.into_iter().take(surplus) {
            self.touched.insert(pod.metadata.name.clone());
            self.bench.drop(&Pod::RESOURCE, &pod.metadata.key());
        }
        if self.kind == Kind::Replica || surplus > 0 {
            return;
        }
        let image = spec["template"]["spec"]["containers"][0]["image"].clone();
        for pod in own.iter().filter(|p| !is_new(p)).take(old.saturating_sub(partition)) {
            self.touched.insert(pod.metadata.name.clone());
            self.bench.edit(&Pod::RESOURCE, &pod.metadata.key(), |p| {
                p["metadata"]["labels"][words::REVISION_LABEL] = json!(revision);
                p["spec"]["containers"][0]["image"] = image.clone();
                p["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
                p["status"]["containerStatuses"] = json!([{"name": "main", "image": image, "state": {"waiting": {"reason": "ContainerCreating"}}}]);
            });
        }
    }

    fn make_pod(&mut self, set: &Value, at_new: bool) {
        self.pods_made += 1;
        let name = format!("{}-{}", set["metadata"]["name"].as_str().unwrap(), self.pods_made);
        let templates = &self.templates[set["metadata"]["uid"].as_str().unwrap()];
        let before = templates.iter().rev().nth(1).filter(|_| !at_new);
        let template = before.unwrap_or(&set["spec"]["template"]).clone();
        let body = json!({
            "metadata": {
                "name": name, "namespace": "shop", "labels": template["metadata"]["labels"],
                "ownerReferences": [{
                    "apiVersion": set["apiVersion"], "kind": set["kind"], "name": set["metadata"]["name"],
                    "uid": set["metadata"]["uid"], "controller": true,
                }],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        });
        self.bench.put(&Pod::RESOURCE, body);
    }

    /// What schedulers and nodes do within one tick.
    pub(crate) fn run_nodes(&mut self) {
        let now = self.bench.now;
        for key in self.bench.keys(&Pod::RESOURCE) {
            let pod: Pod =
                serde_json::from_value(self.bench.get(&Pod::RESOURCE, &key).unwrap().clone()).unwrap();
            let cell = Cluster::cell_of(&pod);
            if pod.spec.node_name.is_empty() {
                self.place(&pod, &cell);
                continue;
            }
            let ready = self.is_node_ready(&pod.spec.node_name);
            let image = Cluster::image_of(&pod).to_owned();
            let bad = self.bad_images.contains(&image);
            let runs = pod
                .status
                .container_statuses
                .first()
                .is_some_and(|s| s.image == image && s.state.running.is_some());
            self.bench.edit(&Pod::RESOURCE, &key, |p| {
                let serves = ready && !bad && runs;
                let state = match () {
                    () if !ready => p["status"]["containerStatuses"].clone(),
                    () if bad => json!([{"name": "main", "image": image, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
                    () => json!([{"name": "main", "image": image, "ready": serves, "state": {"running": {}}}]),
                };
                p["status"]["containerStatuses"] = state;
                if ready {
                    p["status"]["phase"] = json!("Running");
                }
                let status = if serves { "True" } else { "False" };
                let is = p["status"]["conditions"][0]["status"].clone();
                let reason = if ready { "" } else { lost::NODE_NOT_READY };
                if is != status || p["status"]["conditions"][0]["reason"] != reason {
                    p["status"]["conditions"] = json!([{"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": now}]);
                }
            });
        }
    }

    /// Puts a pod on the emptiest ready node of its cell, if there is room.
    fn place(&mut self, pod: &Pod, cell: &str) {
        let now = self.bench.now;
        let placed = self.pods();
        let on = |node: &str| placed.iter().filter(|p| p.spec.node_name == node).count();
        let in_cell =
            placed.iter().filter(|p| Cluster::cell_of(p) == cell && !p.spec.node_name.is_empty()).count();
        let full = self.room.get(cell).is_some_and(|room| in_cell >= *room);
        let names: Vec<String> = (1..=2).map(|n| format!("node-{}-{n}", cell.to_lowercase())).collect();
        let free = names.into_iter().filter(|n| self.is_node_ready(n)).min_by_key(|n| on(n));
        self.bench.edit(&Pod::RESOURCE, &pod.metadata.key(), |p| match free.filter(|_| !full) {
            Some(node) => {
                p["spec"]["nodeName"] = json!(node);
                p["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
            }
            None if p["status"]["conditions"].is_null() => {
                p["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now}]);
            }
            None => {}
        });
    }

    /// The pods as a table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        for pod in self.pods() {
            let ready = if pod.is_ready() { "ready" } else { "unready" };
            out += &format!(
                "{} {} {ready} on {:?}\n",
                pod.metadata.name,
                Cluster::image_of(&pod),
                pod.spec.node_name
            );
        }
        out
    }

    /// The groups of the last release: `beta CellA 1 + CellB 1: Done`.
    pub(crate) fn groups(&self) -> String {
        let mut out = String::new();
        for group in self.cafe().status.groups {
            let cells: Vec<String> = group.cells.iter().map(|c| format!("{} {}", c.name, c.pods)).collect();
            out += &format!("{} {}: {:?}\n", group.name, cells.join(" + "), group.phase);
        }
        out
    }

    /// One line for the state: phase, groups started, pods of each image by cell, what is waited for.
    pub(crate) fn line(&self) -> String {
        let status = self.cafe().status;
        let cells: Vec<String> = status
            .cells
            .iter()
            .map(|c| {
                let lost = if c.lost { " lost" } else { "" };
                format!("{} {}/{} updated, {} available{lost}", c.name, c.updated, c.replicas, c.available)
            })
            .collect();
        let waits = status.waits_for.map_or_else(String::new, |w| format!(" ({}) {}", w.reason, w.message));
        format!("{:?} {}: {}{waits}", status.phase, status.group, cells.join("; "))
    }

    /// Ticks told in words: what the controller wrote to its pod sets and itself, and where that led. Ticks in which
    /// nothing is new are left out.
    pub(crate) fn story(&mut self, ticks: usize) -> String {
        let mut out = String::new();
        let mut last = String::new();
        for tick in 0..ticks {
            let mut told = String::new();
            for _ in 0..60 {
                let plan = self.plan();
                if plan.is_quiet() {
                    break;
                }
                for action in &plan.actions {
                    told += &self.told(action);
                }
                let notes = plan.after.keys().map(|n| &plan.notes[*n]);
                told.extend(notes.map(|n| format!("    [{}] {}\n", n.reason, n.message)));
                self.bench.apply(&plan).unwrap();
            }
            let line = self.line();
            if !told.is_empty() || line != last {
                out += &format!("{tick} s: {line}\n{told}");
            }
            last = line;
            self.world_tick();
        }
        self.without_hashes(out)
    }

    fn told(&self, action: &Action) -> String {
        let (name, plural) = (action.key().name, &action.resource().plural);
        match action {
            Action::Create { body, .. } if plural.ends_with("sets") => {
                format!("  create {plural} {name}: {}\n", gist(&body["spec"]))
            }
            Action::Create { .. } => format!("  create {plural} {name}\n"),
            Action::Patch { subresource: "status", .. } => String::new(),
            Action::Patch { body, .. } if plural == "cafedeployments" => {
                let image = body.pointer("/spec/template/spec/containers/0/image");
                let image = image.map_or_else(String::new, |i| format!(", template {i}"));
                let mut notes = body["metadata"]["annotations"].clone();
                if let Some(map) = notes.as_object_mut() {
                    map.remove(words::ROLLED_BACK);
                }
                format!("  annotate {notes}{image}\n")
            }
            Action::Patch { body, .. } => format!("  patch {plural} {name}: {}\n", gist(&body["spec"])),
            Action::Delete { .. } => format!("  delete {plural} {name}\n"),
            Action::Require { .. } => format!("  require {plural} {name}\n"),
        }
    }

    fn without_hashes(&self, text: String) -> String {
        let mut text = text;
        let all = self.bench.list(&api_core::ControllerRevision::RESOURCE).into_iter();
        let text_of = |v: &Value| v.as_str().unwrap().to_owned();
        // In the order of their making, not of their numbers: these change when one is gone back to.
        let made = |r: &Value| text_of(&r["metadata"]["uid"])["uid-".len()..].parse::<u64>().unwrap();
        let mut names: Vec<(u64, String)> = all.map(|r| (made(r), text_of(&r["metadata"]["name"]))).collect();
        names.sort();
        for (i, (_, name)) in names.iter().enumerate() {
            text = text.replace(name, &format!("web#{}", i + 1));
        }
        text
    }

    pub(crate) fn running_group(&self) -> Option<usize> {
        self.cafe().status.groups.iter().position(|g| g.phase == GroupPhase::Running)
    }
}

fn gist(spec: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(n) = spec["replicas"].as_i64() {
        parts.push(format!("replicas {n}"));
    }
    for path in ["/strategy/partition", "/updateStrategy/rollingUpdate/partition"] {
        if let Some(n) = spec.pointer(path).and_then(Value::as_i64) {
            parts.push(format!("partition {n}"));
        }
    }
    if let Some(image) = spec.pointer("/template/spec/containers/0/image") {
        parts.push(format!("image {}", image.as_str().unwrap()));
    }
    parts.join(", ")
}
