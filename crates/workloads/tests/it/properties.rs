//! What holds for every spec, every order of events and every crash, over many seeds.
//!
//! | property | what is checked |
//! |---|---|
//! | budgets | no action takes an available pod out of service below `replicas - maxUnavailable`; never more pods than `replicas + maxSurge` |
//! | convergence | once the world is well again, everything is updated and available within a bound |
//! | fixed point | after that nothing is planned, however often one looks |
//! | independence | the order in which children are seen does not matter |
//! | drain | no container is changed and no pod deleted while traffic may reach it, unless its deadline is over and it says Force; gates are closed before and open after |
//! | once | each pod's container is restarted once per release in place, however often the executor dies or doubles |

use api_core::{Pod, drain};
use api_meta::{Object, ObjectKey, Round};
use api_workload::{CloneSet, names};
use reconcile::{Action, Plan};
use serde_json::{Value, json};
use stdx::{Rng, SeededRng};
use workload_kit::{drain as planning, inplace};
use workloads::cloneset::Controller;

use crate::cluster::{Cluster, Kind};

struct Dice(SeededRng);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(SeededRng::new(seed))
    }

    /// A number below `n`.
    fn below(&self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn one_of<T: Clone>(&self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()].clone()
    }

    fn shuffle<T>(&self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, usize::try_from(self.below(i as u64 + 1)).unwrap());
        }
    }
}

fn random_spec(dice: &Dice, kind: Kind) -> Value {
    let mut spec = match kind {
        Kind::CloneSet => random_cloneset(dice),
        Kind::InPlaceSet => random_inplaceset(dice),
    };
    let policy = dice.one_of(&["Hold", "Force", "RollBack"]);
    let deadline = dice.one_of(&["1", "3", "60"]);
    spec["template"]["metadata"]["annotations"] =
        json!({drain::DEADLINE_SECONDS: deadline, drain::DEADLINE_POLICY: policy});
    if dice.chance(20) {
        spec["template"]["metadata"]["labels"][drain::CONTROL] = json!("true");
    }
    spec
}

fn random_inplaceset(dice: &Dice) -> Value {
    json!({
        "replicas": 1 + dice.below(9),
        "minReadySeconds": dice.one_of(&[0, 0, 2]),
        "strategy": {"partition": dice.below(4)},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
        },
    })
}

fn random_cloneset(dice: &Dice) -> Value {
    let policy = dice.one_of(&["ReCreate", "InPlaceIfPossible", "InPlaceIfPossible", "InPlaceOnly"]);
    let surge = if policy == "InPlaceOnly" {
        json!(0)
    } else {
        dice.one_of(&[json!(0), json!(0), json!(1), json!("30%")])
    };
    let unavailable = match surge == json!(0) {
        true => dice.one_of(&[json!(1), json!(2), json!("20%"), json!("50%")]),
        false => dice.one_of(&[json!(0), json!(1), json!("40%")]),
    };
    let mut spec = json!({
        "replicas": 1 + dice.below(9),
        "minReadySeconds": dice.one_of(&[0, 0, 2]),
        "scaleStrategy": {"maxUnavailable": dice.one_of(&[json!(3), json!("50%"), json!(100)])},
        "updateStrategy": {"rollingUpdate": {
            "podUpdatePolicy": policy, "maxSurge": surge, "maxUnavailable": unavailable,
            "partition": dice.one_of(&[json!(0), json!(0), json!(2), json!("50%")]),
            "inPlaceUpdateStrategy": {"gracePeriodSeconds": dice.one_of(&[0, 0, 2])},
        }},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}, {"name": "side", "image": "side:1"}]},
        },
    });
    add_hooks(&mut spec, dice);
    if dice.chance(25) {
        spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        spec["scaleStrategy"]["enablePVCReuse"] = json!(dice.chance(50));
    }
    spec
}

const DRAIN: &str = "shop.io/drain";
const WARM: &str = "shop.io/warm";

