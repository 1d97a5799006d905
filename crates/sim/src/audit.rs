//! Watches every event of every pod, and says which promise was broken when.

use std::collections::BTreeMap;
use std::fmt;

use api_core::Pod;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one, in one word.
    pub rule: &'static str,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.seen)
    }
}

/// What is watched over.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Pods the set should have.
    replicas: usize,
    /// Greatest number of them that may be unavailable during the release.
    budget: usize,
    /// Pods keep identity, name and address.
    in_place: bool,
    /// One host decides. Two that do not know of each other may undo each other's first step, the closing of the gate, when
    /// one has not yet seen the set's new version: an unready moment more, but nothing restarted and nothing beyond budget.
    is_sole: bool,
    /// CPU of a node, in thousandths.
    node_cpu_milli: i64,
    released: bool,
    pods: BTreeMap<String, Life>,
    /// Pods there were when the release began, by identity.
    starters: BTreeMap<String, (String, String)>,
    violations: Vec<Violation>,
    worst: usize,
}

/// One pod from first to last event.
#[derive(Clone, Debug, Default)]
struct Life {
    name: String,
    ip: String,
    node: String,
    cpu_milli: i64,
    /// Values in the order in which they were taken on.
    images: Vec<String>,
    instances: Vec<String>,
    gate: Vec<String>,
    is_available: bool,
    is_gone: bool,
    has_ended: bool,
}

impl Audit {
    /// An audit of `replicas` pods of which `budget` may be unavailable once the release has begun.
    pub fn new(replicas: usize, budget: usize, in_place: bool, is_sole: bool, node_cpu_milli: i64) -> Audit {
        Audit {
            replicas,
            budget,
            in_place,
            is_sole,
            node_cpu_milli,
            released: false,
            pods: BTreeMap::new(),
            starters: BTreeMap::new(),
            violations: Vec::new(),
            worst: 0,
        }
    }

    /// What was broken, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The greatest number of unavailable pods seen during the release.
    pub fn worst(&self) -> usize {
        self.worst
    }

    /// Says that a promise was broken.
    pub fn accuse(&mut self, rule: &'static str, seen: impl Into<String>) {
        self.violations.push(Violation { rule, seen: seen.into() });
    }

    /// The release begins: from now on the budget holds.
    pub fn begin_release(&mut self) {
        self.released = true;
        let alive = self.pods.iter().filter(|(_, p)| !p.is_gone);
        self.starters = alive.map(|(uid, p)| (uid.clone(), (p.name.clone(), p.ip.clone()))).collect();
    }

    /// Takes one event of a pod of the set.
    pub fn pod(&mut self, pod: &Pod, is_deleted: bool) {
        let uid = pod.metadata.uid.clone();
        let is_new = !self.pods.contains_key(&uid);
        let life = self.pods.entry(uid.clone()).or_default();
        let before = life.clone();
        life.take(pod, is_deleted);
        let now = life.clone();
        self.check_identity(&uid, &before, &now, is_new);
        self.check_repeats(&now);
        self.check_room(&now.node);
        self.check_budget();
    }

    fn check_identity(&mut self, uid: &str, before: &Life, now: &Life, is_new: bool) {
        let name = &now.name;
        if !before.node.is_empty() && before.node != now.node {
            self.accuse("bound-once", format!("{name} moved from {} to {}", before.node, now.node));
        }
        if !self.released || !self.in_place {
            return;
        }
        if is_new {
            self.accuse("same-pods", format!("{name} ({uid}) was created during an in-place release"));
        }
        if now.is_gone && !before.is_gone {
            self.accuse("same-pods", format!("{name} was deleted during an in-place release"));
        }
        if let Some((_, ip)) = self.starters.get(uid)
            && *ip != now.ip
        {
            let seen = format!("{name} had address {ip} and now has {:?}", now.ip);
            self.accuse("same-address", seen);
        }
    }

    /// One release changes each pod once: one new image, one new instance, one time not ready.
    fn check_repeats(&mut self, now: &Life) {
        if !self.released || now.is_gone {
            return;
        }
        let gate_max = match now.gate.iter().any(|g| g == "False") {
            _ if !self.is_sole => usize::MAX,
            true => 3,
            false => 2,
        };
        for (what, list, most) in
            [("image", &now.images, 2), ("instance", &now.instances, 2), ("gate", &now.gate, gate_max)]
        {
            if list.len() > most {
                self.accuse("updated-once", format!("{}: {what} went {}", now.name, list.join(" > ")));
            }
        }
    }

    fn check_room(&mut self, node: &str) {
        if node.is_empty() {
            return;
        }
        let on_it = self.pods.values().filter(|p| p.node == node && !p.is_gone && !p.has_ended);
        let taken: i64 = on_it.map(|p| p.cpu_milli).sum();
        if taken > self.node_cpu_milli {
            self.accuse("within-room", format!("{node} holds {taken}m of {}m", self.node_cpu_milli));
        }
    }

    fn check_budget(&mut self) {
        if !self.released {
            return;
        }
        let unavailable = self.replicas.saturating_sub(self.available());
        self.worst = self.worst.max(unavailable);
        if unavailable > self.budget {
            self.accuse(
                "budget",
                format!("{unavailable} of {} unavailable, {} allowed", self.replicas, self.budget),
            );
        }
    }

