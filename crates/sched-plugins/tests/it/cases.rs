//! Random small clusters with all that the rules can meet, and one history of each: the cases on which the fast evaluation is
//! held to the plain one. The same seed gives the same cases. Shared by the test and by the long run in `examples/differ.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::{ObjectKey, ObjectMeta};
use sched_core::{
    ClaimFact, ClassFact, Decision, Interner, LimitsFact, NodeFact, Nominations, PodFact, Snapshot,
    VolumeFact,
};
use sched_plugins::{Engine, Plain, Rules};
use serde_json::{Value, json};
use stdx::{Rng, SeededRng};

/// Steps in one history.
const STEPS: u64 = 60;
/// Nodes of a cluster, at most.
const NODES_MAX: u64 = 12;

/// How a run went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Decisions compared.
    pub(crate) cases: u64,
    /// How many placed the pod.
    pub(crate) bound: u64,
    /// How many refused it from memory.
    pub(crate) proven: u64,
    /// The first difference.
    pub(crate) difference: Option<String>,
}

struct Dice(SeededRng);

impl Dice {
    fn below(&self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }

    fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).expect("short lists")].clone()
    }
}

/// Compares at least `cases` decisions, history after history from `seed` on; stops at a difference.
pub(crate) fn run(seed: u64, cases: u64) -> Tally {
    let mut tally = Tally::default();
    let mut at = seed;
    while tally.cases < cases && tally.difference.is_none() {
        History::new(at).run(&mut tally);
        at += 1;
    }
    tally
}

/// A cluster on its way.
struct History {
    seed: u64,
    dice: Dice,
    interner: Interner,
    snapshot: Snapshot,
    engine: Engine,
    plain: Plain,
    nodes: u64,
    /// Whether there is storage at all; and whether nodes tell of images.
    has_storage: bool,
    has_images: bool,
    templates: Vec<Value>,
    placed: Vec<Arc<str>>,
    /// Who waits for room, and where.
    nominated: Nominations,
    waiting: Vec<Arc<str>>,
    pods: u64,
}

impl History {
    fn new(seed: u64) -> History {
        let dice = Dice(SeededRng::new(seed));
        let rules = Rules::upstream();
        let nodes = 1 + dice.below(NODES_MAX);
        let templates = (0..1 + dice.below(8)).map(|_| template(&dice)).collect();
        let mut history = History {
            seed,
            interner: Interner::default(),
            snapshot: Snapshot::new(),
            engine: rules.engine(),
            plain: rules.plain(),
            nodes,
            has_storage: dice.one_in(2),
            has_images: dice.one_in(2),
            templates,
            placed: Vec::new(),
            nominated: Nominations::none(),
            waiting: Vec::new(),
            pods: 0,
            dice,
        };
        for i in 0..nodes {
            history.set_node(i);
        }
        history
    }

    fn run(&mut self, tally: &mut Tally) {
        for step in 0..STEPS {
            self.change();
            let pod = self.pod();
            self.nominate(&pod);
            let beside = &self.nominated;
            let proven = self.engine.proven();
            let fast = self.engine.decide_beside(&mut self.snapshot, &pod, &[], beside);
            let slow = self.plain.decide_beside(&mut self.snapshot, &pod, beside);
            let from_memory = self.engine.proven() > proven;
            tally.cases += 1;
            tally.proven += u64::from(from_memory);
            tally.bound += u64::from(matches!(fast, Decision::Bind(_)));
            // What is said from memory is held to the verdict; said by somebody without memory, to the letter.
            let fresh = from_memory
                .then(|| Rules::upstream().engine().decide_beside(&mut self.snapshot, &pod, &[], beside));
            if !agree(&fast, &slow, from_memory) || fresh.as_ref().is_some_and(|f| *f != slow) {
                let seed = self.seed;
                tally.difference = Some(format!(
                    "seed {seed} step {step}\npod {pod:?}\nfast {fast:?}\nfresh {fresh:?}\nslow {slow:?}"
                ));
                return;
            }
            if let Decision::Bind(placement) = fast
                && !self.dice.one_in(4)
            {
                self.assume(pod, &placement.node);
            }
        }
    }

