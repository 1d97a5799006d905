//! Koordinator's own expectations of its CPU accumulator: machine, CPUs that are held, how many are asked, and what it gives.
//!
//! Source of the cases: koordinator a7a1b76, `pkg/scheduler/plugins/nodenumaresource/cpu_accumulator_test.go`, whose machines number
//! the threads of a core one after the other.

use std::sync::Arc;

use api_koord::Qos;
use api_koord::apart::{Exclusions, Exclusive, Sockets, Stacking};
use api_koord::cpu::{CpuDetail, ExclusivePolicy, NumaStrategy};
use sched_cpu::{Ask, CpuNode, Holder, NodeRules, Topology};

const MOST: NumaStrategy = NumaStrategy::MostAllocated;
const LEAST: NumaStrategy = NumaStrategy::LeastAllocated;
const NONE: ExclusivePolicy = ExclusivePolicy::None;
const PCPU: ExclusivePolicy = ExclusivePolicy::PCPULevel;
const NUMA: ExclusivePolicy = ExclusivePolicy::NUMANodeLevel;

/// Sockets, NUMA nodes each, cores each; two threads each.
type Shape = (i32, i32, i32);

fn machine((sockets, numas, cores): Shape, strategy: NumaStrategy, holders_max: u8) -> CpuNode {
    let row =
        |id: i32| CpuDetail { id, core: id / 2, node: id / (2 * cores), socket: id / (2 * cores * numas) };
    let rows: Vec<CpuDetail> = (0..sockets * numas * cores * 2).map(row).collect();
    let rules = NodeRules { strategy, holders_max, ..NodeRules::default() };
    CpuNode::new(Arc::new(Topology::new(&rows).unwrap()), rules)
}

fn ask(cpus: usize, full: bool, exclusive: ExclusivePolicy) -> Ask {
    Ask {
        cpus,
        full,
        required: false,
        exclusive,
        numa: None,
        numa_exclusive: None,
        qos: Qos::Lsr,
        stacking: if full { Stacking::Allow } else { Stacking::Avoid },
        sockets: Sockets::Any,
        owned: Exclusive::None,
        load: None,
        identity: Arc::default(),
    }
}

fn hold(node: &mut CpuNode, uid: &str, cpus: &str, exclusive: ExclusivePolicy) {
    let cpus = cpus.parse().unwrap();
    node.hold(uid, Holder::of(uid, &ask(1, true, exclusive), cpus));
}

fn gives(node: &CpuNode, ask: &Ask) -> String {
    node.allocate(ask, &Exclusions::default()).unwrap().cpus.to_string()
}

fn check(cases: &[(Shape, NumaStrategy, &str, usize, &str)], full: bool) {
    for (shape, strategy, held, cpus, expected) in cases {
        let mut node = machine(*shape, *strategy, 1);
        hold(&mut node, "held", held, NONE);
        let given = gives(&node, &ask(*cpus, full, NONE));
        assert_eq!(given, *expected, "{cpus} of {shape:?} {strategy:?} where {held} are held");
    }
}

#[test]
fn whole_cores_are_chosen_as_koordinator_chooses_them() {
    check(
        &[
            ((1, 1, 4), MOST, "", 2, "0-1"),
            ((1, 1, 4), MOST, "0-1", 2, "2-3"),
            ((2, 1, 4), MOST, "", 8, "0-7"),
            ((2, 1, 4), MOST, "", 12, "0-11"),
            ((2, 1, 4), MOST, "0-1", 8, "8-15"),
            ((2, 2, 4), MOST, "0-5,16-23", 6, "24-29"),
            ((2, 2, 4), MOST, "0-5,16-23", 12, "6-15,24-25"),
            ((2, 2, 4), MOST, "0-3,8-11", 4, "4-7"),
            ((2, 2, 2), MOST, "0,2,4,8,12", 4, "10-11,14-15"),
            ((2, 2, 2), MOST, "0,2,4,8,10,12", 6, "5-7,13-15"),
            ((2, 2, 2), MOST, "0,2,4,8-10,12", 6, "6-7,11,13-15"),
            ((1, 1, 4), LEAST, "", 2, "0-1"),
            ((1, 1, 4), LEAST, "0-1", 2, "2-3"),
            ((2, 1, 4), LEAST, "", 8, "0-7"),
            ((2, 1, 4), LEAST, "", 12, "0-11"),
            ((2, 1, 4), LEAST, "0-1", 8, "8-15"),
            ((2, 2, 4), LEAST, "0-5,16-23", 6, "8-13"),
            ((2, 2, 4), LEAST, "0-5,16-23", 12, "6-15,24-25"),
            ((2, 2, 4), LEAST, "0-3,8-11", 4, "16-19"),
            ((2, 2, 2), LEAST, "0,2,4,8,12", 4, "10-11,14-15"),
            ((2, 2, 2), LEAST, "0,2,4,8,10,12", 6, "1,3,6-7,14-15"),
            ((2, 2, 4), LEAST, "0,2,4,8-10,12", 6, "16-21"),
        ],
        true,
    );
}

