//! The fast evaluation (counts kept up, answers remembered) against a slow and obvious one that walks over everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use sched_core::{Decision, NodeFact, NodeInfo, PodFact, Policy, Snapshot, Spread, Term, Unsatisfiable};
use serde_json::{Value, json};

use crate::world::{World, merge, node, node_fact, pod};

/// Why a node does not do; nothing when it does.
fn verdict(snapshot: &Snapshot, pod: &PodFact, node: &NodeInfo) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    let demand = &pod.demand;
    let shrugs =
        demand.tolerances.iter().any(|t| t.key.is_empty() && t.value.is_none() && t.effect.is_none());
    if node.fact.unschedulable && !shrugs {
        return one("node(s) were unschedulable");
    }
    if let Some(taint) = untolerated(pod, &node.fact) {
        return vec![format!("node(s) had untolerated taint {{{taint}}}")];
    }
    if !labels_match(pod, &node.fact) {
        return one("node(s) didn't match Pod's node affinity/selector");
    }
    if let Some(short) = shortages(pod, node) {
        return short;
    }
    for s in demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule) {
        if let Some(reason) = uneven(snapshot, pod, node, s) {
            return one(reason);
        }
    }
    near_and_apart(snapshot, pod, node).map(one).unwrap_or_default()
}

fn untolerated(pod: &PodFact, node: &NodeFact) -> Option<String> {
    let keeps = |t: &&sched_core::TaintFact| {
        t.effect.repels()
            && !pod.demand.tolerances.iter().any(|o| {
                (o.effect.is_none() || o.effect == Some(t.effect))
                    && (o.key.is_empty() || o.key == t.key)
                    && (o.value.is_none() || o.value.as_deref() == Some(&*t.value))
            })
    };
    node.taints.iter().find(keeps).map(|t| format!("{}: {}", t.key, t.value))
}

fn labels_match(pod: &PodFact, node: &NodeFact) -> bool {
    pod.demand.node_selector.0.iter().all(|r| r.matches(&node.labels))
        && match &pod.demand.node_terms {
            None => true,
            Some(terms) => {
                terms.iter().any(|t| !t.labels.is_empty() && t.labels.iter().all(|r| r.matches(&node.labels)))
            }
        }
}

fn shortages(pod: &PodFact, node: &NodeInfo) -> Option<Vec<String>> {
    let taken = |f: fn(&PodFact) -> i64| node.facts().map(|p| f(p)).sum::<i64>();
    let mut short = Vec::new();
    if node.pods.len() as i64 + 1 > node.fact.pods_max {
        short.push("Too many pods".to_owned());
    }
    let cpu = taken(|p| p.demand.requests.cpu_milli) + pod.demand.requests.cpu_milli;
    if pod.demand.requests.cpu_milli > 0 && cpu > node.fact.allocatable.cpu_milli {
        short.push("Insufficient cpu".to_owned());
    }
    (!short.is_empty()).then_some(short)
}

fn in_clause(snapshot: &Snapshot, clause: &sched_core::Clause, pod: &PodFact) -> bool {
    let by_name = clause.namespaces.names.contains(&pod.kin.namespace);
    let by_label = clause.namespaces.selector.as_ref().is_some_and(|s| {
        s.is_empty() || snapshot.namespaces().get(&pod.kin.namespace).is_some_and(|l| s.matches(l))
    });
    (by_name || by_label) && clause.selector.as_ref().is_some_and(|s| s.matches(&pod.kin.labels))
}

fn placed(snapshot: &Snapshot) -> Vec<(&NodeInfo, &Arc<PodFact>)> {
    snapshot.nodes().flat_map(|(_, n)| n.facts().map(move |p| (n, p))).collect()
}

fn uneven(snapshot: &Snapshot, pod: &PodFact, node: &NodeInfo, s: &Spread) -> Option<&'static str> {
    let Some(mine) = node.fact.labels.get(&*s.topology) else {
        return Some("node(s) didn't match pod topology spread constraints (missing required label)");
    };
    let hard = || pod.demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule);
    let mut domains: BTreeMap<&String, i64> = BTreeMap::new();
    for (_, n) in snapshot.nodes() {
        let takes_part = hard().all(|h| n.fact.labels.contains_key(&*h.topology))
            && (s.affinity_policy == Policy::Ignore || labels_match(pod, &n.fact))
            && (s.taints_policy == Policy::Ignore || untolerated(pod, &n.fact).is_none());
        if takes_part {
            let asks = s.pods.selector.as_ref().is_some_and(|s| !s.is_empty());
            let counted = |p: &&Arc<PodFact>| asks && !p.terminating && in_clause(snapshot, &s.pods, p);
            let here = n.facts().filter(counted).count();
            *domains.entry(&n.fact.labels[&*s.topology]).or_default() += here as i64;
        }
    }
    let least = if domains.len() < s.min_domains { 0 } else { domains.values().copied().min().unwrap_or(0) };
    let own = i64::from(in_clause(snapshot, &s.pods, pod));
    let skew = domains.get(mine).copied().unwrap_or(0) + own - least;
    (skew > s.max_skew).then_some("node(s) didn't match pod topology spread constraints")
}