    /// Somebody begins to wait for room, or stops; now and then it is the pod that is decided about.
    fn nominate(&mut self, pod: &PodFact) {
        if self.dice.one_in(6) {
            let waits = if self.dice.one_in(3) { pod.clone() } else { self.pod() };
            let node = format!("n{}", self.dice.below(self.nodes + 1));
            self.waiting.push(waits.uid.clone());
            self.nominated.set(Arc::new(waits), node.into());
        }
        if self.waiting.len() > 3 {
            let gone = self.waiting.remove(0);
            self.nominated.remove(&gone);
        }
    }

    fn assume(&mut self, pod: PodFact, node: &Arc<str>) {
        self.placed.push(pod.uid.clone());
        self.snapshot.assume(Arc::new(pod), node);
    }

    /// Something happens to the cluster, or nothing.
    fn change(&mut self) {
        if self.has_storage && self.dice.one_in(2) {
            self.change_storage();
        }
        match self.dice.below(12) {
            0 => self.set_node(self.dice.below(self.nodes + 2)),
            1 if self.dice.one_in(3) => self.snapshot.drop_node(&format!("n{}", self.dice.below(self.nodes))),
            2 | 3 if !self.placed.is_empty() => {
                let at = usize::try_from(self.dice.below(self.placed.len() as u64)).expect("few pods");
                let uid = self.placed.swap_remove(at);
                self.snapshot.remove(&uid);
            }
            // Placed wherever, rules or not, on nodes known or not, so that uneven clusters come up too.
            4..=6 => {
                let (pod, node) = (self.pod(), format!("n{}", self.dice.below(self.nodes + 1)));
                self.assume(pod, &node.into());
            }
            7 => {
                let team = self.dice.of(&["x", "y"]);
                let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
                self.snapshot.set_namespace(self.dice.of(&["d", "e"]), &labels);
            }
            8 if self.dice.one_in(4) => self.snapshot.drop_namespace(self.dice.of(&["d", "e"])),
            _ => {}
        }
    }

    fn change_storage(&mut self) {
        let which = self.dice.below(5);
        let meta = |value: Value| -> ObjectMeta { serde_json::from_value(value).expect("readable") };
        match self.dice.below(8) {
            0 => self.snapshot.drop_claim(&ObjectKey::new("d", format!("c{which}"))),
            1 => self.snapshot.drop_volume(&format!("v{which}")),
            2 => {
                let (name, object) = storage_class(&self.dice);
                self.snapshot.set_class(ClassFact::of(&meta(json!({"name": name})), &object));
            }
            3 => {
                let node = format!("n{}", self.dice.below(self.nodes));
                let count = self.dice.below(3);
                let spec = json!({"drivers": [{"name": "csi.x", "allocatable": {"count": count}}, {"name": "other"}]});
                self.snapshot.set_limits(LimitsFact::of(&meta(json!({"name": node})), &spec));
            }
            4 | 5 => {
                let (head, spec, status) = volume(&self.dice, which);
                self.snapshot.set_volume(VolumeFact::of(&meta(head), &spec, &status));
            }
            _ => {
                let (head, spec, status) = claim(&self.dice, which);
                self.snapshot.set_claim(ClaimFact::of(&meta(head), &spec, &status));
            }
        }
    }

    fn set_node(&mut self, i: u64) {
        let mut node = node(&self.dice, i);
        if self.has_images && !self.dice.one_in(3) {
            node["status"]["images"] = some(&self.dice, 3, image);
        }
        self.snapshot.set_node(NodeFact::of(&serde_json::from_value(node).expect("a readable node")));
    }