fn add_hooks(spec: &mut Value, dice: &Dice) {
    let mark = dice.chance(50);
    if dice.chance(25) {
        spec["lifecycle"]["inPlaceUpdate"] =
            json!({"labelsHandler": {"in-service": "true"}, "markPodNotReady": mark});
        spec["template"]["metadata"]["labels"]["in-service"] = json!("true");
    }
    if dice.chance(25) {
        spec["lifecycle"]["preDelete"] = json!({"finalizersHandler": [DRAIN], "markPodNotReady": mark});
        spec["template"]["metadata"]["finalizers"] = json!([DRAIN]);
    }
    if dice.chance(15) {
        spec["lifecycle"]["preNormal"] = json!({"finalizersHandler": [WARM]});
    }
}

/// What the owner of the hooks does: puts them on and takes them off as the state of each pod asks.
fn answer_hooks(cluster: &mut Cluster, dice: &Dice, percent: u64) {
    let warms = cluster.spec().lifecycle.pre_normal.is_some();
    for pod in cluster.pods() {
        if !dice.chance(percent) {
            continue;
        }
        let name = pod.metadata.name.clone();
        let state = pod.metadata.labels.get(names::LIFECYCLE_STATE_LABEL).cloned().unwrap_or_default();
        let gone = pod.metadata.is_terminating() || pod.is_finished();
        cluster.pod(&name, |pod| match state.as_str() {
            _ if gone => drop_finalizers(pod),
            "PreparingUpdate" => pod["metadata"]["labels"]["in-service"] = json!("false"),
            "Updated" => pod["metadata"]["labels"]["in-service"] = json!("true"),
            "PreparingDelete" => drop_finalizers(pod),
            "PreparingNormal" if warms => {
                let mut list = pod["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                if !list.contains(&json!(WARM)) {
                    list.push(json!(WARM));
                }
                pod["metadata"]["finalizers"] = json!(list);
            }
            _ => {}
        });
    }
}

/// Takes off all finalizers but those of traffic.
fn drop_finalizers(pod: &mut Value) {
    if let Some(list) = pod["metadata"]["finalizers"].as_array_mut() {
        list.retain(|f| f.as_str().unwrap().starts_with(drain::PROTECTION));
    }
}

/// Something that users, nodes or chance do.
fn disturb(cluster: &mut Cluster, dice: &Dice, version: &mut u32) {
    let pods = cluster.active();
    let is_cloneset = cluster.kind == Kind::CloneSet;
    match dice.below(15) {
        0 | 1 => {
            *version += 1;
            cluster.image(&format!("web:{version}"));
        }
        2 => cluster.image(&format!("web:{}", dice.below(u64::from(*version)) + 1)),
        3 => {
            cluster.bad_images.insert("web:bad".into());
            cluster.image("web:bad");
        }
        4 => cluster.edit(|spec| spec["replicas"] = json!(1 + dice.below(9))),
        5 if !pods.is_empty() => {
            let name = dice.one_of(&pods).metadata.name;
            cluster.bench.drop(&Pod::RESOURCE, &ObjectKey::new("shop", name));
        }
        6 if is_cloneset && !pods.is_empty() => {
            let name = dice.one_of(&pods).metadata.name;
            cluster.edit(|spec| spec["scaleStrategy"]["podsToDelete"] = json!([name]));
        }
        7 if !pods.is_empty() => {
            let name = dice.one_of(&pods).metadata.name;
            cluster.pod(&name, |pod| pod["status"]["phase"] = json!("Failed"));
        }
        8 => {
            cluster.bad_nodes.insert(format!("node-{}", dice.below(cluster.nodes)));
        }
        9 => cluster.bad_nodes.clear(),
        10 if !is_cloneset => cluster.edit(|spec| spec["strategy"]["partition"] = json!(dice.below(6))),
        10 => cluster.edit(|spec| spec["updateStrategy"]["rollingUpdate"]["paused"] = json!(dice.chance(50))),
        11 => cluster.traffic.is_dead = dice.chance(50),
        12 => cluster.traffic.drains_in = dice.below(5),
        13 if !pods.is_empty() => {
            let name = dice.one_of(&pods).metadata.name;
            cluster.pod(&name, |pod| pod["metadata"]["labels"][OPERATION] = json!("1"));
        }
        _ => cluster.ready_after = dice.below(4),
    }
    if dice.chance(50) {
        withdraw_operations(cluster);
    }
}