    /// How many pods are available.
    pub fn available(&self) -> usize {
        self.pods.values().filter(|p| p.is_available).count()
    }

    /// Whether every pod wanted is available and runs `image` only.
    pub fn has_converged(&self, image: &str) -> bool {
        let alive: Vec<&Life> = self.pods.values().filter(|p| !p.is_gone).collect();
        alive.len() == self.replicas
            && alive.iter().all(|p| p.is_available && p.images.last().is_some_and(|i| i == image))
    }

    /// The last look: nobody was left out.
    pub fn finish(&mut self, image: &str) {
        if !self.has_converged(image) {
            let alive = self.pods.values().filter(|p| !p.is_gone);
            let states: Vec<String> = alive
                .map(|p| {
                    format!(
                        "{} {}{}",
                        p.name,
                        p.images.last().map_or("", String::as_str),
                        if p.is_available { "" } else { " (unavailable)" }
                    )
                })
                .collect();
            self.accuse("converges", format!("not all on {image}: {}", states.join(", ")));
        }
        if !self.in_place {
            return;
        }
        let skipped: Vec<String> = self
            .starters
            .keys()
            .filter_map(|uid| self.pods.get(uid))
            .filter(|p| p.instances.len() != 2)
            .map(|p| format!("{} ran {:?}", p.name, p.instances))
            .collect();
        for seen in skipped {
            self.accuse("updated-once", seen);
        }
    }
}

impl Life {
    fn take(&mut self, pod: &Pod, is_deleted: bool) {
        self.name.clone_from(&pod.metadata.name);
        self.node.clone_from(&pod.spec.node_name);
        if !pod.status.pod_ip.is_empty() {
            self.ip.clone_from(&pod.status.pod_ip);
        }
        let cpu = pod.spec.containers.iter().filter_map(|c| c.resources.request("cpu")).map(|q| q.milli());
        self.cpu_milli = cpu.sum();
        if let Some(main) = pod.spec.containers.first() {
            note(&mut self.images, &main.image);
        }
        if let Some(status) = pod.status.container_statuses.first() {
            note(&mut self.instances, &status.container_id);
        }
        if let Some(gate) = pod.condition("InPlaceUpdateReady") {
            note(&mut self.gate, &gate.status);
        }
        self.is_gone = is_deleted || self.is_gone;
        self.has_ended = pod.is_finished();
        self.is_available = !self.is_gone && pod.is_active() && pod.is_ready();
    }
}

fn note(list: &mut Vec<String>, value: &str) {
    if !value.is_empty() && list.last().is_none_or(|last| last != value) {
        list.push(value.to_owned());
    }
}

/// One line about a pod, for the log.
pub(crate) fn describe(pod: &Pod, verb: &str) -> String {
    let meta = &pod.metadata;
    let held = pod.condition("PodScheduled").filter(|c| c.status == "False");
    let held = held.map_or_else(String::new, |c| format!(" held: {}", c.message));
    let gate = pod.condition("InPlaceUpdateReady").map_or("-", |c| c.status.as_str());
    let first =
        |f: fn(&api_core::ContainerStatus) -> &str| pod.status.container_statuses.first().map_or("-", f);
    format!(
        "event {} {verb} {}/{} uid={} node={} ip={} image={} ran={} instance={} ready={} gate={gate} ending={}{held}",
        meta.resource_version,
        meta.namespace,
        meta.name,
        meta.uid,
        pod.spec.node_name,
        pod.status.pod_ip,
        pod.spec.containers.first().map_or("-", |c| c.image.as_str()),
        first(|s| &s.image),
        first(|s| &s.container_id),
        pod.is_ready(),
        meta.is_terminating(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, image: &str, ready: bool, instance: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": image, "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"podIP": format!("ip-{name}"), "containerStatuses": [{"name": "c", "containerID": instance}],
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .expect("a pod")
    }

    fn rules(audit: &Audit) -> Vec<&'static str> {
        audit.violations().iter().map(|v| v.rule).collect()
    }

    #[test]
    fn each_broken_promise_is_named() {
        let mut audit = Audit::new(2, 1, true, true, 2000);
        audit.pod(&pod("a", "v1", true, "1"), false);
        audit.pod(&pod("b", "v1", true, "2"), false);
        audit.begin_release();
        assert_eq!(rules(&audit), [""; 0]);
        audit.pod(&pod("a", "v2", false, "1"), false);
        assert_eq!(rules(&audit), [""; 0]);
        audit.pod(&pod("b", "v2", false, "2"), false);
        assert_eq!(rules(&audit), ["budget"]);
        audit.pod(&pod("c", "v2", true, "3"), false);
        assert_eq!(rules(&audit), ["budget", "same-pods", "within-room"]);
        let mut audit = Audit::new(1, 1, true, true, 2000);
        audit.pod(&pod("a", "v1", true, "1"), false);
        audit.begin_release();
        for (image, instance) in [("v2", "2"), ("v1", "3")] {
            audit.pod(&pod("a", image, true, instance), false);
        }
        assert_eq!(rules(&audit), ["updated-once", "updated-once"]);
    }

    #[test]
    fn a_release_that_does_not_end_is_accused() {
        let mut audit = Audit::new(1, 1, true, true, 2000);
        audit.pod(&pod("a", "v1", true, "1"), false);
        audit.begin_release();
        audit.finish("v2");
        assert_eq!(rules(&audit), ["converges", "updated-once"]);
    }
}
