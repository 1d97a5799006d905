//! Koordinator's order of choice, and what nodes and pods may say about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_koord::apart::Exclusions;
use api_koord::cpu::{BindPolicy, NodeBindPolicy, NodeWords, NumaPolicy, NumaStrategy};
use expect_test::expect;
use sched_cpu::{CpuNode, Holder, NodeRules, Topology, Wants};
use serde_json::{Value, json};

fn pod(qos: &str, cpu: &str, spec: &str) -> Wants {
    read(json!({
        "metadata": {"labels": {"koordinator.sh/qosClass": qos}, "annotations": {"scheduling.koordinator.sh/resource-spec": spec}},
        "spec": {"priority": 9500, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
    }))
}

fn read(pod: Value) -> Wants {
    Wants::of(&serde_json::from_value(pod).unwrap(), BindPolicy::FullPCPUs).unwrap()
}

/// Places pods one after the other; one line each.
fn story(mut node: CpuNode, pods: &[(&str, Wants)]) -> String {
    let mut out = String::new();
    for (name, wants) in pods {
        let told = match node.resolve(wants) {
            Err(why) => why.to_string(),
            Ok(None) => "no CPUs of its own".to_owned(),
            Ok(Some(ask)) => match node.allocate(&ask, &Exclusions::default()) {
                Err(why) => why.to_string(),
                Ok(given) => {
                    node.hold(*name, Holder::of(name, &ask, given.cpus));
                    serde_json::to_string(&given.status(&ask)).unwrap()
                }
            },
        };
        out.push_str(&format!("{name}: {told}\n"));
    }
    out
}

fn node(rules: NodeRules) -> CpuNode {
    CpuNode::new(Arc::new(Topology::regular(2, 1, 4, 2)), rules)
}

const FULL: &str = r#"{"preferredCPUBindPolicy":"FullPCPUs"}"#;
const MUST_FULL: &str = r#"{"requiredCPUBindPolicy":"FullPCPUs"}"#;
const MUST_SPREAD: &str = r#"{"requiredCPUBindPolicy":"SpreadByPCPUs"}"#;

#[test]
fn the_emptiest_or_the_fullest_numa_node_is_filled_first() {
    let pods = || [("a", pod("LSR", "2", FULL)), ("b", pod("LSR", "2", FULL)), ("c", pod("LSR", "4", FULL))];
    expect![[r#"
        a: {"cpuset":"0,8"}
        b: {"cpuset":"4,12"}
        c: {"cpuset":"1-2,9-10"}
    "#]]
    .assert_eq(&story(node(NodeRules::default()), &pods()));
    let most = NodeRules { strategy: NumaStrategy::MostAllocated, ..NodeRules::default() };
    expect![[r#"
        a: {"cpuset":"0,8"}
        b: {"cpuset":"1,9"}
        c: {"cpuset":"2-3,10-11"}
    "#]]
    .assert_eq(&story(node(most), &pods()));
}

#[test]
fn odd_numbers_take_half_a_core_and_the_rest_is_filled_near_by() {
    expect![[r#"
        a: {"cpuset":"0-1,8"}
        b: {"cpuset":"4-5,12"}
        c: {"cpuset":"2-3,9-11"}
        d: {"cpuset":"6-7,13-15"}
        e: not enough cpus available to satisfy request
    "#]]
    .assert_eq(&story(
        node(NodeRules::default()),
        &[
            ("a", pod("LSR", "3", FULL)),
            ("b", pod("LSR", "3", FULL)),
            ("c", pod("LSR", "5", FULL)),
            ("d", pod("LSR", "5", FULL)),
            ("e", pod("LSR", "1", FULL)),
        ],
    ));
}

#[test]
fn what_must_be_is_refused_when_it_cannot_be() {
    expect![[r#"
        odd: node(s) requested cpus not multiple cpus per core
        part: the requested CPUs must be integer
        full: {"cpuset":"0-2,8-10"}
        spread: insufficient CPUs to satisfy required cpu bind policy SpreadByPCPUs
        spread-2: {"cpuset":"4-7"}
        half: {"cpuset":"3"}
        full-2: insufficient CPUs to satisfy required cpu bind policy FullPCPUs
        free: {"cpuset":"12-13"}
    "#]]
    .assert_eq(&story(
        node(NodeRules::default()),
        &[
            ("odd", pod("LSR", "3", MUST_FULL)),
            ("part", pod("LSR", "1500m", FULL)),
            ("full", pod("LSR", "6", MUST_FULL)),
            ("spread", pod("LSR", "6", MUST_SPREAD)),
            ("spread-2", pod("LSR", "4", MUST_SPREAD)),
            ("half", pod("LSR", "1", FULL)),
            ("full-2", pod("LSR", "2", MUST_FULL)),
            ("free", pod("LSR", "2", FULL)),
        ],
    ));
}

#[test]
fn the_node_s_word_is_an_order_for_every_pod_with_cpu() {
    let rules = NodeRules { bind: NodeBindPolicy::FullPCPUsOnly, ..NodeRules::default() };
    expect![[r#"
        ls: {"cpuset":"0,8"}
        part: the requested CPUs must be integer
        odd: node(s) requested cpus not multiple cpus per core
        against: node(s) cpu bind policy conflicts with pod's required cpu bind policy
        none: no CPUs of its own
    "#]]
    .assert_eq(&story(
        node(rules),
        &[
            ("ls", pod("LS", "2", "{}")),
            ("part", pod("LS", "1500m", "{}")),
            ("odd", pod("LSR", "1", "{}")),
            ("against", pod("LSR", "2", MUST_SPREAD)),
            ("none", pod("LS", "0", "{}")),
        ],
    ));
}

#[test]
fn numa_policies_keep_to_as_few_nodes_as_they_promise() {
    let numa = |policy: &str, cpu: &str| {
        read(json!({
            "metadata": {"labels": {"koordinator.sh/qosClass": "LSR"},
                "annotations": {"scheduling.koordinator.sh/numa-topology-spec": format!(r#"{{"numaTopologyPolicy":"{policy}"}}"#)}},
            "spec": {"priority": 9500, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
    };
    expect![[r#"
        a: {"cpuset":"0-2,8-10","numaNodeResources":[{"node":0,"resources":{"cpu":"6"}}]}
        b: {"cpuset":"4-6,12-14","numaNodeResources":[{"node":1,"resources":{"cpu":"6"}}]}
        restricted: node(s) had too few free cpus within the NUMA nodes that the policy allows
        single: node(s) had too few free cpus within the NUMA nodes that the policy allows
        best-effort: {"cpuset":"3,11","numaNodeResources":[{"node":0,"resources":{"cpu":"2"}}]}
    "#]]
    .assert_eq(&story(
        node(NodeRules::default()),
        &[
            ("a", numa("SingleNUMANode", "6")),
            ("b", numa("Restricted", "6")),
            ("restricted", numa("Restricted", "4")),
            ("single", numa("SingleNUMANode", "4")),
            ("best-effort", numa("BestEffort", "2")),
        ],
    ));
    let rules = NodeRules { numa: Some(NumaPolicy::Restricted), ..NodeRules::default() };
    expect![[r#"
        clash: node(s) NUMA Topology policy not match
        wide: {"cpuset":"0-4,8-12","numaNodeResources":[{"node":0,"resources":{"cpu":"8"}},{"node":1,"resources":{"cpu":"2"}}]}
    "#]]
    .assert_eq(&story(node(rules), &[("clash", numa("SingleNUMANode", "2")), ("wide", pod("LSR", "10", FULL))]));
}

#[test]
fn pods_within_a_numa_node_keep_apart_from_pods_across_when_they_ask_so() {
    let mut node = node(NodeRules::default());
    let put = |node: &mut CpuNode, uid: &str, policy: &str, exclusive: &str, cpu: &str| {
        let spec = format!(r#"{{"numaTopologyPolicy":"{policy}","singleNUMANodeExclusive":"{exclusive}"}}"#);
        let wants = read(json!({
            "metadata": {"labels": {"koordinator.sh/qosClass": "LSR"}, "annotations": {"scheduling.koordinator.sh/numa-topology-spec": spec}},
            "spec": {"priority": 9500, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }));
        let ask = node.resolve(&wants).unwrap().unwrap();
        node.allocate(&ask, &Exclusions::default()).map(|given| {
            node.hold(uid, Holder::of(uid, &ask, given.cpus));
            given.cpus.to_string()
        })
    };
    assert_eq!(put(&mut node, "across", "Restricted", "Required", "10").unwrap(), "0-4,8-12");
    assert!(put(&mut node, "alone", "SingleNUMANode", "Required", "2").is_err());
    assert_eq!(put(&mut node, "alone", "SingleNUMANode", "Preferred", "2").unwrap(), "5,13");
}

#[test]
fn a_resize_keeps_the_cpus_it_has_and_a_reservation_gives_its_own() {
    let mut node = node(NodeRules::default());
    let graph = Exclusions::default();
    let small = node.resolve(&pod("LSR", "2", FULL)).unwrap().unwrap();
    node.hold("other", Holder::of("other", &small, "1,9".parse().unwrap()));
    node.hold("me", Holder::of("me", &small, "0,8".parse().unwrap()));
    let larger = node.resolve(&pod("LSR", "4", FULL)).unwrap().unwrap();
    let given = node.allocate_in_place_of(&larger, &graph, Some("me")).unwrap();
    assert_eq!(given.cpus.to_string(), "0,2,8,10");
    node.hold("me", Holder::of("me", &larger, given.cpus));
    let given = node.allocate_in_place_of(&small, &graph, Some("me")).unwrap();
    assert_eq!(given.cpus.to_string(), "0,8");
}

#[test]
fn bound_cpus_count_amplified_where_the_node_claims_more_than_it_has() {
    let mut node = node(NodeRules::default());
    let annotations = [(api_koord::names::AMPLIFICATION.to_owned(), r#"{"cpu":1.5}"#.to_owned())].into();
    let ratio = api_koord::Ratio::of(&annotations, "cpu").unwrap().unwrap();
    let ask = node.resolve(&pod("LSR", "8", FULL)).unwrap().unwrap();
    let given = node.allocate(&ask, &Exclusions::default()).unwrap();
    node.hold("a", Holder::of("a", &ask, given.cpus));
    // 16 CPUs are claimed to be 24; 8 bound ones are 12 of these, 4 floating ones are 4.
    let fits = |wants: &Wants| node.fits_amplified(wants, ratio, 24_000, 12_000);
    assert_eq!(fits(&pod("LS", "8", "{}")), Ok(()));
    assert_eq!(fits(&pod("LS", "8001m", "{}")), Err(sched_cpu::Refusal::Amplified));
    assert_eq!(fits(&pod("LSR", "5", FULL)), Ok(()));
    assert_eq!(fits(&pod("LSR", "6", FULL)), Err(sched_cpu::Refusal::Amplified));
}

#[test]
fn a_node_is_read_from_its_words() {
    let object = serde_json::from_value(json!({"metadata": {"annotations": {
        "node.koordinator.sh/reservation": r#"{"reservedCPUs":"0"}"#, "node.koordinator.sh/system-qos-resource": r#"{"cpuset":"4"}"#,
    }}}))
    .unwrap();
    let detail: Vec<Value> =
        (0..8).map(|i| json!({"id": i, "core": i % 4, "socket": 0, "node": 0})).collect();
    let topology = BTreeMap::from([
        ("node.koordinator.sh/cpu-topology".to_owned(), json!({"detail": detail}).to_string()),
        (
            "node.koordinator.sh/pod-cpu-allocs".to_owned(),
            json!([{"namespace": "n", "name": "k", "uid": "k", "cpuset": "1,5", "managedByKubelet": true}])
                .to_string(),
        ),
    ]);
    let node =
        CpuNode::read(&NodeWords::read(&object, &topology, NumaStrategy::LeastAllocated).unwrap()).unwrap();
    assert_eq!(node.pools().shared_on(None).to_string(), "2-3,6-7");
    let ask = node.resolve(&pod("LSR", "4", FULL)).unwrap().unwrap();
    assert_eq!(node.allocate(&ask, &Exclusions::default()).unwrap().cpus.to_string(), "2-3,6-7");
    assert_eq!(node.room().free(), 4);
    assert_eq!((node.room().least_allocated(0), node.room().least_allocated(4)), (50, 0));
}