/// Somebody's operation on a pod.
const OPERATION: &str = "operating.podopslifecycle.kusionstack.io/evict-1";

fn withdraw_operations(cluster: &mut Cluster) {
    for name in cluster.names() {
        cluster.pod(&name, |pod| {
            pod["metadata"]["labels"].as_object_mut().unwrap().remove(OPERATION);
        });
    }
}

/// Carries out a plan action by action; after each the budgets must hold. May die in the middle.
fn carry_out(cluster: &mut Cluster, plan: &Plan, steps_max: usize, context: &str) {
    let spec = cluster.spec();
    let rolling = &spec.update_strategy.rolling_update;
    let surge =
        if rolling.paused { 0 } else { rolling.max_surge.map_or(0, |s| s.of(spec.replicas, Round::Up)) };
    let round = if surge == 0 { Round::Up } else { Round::Down };
    let unavailable = rolling.max_unavailable.map_or(0, |s| s.of(spec.replicas, round));
    let floor = usize::try_from((spec.replicas - unavailable).max(0)).unwrap();
    let ceiling = usize::try_from(spec.replicas + surge).unwrap();
    for action in plan.actions.iter().take(steps_max) {
        let before = cluster.available();
        traffic_has_ended(cluster, action, context);
        cluster.act(action).unwrap_or_else(|e| panic!("{context}: {e:?} {action:?}"));
        let after = cluster.available();
        assert!(
            after >= before || after >= floor,
            "{context}: {after} of {floor} available after {action:?}\n{}",
            cluster.table()
        );
        let creates = matches!(action, Action::Create { resource, .. } if resource.plural == "pods");
        assert!(
            !creates || cluster.active().len() <= ceiling,
            "{context}: more than {ceiling} pods after {action:?}"
        );
    }
}

/// Nothing happens to a container or a pod that traffic may reach, and gates open only over what runs.
fn traffic_has_ended(cluster: &Cluster, action: &Action, context: &str) {
    let key = action.key();
    let Some(pod) = cluster.bench.get(&Pod::RESOURCE, &key).filter(|_| *action.resource() == Pod::RESOURCE)
    else {
        return;
    };
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    let (is_change, opens) = match action {
        Action::Patch { body, .. } => {
            let mut conditions = body["status"]["conditions"].as_array().into_iter().flatten();
            let opens = conditions.any(|c| c["type"] == names::INPLACE_READY && c["status"] == "True");
            (body["spec"]["containers"].is_array(), opens)
        }
        _ => (false, false),
    };
    if is_change || matches!(action, Action::Delete { .. }) {
        let progress = planning::progress(&pod, cluster.bench.now);
        let may = matches!(
            progress,
            planning::Progress::Free | planning::Progress::Overdue { policy: planning::Policy::Force, .. }
        );
        assert!(may, "{context}: {progress:?} {action:?}");
    }
    let is_closed = pod.condition(names::INPLACE_READY).is_some_and(|c| c.status == "False");
    assert!(!is_change || is_closed, "{context}: changed with an open gate: {action:?}");
    let is_under_way = matches!(inplace::progress(&pod), inplace::Progress::Running(_));
    assert!(!opens || !is_under_way, "{context}: opened too early: {action:?}");
    let is_requested = drain::requests(&pod).next().is_some();
    assert!(!opens || !is_requested, "{context}: an operation wants it closed: {action:?}");
}

fn is_same_in_any_order(cluster: &Cluster, dice: &Dice, context: &str) {
    let mut seen = cluster.seen();
    let plan = workloads::set::plan(&seen, cluster.bench.now);
    is_well_formed(&plan, context);
    dice.shuffle(&mut seen.pods);
    dice.shuffle(&mut seen.leaving);
    dice.shuffle(&mut seen.strays);
    dice.shuffle(&mut seen.claims);
    assert_eq!(workloads::set::plan(&seen, cluster.bench.now), plan, "{context}");
}

