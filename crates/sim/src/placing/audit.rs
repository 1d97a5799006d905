//! Judges every placement by the server's truth.
//!
//! A scheduler knows the past: what others did in the last moments it cannot know, and is not held to it. Of what it did itself
//! it knows everything, always. So its own pods count in full, other people's after [`KNOWN_WITHIN`], and a node's room is the
//! greatest it had within that time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_core::{Node, Pod};
use api_koord::names;
use sched_core::{Decision, Interner, NodeFact, PodFact, Snapshot};
use sched_plugins::Rules;

use super::kinds::{GANG, QUOTA};
use crate::audit::Violation;
use crate::stage::Judge;

/// After so long what others did is known: late watches, cut ones, and a bind under way together. Crashes of the plane, during
/// which nobody learns anything, come on top and are counted by the story's clock as well.
const KNOWN_WITHIN: Duration = Duration::from_secs(45);

/// Everything seen so far.
pub struct PlacingAudit {
    now: Box<dyn Fn() -> Duration + Send>,
    interner: Interner,
    pods: BTreeMap<String, Life>,
    nodes: BTreeMap<String, Room>,
    /// Names of pods that the other scheduler binds or tries to.
    claimed: BTreeSet<String>,
    violations: Vec<Violation>,
    bound: usize,
    /// Since when the quota is there.
    quota_since: Option<Duration>,
    /// Nothing goes wrong: there is no excuse for half a gang.
    pub(super) is_calm: bool,
}

/// One pod.
struct Life {
    fact: Arc<PodFact>,
    node: String,
    /// Bound by the scheduler under test.
    is_ours: bool,
    bound_at: Duration,
    is_gone: bool,
    /// Its gang.
    gang: Option<String>,
}

/// A node's room through time.
#[derive(Default)]
struct Room {
    is_there: bool,
    /// When it came back; zero for one that was never lost.
    since: Duration,
    /// From when: thousandths of CPU, pods.
    history: Vec<(Duration, i64, i64)>,
    closed_since: Option<Duration>,
    fact: NodeFact,
}

impl Room {
    /// The greatest room since a moment.
    fn most_since(&self, since: Duration) -> (i64, i64) {
        let first = self.history.iter().rposition(|(at, ..)| *at <= since).unwrap_or(0);
        let valid = self.history[first.min(self.history.len())..].iter();
        valid.fold((0, 0), |(cpu, pods), (_, c, p)| (cpu.max(*c), pods.max(*p)))
    }
}

impl Judge for PlacingAudit {
    fn pod(&mut self, pod: &Pod, is_deleted: bool) {
        PlacingAudit::pod(self, pod, is_deleted);
    }

    fn accuse(&mut self, rule: &'static str, seen: String) {
        PlacingAudit::accuse(self, rule, seen);
    }

    fn violations(&self) -> &[Violation] {
        PlacingAudit::violations(self)
    }
}

impl PlacingAudit {
    /// An audit that asks this clock.
    pub fn new(now: Box<dyn Fn() -> Duration + Send>) -> PlacingAudit {
        PlacingAudit {
            now,
            interner: Interner::default(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            claimed: BTreeSet::new(),
            violations: Vec::new(),
            bound: 0,
            quota_since: None,
            is_calm: false,
        }
    }

    /// What was broken, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many pods the scheduler has bound.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Says that a promise was broken.
    pub fn accuse(&mut self, rule: &'static str, seen: impl Into<String>) {
        self.violations.push(Violation { rule, seen: seen.into() });
    }

    fn living(&self) -> impl Iterator<Item = &Life> {
        self.pods.values().filter(|p| !p.is_gone)
    }

    /// How many pods there are.
    pub(super) fn alive(&self) -> usize {
        self.living().count()
    }

    /// Names of the pods there are.
    pub(super) fn names(&self) -> Vec<String> {
        self.living().map(|p| p.fact.name.to_string()).collect()
    }

    /// Names of pods without a place.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.living().filter(|p| p.node.is_empty()).map(|p| p.fact.name.to_string()).collect()
    }