fn same_domain(a: &NodeInfo, b: &NodeInfo, t: &Term) -> bool {
    let value = |n: &NodeInfo| n.fact.labels.get(&*t.topology).cloned();
    value(a).is_some() && value(a) == value(b)
}

fn near_and_apart(snapshot: &Snapshot, pod: &PodFact, node: &NodeInfo) -> Option<&'static str> {
    let (near, apart) = (&pod.demand.near, &pod.demand.apart);
    if !near.is_empty() {
        let all_match = |p: &PodFact| near.iter().all(|t| in_clause(snapshot, &t.pods, p));
        let friends: Vec<_> = placed(snapshot).into_iter().filter(|(_, p)| all_match(p)).collect();
        let labelled = near.iter().all(|t| node.fact.labels.contains_key(&*t.topology));
        let beside = near.iter().all(|t| friends.iter().any(|(n, _)| same_domain(n, node, t)));
        let counted =
            friends.iter().any(|(n, _)| near.iter().any(|t| n.fact.labels.contains_key(&*t.topology)));
        let first = !counted && all_match(pod);
        if !(labelled && (beside || first)) {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    let foe = |(n, p): &(&NodeInfo, &Arc<PodFact>)| {
        apart.iter().any(|t| in_clause(snapshot, &t.pods, p) && same_domain(n, node, t))
    };
    if placed(snapshot).iter().any(foe) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let hates = |(n, p): &(&NodeInfo, &Arc<PodFact>)| {
        p.demand.apart.iter().any(|t| in_clause(snapshot, &t.pods, pod) && same_domain(n, node, t))
    };
    let hated = placed(snapshot).iter().any(hates);
    hated.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

/// Both answers to one pod, compared.
fn compare(world: &mut World, pod: &PodFact) -> Result<(), TestCaseError> {
    let decision = world.engine.decide(&mut world.snapshot, pod);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut feasible = BTreeSet::new();
    for (_, node) in world.snapshot.nodes() {
        let why = verdict(&world.snapshot, pod, node);
        if why.is_empty() {
            feasible.insert(node.fact.name.to_string());
        }
        for reason in why {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    match decision {
        Decision::Bind(p) => {
            prop_assert!(feasible.contains(&*p.node), "{} not in {feasible:?}", p.node);
            prop_assert_eq!(p.feasible, feasible.len());
        }
        Decision::Refused(r) => {
            prop_assert!(feasible.is_empty(), "refused although {feasible:?} would do: {}", r.message());
            let said: BTreeMap<String, usize> =
                r.reasons().iter().map(|(r, n)| (r.as_str().to_owned(), *n)).collect();
            prop_assert_eq!(said, reasons);
        }
    }
    Ok(())
}

/// A remembered answer must equal a fresh one, score by score.
fn compare_fresh(world: &mut World, pod: &PodFact) -> Result<(), TestCaseError> {
    let warm = world.engine.decide(&mut world.snapshot, pod);
    let cold = sched_plugins::Rules::upstream().engine().decide(&mut world.snapshot, pod);
    prop_assert_eq!(warm, cold);
    Ok(())
}

fn selector() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"matchLabels": {"app": "a"}})),
        Just(json!({"matchLabels": {"app": "b"}})),
        Just(json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})),
        Just(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]})),
        Just(json!({})),
    ]
}

fn topology() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("zone"), Just("kubernetes.io/hostname"), Just("rack")]
}

fn term() -> impl Strategy<Value = Value> {
    (selector(), topology(), 0..4u8).prop_map(|(labels, key, scope)| {
        let mut term = json!({"labelSelector": labels, "topologyKey": key});
        match scope {
            0 => merge(&mut term, json!({"namespaces": ["d", "e"]})),
            1 => merge(&mut term, json!({"namespaceSelector": {"matchLabels": {"team": "x"}}})),
            _ => {}
        }
        term
    })
}

