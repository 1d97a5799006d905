//! The published CPU rule table, one test per row, named after the row.

use std::sync::Arc;

use api_koord::apart::{Exclusions, Load};
use api_koord::cpu::{BindPolicy, Colocation};
use expect_test::expect;
use sched_cpu::{CpuNode, CpuSet, Holder, NodeRules, Refusal, Topology, Wants};
use serde_json::{Value, json};

/// Two sockets of four cores with two threads: CPUs 0-3 and 8-11 on socket 0, 4-7 and 12-15 on socket 1.
fn two_sockets(rules: NodeRules) -> CpuNode {
    CpuNode::new(Arc::new(Topology::regular(2, 1, 4, 2)), rules)
}

/// One socket of four cores with two threads: 0-3 and 4-7.
fn four_cores(rules: NodeRules) -> CpuNode {
    CpuNode::new(Arc::new(Topology::regular(1, 1, 4, 2)), rules)
}

fn pod(app: &str, qos: &str, cpus: u32, annotations: Value) -> Wants {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": app, "namespace": "n", "annotations": annotations,
            "labels": {"app.kubernetes.io/name": app, "koordinator.sh/qosClass": qos}},
        "spec": {"priority": 9500, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpus.to_string()}}}]},
    }))
    .unwrap();
    Wants::of(&pod, BindPolicy::FullPCPUs).unwrap()
}

/// Places a pod and says where: its CPUs, or why it has none.
fn place(node: &mut CpuNode, uid: &str, wants: &Wants, graph: &Exclusions) -> Result<CpuSet, Refusal> {
    let ask = node.resolve(wants)?.expect("the pod asks for CPUs");
    let given = node.allocate(&ask, graph)?;
    assert!(node.may(&ask), "the necessary condition holds where there is room");
    node.hold(uid, Holder::of(uid, &ask, given.cpus));
    assert!(node.audit(graph).findings.is_empty(), "what the scheduler gives is never found by the audit");
    Ok(given.cpus)
}

fn put(node: &mut CpuNode, uid: &str, wants: &Wants) -> String {
    place(node, uid, wants, &Exclusions::default())
        .map_or_else(|why| why.to_string(), |cpus| cpus.to_string())
}

const SPREAD: &str = r#"{"preferredCPUBindPolicy":"SpreadByPCPUs"}"#;

#[test]
fn physical_core_stacking_is_avoided_within_a_pod_and_across_pods_of_a_group() {
    let mut node = four_cores(NodeRules::default());
    let web = pod("web", "LSR", 2, json!({"scheduling.koordinator.sh/resource-spec": SPREAD}));
    assert_eq!(put(&mut node, "web-1", &web), "0-1");
    assert_eq!(put(&mut node, "web-2", &web), "2-3", "not the other threads of cores that web has");
    assert_eq!(put(&mut node, "web-3", &web), "4-5", "avoided, not forbidden: there is no other way");

    let mut node = four_cores(NodeRules::default());
    let never =
        json!({"scheduling.koordinator.sh/resource-spec": SPREAD, "knarr.dev/cpu-stacking": "Forbid"});
    let web = pod("web", "LSR", 2, never);
    assert_eq!((put(&mut node, "web-1", &web), put(&mut node, "web-2", &web)), ("0-1".into(), "2-3".into()));
    expect!["node(s) had too few physical cores without a thread of the same application"]
        .assert_eq(&put(&mut node, "web-3", &web));
    assert_eq!(
        put(&mut node, "other", &pod("other", "LSR", 4, json!({}))),
        "4-7",
        "others may stand beside it"
    );
}