/// What endangers nobody comes first, and notes stay with the action they are about.
fn is_well_formed(plan: &Plan, context: &str) {
    let risks: Vec<_> = plan.actions.iter().map(Action::risk).collect();
    assert!(risks.is_sorted(), "{context}: {risks:?}");
    for (note, action) in &plan.after {
        let (message, name) = (&plan.notes[*note].message, plan.actions[*action].key().name);
        assert!(message.contains(&name), "{context}: {message} is told after {name}");
    }
}

/// Looks and acts until at rest, dying now and then.
fn act(cluster: &mut Cluster, dice: &Dice, context: &str) {
    for _ in 0..80 {
        is_same_in_any_order(cluster, dice, context);
        let plan = cluster.plan();
        if plan.is_quiet() {
            return;
        }
        let steps_max = if dice.chance(20) { usize::try_from(dice.below(4)).unwrap() } else { usize::MAX };
        carry_out(cluster, &plan, steps_max, context);
    }
    panic!("{context}: never at rest: {:#?}\n{}", cluster.plan(), cluster.table());
}

fn live_through(kind: Kind, seed: u64) {
    let dice = Dice::new(seed);
    let spec = random_spec(&dice, kind);
    let context = format!("{kind:?} seed {seed}, {spec}");
    let mut cluster = Cluster::of(kind, spec);
    if dice.chance(60) {
        cluster = cluster.with_traffic(dice.one_of(&[0, 1, 4, 20]));
    }
    let mut version = 1;
    for _ in 0..40 {
        if dice.chance(25) {
            disturb(&mut cluster, &dice, &mut version);
        }
        act(&mut cluster, &dice, &context);
        answer_hooks(&mut cluster, &dice, 60);
        cluster.pass();
    }
    recover(&mut cluster, version);
    for _ in 0..200 {
        act(&mut cluster, &dice, &context);
        answer_hooks(&mut cluster, &dice, 100);
        let failed = cluster.pods().iter().filter(|p| p.is_finished()).count();
        let status = cluster.set().status;
        let wanted = cluster.spec().replicas;
        let whole =
            [status.replicas, status.updated_replicas, status.updated_available_replicas] == [wanted; 3];
        if whole && cluster.pods().len() - failed == usize::try_from(wanted).unwrap() {
            act(&mut cluster, &dice, &context);
            claims_are_there(&cluster, &context);
            let progress_left = cluster.set().status.conditions;
            assert_eq!(progress_left, [], "{context}");
            return;
        }
        cluster.pass();
    }
    panic!("{context}: not done\n{}", cluster.table());
}

fn claims_are_there(cluster: &Cluster, context: &str) {
    let claims = cluster.claims();
    for pod in cluster.active() {
        for volume in &pod.spec.volumes {
            let name = volume["persistentVolumeClaim"]["claimName"].as_str().unwrap().to_owned();
            assert!(claims.contains(&name), "{context}: {} has no {name}", pod.metadata.name);
        }
    }
}

/// Nodes and images are well again, and nothing holds the release back.
fn recover(cluster: &mut Cluster, version: u32) {
    cluster.bad_nodes.clear();
    cluster.bad_images.clear();
    cluster.ready_after = 1;
    cluster.traffic.is_dead = false;
    cluster.traffic.drains_in = 0;
    withdraw_operations(cluster);
    // Another release, once all drains have ended: the last one may have been called back by its traffic.
    cluster.pass();
    cluster.image(&format!("web:{}", version + 1));
    let kind = cluster.kind;
    cluster.edit(|spec| match kind {
        Kind::InPlaceSet => spec["strategy"]["partition"] = json!(0),
        Kind::CloneSet => {
            let rolling = &mut spec["updateStrategy"]["rollingUpdate"];
            rolling["paused"] = json!(false);
            rolling["partition"] = json!(0);
        }
    });
}

