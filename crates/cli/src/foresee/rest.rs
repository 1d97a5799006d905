//! The rest of the cluster in a copy: nodes, the scheduler and traffic components, as far as pods of the family go.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{Node, Pod, Service, drain};
use api_meta::{ObjectKey, Resource};
use serde_json::{Value, json};
use stdx::Time;
use view::Reason;
use workload_kit::{inplace, podfact};

use super::place;
use crate::scene::{NODES, PODS, SERVICES, Scene, is_same};

type Images = BTreeMap<String, String>;

/// What is known about pods beside their objects.
pub(super) struct Rest {
    nodes: Vec<Node>,
    /// Services with their finalizers, where a traffic component is at work for them.
    traffic: Vec<(Service, String)>,
    /// What each pod's containers run.
    runs: BTreeMap<ObjectKey, Images>,
    /// Pods that are starting what they do not run yet.
    starting: BTreeSet<ObjectKey>,
    /// Pods that are in trouble now, with the images they cannot run and why.
    troubled: BTreeMap<ObjectKey, (Images, String)>,
    /// Pods that no node fits.
    unplaced: BTreeSet<ObjectKey>,
    /// Whether a start began in this moment.
    begun: bool,
}

impl Rest {
    /// The rest as it stands now.
    pub(super) fn of(scene: &Scene, family: &[(Resource, ObjectKey)]) -> Rest {
        let mut rest = Rest {
            nodes: scene.list(&NODES).map(|(_, node)| typed(node)).collect(),
            traffic: Vec::new(),
            runs: BTreeMap::new(),
            starting: BTreeSet::new(),
            troubled: BTreeMap::new(),
            unplaced: BTreeSet::new(),
            begun: false,
        };
        let mut at_work: BTreeSet<String> = BTreeSet::new();
        for (_, object) in scene.list(&PODS) {
            let pod: Pod = typed(object);
            at_work.extend(drain::protections(&pod).map(str::to_owned));
            at_work.extend(drain::expected(&pod).into_values());
        }
        for (kind, key) in family {
            let Some(object) = scene.get(kind, key) else { continue };
            let declared = object["spec"]["traffic"].as_array().into_iter().flatten();
            at_work.extend(declared.filter_map(Value::as_str).map(drain::protection_of));
            if is_same(kind, &PODS) {
                rest.meet(key, &typed(object));
            }
        }
        let own = |service: Service| {
            let finalizer = drain::protection_of(&service.metadata.name);
            at_work.contains(&finalizer).then_some((service, finalizer))
        };
        rest.traffic = scene.list(&SERVICES).filter_map(|(_, service)| own(typed(service))).collect();
        rest
    }

    /// A pod that is there before anything moves.
    fn meet(&mut self, key: &ObjectKey, pod: &Pod) {
        let running = |c: &&api_core::Container| {
            let status = pod.status.container_statuses.iter().find(|s| s.name == c.name);
            status.is_some_and(|s| s.state.running.is_some() && inplace::same_image(&s.image, &c.image))
        };
        if pod.is_ready() || pod.spec.containers.iter().all(|c| running(&c)) {
            self.runs.insert(key.clone(), images(pod));
        } else if let Some(why) = podfact::trouble(pod) {
            self.troubled.insert(key.clone(), (images(pod), why));
        }
    }

    /// What happens within a moment; whether something has begun that shows only in the next one.
    pub(super) fn act(&mut self, scene: &mut Scene, family: &[(Resource, ObjectKey)]) -> bool {
        self.begun = false;
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        let pods: Vec<&ObjectKey> =
            family.iter().filter(|(k, _)| is_same(k, &PODS)).map(|(_, key)| key).collect();
        for key in &pods {
            let node = scene.get(&PODS, key).and_then(|p| p["spec"]["nodeName"].as_str());
            *used.entry(node.unwrap_or_default().to_owned()).or_default() += 1;
        }
        for key in pods {
            let Some(object) = scene.get(&PODS, key) else { continue };
            let pod: Pod = typed(object);
            self.pod(scene, key, &pod, &mut used);
        }
        self.begun
    }