#[test]
fn cores_are_exclusive_for_named_applications_while_others_overlap() {
    let mut node = four_cores(NodeRules { holders_max: 2, ..NodeRules::default() });
    let spread = json!({"scheduling.koordinator.sh/resource-spec": SPREAD});
    let key = pod(
        "key",
        "LSR",
        2,
        json!({"scheduling.koordinator.sh/resource-spec": SPREAD, "knarr.dev/cpu-exclusive": "Cores"}),
    );
    assert_eq!(put(&mut node, "key", &key), "0-1");
    let small = pod("small", "LSR", 2, spread.clone());
    assert_eq!(put(&mut node, "a", &small), "2-3");
    assert_eq!(
        put(&mut node, "b", &pod("b", "LSR", 4, spread.clone())),
        "2-3,6-7",
        "each CPU to two pods, but not those of key"
    );
    assert_eq!(put(&mut node, "c", &pod("c", "LSR", 2, spread)), "6-7");
    assert_eq!(
        put(&mut node, "d", &pod("d", "LSR", 1, json!({}))),
        "node(s) had too few physical cores that nobody else holds"
    );
    let pools = node.pools();
    assert_eq!(
        (pools.shared_on(None).to_string().as_str(), pools.best_effort_cpus().to_string().as_str()),
        ("", "2-3,6-7")
    );
    assert_eq!(
        put(
            &mut four_cores(NodeRules { closed: "0,5".parse().unwrap(), ..NodeRules::default() }),
            "key",
            &key
        ),
        "1-2",
    );
}

