//! What people read, and when a pod goes on.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::world::World;

fn said(world: &World, pod: &str, expected: Expect) {
    expected.assert_eq(world.said.get(pod).map_or("bound", String::as_str));
}

fn lsr(world: &mut World, name: &str, cpu: &str, more: Value) {
    world.pod(name, json!({"koordinator.sh/qosClass": "LSR"}), more, json!({ "cpu": cpu }));
}

#[test]
fn a_gang_waits_for_its_members_and_starts_with_the_last() {
    let mut w = World::new();
    w.node("n1", 8);
    w.member("a", "g", 2, "1");
    w.run();
    said(
        &w,
        "a",
        expect![
            "0/1 nodes are available: gangGroup [d/g] basic check: memberGangs [d/g] child pod not collect enough, current gang: d/g, podName: d/a. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    w.member("b", "g", 2, "1");
    w.pass(2);
    assert_eq!(w.bound(), ["a", "b"].into());
}

#[test]
fn a_gang_that_does_not_fit_holds_nothing_and_says_which_member() {
    let mut w = World::new();
    w.node("n1", 4);
    for name in ["a", "b", "c"] {
        w.member(name, "g", 3, "2");
    }
    w.run();
    assert!(w.bound().is_empty());
    said(
        &w,
        "a",
        expect![[
            r#"0/1 nodes are available: Gang "d/g" gets rejected due to member Pod "c" is unschedulable with reason "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", alreadyWaitForBound: 2. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#
        ]],
    );
    w.pod("other", json!({}), json!({}), json!({"cpu": "4"}));
    w.run();
    assert_eq!(w.bound(), ["other"].into(), "what a fallen gang held is free");
    w.node("n2", 6);
    w.pass(12);
    assert_eq!(w.bound(), ["a", "b", "c", "other"].into(), "one member that finds a node brings the others");
}

#[test]
fn two_gangs_for_one_place_do_not_hold_each_other_up() {
    let mut w = World::new();
    w.node("n1", 4);
    for name in ["a1", "b1", "a2", "b2"] {
        w.member(name, &name[..1], 2, "2");
    }
    w.pass(30);
    assert_eq!(w.bound().len(), 2, "one of them runs whole");
}

#[test]
fn a_group_object_says_how_many_and_how_long() {
    let mut w = World::new();
    w.node("n1", 8);
    let group = json!({"kind": "PodGroup", "metadata": {"namespace": "d", "name": "g"},
        "spec": {"minMember": 2, "scheduleTimeoutSeconds": 5}});
    w.object(group);
    let label = json!({"pod-group.scheduling.sigs.k8s.io": "g"});
    w.pod("a", label.clone(), json!({}), json!({"cpu": "1"}));
    w.pod("b", label, json!({}), json!({"cpu": "1"}));
    w.pods.get_mut("b").unwrap()["spec"]["schedulingGates"] = json!([{"name": "later"}]);
    w.show("b");
    w.run();
    assert!(w.bound().is_empty() && w.core.next_due().is_some());
    w.pass(5);
    said(
        &w,
        "a",
        expect![
            "0/1 nodes are available: rejected due to timeout after waiting 5s at plugin Coscheduling. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
}

#[test]
fn a_quota_holds_who_does_not_fit_and_calls_them_when_there_is_room() {
    let mut w = World::new();
    w.node("n1", 8);
    let spec = json!({"min": {"cpu": "2"}, "max": {"cpu": "2"}});
    w.object(json!({"kind": "ElasticQuota", "metadata": {"namespace": "d", "name": "web"}, "spec": spec}));
    let label = json!({"quota.scheduling.koordinator.sh/name": "web"});
    for name in ["a", "b", "c"] {
        w.pod(name, label.clone(), json!({}), json!({"cpu": "1"}));
    }
    w.run();
    assert_eq!(w.bound(), ["a", "b"].into());
    said(
        &w,
        "c",
        expect![
            "0/1 nodes are available: Insufficient quotas, quotaName: web, runtime: cpu:2, used: cpu:2, pod's request: cpu:1, exceedDimensions: [cpu]. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    w.delete("a");
    w.pass(2);
    assert_eq!(w.bound(), ["b", "c"].into());
}

#[test]
fn a_quota_that_comes_late_knows_who_runs_already() {
    let mut w = World::new();
    w.node("n1", 8);
    let label = json!({"quota.scheduling.koordinator.sh/name": "web"});
    w.pod("a", label.clone(), json!({}), json!({"cpu": "2"}));
    w.run();
    let spec = json!({"min": {"cpu": "2"}, "max": {"cpu": "2"}});
    w.object(json!({"kind": "ElasticQuota", "metadata": {"namespace": "d", "name": "web"}, "spec": spec}));
    w.pod("b", label, json!({}), json!({"cpu": "1"}));
    w.run();
    assert_eq!(w.bound(), ["a"].into());
}

#[test]
fn a_pod_gets_cpus_of_its_own_and_they_are_written_with_its_node() {
    let mut w = World::new();
    w.node("n1", 8);
    lsr(&mut w, "a", "2", json!({}));
    w.run();
    said(
        &w,
        "a",
        expect![
            "0/1 nodes are available: 1 node(s) invalid CPU Topology. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    w.topology("n1", 8);
    w.pass(2);
    let given = &w.pods["a"]["metadata"]["annotations"]["scheduling.koordinator.sh/resource-status"];
    expect![[r#"{"cpuset":"0,4"}"#]].assert_eq(given.as_str().unwrap_or_default());
}

#[test]
fn applications_that_exclude_each_other_share_no_core() {
    let mut w = World::new();
    w.node("n1", 4);
    w.topology("n1", 4);
    let spread = r#"{"preferredCPUBindPolicy":"SpreadByPCPUs"}"#;
    let app = |name: &str, not: &str| {
        json!({"knarr.dev/cpu-application": name, "knarr.dev/cpu-excludes": not,
            "scheduling.koordinator.sh/resource-spec": spread})
    };
    lsr(&mut w, "pay", "2", app("pay", "search"));
    lsr(&mut w, "search", "1", app("search", ""));
    w.run();
    assert_eq!(w.bound(), ["pay"].into());
    said(
        &w,
        "search",
        expect![
            "0/1 nodes are available: 1 node(s) had too few physical cores free of excluded applications. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn parts_of_gpus_never_add_up_over_devices() {
    let mut w = World::new();
    let gpus = json!({"cpu": "8", "memory": "8Gi", "pods": "110", "koordinator.sh/gpu-core": "200",
        "koordinator.sh/gpu-memory-ratio": "200"});
    w.node_with("n1", gpus);
    let gpu = |minor: i32| json!({"type": "gpu", "minor": minor, "health": true, "resources": {"koordinator.sh/gpu-memory": "16Gi"}});
    w.object(json!({"kind": "Device", "metadata": {"name": "n1"}, "spec": {"devices": [gpu(0), gpu(1)]}}));
    let part = |percent: i32| json!({"cpu": "1", "koordinator.sh/gpu-core": percent, "koordinator.sh/gpu-memory-ratio": percent});
    for (name, percent) in [("a", 60), ("b", 60), ("c", 50)] {
        w.pod(name, json!({}), json!({}), part(percent));
        w.run();
    }
    said(
        &w,
        "c",
        expect![
            "0/1 nodes are available: 1 Insufficient gpu devices. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    let given = |w: &World, pod: &str| {
        let annotations = &w.pods[pod]["metadata"]["annotations"];
        annotations["scheduling.koordinator.sh/device-allocated"].as_str().unwrap().to_owned()
    };
    expect![[r#"{"gpu":[{"minor":0,"resources":{"koordinator.sh/gpu-core":"60","koordinator.sh/gpu-memory":"10307921510","koordinator.sh/gpu-memory-ratio":"60"}}]}"#]].assert_eq(&given(&w, "a"));
    w.pod("d", json!({}), json!({}), part(40));
    w.run();
    assert!(given(&w, "d").contains(r#""minor":0"#), "a part goes where least is left");
}

#[test]
fn a_busy_node_takes_no_more_pods_and_a_just_placed_pod_counts_before_it_is_measured() {
    let mut w = World::new();
    w.node("n1", 4);
    let metric = |cpu: &str, at: stdx::Time| {
        json!({"kind": "NodeMetric", "metadata": {"name": "n1"}, "status": {"updateTime": at,
            "nodeMetric": {"nodeUsage": {"resources": {"cpu": cpu, "memory": "1Gi"}}}}})
    };
    w.object(metric("1", w.now));
    w.pod("a", json!({}), json!({}), json!({"cpu": "1500m"}));
    w.run();
    w.pod("b", json!({}), json!({}), json!({"cpu": "1"}));
    w.run();
    assert_eq!(w.bound(), ["a"].into(), "1 + 1.275 + 0.85 of 4 is more than 65 %");
    said(
        &w,
        "b",
        expect![
            "0/1 nodes are available: 1 node(s) cpu usage exceed threshold. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    w.pass(20);
    assert_eq!(w.bound(), ["a"].into());
    w.object(metric("250m", w.now));
    w.pass(11);
    assert_eq!(w.bound(), ["a", "b"].into(), "a new measurement wakes who was refused");
}

#[test]
fn an_expired_measurement_takes_no_pods() {
    let mut w = World::new();
    w.node("n1", 4);
    w.object(json!({"kind": "NodeMetric", "metadata": {"name": "n1"}, "status": {"updateTime": stdx::Time::from_secs(1),
        "nodeMetric": {"nodeUsage": {"resources": {"cpu": "1"}}}}}));
    w.pod("a", json!({}), json!({}), json!({"cpu": "1"}));
    w.run();
    said(
        &w,
        "a",
        expect![
            "0/1 nodes are available: 1 node(s) nodeMetric expired. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn best_effort_stays_below_the_waterline() {
    let mut w = World::new();
    w.node("n1", 4);
    w.node("n2", 4);
    w.object(json!({"kind": "NodeMetric", "metadata": {"name": "n1"}, "status": {"updateTime": w.now,
        "nodeMetric": {"nodeUsage": {"resources": {"cpu": "3"}}}}}));
    w.pod("a", json!({"koordinator.sh/priority-class": "koord-free"}), json!({}), json!({}));
    w.run();
    said(
        &w,
        "a",
        expect![
            "0/2 nodes are available: 1 node(s) cpu usage exceed waterline, 1 node(s) were not known to be below the waterline. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_word_that_nobody_reads_holds_the_pod_and_names_itself() {
    let mut w = World::new();
    w.node("n1", 4);
    w.pod("a", json!({}), json!({"knarr.dev/cpu-stacking": "Never"}), json!({"cpu": "1"}));
    w.run();
    said(
        &w,
        "a",
        expect![[
            r#"0/1 nodes are available: cannot read knarr.dev/cpu-stacking: supported values: "Allow", "Avoid", "Forbid". preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."#
        ]],
    );
}

#[test]
fn profiles_that_strain_the_same_avoid_each_other_and_keep_apart_where_one_forbids() {
    let mut w = World::new();
    w.node("n1", 8);
    w.node("n2", 8);
    let heavy =
        |apart: &str| json!({"knarr.dev/profile": "cpu-heavy,peak-night", "knarr.dev/profile-apart": apart});
    for name in ["a", "b"] {
        w.pod(name, json!({}), heavy("Avoid"), json!({"cpu": "1"}));
        w.run();
    }
    let node = |w: &World, pod: &str| w.pods[pod]["spec"]["nodeName"].clone();
    assert_ne!(node(&w, "a"), node(&w, "b"), "each avoids the other");
    w.pod("c", json!({}), heavy("Forbid"), json!({"cpu": "1"}));
    w.run();
    said(
        &w,
        "c",
        expect![
            "0/2 nodes are available: 2 node(s) had pods whose profile must be kept apart. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
    w.pod(
        "d",
        json!({}),
        json!({"knarr.dev/profile": "io-heavy", "knarr.dev/profile-apart": "Forbid"}),
        json!({"cpu": "1"}),
    );
    w.run();
    assert!(node(&w, "d").is_string(), "another profile meets anybody");
}

#[test]
fn an_exclusive_host_takes_no_other_application_but_daemons() {
    let mut w = World::new();
    w.node("n1", 8);
    let app = |name: &str| json!({"app.kubernetes.io/name": name});
    w.pod("a", app("pay"), json!({"knarr.dev/host": "Exclusive"}), json!({"cpu": "1"}));
    w.pod("a2", app("pay"), json!({"knarr.dev/host": "Exclusive"}), json!({"cpu": "1"}));
    w.run();
    w.pod("b", app("search"), json!({}), json!({"cpu": "1"}));
    w.run();
    assert_eq!(w.bound(), ["a", "a2"].into());
    said(
        &w,
        "b",
        expect![
            "0/1 nodes are available: 1 node(s) were exclusive to another application. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    w.node("n2", 8);
    w.pass(2);
    w.pod("c", app("trade"), json!({"knarr.dev/host": "Exclusive"}), json!({"cpu": "1"}));
    w.run();
    said(
        &w,
        "c",
        expect![
            "0/2 nodes are available: 1 node(s) had pods of other applications, 1 node(s) were exclusive to another application. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
}

#[test]
fn a_pod_without_words_in_a_cluster_without_these_objects_is_asked_about_by_nobody() {
    let plain = json!({"metadata": {"namespace": "d", "name": "p", "uid": "p"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
    let pod: api_core::Pod = serde_json::from_value(plain).unwrap();
    let settings = sched_classes::Settings::default();
    assert_eq!(settings.words_of(&pod), None);
    let classes = sched_classes::Classes::new(&settings);
    let fact = sched_core::Interner::default().project(&pod);
    assert!(classes.extras().iter().all(|extra| !extra.concerns(&fact)));
}

#[test]
fn a_member_is_told_anew_when_its_group_s_object_comes() {
    let mut w = World::new();
    w.node("n1", 8);
    w.pod("a", json!({"pod-group.scheduling.sigs.k8s.io": "g"}), json!({}), json!({"cpu": "1"}));
    w.run();
    assert!(w.said["a"].contains("gang has not init"), "{}", w.said["a"]);
    w.object(
        json!({"kind": "PodGroup", "metadata": {"namespace": "d", "name": "g"}, "spec": {"minMember": 2}}),
    );
    w.pass(2);
    assert!(w.said["a"].contains("child pod not collect enough"), "{}", w.said["a"]);
}

#[test]
fn when_a_group_s_object_goes_what_its_members_ask_for_counts_at_once() {
    let mut w = World::new();
    w.node("n1", 8);
    w.object(
        json!({"kind": "PodGroup", "metadata": {"namespace": "d", "name": "g"}, "spec": {"minMember": 3}}),
    );
    let annotations = json!({"gang.scheduling.koordinator.sh/name": "g", "gang.scheduling.koordinator.sh/min-available": "2"});
    for name in ["a", "b"] {
        let label = json!({"pod-group.scheduling.sigs.k8s.io": "g"});
        w.pod(name, label, annotations.clone(), json!({"cpu": "1"}));
    }
    w.pass(5);
    assert!(w.bound().is_empty(), "{:?}", w.said);
    w.lose_group("g");
    w.pass(15);
    assert_eq!(w.bound().len(), 2, "{:?}", w.said);
}