    fn pod(&mut self, scene: &mut Scene, key: &ObjectKey, pod: &Pod, used: &mut BTreeMap<String, usize>) {
        if pod.metadata.is_terminating() {
            return end(scene, key, pod);
        }
        if pod.is_finished() {
            return;
        }
        if pod.spec.node_name.is_empty() && !self.place(scene, key, pod, used) {
            return;
        }
        let wanted = images(pod);
        if self.troubled.get(key).is_some_and(|(images, _)| *images == wanted) {
            return;
        }
        self.troubled.remove(key);
        if self.runs.get(key) != Some(&wanted) {
            return self.start(scene, key, pod, wanted);
        }
        self.serve(scene, key, pod);
    }

    fn place(
        &mut self,
        scene: &mut Scene,
        key: &ObjectKey,
        pod: &Pod,
        used: &mut BTreeMap<String, usize>,
    ) -> bool {
        if !pod.spec.scheduling_gates.is_empty() {
            return false;
        }
        let Some(node) = place::choose(pod, self.nodes.iter(), used) else {
            self.unplaced.insert(key.clone());
            return false;
        };
        self.unplaced.remove(key);
        let (name, now) = (node.metadata.name.clone(), scene.now);
        *used.entry(name.clone()).or_default() += 1;
        scene.edit(&PODS, key, |pod| {
            pod["spec"]["nodeName"] = json!(name);
            set_condition(pod, "PodScheduled", "True", now);
        });
        true
    }

    /// One moment of starting, then the containers run.
    fn start(&mut self, scene: &mut Scene, key: &ObjectKey, pod: &Pod, wanted: Images) {
        let now = scene.now;
        if self.starting.insert(key.clone()) {
            self.begun = true;
            scene.edit(&PODS, key, |object| {
                object["status"]["phase"] = json!("Running");
                for status in object["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
                    status["ready"] = json!(false);
                }
                set_condition(object, "Ready", "False", now);
            });
            return;
        }
        self.starting.remove(key);
        let number = scene.version();
        let statuses: Vec<Value> = pod.spec.containers.iter().map(|c| status(pod, c, number, now)).collect();
        scene.edit(&PODS, key, |object| {
            object["status"]["phase"] = json!("Running");
            object["status"]["containerStatuses"] = json!(statuses);
            let ready = if gates_open(pod) { "True" } else { "False" };
            set_condition(object, "Ready", ready, now);
        });
        self.runs.insert(key.clone(), wanted);
    }

    /// Readiness follows the gates; traffic follows readiness.
    fn serve(&self, scene: &mut Scene, key: &ObjectKey, pod: &Pod) {
        let now = scene.now;
        let open = gates_open(pod);
        let is_out =
            drain::gate(pod).and_then(|gate| pod.condition(gate)).is_some_and(|c| c.status == "False");
        let wanted = self.protections(pod);
        scene.edit(&PODS, key, |object| {
            set_condition(object, "Ready", if open { "True" } else { "False" }, now);
            if is_out {
                unprotect(object);
            } else if open && drain::takes_part(pod) {
                protect(object, &wanted);
            }
        });
    }

    /// Finalizers that traffic components have on a pod in service, with who puts them.
    fn protections(&self, pod: &Pod) -> BTreeMap<String, String> {
        let mut out = drain::expected(pod);
        for (service, finalizer) in &self.traffic {
            let selector = &service.spec.selector;
            let own = service.metadata.namespace == pod.metadata.namespace && !selector.is_empty();
            if own
                && selector.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
                && !out.values().any(|f| f == finalizer)
            {
                let who = format!("Service/{}/{}", service.metadata.namespace, service.metadata.name);
                out.insert(who, finalizer.clone());
            }
        }
        out
    }