    fn pod(&mut self) -> PodFact {
        let mut json = self.dice.of(&self.templates);
        self.pods += 1;
        json["metadata"]["name"] = json!(format!("p{}", self.pods));
        json["metadata"]["uid"] = json!(format!("u{}", self.pods));
        if self.has_storage && self.dice.one_in(2) {
            json["spec"]["volumes"] = some(&self.dice, 2, |dice| {
                let name = format!("c{}", dice.below(5));
                if dice.one_in(8) {
                    return json!({"name": "scratch", "ephemeral": {}});
                }
                json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
            });
        }
        if self.dice.one_in(10) {
            json["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        self.interner.project(&serde_json::from_value(json).expect("a readable pod"))
    }
}

/// Equal to the letter, or in the verdict when it is said from memory.
fn agree(fast: &Decision, slow: &Decision, from_memory: bool) -> bool {
    match (fast, slow) {
        (Decision::Refused(_), Decision::Refused(_)) if from_memory => true,
        _ => fast == slow,
    }
}

fn node(dice: &Dice, i: u64) -> Value {
    let mut labels = json!({"kubernetes.io/hostname": format!("n{i}")});
    if !dice.one_in(4) {
        labels["topology.kubernetes.io/zone"] = json!(format!("z{}", dice.below(3)));
    }
    if !dice.one_in(3) {
        labels["rack"] = json!(format!("{}", dice.below(4)));
    }
    if dice.one_in(3) {
        labels["disk"] = json!(dice.of(&["ssd", "hdd"]));
    }
    if dice.one_in(12) {
        labels.as_object_mut().expect("an object").remove("kubernetes.io/hostname");
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "PreferNoSchedule", "NoExecute"];
    let taints: Vec<Value> = (0..2)
        .filter(|_| dice.one_in(4))
        .map(|_| json!({"key": dice.of(&["k", "l"]), "value": dice.of(&["", "v"]), "effect": dice.of(&effects)}))
        .collect();
    json!({
        "metadata": {"name": format!("n{i}"), "labels": labels},
        "spec": {"taints": taints, "unschedulable": dice.one_in(12)},
        "status": {"allocatable": {
            "cpu": dice.of(&["0", "1", "2", "4", "4", "7900m", "64"]),
            "memory": dice.of(&["1Gi", "4Gi", "8Gi", "8Gi", "8123456789", "0"]),
            "ephemeral-storage": "10Gi", "a.b/gpu": dice.of(&["0", "2", "8"]),
            "pods": dice.of(&["2", "5", "10", "110"]),
        }},
    })
}

fn image(dice: &Dice) -> Value {
    let bytes = dice.of(&[5_u64 << 20, 40 << 20, 300 << 20, 900 << 20, 3000 << 20]);
    json!({"names": [dice.of(&["web:latest", "db:1", "reg:5000/x:latest"])], "sizeBytes": bytes})
}

fn storage_class(dice: &Dice) -> (&'static str, Value) {
    let mut class = json!({
        "provisioner": dice.of(&["csi.x", "kubernetes.io/no-provisioner"]),
        "volumeBindingMode": dice.of(&["WaitForFirstConsumer", "WaitForFirstConsumer", "Immediate"]),
    });
    if dice.one_in(3) {
        class["allowedTopologies"] = json!([{"matchLabelExpressions": [
            {"key": "topology.kubernetes.io/zone", "values": ["z0", "z1"]}]}]);
    }
    (dice.of(&["fast", "slow"]), class)
}

fn claim(dice: &Dice, which: u64) -> (Value, Value, Value) {
    let mut head = json!({"namespace": "d", "name": format!("c{which}"), "uid": format!("cu{which}")});
    let mut spec = json!({
        "accessModes": [dice.of(&["ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])],
        "resources": {"requests": {"storage": dice.of(&["1Gi", "5Gi"])}},
        "storageClassName": dice.of(&["fast", "fast", "slow", ""]),
    });
    if dice.one_in(6) {
        spec["selector"] = json!({"matchLabels": {"tier": "a"}});
    }
    match dice.below(5) {
        0 => {
            spec["volumeName"] = json!(format!("v{}", dice.below(6)));
            head["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
        }
        1 if dice.one_in(3) => spec["volumeName"] = json!("v1"),
        2 if dice.one_in(3) => {
            let node = format!("n{}", dice.below(4));
            head["annotations"] = json!({"volume.kubernetes.io/selected-node": node});
        }
        _ => {}
    }
    if dice.one_in(20) {
        head["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    (head, spec, json!({"phase": if dice.one_in(20) { "Lost" } else { "Pending" }}))
}

fn volume(dice: &Dice, which: u64) -> (Value, Value, Value) {
    let mut head = json!({"name": format!("v{which}"), "labels": {}});
    match dice.below(5) {
        0 => head["labels"]["topology.kubernetes.io/zone"] = json!("z0__z1"),
        1 => head["labels"]["failure-domain.beta.kubernetes.io/zone"] = json!("z1"),
        2 => head["labels"]["tier"] = json!("a"),
        _ => {}
    }
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce", "ReadWriteOncePod"], "capacity": {"storage": dice.of(&["1Gi", "8Gi"])},
        "storageClassName": dice.of(&["fast", "fast", "slow"]),
        "csi": {"driver": "csi.x", "volumeHandle": format!("h{which}")},
    });
    if dice.one_in(3) {
        spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [node_term(dice)]}});
    }
    if dice.one_in(4) {
        let which = dice.below(5);
        spec["claimRef"] =
            json!({"namespace": "d", "name": format!("c{which}"), "uid": format!("cu{which}")});
    }
    (head, spec, json!({"phase": if dice.one_in(5) { "Bound" } else { "Available" }}))
}

fn selector(dice: &Dice) -> Value {
    dice.of(&[
        json!({"matchLabels": {"app": "a"}}),
        json!({"matchLabels": {"app": "b"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "c"]}]}),
        json!({}),
        Value::Null,
    ])
}

fn topology(dice: &Dice) -> &'static str {
    dice.of(&["topology.kubernetes.io/zone", "topology.kubernetes.io/zone", "kubernetes.io/hostname", "rack"])
}

