use proptest::prelude::*;

use super::*;
use crate::{Interner, Pull};

/// All that a snapshot says, by name.
#[derive(Debug, PartialEq)]
struct Portrait {
    nodes: Vec<String>,
    groups: Vec<String>,
    carried: Vec<String>,
    owners: Vec<String>,
}

fn portrait(s: &Snapshot, groups: &[Group]) -> Portrait {
    let by_name = |counts: &Counts| -> BTreeMap<String, u32> {
        counts.iter().map(|(slot, n)| (s.node(*slot).fact.name.to_string(), *n)).collect()
    };
    let mut nodes: Vec<String> = s
        .by_name
        .values()
        .map(|slot| {
            let n = s.node(*slot);
            let pods: Vec<_> = n.pods.keys().map(|u| (u.clone(), s.pods[u].assumed)).collect();
            format!(
                "{:?} {} {pods:?} {:?} {} {} {:?}",
                n.fact, n.known, n.requested, n.scored_cpu_milli, n.scored_memory, n.ports
            )
        })
        .collect();
    nodes.sort();
    let mut owners: Vec<String> = s.owners.iter().map(|(o, c)| format!("{o} {:?}", by_name(c))).collect();
    owners.sort();
    Portrait {
        nodes,
        groups: groups.iter().map(|g| format!("{g:?} {:?}", by_name(&s.counts(g)))).collect(),
        carried: s.carried.iter().map(|(t, c)| format!("{t:?} {:?}", by_name(c))).collect(),
        owners,
    }
}

fn node(i: u8, variant: u8) -> NodeFact {
    let json = serde_json::json!({
        "metadata": {"name": format!("n{i}"), "labels": {"zone": format!("z{}", variant % 2)}},
        "spec": {"unschedulable": variant == 3},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    });
    NodeFact::of(&serde_json::from_value(json).unwrap())
}

fn pod(i: u8, variant: u8, node: Option<u8>) -> Arc<PodFact> {
    let term = serde_json::json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a0"}},
        "namespaceSelector": {"matchLabels": {"team": "x"}}});
    let json = serde_json::json!({
        "metadata": {"name": format!("p{i}"), "namespace": format!("ns{}", i % 2), "uid": format!("u{i}"),
            "labels": {"app": format!("a{}", variant % 2)},
            "deletionTimestamp": if variant == 3 { serde_json::json!("2026-01-01T00:00:00Z") } else { serde_json::Value::Null },
            "ownerReferences": [{"uid": format!("o{}", i % 3), "controller": true}]},
        "spec": {
            "nodeName": node.map_or(String::new(), |n| format!("n{n}")),
            "containers": [{"name": "c", "resources": {"requests": {"cpu": format!("{variant}00m"), "x/y": "1"}},
                "ports": [{"containerPort": 80, "hostPort": 80 + i32::from(variant)}]}],
            "affinity": if variant == 2 {
                serde_json::json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
            } else { serde_json::Value::Null },
        },
    });
    Arc::new(Interner::default().project(&serde_json::from_value(json).unwrap()))
}

#[derive(Clone, Debug)]
enum Step {
    Node(u8, u8),
    DropNode(u8),
    Place(u8, u8, u8),
    Assume(u8, u8, u8),
    Forget(u8),
    Remove(u8),
    Namespace(u8, bool),
    DropNamespace(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..5u8, 0..4u8).prop_map(|(n, v)| Step::Node(n, v)),
        (0..5u8).prop_map(Step::DropNode),
        (0..8u8, 0..4u8, 0..5u8).prop_map(|(p, v, n)| Step::Place(p, v, n)),
        (0..8u8, 0..4u8, 0..5u8).prop_map(|(p, v, n)| Step::Assume(p, v, n)),
        (0..8u8).prop_map(Step::Forget),
        (0..8u8).prop_map(Step::Remove),
        (0..2u8, any::<bool>()).prop_map(|(n, x)| Step::Namespace(n, x)),
        (0..2u8).prop_map(Step::DropNamespace),
    ]
}

/// The objects that a rebuilt snapshot is made from.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<u8, u8>,
    pods: BTreeMap<u8, (u8, u8, bool)>,
    namespaces: BTreeMap<u8, bool>,
}