#[test]
fn preferred_exclusive_cores_hold_among_their_kind_and_give_way() {
    let mut node = four_cores(NodeRules::default());
    let mine = json!({"scheduling.koordinator.sh/resource-spec":
        r#"{"preferredCPUBindPolicy":"SpreadByPCPUs","preferredCPUExclusivePolicy":"PCPULevel"}"#});
    assert_eq!(put(&mut node, "a", &pod("a", "LSR", 2, mine.clone())), "0-1");
    assert_eq!(put(&mut node, "b", &pod("b", "LSR", 2, mine.clone())), "2-3");
    assert_eq!(put(&mut node, "c", &pod("c", "LSR", 2, mine)), "4-5", "upstream's exclusion is a wish");
}

#[test]
fn an_lse_pod_shares_its_cpus_with_nobody() {
    let mut node = four_cores(NodeRules { holders_max: 3, ..NodeRules::default() });
    assert_eq!(put(&mut node, "lse", &pod("a", "LSE", 4, json!({}))), "0-1,4-5");
    assert_eq!(put(&mut node, "lsr", &pod("b", "LSR", 4, json!({}))), "2-3,6-7");
    assert_eq!(put(&mut node, "lsr-2", &pod("c", "LSR", 4, json!({}))), "2-3,6-7");
    assert_eq!(
        put(&mut node, "lse-2", &pod("d", "LSE", 1, json!({}))),
        "not enough cpus available to satisfy request"
    );
    assert_eq!(
        node.pools().best_effort_cpus().to_string(),
        "2-3,6-7",
        "best effort uses idle cycles of LSR, never of LSE"
    );
}

#[test]
fn sockets_are_not_crossed() {
    let mut node = two_sockets(NodeRules::default());
    assert_eq!(put(&mut node, "a", &pod("a", "LSR", 6, json!({}))), "0-2,8-10");
    assert_eq!(
        put(&mut node, "b", &pod("b", "LSR", 4, json!({}))),
        "4-5,12-13",
        "the socket that has room for all of it"
    );
    let loose = pod("c", "LSR", 6, json!({}));
    let one = pod("c", "LSR", 6, json!({"knarr.dev/cpu-sockets": "One"}));
    expect!["node(s) had too few free cpus within one socket"].assert_eq(&put(&mut node, "one", &one));
    assert_eq!(put(&mut node, "loose", &loose), "3,6-7,11,14-15", "only who allows it spills");

    let numa =
        json!({"scheduling.koordinator.sh/numa-topology-spec": r#"{"numaTopologyPolicy":"SingleNUMANode"}"#});
    let mut node = two_sockets(NodeRules::default());
    assert_eq!(put(&mut node, "wide", &pod("w", "LSR", 6, json!({}))), "0-2,8-10");
    expect!["not enough cpus available to satisfy request"].assert_eq(&put(
        &mut node,
        "whole",
        &pod("x", "LSR", 16, numa.clone()),
    ));
    expect!["node(s) had too few free cpus within the NUMA nodes that the policy allows"].assert_eq(&put(
        &mut node,
        "big",
        &pod("x", "LSR", 10, numa),
    ));
}

#[test]
fn core_applications_exclude_each_other_on_a_physical_core() {
    let graph: Exclusions = serde_json::from_str(r#"[["class:core","class:core"]]"#).unwrap();
    let mut node = four_cores(NodeRules::default());
    let core = |app: &str| {
        pod(
            app,
            "LSR",
            2,
            json!({"scheduling.koordinator.sh/resource-spec": SPREAD, "knarr.dev/cpu-class": "core"}),
        )
    };
    let put = |node: &mut CpuNode, uid: &str, wants: &Wants| {
        place(node, uid, wants, &graph).map_or_else(|why| why.to_string(), |cpus| cpus.to_string())
    };
    assert_eq!(put(&mut node, "trade", &core("trade")), "0-1");
    assert_eq!(put(&mut node, "pay", &core("pay")), "2-3");
    expect!["node(s) had too few physical cores free of excluded applications"].assert_eq(&put(
        &mut node,
        "search",
        &core("search"),
    ));
    let plain = pod("logs", "LSR", 2, json!({"scheduling.koordinator.sh/resource-spec": SPREAD}));
    assert_eq!(put(&mut node, "logs", &plain), "4-5", "who is no core application stands beside one");
    let picky = pod("picky", "LSR", 1, json!({"knarr.dev/cpu-excludes": "pay"}));
    expect!["node(s) had too few physical cores free of excluded applications"]
        .assert_eq(&put(&mut node, "p", &picky));
}

#[test]
fn unexpected_overlap_is_found_at_once_with_the_pod_to_move() {
    let mut node = four_cores(NodeRules::default());
    let ask = |wants: &Wants| node.resolve(wants).unwrap().unwrap();
    let (old, new) = (ask(&pod("old", "LSR", 2, json!({}))), ask(&pod("new", "LSR", 2, json!({}))));
    let mut important = Holder::of("n/old", &old, "0-1".parse().unwrap());
    important.priority = 9600;
    node.hold("u-old", important);
    node.hold("u-new", Holder::of("n/new", &new, "1-2".parse().unwrap()));
    node.hold("u-ghost", Holder::of("n/ghost", &new, "6,9".parse().unwrap()));
    let audit = node.audit(&Exclusions::default());
    let told: Vec<String> = audit
        .findings
        .iter()
        .map(|f| format!("{} {}: {} with {:?}\n", f.uid, f.kind, f.cpus, f.with))
        .collect();
    expect![[r#"
        u-ghost holds CPUs that the node does not have: 9 with []
        u-new holds CPUs that others hold: 1 with ["u-old"]
    "#]]
    .assert_eq(&told.concat());
    assert_eq!(audit.moves, ["u-ghost".into(), "u-new".into()]);
    audit.moves.iter().for_each(|uid| drop(node.release(uid)));
    assert!(node.audit(&Exclusions::default()).findings.is_empty());
}

#[test]
fn colocation_online_uses_all_cores_and_best_effort_what_lse_leaves() {
    let mut node = four_cores(NodeRules::default());
    assert_eq!(put(&mut node, "lse", &pod("a", "LSE", 2, json!({}))), "0,4");
    assert_eq!(put(&mut node, "lsr", &pod("b", "LSR", 2, json!({}))), "1,5");
    let pools = node.pools();
    assert_eq!(pools.shared_on(None).to_string(), "2-3,6-7", "LS: outside everybody's CPUs");
    assert_eq!(pools.best_effort_cpus().to_string(), "1-3,5-7", "BE: everything but LSE");
}

#[test]
fn colocation_online_uses_one_thread_of_each_core_until_best_effort_has_drained() {
    let mut node = four_cores(NodeRules { colocation: Colocation::OneThread, ..NodeRules::default() });
    let online = pod("web", "LSR", 2, json!({}));
    assert_eq!(put(&mut node, "web-1", &online), "0-1");
    let pools = node.pools();
    assert_eq!(
        (pools.shared_on(None).to_string().as_str(), pools.best_effort_cpus().to_string().as_str()),
        ("2-3", "4-7")
    );
    assert_eq!(
        put(&mut node, "big", &pod("big", "LSR", 4, json!({}))),
        "not enough cpus available to satisfy request"
    );

    node.set_rules(NodeRules::default());
    assert_eq!(put(&mut node, "big", &pod("big", "LSR", 4, json!({}))), "2-3,6-7", "drained: both threads");
    assert_eq!(node.pools().shared_on(None).to_string(), "4-5");
}

#[test]
fn a_change_of_anybody_s_cpus_recomputes_the_shared_pools() {
    let mut node = two_sockets(NodeRules::default());
    node.hold("ls", Holder::floating("n/ls", api_koord::Qos::Ls, None));
    node.hold("burst", Holder::floating("n/burst", api_koord::Qos::Ls, Some((1, 2000))));
    assert_eq!(node.runs_on("ls").unwrap().to_string(), "0-15");
    assert_eq!(node.runs_on("burst").unwrap().to_string(), "4-7,12-15");
    assert_eq!(put(&mut node, "a", &pod("a", "LSR", 2, json!({}))), "0,8");
    assert_eq!(put(&mut node, "b", &pod("b", "LSR", 2, json!({}))), "4,12");
    assert_eq!(node.runs_on("ls").unwrap().to_string(), "1-3,5-7,9-11,13-15");
    assert_eq!(node.runs_on("burst").unwrap().to_string(), "5-7,13-15");
    node.release("b");
    assert_eq!(node.runs_on("burst").unwrap().to_string(), "4-7,12-15");
    let seen =
        [("ls".into(), "0-15".parse().unwrap()), ("burst".into(), "4-7,12-15".parse().unwrap())].into();
    let drift = node.drift(&seen);
    assert_eq!((drift.len(), &*drift[0].uid), (1, "ls"), "the agent has not written it yet");
}

#[test]
fn a_constrained_burst_floats_on_the_pool_of_the_numa_node_that_has_room() {
    let mut node = two_sockets(NodeRules::default());
    assert_eq!(put(&mut node, "a", &pod("a", "LSR", 6, json!({}))), "0-2,8-10");
    assert_eq!(node.pool_for(4000), Ok(1));
    node.hold("burst", Holder::floating("n/burst", api_koord::Qos::Ls, Some((1, 7000))));
    assert_eq!(node.pool_for(2000), Ok(0));
    assert_eq!(node.pool_for(3000), Err(Refusal::NotEnough));
    let burst = json!({"scheduling.koordinator.sh/resource-spec": r#"{"preferredCPUBindPolicy":"ConstrainedBurst"}"#});
    let wants = pod("burst", "LSR", 2, burst);
    assert!(wants.pooled && node.resolve(&wants) == Ok(None), "no CPUs of its own");
}

#[test]
fn by_default_a_busy_and_an_idle_application_share_a_core() {
    let mut node = four_cores(NodeRules::default());
    let with =
        |load: &str| json!({"scheduling.koordinator.sh/resource-spec": SPREAD, "knarr.dev/cpu-load": load});
    assert_eq!(put(&mut node, "busy", &pod("busy", "LSR", 2, with("Busy"))), "0-1");
    assert_eq!(put(&mut node, "busy-2", &pod("busy-2", "LSR", 1, with("Busy"))), "2", "not beside its like");
    assert_eq!(
        put(&mut node, "idle", &pod("idle", "LSR", 2, with("Idle"))),
        "4-5",
        "beside the busy ones, cores 2 and 3 stay free"
    );
    assert_eq!(put(&mut node, "idle-2", &pod("idle-2", "LSR", 1, with("Idle"))), "6");
    let mut measured = pod("plain", "LSR", 1, json!({"scheduling.koordinator.sh/resource-spec": SPREAD}));
    measured.load = Load::measured(900, 1000);
    assert_eq!(put(&mut node, "measured", &measured), "3");
}
