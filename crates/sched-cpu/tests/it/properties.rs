//! What holds for every machine, every history and every ask.

use std::sync::Arc;

use api_koord::Qos;
use api_koord::apart::{End, Exclusions, Exclusive, Identity, Load, Sockets, Stacking};
use api_koord::cpu::{
    BindPolicy, Colocation, CpuDetail, ExclusivePolicy, NodeBindPolicy, NumaExclusive, NumaPolicy,
    NumaStrategy,
};
use proptest::prelude::*;
use sched_cpu::{Ask, CpuNode, CpuSet, Holder, NodeRules, Topology, Wants};

use crate::oracle::Machine;

/// Sockets, NUMA nodes each, cores each, threads each; and CPUs that are off.
fn machine(most: usize) -> impl Strategy<Value = Vec<CpuDetail>> {
    let shape = (1usize..3, 1usize..3, 1usize..5, 1usize..3);
    (shape, proptest::collection::btree_set(0usize..64, 0..3)).prop_filter_map(
        "too large or empty",
        move |(shape, off)| {
            let (sockets, numas, cores, threads) = shape;
            let total = sockets * numas * cores;
            let row = |i: usize| CpuDetail {
                id: i as i32,
                core: (i % total) as i32,
                node: (i % total / cores) as i32,
                socket: (i % total / (cores * numas)) as i32,
            };
            let rows: Vec<CpuDetail> = (0..total * threads).filter(|i| !off.contains(i)).map(row).collect();
            (!rows.is_empty() && rows.len() <= most).then_some(rows)
        },
    )
}

fn rules() -> impl Strategy<Value = NodeRules> {
    let bind = prop_oneof![
        6 => Just(NodeBindPolicy::None), 1 => Just(NodeBindPolicy::FullPCPUsOnly), 1 => Just(NodeBindPolicy::SpreadByPCPUs)
    ];
    let strategy = prop_oneof![Just(NumaStrategy::MostAllocated), Just(NumaStrategy::LeastAllocated)];
    let colocation = prop_oneof![4 => Just(Colocation::AllThreads), 1 => Just(Colocation::OneThread)];
    let closed = proptest::collection::vec(0u16..12, 0..3);
    (bind, strategy, numa(), colocation, 1u8..4, closed).prop_map(
        |(bind, strategy, numa, colocation, holders_max, closed)| NodeRules {
            bind,
            strategy,
            numa,
            colocation,
            holders_max,
            closed: closed.into_iter().collect(),
        },
    )
}

fn numa() -> impl Strategy<Value = Option<NumaPolicy>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(NumaPolicy::BestEffort)),
        1 => Just(Some(NumaPolicy::Restricted)),
        1 => Just(Some(NumaPolicy::SingleNUMANode)),
    ]
}

fn wants() -> impl Strategy<Value = Wants> {
    let bind = prop_oneof![Just(BindPolicy::FullPCPUs), Just(BindPolicy::SpreadByPCPUs)];
    let exclusive = prop_oneof![
        3 => Just(ExclusivePolicy::None), 1 => Just(ExclusivePolicy::PCPULevel), 1 => Just(ExclusivePolicy::NUMANodeLevel)
    ];
    let kept =
        prop_oneof![Just(None), Just(Some(NumaExclusive::Required)), Just(Some(NumaExclusive::Preferred))];
    let stacking = prop_oneof![
        3 => Just(None), 1 => Just(Some(Stacking::Allow)), 1 => Just(Some(Stacking::Avoid)), 2 => Just(Some(Stacking::Forbid))
    ];
    let sockets = prop_oneof![3 => Just(Sockets::Any), 1 => Just(Sockets::One)];
    let owned = prop_oneof![5 => Just(Exclusive::None), 1 => Just(Exclusive::Cores)];
    let load = prop_oneof![Just(None), Just(Some(Load::Busy)), Just(Some(Load::Idle))];
    let qos = prop_oneof![3 => Just(Qos::Lsr), 1 => Just(Qos::Lse)];
    let first = (1i64..9, bind, any::<bool>(), exclusive, numa(), kept);
    let second = (stacking, sockets, owned, load, qos, (0usize..4, 0usize..3));
    (first, second).prop_map(|((cpus, bind, required, exclusive, numa, numa_exclusive), second)| {
        let (stacking, sockets, owned, load, qos, (app, class)) = second;
        Wants {
            milli: cpus * 1000,
            binds: true,
            bind,
            required,
            exclusive,
            numa,
            numa_exclusive,
            qos,
            pooled: false,
            stacking,
            sockets,
            owned,
            load,
            identity: Arc::new(Identity {
                application: (app > 0).then(|| format!("a{app}")),
                class: (class > 0).then(|| format!("c{class}")),
                excludes: if app == 3 { [End::Application("a1".into())].into() } else { Default::default() },
            }),
        }
    })
}

fn graph() -> Exclusions {
    Exclusions(vec![
        (End::Class("c1".into()), End::Class("c1".into())),
        (End::Application("a2".into()), End::Class("c2".into())),
    ])
}

/// Plays pods onto a node; every third step one leaves. Checks each step against the slow judge.
fn play(rows: &[CpuDetail], rules: NodeRules, pods: &[Wants]) -> CpuNode {
    let machine = Machine(rows.to_vec());
    let mut node = CpuNode::new(Arc::new(Topology::new(rows).unwrap()), rules);
    for (i, wants) in pods.iter().enumerate() {
        let Ok(Some(ask)) = node.resolve(wants) else { continue };
        let may = node.may(&ask);
        if let Ok(given) = node.allocate(&ask, &graph()) {
            assert!(may, "the necessary condition refused what there is room for: {ask:?}");
            assert!(
                machine.is_lawful(&node, &ask, &graph(), &given.cpus),
                "{:?} for {ask:?} on {node:?}",
                given.cpus
            );
            let uid = format!("u{i}");
            let before = node.clone();
            node.hold(uid.as_str(), Holder::of(&uid, &ask, given.cpus));
            let mut undone = node.clone();
            undone.release(&uid);
            assert_eq!(undone, before, "hold and release leave no trace");
            assert!(node.audit(&graph()).findings.is_empty(), "the audit finds nothing in what was given");
        }
        if i % 3 == 2 {
            let leaves = node.holders().keys().next().cloned();
            leaves.into_iter().for_each(|uid| drop(node.release(&uid)));
        }
    }
    node
}