fn term(dice: &Dice) -> Value {
    let mut term = json!({"labelSelector": selector(dice), "topologyKey": topology(dice)});
    match dice.below(6) {
        0 => term["namespaces"] = json!(["d", "e"]),
        1 => term["namespaceSelector"] = json!({"matchLabels": {"team": "x"}}),
        2 => term["namespaceSelector"] = json!({}),
        _ => {}
    }
    term
}

fn wish(dice: &Dice) -> Value {
    json!({"weight": 1 + dice.below(100), "podAffinityTerm": term(dice)})
}

fn constraint(dice: &Dice) -> Value {
    let hard = dice.one_in(2);
    let mut c = json!({"labelSelector": selector(dice), "topologyKey": topology(dice), "maxSkew": 1 + dice.below(3),
        "whenUnsatisfiable": if hard { "DoNotSchedule" } else { "ScheduleAnyway" },
        "nodeAffinityPolicy": dice.of(&["Honor", "Ignore"]), "nodeTaintsPolicy": dice.of(&["Honor", "Ignore"])});
    if hard && dice.one_in(3) {
        c["minDomains"] = json!(1 + dice.below(4));
    }
    c
}

fn node_term(dice: &Dice) -> Value {
    let expressions = dice.of(&[
        json!([{"key": "rack", "operator": "In", "values": ["1", "2", "9"]}]),
        json!([{"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["z1"]}]),
        json!([{"key": "topology.kubernetes.io/zone", "operator": "DoesNotExist"}]),
        json!([{"key": "rack", "operator": "Gt", "values": ["1"]}, {"key": "disk", "operator": "Exists"}]),
        json!([{"key": "rack", "operator": "Lt", "values": ["3"]}]),
        json!([{"key": "disk", "operator": "In", "values": ["ssd"]}]),
        json!([]),
        json!([{"key": "disk", "operator": "Odd"}]),
    ]);
    let mut term = json!({"matchExpressions": expressions});
    if dice.one_in(5) {
        let names: Vec<String> =
            (0..1 + dice.below(3)).map(|_| format!("n{}", dice.below(NODES_MAX))).collect();
        let operator = dice.of(&["In", "In", "NotIn"]);
        term["matchFields"] = json!([{"key": "metadata.name", "operator": operator, "values": names}]);
    }
    term
}

fn some(dice: &Dice, max: u64, of: fn(&Dice) -> Value) -> Value {
    (0..dice.below(max + 1)).map(|_| of(dice)).collect()
}

fn template(dice: &Dice) -> Value {
    let mut requests = json!({"cpu": format!("{}m", dice.below(9) * 250)});
    match dice.below(4) {
        0 => requests = json!({}),
        1 => requests["memory"] = json!(format!("{}Mi", dice.below(3000))),
        2 => requests["memory"] = json!("512Mi"),
        _ => {}
    }
    if dice.one_in(6) {
        requests["a.b/gpu"] = json!(dice.below(3).to_string());
    }
    if dice.one_in(8) {
        requests["ephemeral-storage"] = json!("3Gi");
    }
    let ports = if dice.one_in(8) {
        json!([{"containerPort": 80, "hostPort": 80 + dice.below(2)}])
    } else {
        json!([])
    };
    let mut pod = json!({
        "metadata": {"namespace": dice.of(&["d", "d", "e"]), "labels": {}},
        "spec": {"containers": [{"name": "c", "image": dice.of(&["web", "db:1", "reg:5000/x"]),
                "resources": {"requests": requests}, "ports": ports}],
            "priority": dice.of(&[0, 0, 5])},
    });
    if !dice.one_in(3) {
        pod["metadata"]["labels"]["app"] = json!(dice.of(&["a", "a", "b", "c"]));
    }
    if dice.one_in(2) {
        pod["metadata"]["ownerReferences"] =
            json!([{"uid": format!("o{}", dice.below(3)), "controller": true}]);
    }
    if dice.one_in(6) {
        pod["spec"]["preemptionPolicy"] = json!("Never");
    }
    if dice.one_in(6) {
        pod["spec"]["nodeSelector"] = dice.of(&[json!({"disk": "ssd"}), json!({"rack": "1"})]);
    }
    tolerate(dice, &mut pod);
    attract(dice, &mut pod);
    pod
}

fn tolerate(dice: &Dice, pod: &mut Value) {
    match dice.below(6) {
        0 => pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]),
        1 => pod["spec"]["tolerations"] = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]),
        2 => pod["spec"]["tolerations"] = json!([{"key": "l", "operator": "Exists"}]),
        3 => {
            pod["spec"]["tolerations"] =
                json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]);
        }
        _ => {}
    }
}

fn attract(dice: &Dice, pod: &mut Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if dice.one_in(3) {
        pod["spec"]["topologySpreadConstraints"] = some(dice, 3, constraint);
    }
    let affinity = &mut pod["spec"]["affinity"];
    if dice.one_in(4) {
        affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] = some(dice, 2, node_term);
    }
    if dice.one_in(4) {
        affinity["nodeAffinity"][PREFERRED] = (0..1 + dice.below(3))
            .map(|_| json!({"weight": 1 + dice.below(100), "preference": node_term(dice)}))
            .collect();
    }
    if dice.one_in(4) {
        affinity["podAffinity"][REQUIRED] = some(dice, 2, term);
    }
    if dice.one_in(3) {
        affinity["podAntiAffinity"][REQUIRED] = some(dice, 2, term);
    }
    if dice.one_in(3) {
        affinity["podAffinity"][PREFERRED] = some(dice, 2, wish);
    }
    if dice.one_in(3) {
        affinity["podAntiAffinity"][PREFERRED] = some(dice, 2, wish);
    }
}