#[test]
fn one_thread_of_each_core_is_chosen_as_koordinator_chooses_it() {
    check(
        &[
            ((1, 1, 4), MOST, "", 4, "0,2,4,6"),
            ((2, 1, 4), MOST, "0,2", 4, "1,3-4,6"),
            ((2, 1, 4), MOST, "0-3", 4, "8,10,12,14"),
            ((2, 1, 4), MOST, "0,2", 6, "1,3-7"),
            ((1, 1, 4), LEAST, "", 4, "0,2,4,6"),
            ((2, 1, 4), LEAST, "0,2", 4, "8,10,12,14"),
            ((2, 1, 4), LEAST, "0-3", 4, "8,10,12,14"),
            ((2, 1, 4), LEAST, "0,2", 6, "8-12,14"),
        ],
        false,
    );
}

#[test]
fn exclusive_wishes_give_way_as_koordinator_s_do() {
    let cases = [
        ((2, 1, 4), "0,2", PCPU, false, PCPU, 4, "8,10,12,14"),
        ((2, 1, 4), "", PCPU, false, PCPU, 10, "0-4,6,8,10,12,14"),
        ((2, 1, 8), "0,2", PCPU, false, PCPU, 4, "4,6,8,10"),
        ((2, 1, 8), "0,2", PCPU, false, NONE, 4, "1,3-4,6"),
        ((2, 1, 4), "0,2", NUMA, false, NUMA, 4, "8,10,12,14"),
        ((2, 1, 4), "0,2", NUMA, false, NONE, 4, "1,3-4,6"),
        ((2, 1, 4), "0,2", NUMA, true, NUMA, 4, "8-11"),
        ((2, 1, 4), "0,2", NUMA, true, NONE, 4, "4-7"),
    ];
    for (shape, held, theirs, full, mine, cpus, expected) in cases {
        let mut node = machine(shape, MOST, 1);
        hold(&mut node, "held", held, theirs);
        assert_eq!(
            gives(&node, &ask(cpus, full, mine)),
            expected,
            "{cpus} with {mine:?} beside {theirs:?} on {held}"
        );
    }
}

#[test]
fn cpus_that_several_may_hold_are_filled_evenly_as_koordinator_fills_them() {
    let play = |cores: i32, asks: &[(usize, bool, &str)]| {
        let mut node = machine((1, 1, cores), MOST, 2);
        for (i, (cpus, full, expected)) in asks.iter().enumerate() {
            let given = gives(&node, &ask(*cpus, *full, NONE));
            assert_eq!(given, *expected, "step {i}");
            hold(&mut node, &format!("p{i}"), &given, PCPU);
        }
        node.room().free()
    };
    play(4, &[(4, true, "0-3"), (5, true, "0,4-7"), (4, true, "2-5")]);
    let evens = "0,2,4,6,8,10,12,14,16,18,20,22,24,26,28,30";
    let odds = "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31";
    let left = play(16, &[(16, false, evens), (16, true, "0-15"), (16, false, odds), (16, true, "16-31")]);
    assert_eq!(left, 0);
}

#[test]
fn preferred_cpus_are_taken_first_as_koordinator_takes_them() {
    let mut node = machine((2, 1, 16), MOST, 1);
    assert_eq!(gives(&node, &ask(2, false, NONE)), "0,2");
    let with = |node: &mut CpuNode, preferred: &str| {
        hold(node, "me", preferred, NONE);
        node.allocate_in_place_of(&ask(2, false, NONE), &Exclusions::default(), Some("me"))
            .unwrap()
            .cpus
            .to_string()
    };
    assert_eq!(with(&mut node, "0,2"), "0,2");
    assert_eq!(with(&mut node, "11,13,15,17"), "11,13");
    node.release("me");
    hold(&mut node, "other", "0,2", NONE);
    assert_eq!(gives(&node, &ask(2, false, NONE)), "1,3");
}