impl Model {
    fn take(&mut self, step: &Step, snapshot: &mut Snapshot) {
        let team = |x: bool| BTreeMap::from([("team".to_owned(), if x { "x" } else { "y" }.to_owned())]);
        match *step {
            Step::Node(n, v) => {
                self.nodes.insert(n, v);
                snapshot.set_node(node(n, v));
            }
            Step::DropNode(n) => {
                self.nodes.remove(&n);
                snapshot.drop_node(&format!("n{n}"));
            }
            Step::Place(p, v, n) => {
                self.pods.insert(p, (v, n, false));
                snapshot.place(pod(p, v, Some(n)));
            }
            Step::Assume(p, v, n) => {
                self.pods.insert(p, (v, n, true));
                snapshot.assume(pod(p, v, None), &format!("n{n}").into());
            }
            Step::Forget(p) => {
                if self.pods.get(&p).is_some_and(|(.., assumed)| *assumed) {
                    self.pods.remove(&p);
                }
                snapshot.forget(&format!("u{p}"));
            }
            Step::Remove(p) => {
                self.pods.remove(&p);
                snapshot.remove(&format!("u{p}"));
            }
            Step::Namespace(n, x) => {
                self.namespaces.insert(n, x);
                snapshot.set_namespace(&format!("ns{n}"), &team(x));
            }
            Step::DropNamespace(n) => {
                self.namespaces.remove(&n);
                snapshot.drop_namespace(&format!("ns{n}"));
            }
        }
    }

    fn rebuilt(&self) -> Snapshot {
        let mut fresh = Snapshot::new();
        let mut scrap = Model::default();
        for (n, x) in &self.namespaces {
            scrap.take(&Step::Namespace(*n, *x), &mut fresh);
        }
        for (p, (v, n, assumed)) in &self.pods {
            let step = if *assumed { Step::Assume(*p, *v, *n) } else { Step::Place(*p, *v, *n) };
            scrap.take(&step, &mut fresh);
        }
        for (n, v) in &self.nodes {
            scrap.take(&Step::Node(*n, *v), &mut fresh);
        }
        fresh
    }
}

fn groups() -> Vec<Group> {
    let carrier = pod(0, 2, None);
    let clause = carrier.demand.apart[0].pods.clone();
    vec![
        Group::All(vec![clause.clone()]),
        Group::Living(crate::Clause { namespaces: crate::Namespaces::one("ns0"), ..clause }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_snapshot_equals_the_one_rebuilt_from_what_remains(steps in proptest::collection::vec(step(), 1..60)) {
        let groups = groups();
        let needs = Needs { topologies: vec!["zone".into()], groups: groups.clone() };
        let (mut snapshot, mut model) = (Snapshot::new(), Model::default());
        // Indexed early, so that the counts are kept up rather than made at the end.
        snapshot.index(&needs);
        for step in &steps {
            model.take(step, &mut snapshot);
        }
        let fresh = model.rebuilt();
        prop_assert_eq!(portrait(&snapshot, &groups), portrait(&fresh, &groups));
        prop_assert_eq!((snapshot.len(), snapshot.pods()), (fresh.len(), fresh.pods()));
        let (kept, built) = (snapshot.column("zone"), fresh.column("zone"));
        for (slot, n) in snapshot.nodes() {
            let other = fresh.find(&n.fact.name).unwrap().0;
            prop_assert_eq!(kept.domain(slot).is_some(), built.domain(other).is_some());
            for (slot2, n2) in snapshot.nodes() {
                let other2 = fresh.find(&n2.fact.name).unwrap().0;
                let (same, same_built) =
                    (kept.domain(slot) == kept.domain(slot2), built.domain(other) == built.domain(other2));
                prop_assert_eq!(same, same_built);
            }
        }
    }
}

#[test]
fn generations_change_with_everything_a_rule_reads() {
    let mut s = Snapshot::new();
    s.set_node(node(0, 0));
    let first = s.generation();
    assert_eq!(s.set_node(node(0, 0)), Hints::NONE);
    assert_eq!(s.generation(), first, "an equal node is no change");
    s.assume(pod(0, 0, None), &"n0".into());
    let assumed = s.generation();
    assert!(assumed > first);
    assert_eq!(s.place(pod(0, 0, Some(0))), Hints::NONE);
    assert_eq!(s.generation(), assumed, "confirming an assumption is no change");
    assert_eq!(s.forget("u0"), Hints::NONE, "a confirmed pod is not forgotten");
    assert_eq!(s.remove("u0"), Hints::POD_REMOVED);
}

#[test]
fn changes_of_a_node_are_named() {
    let mut s = Snapshot::new();
    assert_eq!(s.set_node(node(0, 0)), Hints::NODE_ADDED);
    assert_eq!(s.set_node(node(0, 1)), Hints::NODE_LABELS);
    assert_eq!(s.set_node(node(0, 3)), Hints::NODE_TAINTS);
}

#[test]
fn terms_of_placed_pods_are_kept_while_a_pod_carries_them() {
    let mut s = Snapshot::new();
    s.place(pod(1, 2, Some(0)));
    s.place(pod(2, 2, Some(0)));
    s.remove("u1");
    let pulls: Vec<Pull> = s.carried().keys().map(|c| c.pull).collect();
    assert_eq!(pulls, [Pull::MustApart]);
    s.remove("u2");
    assert!(s.carried().is_empty());
}