    /// Names of the nodes there are.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, r)| r.is_there).map(|(name, _)| name.clone()).collect()
    }

    /// A node has, or is about to have, this room.
    pub(super) fn node_may(&mut self, name: &str, cpu_milli: i64, pods: i64) {
        let now = (self.now)();
        let room = self.nodes.entry(name.to_owned()).or_default();
        if !room.is_there {
            let object = super::kinds::NodeKind::named(name).object();
            room.fact = NodeFact::of(&serde_json::from_value(object).unwrap_or_default());
            // Those of the beginning have always been there: they come before any pod.
            let since = if room.history.is_empty() { Duration::ZERO } else { now };
            (room.is_there, room.since, room.closed_since) = (true, since, None);
        }
        room.history.push((now, cpu_milli, pods));
    }

    /// A node is closed, or is about to be open.
    pub(super) fn node_closed(&mut self, name: &str, closed: bool) {
        let now = (self.now)();
        if let Some(room) = self.nodes.get_mut(name) {
            room.closed_since = closed.then(|| room.closed_since.unwrap_or(now));
        }
    }

    /// A node is gone; the pods that were on it.
    pub(super) fn node_gone(&mut self, name: &str) -> Vec<String> {
        if let Some(room) = self.nodes.get_mut(name) {
            room.is_there = false;
        }
        self.living().filter(|p| p.node == name).map(|p| p.fact.name.to_string()).collect()
    }

    /// The quota holds from now on.
    pub(super) fn quota_is_there(&mut self) {
        self.quota_since = Some((self.now)());
    }

    /// The other scheduler is about to bind a pod.
    pub(super) fn claim(&mut self, name: &str) {
        self.claimed.insert(name.to_owned());
    }

    /// It came too late.
    pub(super) fn disclaim(&mut self, name: &str) {
        self.claimed.remove(name);
        for life in self.pods.values_mut().filter(|p| *p.fact.name == *name && !p.node.is_empty()) {
            life.is_ours = true;
        }
    }

    fn pod(&mut self, pod: &Pod, is_deleted: bool) {
        let fact = Arc::new(self.interner.project(pod));
        let now = (self.now)();
        let uid = pod.metadata.uid.clone();
        let before = self.pods.get(&uid).map_or(String::new(), |p| p.node.clone());
        let node = pod.spec.node_name.clone();
        if !before.is_empty() && before != node {
            self.accuse("bound-once", format!("{} moved from {before} to {node:?}", fact.name));
        }
        let was_ours = self.pods.get(&uid).is_some_and(|p| p.is_ours);
        let is_new = before.is_empty() && !node.is_empty();
        let is_ours = was_ours || is_new && !self.claimed.contains(&*fact.name);
        let bound_at = if is_new { now } else { self.pods.get(&uid).map_or(now, |p| p.bound_at) };
        let gang = pod.metadata.annotations.get(names::GANG_NAME).cloned();
        let life = Life { fact, node, is_ours, bound_at, is_gone: is_deleted, gang };
        self.pods.insert(uid.clone(), life);
        if is_new && is_ours && !is_deleted {
            self.bound += 1;
            self.check(&uid, now);
        }
    }

    /// Judges a placement of ours, just seen.
    fn check(&mut self, uid: &str, now: Duration) {
        let pod = &self.pods[uid];
        let (name, node, fact) = (pod.fact.name.clone(), pod.node.clone(), pod.fact.clone());
        let mut broken: Vec<(&'static str, String)> = Vec::new();
        if *fact.scheduler != *"default-scheduler" {
            broken.push(("own-pods", format!("{name} is a pod of {}", fact.scheduler)));
        }
        let since = now.saturating_sub(KNOWN_WITHIN);
        // What counts: everything of ours, and of others what is known.
        let known = |p: &&Life| !p.node.is_empty() && (p.is_ours || p.bound_at <= since);
        let others: Vec<&Life> = self.living().filter(known).filter(|p| *p.fact.uid != *uid).collect();
        let on_it: Vec<&&Life> = others.iter().filter(|p| p.node == node).collect();
        let empty = Room::default();
        let room = self.nodes.get(&node).unwrap_or(&empty);
        let taken: i64 = on_it.iter().map(|p| p.fact.demand.requests.cpu_milli).sum();
        let (cpu, pods) = room.most_since(since);
        let wanted = fact.demand.requests.cpu_milli;
        if wanted > 0 && taken + wanted > cpu {
            broken.push(("within-room", format!("{name} makes {}m on {node}, of {cpu}m", taken + wanted)));
        }
        if on_it.len() as i64 >= pods {
            broken
                .push(("within-room", format!("{name} makes {} pods on {node}, of {pods}", on_it.len() + 1)));
        }
        if room.closed_since.is_some_and(|at| at <= since) {
            broken.push(("open-nodes", format!("{name} is on {node}, which has been closed")));
        }
        if fact.demand.repelled_by(&room.fact).is_some() || !fact.demand.fits_labels(&room.fact) {
            broken.push(("node-rules", format!("{name} is on {node}, whose taints or labels forbid it")));
        }
        let clash =
            |p: &&&Life| p.fact.demand.ports.iter().any(|a| fact.demand.ports.iter().any(|b| a.clashes(b)));
        if let Some(p) = on_it.iter().find(|p| clash(p)) {
            broken.push(("ports", format!("{name} takes a port of {} on {node}", p.fact.name)));
        }
        if let Some(p) = others.iter().find(|p| self.excludes(&fact, &node, p, since)) {
            broken.push((
                "exclusion",
                format!("{name} on {node} and {} on {} exclude each other", p.fact.name, p.node),
            ));
        }
        broken.extend(self.over_quota(&fact, &others, since));
        broken.into_iter().for_each(|(rule, seen)| self.accuse(rule, seen));
    }

    /// Whether the pods of the quota use more than they may, now that there is one more.
    fn over_quota(
        &self,
        fact: &PodFact,
        others: &[&Life],
        since: Duration,
    ) -> Option<(&'static str, String)> {
        let is_held = |f: &PodFact| f.kin.labels.get(names::QUOTA_NAME).is_some_and(|q| q == QUOTA.0);
        if !is_held(fact) || self.quota_since.is_none_or(|at| at > since) {
            return None;
        }
        let cpu = |f: &PodFact| f.demand.requests.cpu_milli;
        let used: i64 = others.iter().filter(|p| is_held(&p.fact)).map(|p| cpu(&p.fact)).sum();
        let sum = used + cpu(fact);
        (sum > QUOTA.1)
            .then(|| ("quota", format!("{} makes {sum}m of quota {}, of {}m", fact.name, QUOTA.0, QUOTA.1)))
    }

    /// Gangs of which some members run and others do not, although none was ever taken away or bound by somebody else; with those
    /// that wait.
    fn torn_gangs(&self) -> Vec<(String, Vec<Arc<PodFact>>)> {
        let mut gangs: BTreeMap<&String, Vec<&Life>> = BTreeMap::new();
        for life in self.pods.values() {
            if let Some(gang) = &life.gang {
                gangs.entry(gang).or_default().push(life);
            }
        }
        let mut torn = Vec::new();
        for (gang, members) in gangs {
            let is_whole = members.len() == GANG
                && members.iter().all(|p| !p.is_gone && !self.claimed.contains(&*p.fact.name));
            let waiting = members.iter().filter(|p| p.node.is_empty());
            let waiting: Vec<Arc<PodFact>> = waiting.map(|p| p.fact.clone()).collect();
            if is_whole && (1..GANG).contains(&waiting.len()) {
                torn.push((gang.clone(), waiting));
            }
        }
        torn
    }

    /// Whether anti-affinity of either forbids them to be where they are. A node that is not there, or came back since, is in no
    /// domain: the pods on it cannot be known to be in one.
    fn excludes(&self, fact: &PodFact, node: &str, other: &Life, since: Duration) -> bool {
        let known = |r: &&Room| r.is_there && r.since <= since || other.node == node;
        if self.nodes.get(&other.node).filter(known).is_none() {
            return false;
        }
        let spaces = BTreeMap::new();
        let label =
            |node: &str, key: &str| self.nodes.get(node).and_then(|r| r.fact.labels.get(key).cloned());
        let keeps = |a: &PodFact, b: &PodFact| {
            a.demand.apart.iter().any(|t| {
                let here = label(node, &t.topology);
                here.is_some()
                    && here == label(&other.node, &t.topology)
                    && t.pods.matches(&b.kin.namespace, &b.kin.labels, &spaces)
            })
        };
        keeps(fact, &other.fact) || keeps(&other.fact, fact)
    }

    /// Nothing has happened for a while: whoever still waits must fit nowhere, by the plain rules and the server's truth.
    pub(super) fn rested(&mut self, nodes: &[Node], pods: &[Pod]) {
        let mut snapshot = Snapshot::new();
        for node in nodes {
            snapshot.set_node(NodeFact::of(node));
        }
        let facts: Vec<PodFact> = pods.iter().map(|p| self.interner.project(p)).collect();
        for fact in facts.iter().filter(|f| f.node.is_some()) {
            snapshot.place(Arc::new(fact.clone()));
        }
        let plain = Rules::upstream().plain();
        for (gang, waiting) in self.torn_gangs() {
            // A scheduler that dies between two binds forgets whose room it was; then the rest waits for room as anybody does.
            let fits = waiting.iter().any(|p| matches!(plain.decide(&snapshot, p), Decision::Bind(_)));
            if self.is_calm || fits {
                self.accuse("gang", format!("{} of {GANG} of gang {gang} run", GANG - waiting.len()));
            }
        }
        // Gangs and quotas may hold a pod although a node would do.
        let is_free = |f: &PodFact| {
            !f.kin.labels.contains_key(names::QUOTA_NAME)
                && self.pods.get(&*f.uid).is_none_or(|life| life.gang.is_none())
        };
        let ours = |f: &&PodFact| {
            f.node.is_none() && *f.scheduler == *"default-scheduler" && !f.terminating && is_free(f)
        };
        let waiting: Vec<&PodFact> = facts.iter().filter(ours).collect();
        for fact in waiting {
            if let Decision::Bind(placement) = plain.decide(&snapshot, fact) {
                self.accuse("placed", format!("{} waits, although {} would do", fact.name, placement.node));
            }
        }
        let alive: BTreeSet<&str> = pods.iter().map(|p| p.metadata.uid.as_str()).collect();
        let lost: Vec<String> = self
            .pods
            .iter()
            .filter(|(uid, p)| !p.is_gone && !alive.contains(uid.as_str()))
            .map(|(_, p)| p.fact.name.to_string())
            .collect();
        for name in lost {
            self.accuse("no-lost-pods", format!("{name} is gone, and nobody was told"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(name: &str, node: &str, more: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "x"}},
            "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]}});
        for (field, value) in more.as_object().into_iter().flatten() {
            pod["spec"][field] = value.clone();
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn audit(at: u64) -> PlacingAudit {
        let mut audit = PlacingAudit::new(Box::new(move || Duration::from_secs(at)));
        audit.node_may("n1", 2000, 4);
        audit.node_may("n4", 2000, 4);
        audit
    }

    fn rules(audit: &PlacingAudit) -> Vec<&'static str> {
        audit.violations().iter().map(|v| v.rule).collect()
    }

    #[test]
    fn each_broken_promise_is_named() {
        let mut a = audit(0);
        a.pod(&pod("a", "n1", json!({})), false);
        assert_eq!(rules(&a), [""; 0]);
        a.pod(&pod("b", "n1", json!({})), false);
        a.pod(&pod("a", "n4", json!({})), false);
        assert_eq!(rules(&a), ["within-room", "bound-once"]);
        let mut a = audit(0);
        let port = json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]});
        a.pod(&pod("a", "n1", port.clone()), false);
        a.pod(&pod("b", "n1", port), false);
        // n1 and n4 are in one zone.
        let apart = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]}}});
        a.pod(&pod("c", "n4", apart), false);
        a.pod(&pod("d", "n4", json!({"nodeSelector": {"zone": "z9"}, "containers": []})), false);
        assert_eq!(rules(&a), ["ports", "exclusion", "node-rules", "exclusion"]);
    }

    #[test]
    fn what_others_just_did_is_not_held_against_the_scheduler() {
        let mut a = audit(100);
        a.claim("theirs");
        a.pod(&pod("theirs", "n1", json!({})), false);
        a.pod(&pod("ours", "n1", json!({})), false);
        assert_eq!((rules(&a), a.bound()), (vec![], 1));
    }

    #[test]
    fn gangs_in_part_and_quotas_overdrawn_are_found() {
        let mut a = audit(100);
        a.quota_since = Some(Duration::ZERO);
        let held = |name: &str| {
            let mut pod = pod(name, "n1", json!({}));
            pod.metadata.labels.insert(names::QUOTA_NAME.to_owned(), QUOTA.0.to_owned());
            pod
        };
        a.node_may("n2", 8000, 9);
        let mut second = held("b");
        second.spec.node_name = "n2".to_owned();
        a.pod(&held("a"), false);
        a.pod(&second, false);
        assert_eq!(rules(&a), ["quota"]);
        let mut a = audit(100);
        for (name, node) in [("g-0", "n1"), ("g-1", ""), ("g-2", "")] {
            let mut member = pod(name, node, json!({}));
            member.metadata.annotations.insert(names::GANG_NAME.to_owned(), "g".to_owned());
            a.pod(&member, false);
        }
        a.is_calm = true;
        a.rested(&[], &[]);
        assert!(rules(&a).contains(&"gang"));
    }

    #[test]
    fn who_waits_although_there_is_room_is_found() {
        let mut a = audit(0);
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "2", "pods": "9"}}}),
        )
        .unwrap();
        a.rested(&[node], &[pod("a", "", json!({}))]);
        assert_eq!(rules(&a), ["placed"]);
    }
}