    /// What stands in the way of pods of the family and is nobody's rule.
    pub(super) fn complaints(&self, scene: &Scene, family: &[(Resource, ObjectKey)]) -> Vec<Reason> {
        let mine = |key: &ObjectKey| family.iter().any(|(kind, k)| is_same(kind, &PODS) && k == key);
        let unplaced: Vec<&str> = self.unplaced.iter().filter(|k| mine(k)).map(|k| k.name.as_str()).collect();
        let mut out = Vec::new();
        if !unplaced.is_empty() {
            let message = format!("{} new pods fit no node by labels, affinity and taints", unplaced.len());
            out.push(Reason::new("scheduler", "Unschedulable", message));
        }
        for (key, (_, why)) in self.troubled.iter().filter(|(k, _)| mine(k)) {
            if scene.get(&PODS, key).is_some() {
                let message = format!("pod {} is in trouble now and stays so: {why}", key.name);
                out.push(Reason::new(format!("pod/{}", key.name), "PodTrouble", message));
            }
        }
        out
    }
}

/// A container that runs its image: as another instance, told apart by `number`, when the image is another.
fn status(pod: &Pod, container: &api_core::Container, number: u64, now: Time) -> Value {
    let old = pod.status.container_statuses.iter().find(|s| s.name == container.name);
    let same = old.filter(|s| s.state.running.is_some() && inplace::same_image(&s.image, &container.image));
    if let Some(same) = same {
        let mut status = json!(same);
        status["ready"] = json!(true);
        return status;
    }
    json!({
        "name": container.name, "image": container.image, "imageID": format!("foreseen:{}", container.image),
        "containerID": format!("foreseen://{}/{}/{number}", pod.metadata.uid, container.name),
        "restartCount": old.map_or(0, |s| s.restart_count + 1), "ready": true,
        "state": {"running": {"startedAt": now}},
    })
}

/// Traffic components let go of a pod that is ending, then its node ends it.
fn end(scene: &mut Scene, key: &ObjectKey, pod: &Pod) {
    if drain::protections(pod).next().is_some() {
        scene.edit(&PODS, key, unprotect);
    } else if pod.metadata.finalizers.is_empty() {
        scene.remove(&PODS, key);
    }
}

fn images(pod: &Pod) -> Images {
    pod.spec.containers.iter().map(|c| (c.name.clone(), c.image.clone())).collect()
}

fn gates_open(pod: &Pod) -> bool {
    let is_open = |gate: &str| pod.condition(gate).is_some_and(|c| c.status == "True");
    pod.spec.readiness_gates.iter().all(|g| is_open(&g.condition_type))
}

fn unprotect(pod: &mut Value) {
    if let Some(list) = pod["metadata"]["finalizers"].as_array_mut() {
        list.retain(|f| !f.as_str().is_some_and(|f| f.starts_with(drain::PROTECTION)));
    }
}

fn protect(pod: &mut Value, wanted: &BTreeMap<String, String>) {
    if wanted.is_empty() {
        return;
    }
    let meta = &mut pod["metadata"];
    let mut list = meta["finalizers"].as_array().cloned().unwrap_or_default();
    list.extend(wanted.values().map(|f| json!(f)).filter(|f| !list.contains(f)).collect::<Vec<_>>());
    meta["finalizers"] = json!(list);
    let text = json!({"expectedFinalizers": wanted}).to_string();
    if !meta["annotations"].is_object() {
        meta["annotations"] = json!({});
    }
    meta["annotations"][drain::AVAILABLE_CONDITIONS] = json!(text);
}

fn set_condition(pod: &mut Value, kind: &str, status: &str, now: Time) {
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(list) = pod["status"]["conditions"].as_array_mut() else { return };
    if list.iter().any(|c| c["type"] == kind && c["status"] == status) {
        return;
    }
    list.retain(|c| c["type"] != kind);
    list.push(json!({"type": kind, "status": status, "lastTransitionTime": now}));
}

/// What cannot be read as its kind is taken for one without fields.
fn typed<T: serde::de::DeserializeOwned + Default>(object: &Value) -> T {
    serde_json::from_value(object.clone()).unwrap_or_default()
}