fn constraint() -> impl Strategy<Value = Value> {
    (selector(), topology(), 1..3u8, any::<bool>(), 0..4u8, any::<(bool, bool)>()).prop_map(
        |(labels, key, skew, hard, min, (affinity, taints))| {
            let mut c = json!({"labelSelector": labels, "topologyKey": key, "maxSkew": skew,
                "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
                "nodeAffinityPolicy": if affinity { "Honor" } else { "Ignore" },
                "nodeTaintsPolicy": if taints { "Honor" } else { "Ignore" }});
            if hard && min > 0 {
                merge(&mut c, json!({"minDomains": min}));
            }
            c
        },
    )
}

fn any_node(i: usize) -> impl Strategy<Value = Value> {
    (0..3u8, 0..3u8, 0..6u8, 0..8u8, 1..5u8).prop_map(move |(zone, rack, taint, cordon, cpu)| {
        let mut n =
            node(&format!("n{i}"), json!({"status": {"allocatable": {"cpu": cpu.to_string(), "pods": "4"}}}));
        if zone > 0 {
            n["metadata"]["labels"]["zone"] = json!(format!("z{zone}"));
        }
        if rack > 0 {
            n["metadata"]["labels"]["rack"] = json!(format!("r{rack}"));
        }
        match taint {
            0 => n["spec"]["taints"] = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            1 => {
                n["spec"]["taints"] =
                    json!([{"key": "k", "effect": "PreferNoSchedule"}, {"key": "x", "effect": "NoExecute"}])
            }
            _ => {}
        }
        n["spec"]["unschedulable"] = json!(cordon == 0);
        n
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let shape = (0..3u8, 0..2u8, 0..8u8, 0..4u8, 1..9u8, 0..6u8);
    let terms = (
        proptest::collection::vec(constraint(), 0..3),
        proptest::collection::vec(term(), 0..2),
        proptest::collection::vec(term(), 0..2),
        0..4u8,
    );
    (shape, terms).prop_map(|((app, ns, select, tolerate, cpu, ends), (spread, near, apart, which))| {
        let mut p = pod("x", crate::world::requests(json!({"cpu": format!("{}m", u32::from(cpu) * 200)})));
        if app > 0 {
            p["metadata"]["labels"]["app"] = json!(if app == 1 { "a" } else { "b" });
        }
        p["metadata"]["namespace"] = json!(if ns == 0 { "d" } else { "e" });
        if ends == 0 {
            p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        match select {
            0 => p["spec"]["nodeSelector"] = json!({"zone": "z1"}),
            1 => p["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": ["r1"]}]},
                    {"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}]}),
            _ => {}
        }
        match tolerate {
            0 => p["spec"]["tolerations"] = json!([{"operator": "Exists"}]),
            1 => p["spec"]["tolerations"] = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            _ => {}
        }
        // Not all kinds at once: hardly anything would ever fit.
        if which & 1 == 0 {
            p["spec"]["topologySpreadConstraints"] = json!(spread);
        } else {
            p["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!(near);
        }
        if which & 2 == 0 {
            p["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!(apart);
        }
        p
    })
}

fn any_nodes() -> impl Strategy<Value = Vec<Value>> {
    (any_node(0), any_node(1), any_node(2), any_node(3), any_node(4), any_node(5))
        .prop_map(|(a, b, c, d, e, f)| vec![a, b, c, d, e, f])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn fast_and_slow_evaluation_agree(
        nodes in any_nodes(),
        later in any_nodes(),
        pods in proptest::collection::vec((any_pod(), 0..10usize), 1..30),
    ) {
        let mut world = World::new(&nodes);
        world.snapshot.set_namespace("e", &BTreeMap::from([("team".to_owned(), "x".to_owned())]));
        for (i, (json, node)) in pods.iter().enumerate() {
            let mut json = json.clone();
            json["metadata"]["uid"] = json!(format!("u{i}"));
            json["metadata"]["name"] = json!(format!("p{i}"));
            let fact = world.pod(&json);
            compare(&mut world, &fact)?;
            compare_fresh(&mut world, &fact)?;
            // Placed wherever, rules or not, so that uneven worlds come up too.
            if *node < 6 {
                world.snapshot.assume(Arc::new(fact), &format!("n{node}").into());
            }
            if i % 7 == 6 {
                world.snapshot.set_node(node_fact(&later[i % 6]));
            }
            if i % 11 == 10 {
                world.snapshot.drop_node(&format!("n{}", i % 6));
            }
        }
    }
}
