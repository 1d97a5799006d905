use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Lease, Node};
use api_meta::{Object, ObjectKey, Resource};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use reconcile::testing::Bench;
use serde_json::{Value, json};
use stdx::Time;

use super::*;

const NODES: Resource = Node::RESOURCE;
const LEASES: Resource = Lease::RESOURCE;
const NEW: &str = "node.kubernetes.io/not-ready";

/// A cluster of nodes with Leases of eight seconds.
struct Story {
    bench: Bench,
    /// The version of each node that was looked at last, and when the controller asked to look again.
    looked: BTreeMap<ObjectKey, (String, Option<Time>)>,
}

impl Story {
    fn new(nodes: &[(&str, &str)]) -> Story {
        let mut story = Story { bench: Bench::new().with::<Nodes>(), looked: BTreeMap::new() };
        for (name, cell) in nodes {
            story.node(name, cell);
        }
        story
    }

    fn node(&mut self, name: &str, cell: &str) {
        let at = self.bench.now;
        self.bench.put(&NODES, json!({
            "metadata": {"name": name, "labels": {"cafe.sofastack.io/cell": cell}},
            "status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "DiskPressure", "status": "False"},
                {"type": "PIDPressure", "status": "False"},
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": at},
            ]},
        }));
        self.renew(name);
    }

    fn renew(&mut self, name: &str) {
        let spec = json!({"leaseDurationSeconds": 8, "renewTime": self.bench.now.to_micro_string()});
        let body = json!({"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec});
        self.bench.put(&LEASES, body);
    }

    /// What a node does that is back: it renews, and says that it is ready.
    fn back(&mut self, name: &str) {
        self.renew(name);
        let at = self.bench.now;
        self.bench.edit(&NODES, &ObjectKey::new("", name), |n| {
            for condition in n["status"]["conditions"].as_array_mut().unwrap() {
                let fine = if condition["type"] == "Ready" { "True" } else { "False" };
                condition["status"] = json!(fine);
                condition["lastTransitionTime"] = json!(at);
                condition["reason"] = json!("KubeletReady");
            }
        });
    }

    /// Lets seconds pass one by one; those named renew each second, and the controller looks when it wished to.
    fn run(&mut self, secs: u64, alive: &[&str]) {
        for _ in 0..secs {
            self.bench.pass(1);
            alive.iter().for_each(|name| self.renew(name));
            self.look();
        }
    }

    /// As the host does: a node is looked at when it has changed, or when its time has come.
    fn look(&mut self) {
        for _ in 0..8 {
            let due = self.bench.keys(&NODES).into_iter().filter(|key| self.is_due(key));
            let due: Vec<ObjectKey> = due.collect();
            if due.is_empty() {
                return;
            }
            for key in due {
                let version = self.get(&key.name).metadata.resource_version;
                let plan = self.bench.plan::<Nodes>(&key).unwrap();
                self.bench.apply(&plan).unwrap();
                self.looked.insert(key, (version, plan.wake.filter(|at| *at > self.bench.now)));
            }
        }
        panic!("nodes do not settle");
    }

    fn is_due(&self, key: &ObjectKey) -> bool {
        let Some((version, wake)) = self.looked.get(key) else { return true };
        *version != self.get(&key.name).metadata.resource_version
            || wake.is_some_and(|at| at <= self.bench.now)
    }

    fn get(&self, name: &str) -> Node {
        let stored = self.bench.get(&NODES, &ObjectKey::new("", name)).unwrap();
        serde_json::from_value(stored.clone()).unwrap()
    }

    /// Ready and taints of every node.
    fn told(&self, expected: Expect) {
        let line = |key: &ObjectKey| {
            let node = self.get(&key.name);
            let of = |c: &api_meta::Condition| format!("{} {}", c.status, c.reason);
            let ready = ready(&node).map_or("-".to_owned(), of);
            let taints = node
                .spec
                .taints
                .iter()
                .map(|t| format!(" {}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect));
            format!("{} {ready};{}", key.name, taints.collect::<String>())
        };
        let lines: Vec<String> = self.bench.keys(&NODES).iter().map(line).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    fn given_up(&self) -> usize {
        let keys = self.bench.keys(&NODES);
        keys.iter().filter(|k| taints::our_eviction(&self.get(&k.name)).is_some()).count()
    }
}

#[test]
fn a_node_that_falls_silent_is_unknown_after_the_term_of_its_lease_and_well_again_when_it_says_so() {
    let mut story = Story::new(&[("a", "x"), ("b", "x")]);
    story.run(7, &["b"]);
    story.told(expect![[r#"
        a True KubeletReady;
        b True KubeletReady;"#]]);
    story.run(1, &["b"]);
    story.told(expect![[r#"
        a Unknown NodeStatusUnknown; unreachable:NoSchedule
        b True KubeletReady;"#]]);
    story.run(10, &["b"]);
    story.told(expect![[r#"
        a Unknown NodeStatusUnknown; unreachable:NoSchedule unreachable:NoExecute
        b True KubeletReady;"#]]);
    let node = story.get("a");
    assert!(node.status.conditions.iter().all(|c| c.status == "Unknown"), "it vouches for nothing");
    assert!(
        node.status.conditions.iter().all(|c| c.message == "Kubelet stopped posting node status."),
        "upstream's words"
    );
    story.back("a");
    story.look();
    story.told(expect![[r#"
        a True KubeletReady;
        b True KubeletReady;"#]]);
}

#[test]
fn a_controller_that_was_away_condemns_nobody_who_speaks_within_half_a_term() {
    let mut story = Story::new(&[("a", "x"), ("b", "x")]);
    // Nobody renews and nobody looks: the control plane was down.
    story.bench.pass(600);
    story.look();
    story.run(3, &[]);
    story.told(expect![[r#"
        a True KubeletReady;
        b True KubeletReady;"#]]);
    story.run(5, &["a"]);
    story.told(expect![[r#"
        a True KubeletReady;
        b Unknown NodeStatusUnknown; unreachable:NoSchedule"#]]);
}

#[test]
fn a_node_whose_clock_is_behind_is_judged_by_its_renewals_not_by_its_times() {
    let mut story = Story::new(&[("a", "x"), ("b", "x")]);
    let behind = |story: &mut Story| {
        let at = story.bench.now - Duration::from_secs(3600);
        let spec = json!({"leaseDurationSeconds": 8, "renewTime": at.to_micro_string()});
        let body = json!({"metadata": {"name": "a", "namespace": "kube-node-lease"}, "spec": spec});
        story.bench.put(&LEASES, body);
        story.bench.edit(&NODES, &ObjectKey::new("", "a"), |n| {
            n["status"]["conditions"][3]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
        });
    };
    for _ in 0..30 {
        behind(&mut story);
        story.run(2, &["b"]);
    }
    assert_eq!(ready(&story.get("a")).unwrap().status, "True");
    story.run(9, &["b"]);
    assert_eq!(ready(&story.get("a")).unwrap().status, "Unknown");
}

#[test]
fn a_healthy_node_costs_no_writes() {
    let mut story = Story::new(&[("a", "x")]);
    let version = |story: &Story| story.get("a").metadata.resource_version;
    story.look();
    let before = version(&story);
    for _ in 0..50 {
        story.run(1, &["a"]);
    }
    assert_eq!(version(&story), before);
}

#[test]
fn a_node_that_never_spoke_is_unknown_after_a_minute() {
    let mut story = Story { bench: Bench::new().with::<Nodes>(), looked: BTreeMap::new() };
    let born = json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": NEW, "effect": "NoSchedule"}]}});
    story.bench.put(&NODES, born);
    story.run(59, &[]);
    story.told(expect!["a -; not-ready:NoSchedule"]);
    story.run(2, &[]);
    story.told(expect!["a Unknown NodeStatusNeverUpdated; unreachable:NoSchedule"]);
}

#[test]
fn nodes_are_given_up_one_by_one() {
    let nodes: Vec<String> = (0..12).map(|n| format!("n{n:02}")).collect();
    let pairs: Vec<(&str, &str)> = nodes.iter().map(|n| (n.as_str(), "x")).collect();
    let mut story = Story::new(&pairs);
    let alive: Vec<&str> = nodes[4..].iter().map(String::as_str).collect();
    story.run(8, &alive);
    assert_eq!(story.given_up(), 0, "all four are silent; there may be more");
    story.run(10, &alive);
    assert_eq!(story.given_up(), 1);
    story.run(9, &alive);
    assert_eq!(story.given_up(), 1);
    story.run(1, &alive);
    assert_eq!(story.given_up(), 2);
    story.run(60, &alive);
    assert_eq!(story.given_up(), 4);
}

#[test]
fn where_most_nodes_of_a_cell_are_gone_conditions_follow_and_evictions_wait() {
    let mut story =
        Story::new(&[("a", "x"), ("b", "x"), ("c", "x"), ("d", "x"), ("e", "y"), ("f", "y"), ("g", "y")]);
    story.run(60, &["d", "e", "f"]);
    story.told(expect![[r#"
        a Unknown NodeStatusUnknown; unreachable:NoSchedule
        b Unknown NodeStatusUnknown; unreachable:NoSchedule
        c Unknown NodeStatusUnknown; unreachable:NoSchedule
        d True KubeletReady;
        e True KubeletReady;
        f True KubeletReady;
        g Unknown NodeStatusUnknown; unreachable:NoSchedule unreachable:NoExecute"#]]);
    let plan = story.bench.plan::<Nodes>(&ObjectKey::new("", "a")).unwrap();
    expect!["pods are not evicted from this node: 3 of 4 nodes of cell x are not well"]
        .assert_eq(&plan.notes[0].message);
}

#[test]
fn when_the_whole_cluster_falls_silent_who_was_given_up_is_given_back() {
    let mut story = Story::new(&[("a", "x"), ("b", "x"), ("c", "y")]);
    story.run(18, &["b", "c"]);
    assert_eq!(story.given_up(), 1);
    story.run(20, &[]);
    story.told(expect![[r#"
        a Unknown NodeStatusUnknown; unreachable:NoSchedule
        b Unknown NodeStatusUnknown; unreachable:NoSchedule
        c Unknown NodeStatusUnknown; unreachable:NoSchedule"#]]);
}

#[test]
fn a_cordoned_node_is_tainted_until_it_is_uncordoned() {
    let mut story = Story::new(&[("a", "x")]);
    let key = ObjectKey::new("", "a");
    story.bench.edit(&NODES, &key, |n| n["spec"]["unschedulable"] = json!(true));
    story.look();
    story.told(expect!["a True KubeletReady; unschedulable:NoSchedule"]);
    story.bench.edit(&NODES, &key, |n| n["spec"]["unschedulable"] = json!(false));
    story.look();
    story.told(expect!["a True KubeletReady;"]);
}

/// Taints after the plan, as `key:effect`; `-` when there is nothing to do.
fn check(taints: Value, conditions: Value, expected: Expect) {
    let node = json!({
        "metadata": {"name": "n", "resourceVersion": "7"}, "spec": {"taints": taints},
        "status": {"conditions": conditions},
    });
    let node: Node = serde_json::from_value(node).unwrap();
    let after = taints::wanted(&node, None, Time::from_secs(0));
    let mut settled = node.clone();
    settled.spec.taints.clone_from(&after);
    assert_eq!(taints::wanted(&settled, None, Time::from_secs(9)), after, "done once");
    if after == node.spec.taints {
        return expected.assert_eq("-");
    }
    let lines: Vec<String> = after.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
    expected.assert_eq(&lines.join(" "));
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status})
}

#[test]
fn a_node_that_says_it_is_ready_loses_the_taint_it_was_born_with() {
    let born = json!([{"key": NEW, "effect": "NoSchedule"}, {"key": "mine", "effect": "NoSchedule"}]);
    check(born, json!([condition("Ready", "True")]), expect!["mine:NoSchedule"]);
}

#[test]
fn a_node_that_has_said_nothing_is_left_as_it_is() {
    check(json!([{"key": NEW, "effect": "NoSchedule"}]), json!([]), expect!["-"]);
    check(json!([]), json!([condition("MemoryPressure", "True")]), expect!["-"]);
}

#[test]
fn bad_conditions_taint() {
    check(
        json!([]),
        json!([condition("Ready", "False")]),
        expect!["node.kubernetes.io/not-ready:NoSchedule"],
    );
    check(
        json!([]),
        json!([condition("Ready", "Unknown"), condition("DiskPressure", "True")]),
        expect!["node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule"],
    );
}

#[test]
fn what_is_right_is_left_in_its_order() {
    let there = json!([
        {"key": NEW, "effect": "NoSchedule"},
        {"key": "mine", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
    ]);
    check(there, json!([condition("Ready", "False")]), expect!["-"]);
}

#[test]
fn who_is_ready_evicts_nobody_and_foreign_taints_learn_since_when_they_count() {
    check(json!([{"key": NEW, "effect": "NoExecute"}]), json!([condition("Ready", "True")]), expect![""]);
    let mine = json!([{"key": "mine", "effect": "NoExecute"}]);
    check(mine, json!([condition("Ready", "True")]), expect!["mine:NoExecute"]);
}

/// Some seconds in which the control plane is up or not, and which of three nodes live in them.
#[derive(Clone, Copy, Debug)]
struct Phase {
    secs: u64,
    is_up: bool,
    lives: [bool; 3],
}

fn phase() -> impl Strategy<Value = Phase> {
    let lives = prop::array::uniform3(prop::bool::weighted(0.8));
    (1..25u64, prop::bool::weighted(0.7), lives).prop_map(|(secs, is_up, lives)| Phase { secs, is_up, lives })
}

/// Live nodes renew each second quarter of their term; nobody renews and nobody looks while the control plane is down.
fn play(story: &mut Story, phases: &[Phase], mut after_each: impl FnMut(&Story)) {
    let names = ["a", "b", "c"];
    let mut clock = 0;
    for phase in phases {
        for _ in 0..phase.secs {
            story.bench.pass(1);
            clock += 1;
            if !phase.is_up {
                continue;
            }
            for (place, name) in names.iter().enumerate() {
                if phase.lives[place] && (clock + place) % 2 == 0 {
                    let is_given_up = ready(&story.get(name)).is_some_and(|c| c.status != "True");
                    if is_given_up { story.back(name) } else { story.renew(name) }
                }
            }
            story.look();
            after_each(story);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_node_that_lives_is_never_given_up_whatever_becomes_of_the_control_plane_and_the_others(
        phases in prop::collection::vec(phase(), 1..10),
    ) {
        let phases: Vec<Phase> =
            phases.into_iter().map(|p| Phase { lives: [true, p.lives[1], p.lives[2]], ..p }).collect();
        let mut story = Story::new(&[("a", "x"), ("b", "x"), ("c", "y")]);
        play(&mut story, &phases, |story| {
            assert_eq!(ready(&story.get("a")).unwrap().status, "True");
            assert!(story.get("a").spec.taints.is_empty());
        });
    }

    #[test]
    fn a_node_that_dies_is_unknown_within_a_term_and_a_half_of_a_control_plane_that_is_up(
        phases in prop::collection::vec(phase(), 0..6),
    ) {
        let mut story = Story::new(&[("a", "x"), ("b", "x"), ("c", "y")]);
        play(&mut story, &phases, |_| {});
        let last = Phase { secs: 12, is_up: true, lives: [true, false, true] };
        play(&mut story, &[last], |_| {});
        let status = |name| ready(&story.get(name)).unwrap().status.clone();
        prop_assert_eq!((status("a"), status("b")), ("True".to_owned(), "Unknown".to_owned()));
        let again = story.bench.plan::<Nodes>(&ObjectKey::new("", "b")).unwrap();
        prop_assert!(again.is_quiet(), "settled");
    }
}