/// Whether any set of CPUs keeps all rules: by trying every one.
fn exists(machine: &Machine, node: &CpuNode, ask: &Ask) -> bool {
    let ids: Vec<u16> = machine.0.iter().map(|d| d.id as u16).collect();
    (0u32..1 << ids.len()).filter(|bits| bits.count_ones() as usize == ask.cpus).any(|bits| {
        let cpus: CpuSet =
            ids.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, id)| *id).collect();
        machine.is_lawful(node, ask, &graph(), &cpus)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_allocation_keeps_every_rule_and_leaves_no_trace_when_it_goes(
        rows in machine(32), rules in rules(), pods in proptest::collection::vec(wants(), 1..24)
    ) {
        play(&rows, rules, &pods);
    }

    #[test]
    fn what_is_possible_is_found_and_what_is_not_is_refused(
        rows in machine(10), rules in rules(), pods in proptest::collection::vec(wants(), 0..6), last in wants()
    ) {
        let node = play(&rows, rules, &pods);
        if let Ok(Some(ask)) = node.resolve(&last) {
            let machine = Machine(rows.clone());
            let given = node.allocate(&ask, &graph());
            prop_assert_eq!(given.is_ok(), exists(&machine, &node, &ask), "{:?} {:?} on {:?}", given, ask, node);
        }
    }

    #[test]
    fn a_pod_that_is_resized_keeps_what_it_has_as_far_as_the_rules_allow(
        rows in machine(16), rules in rules(), pods in proptest::collection::vec(wants(), 1..8), last in wants()
    ) {
        let node = play(&rows, rules, &pods);
        let machine = Machine(rows);
        let Some((uid, held)) = node.holders().iter().next() else { return Ok(()) };
        let Ok(Some(ask)) = node.resolve(&last) else { return Ok(()) };
        let mut without = node.clone();
        without.release(uid);
        let (given, fresh) = (node.allocate_in_place_of(&ask, &graph(), Some(uid)), without.allocate(&ask, &graph()));
        prop_assert_eq!(given.is_ok(), fresh.is_ok());
        if let Ok(given) = given {
            prop_assert!(machine.is_lawful(&without, &ask, &graph(), &given.cpus));
            if machine.is_lawful(&without, &ask, &graph(), &held.cpus) && ask.stacking == Stacking::Allow && ask.numa.is_none() {
                prop_assert_eq!(given.cpus, held.cpus, "as many as before, and allowed: nothing moves");
            }
        }
    }

    #[test]
    fn the_same_node_and_ask_give_the_same_cpus_whatever_order_pods_came_in(
        rows in machine(32), rules in rules(), pods in proptest::collection::vec(wants(), 1..12), last in wants()
    ) {
        let node = play(&rows, rules.clone(), &pods);
        let mut shuffled = rows.clone();
        shuffled.reverse();
        let mut again = CpuNode::new(Arc::new(Topology::new(&shuffled).unwrap()), rules);
        for (uid, holder) in node.holders().iter().rev() {
            again.hold(uid.clone(), holder.clone());
        }
        prop_assert_eq!(&again, &node);
        if let Ok(Some(ask)) = node.resolve(&last) {
            prop_assert_eq!(again.allocate(&ask, &graph()), node.allocate(&ask, &graph()));
        }
    }

    #[test]
    fn after_the_moves_of_an_audit_no_rule_is_broken(
        rows in machine(16), rules in rules(),
        pods in proptest::collection::vec((wants(), proptest::collection::vec(0u16..18, 1..5), 0i32..3), 1..8)
    ) {
        let mut node = CpuNode::new(Arc::new(Topology::new(&rows).unwrap()), rules);
        for (i, (wants, cpus, priority)) in pods.into_iter().enumerate() {
            let Ok(Some(ask)) = node.resolve(&wants) else { continue };
            let mut holder = Holder::of("p", &ask, cpus.into_iter().collect());
            holder.priority = priority;
            node.hold(format!("u{i}"), holder);
        }
        let audit = node.audit(&graph());
        prop_assert_eq!(audit.findings.is_empty(), audit.moves.is_empty());
        audit.moves.iter().for_each(|uid| drop(node.release(uid)));
        prop_assert_eq!(node.audit(&graph()), Default::default());
    }

    #[test]
    fn pools_and_bound_cpus_never_meet(
        rows in machine(32), rules in rules(), pods in proptest::collection::vec(wants(), 1..16)
    ) {
        let node = play(&rows, rules, &pods);
        let pools = node.pools();
        for holder in node.holders().values() {
            prop_assert!(!pools.shared_on(None).meets(&holder.cpus));
            if holder.qos == Qos::Lse || holder.owned == Exclusive::Cores {
                prop_assert!(!pools.best_effort_cpus().meets(&holder.cpus));
            }
            if holder.owned == Exclusive::Cores {
                prop_assert!(!pools.shared_on(None).meets(&node.topology().widened(&holder.cpus)));
            }
        }
        prop_assert!(!pools.shared_on(None).or(pools.best_effort_cpus()).meets(&node.rules().closed));
    }
}