#[test]
fn budgets_hold_and_everything_converges_whatever_happens() {
    // 290: creation waited for pods that waited for their hooks, and these for creation.
    for seed in (0..40).chain([290]) {
        live_through(Kind::CloneSet, seed);
    }
}

#[test]
fn inplacesets_keep_the_same_promises() {
    for seed in 0..20 {
        live_through(Kind::InPlaceSet, seed);
    }
}

/// Two executors: the second one works from what the first one saw, and is refused wherever that is no longer so.
#[test]
fn a_doubled_executor_changes_nothing_twice() {
    for seed in 0..40 {
        let dice = Dice::new(seed);
        let replicas = 3 + dice.below(6);
        let mut cluster = Cluster::with(json!({"replicas": replicas, "updateStrategy": {"rollingUpdate": {
            "podUpdatePolicy": "InPlaceIfPossible", "maxUnavailable": dice.one_of(&[json!(1), json!("50%"), json!("100%")])}}}));
        cluster.finish(30);
        cluster.image("web:2");
        let mut stale = Plan::new();
        for _ in 0..200 {
            for _ in 0..60 {
                let plan = cluster.plan();
                if plan.is_quiet() {
                    break;
                }
                if dice.chance(50) {
                    stale = plan.clone();
                }
                carry_out(&mut cluster, &plan, if dice.chance(30) { 1 } else { usize::MAX }, "doubled");
                for action in &stale.actions {
                    let _ = cluster.act(action);
                }
            }
            if cluster.is_done() {
                break;
            }
            cluster.bench.pass(1);
            cluster.run_nodes();
        }
        assert!(cluster.is_done(), "seed {seed}\n{}", cluster.table());
        for pod in cluster.active() {
            let restarts: Vec<i32> = pod.status.container_statuses.iter().map(|s| s.restart_count).collect();
            assert_eq!(restarts, [1, 0], "seed {seed} {}", pod.metadata.name);
        }
        assert_eq!(cluster.active().len(), usize::try_from(replicas).unwrap(), "seed {seed}");
    }
}

#[test]
fn twenty_percent_means_at_most_twenty_percent_at_every_moment() {
    let mut cluster = Cluster::with(json!({"replicas": 20, "updateStrategy": {"rollingUpdate": {
        "podUpdatePolicy": "InPlaceIfPossible", "maxUnavailable": "20%", "partition": 0}}}));
    cluster.nodes = 1000;
    cluster.finish(10);
    let stuck = cluster.active()[7].clone();
    cluster.bad_nodes.insert(stuck.spec.node_name.clone());
    cluster.image("web:2");
    let mut most = 0;
    for _ in 0..60 {
        loop {
            let plan = cluster.plan();
            if plan.is_quiet() {
                break;
            }
            for action in &plan.actions {
                cluster.act(action).unwrap();
                let ready = cluster.active().iter().filter(|p| p.is_ready()).count();
                most = most.max(20 - ready);
            }
        }
        cluster.bench.pass(1);
        cluster.run_nodes();
        most = most.max(20 - cluster.active().iter().filter(|p| p.is_ready()).count());
    }
    let status = cluster.set().status;
    assert_eq!((most, status.updated_replicas, status.updated_ready_replicas), (4, 20, 19));
    let told = &status.conditions.iter().find(|c| c.r#type == "PodsStuck").unwrap().message;
    assert!(told.contains(&stuck.metadata.name), "{told}");
}

#[test]
fn a_large_set_is_created_in_bounded_plans() {
    let mut cluster = Cluster::with(json!({"replicas": 1200}));
    let key = cluster.key.clone();
    let mut most = 0;
    while let Some(plan) = cluster.bench.plan::<Controller>(&key).filter(|p| !p.is_quiet()) {
        most = most.max(plan.actions.iter().filter(|a| matches!(a, Action::Create { .. })).count());
        cluster.bench.apply(&plan).unwrap();
    }
    assert_eq!((most, cluster.active().len()), (500, 1200));
    assert!(cluster.bench.get(&CloneSet::RESOURCE, &key).is_some());
}
