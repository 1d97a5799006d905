use proptest::prelude::*;

use super::*;
use crate::{Interner, NodeTerm, Policy};

/// All that a snapshot says, by name.
#[derive(Debug, PartialEq)]
struct Portrait {
    nodes: Vec<String>,
    rooms: Vec<String>,
    tallies: Vec<String>,
    concerned: Vec<String>,
    fences: Vec<String>,
    order: Vec<String>,
}

/// What is asked of both snapshots.
fn portrait(s: &mut Snapshot) -> Portrait {
    let tallies: Vec<String> = questions().into_iter().map(|q| answer(s, q)).collect();
    let fences = fences().into_iter().map(|f| s.fence_of(f)).collect::<Vec<_>>();
    let mut concerned = Vec::new();
    for i in 0..8 {
        for variant in 0..4 {
            let fact = pod(i, variant, None);
            let kin = s.kin_of(&fact.kin, fact.terminating);
            let mut terms: Vec<String> =
                s.concerned(kin).filter(|t| t.total() > 0).map(|t| say(s, t)).collect();
            terms.sort();
            concerned.push(format!("{i} {variant} {terms:?}"));
        }
    }
    let s = &*s;
    let mut slots: Vec<Slot> = s.by_name.values().copied().collect();
    slots.sort_by_key(|slot| s.node(*slot).fact.name.clone());
    let names = |bits: &Bits| -> Vec<_> {
        slots.iter().filter(|x| bits.has(**x)).map(|x| &s.node(*x).fact.name).collect()
    };
    Portrait {
        nodes: slots.iter().map(|slot| describe(s, s.node(*slot))).collect(),
        rooms: slots.iter().map(|x| format!("{:?} {}", s.rooms()[x.index()], s.crowd()[x.index()])).collect(),
        tallies,
        concerned,
        fences: fences.iter().map(|f| format!("{:?}", names(s.fenced(*f)))).collect(),
        order: vec![format!("{:?} {}", names(s.known()), s.len())],
    }
}

fn describe(s: &Snapshot, n: &NodeInfo) -> String {
    let mut pods: Vec<_> = n.facts().map(|p| (p.uid.clone(), s.pods[&p.uid].is_assumed())).collect();
    pods.sort();
    format!(
        "{:?} {} {pods:?} {:?} {} {} {:?} {:?}",
        n.fact, n.known, n.requested, n.scored_cpu_milli, n.scored_memory, n.ports, n.priorities
    )
}

/// Pods by name of the domain, where there are any.
fn say(s: &Snapshot, tally: &Tally) -> String {
    let column = s.column(tally.column());
    let mut domains = BTreeMap::new();
    for (slot, node) in s.nodes() {
        if let Some(domain) = column.domain(slot).filter(|d| tally.count(*d) > 0) {
            let zone = node.fact.labels.get("zone").cloned();
            domains.insert(zone.unwrap_or_default(), tally.count(domain));
        }
    }
    let mut sum = 0;
    tally.each(|_, n| sum += u64::from(n));
    assert_eq!(sum, tally.total());
    format!("{:?} {domains:?} {}", tally.whose(), tally.total())
}

fn answer(s: &mut Snapshot, (group, topology, fence): (Group, Topology, Option<Fence>)) -> String {
    let column = s.column_of(&topology);
    let fence = fence.map(|f| s.fence_of(f));
    let id = s.tally_of(group, column, fence);
    say(s, s.tally(id))
}

fn questions() -> Vec<(Group, Topology, Option<Fence>)> {
    let zone = || Topology::Label("zone".into());
    let mut out = Vec::new();
    for group in groups() {
        out.push((group.clone(), zone(), None));
        out.push((group.clone(), zone(), fences().pop()));
    }
    out
}

fn fences() -> Vec<Fence> {
    let demand = pod(0, 0, None).demand.clone();
    let open = Fence { uncordoned: true, tolerances: Some(Vec::new()), ..Fence::default() };
    let first = api_meta::Selector::parse("zone in (z0), absent!=x").unwrap();
    let term = NodeTerm { labels: first.0.clone(), ..NodeTerm::default() };
    vec![
        open,
        Fence { terms: Some(vec![term, NodeTerm::default()]), ..Fence::default() },
        Fence {
            selector: first,
            ..Fence::of_spread(&demand, &["zone".into()], Policy::Ignore, Policy::Honor)
        },
    ]
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
    Lift(u8),
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
        (0..8u8).prop_map(Step::Lift),
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
            // Lifted and put back: as if nothing had been.
            Step::Lift(p) => {
                let pods = snapshot.pods();
                if let Some(lifted) = snapshot.lift(&format!("u{p}")) {
                    assert_eq!(snapshot.pods(), pods - 1);
                    snapshot.restore(lifted);
                }
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
        Group::Owner("o1".into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_snapshot_equals_the_one_rebuilt_from_what_remains(
        steps in proptest::collection::vec(step(), 1..60),
        asked_at in 0..60usize,
    ) {
        let (mut snapshot, mut model) = (Snapshot::new(), Model::default());
        for (i, step) in steps.iter().enumerate() {
            // Asked somewhere on the way, so that the counts are kept up rather than made at the end.
            if i == asked_at {
                portrait(&mut snapshot);
            }
            model.take(step, &mut snapshot);
        }
        let mut fresh = model.rebuilt();
        prop_assert_eq!(snapshot.pods(), fresh.pods());
        let kept = portrait(&mut snapshot);
        prop_assert_eq!(&kept, &portrait(&mut fresh));
        // Columns and counts made anew from the same nodes.
        snapshot.recount();
        prop_assert_eq!(&kept, &portrait(&mut snapshot));
    }

    #[test]
    fn the_changes_since_a_moment_name_every_node_that_changed(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut snapshot, mut model) = (Snapshot::new(), Model::default());
        for step in &steps {
            let before: Vec<(Room, bool, NodeFact)> =
                snapshot.nodes.iter().zip(&snapshot.rooms).map(|(n, r)| (*r, n.known, n.fact.clone())).collect();
            let moment = snapshot.moment();
            model.take(step, &mut snapshot);
            let changed: Vec<Change> = snapshot.changes(moment).expect("few changes are remembered").collect();
            for (at, node) in snapshot.nodes.iter().enumerate() {
                let old = before.get(at).cloned().unwrap_or_default();
                let here = changed.iter().filter(|c| c.slot.index() == at);
                prop_assert!(old.0 == snapshot.rooms[at] || here.clone().count() > 0);
                let object = (old.1, &old.2) != (node.known, &node.fact) && node.known;
                prop_assert!(!object || here.clone().any(|c| c.object));
            }
        }
    }
}

#[test]
fn changes_beyond_those_remembered_are_not_told() {
    let mut snapshot = Snapshot::new();
    for i in 0..CHANGES_MIN {
        snapshot.set_node(node(0, u8::try_from(i % 2).unwrap()));
    }
    assert!(snapshot.changes(0).is_none());
    assert_eq!(snapshot.changes(snapshot.moment()).map(Iterator::count), Some(0));
}

#[test]
fn ranks_follow_the_order_of_names() {
    let mut snapshot = Snapshot::new();
    for i in [3, 1, 2] {
        snapshot.set_node(node(i, 0));
    }
    assert_eq!(snapshot.ranks(), [2, 0, 1]);
    snapshot.set_node(node(0, 0));
    assert_eq!(snapshot.ranked(), None);
    assert_eq!(snapshot.ranks(), [3, 1, 2, 0]);
}
