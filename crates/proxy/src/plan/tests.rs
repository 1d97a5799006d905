use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

use super::*;
use crate::facts::{PodWire, ServiceWire, SliceWire};
use crate::mirror::News;

/// A world in which plans are carried out.
#[derive(Clone, Default)]
struct Bench {
    mirror: Mirror,
    loads: BTreeMap<Membership, Load>,
    in_flight: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// Endpoints of `web` by pod, and those of `api`.
    endpoints: BTreeMap<(&'static str, u8), Value>,
}

/// What may differ between pods.
#[derive(Clone, Copy, Debug)]
struct Kind {
    gated: bool,
    gate_closed: bool,
    terminating: bool,
    opted_out: bool,
    labelled: bool,
}

const PLAIN: Kind =
    Kind { gated: true, gate_closed: false, terminating: false, opted_out: false, labelled: true };

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("shop", name)
}

fn pod_key(number: u8) -> ObjectKey {
    key(&format!("pod-{number}"))
}

fn ip(number: u8) -> String {
    format!("127.4.64.{number}")
}

impl Bench {
    /// All is listed; there is the Service `web`.
    fn new() -> Bench {
        let mut bench = Bench::default();
        for name in ["services", "endpointslices", "pods"] {
            bench.mirror.take(News::Synced(name));
        }
        bench.service("web", true);
        bench
    }

    fn service(&mut self, name: &str, is_there: bool) {
        let fourth = if name == "web" { 9 } else { 10 };
        let ports = json!([{"port": 8000, "appProtocol": "http"}]);
        let spec =
            json!({"clusterIP": format!("127.4.0.{fourth}"), "ports": ports, "selector": {"app": "web"}});
        let wire: ServiceWire =
            from_value(json!({"metadata": {"name": name, "uid": name}, "spec": spec})).unwrap();
        self.mirror.take(News::Service(key(name), is_there.then(|| wire.fact().unwrap())));
    }

    fn pod(&mut self, number: u8, kind: Kind, finalizers: &[&str]) {
        let mut meta = json!({
            "name": format!("pod-{number}"), "uid": format!("u{number}"), "resourceVersion": "1",
            "labels": {"app": if kind.labelled { "web" } else { "other" }},
            "finalizers": finalizers,
        });
        if kind.terminating {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if kind.opted_out {
            meta["annotations"][drain::DRAIN] = json!("disabled");
        }
        let gates = if kind.gated { json!([{"conditionType": drain::INPLACE_READY}]) } else { json!([]) };
        let gate = if kind.gate_closed { "False" } else { "True" };
        let conditions = json!([{"type": drain::INPLACE_READY, "status": gate}]);
        let wire: PodWire = from_value(json!({
            "metadata": meta, "spec": {"nodeName": "n", "readinessGates": gates},
            "status": {"podIP": ip(number), "conditions": conditions},
        }))
        .unwrap();
        self.mirror.pods.insert(pod_key(number), wire.fact().unwrap());
    }

    fn expects(&mut self, number: u8, expected: Value) {
        let pod = self.mirror.pods.get_mut(&pod_key(number)).unwrap();
        pod.expected = from_value(expected.clone()).unwrap();
        pod.conditions = Some(json!({"expectedFinalizers": expected}).to_string());
    }

    fn endpoint(&mut self, service: &'static str, number: u8, ready: bool) {
        let terminating = self.mirror.pods.get(&pod_key(number)).is_some_and(|p| p.terminating);
        let name = format!("pod-{number}");
        let endpoint = json!({
            "addresses": [ip(number)],
            "conditions": {"ready": ready && !terminating, "serving": ready, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": name, "uid": format!("u{number}")},
        });
        self.endpoints.insert((service, number), endpoint);
        self.relist();
    }

    fn unlist(&mut self, service: &'static str, number: u8) {
        self.endpoints.remove(&(service, number));
        self.relist();
    }

    fn relist(&mut self) {
        for service in ["web", "api"] {
            let of_service = self.endpoints.iter().filter(|((s, _), _)| *s == service);
            let endpoints: Vec<&Value> = of_service.map(|(_, e)| e).collect();
            let wire: SliceWire = from_value(json!({
                "metadata": {"name": service, "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints,
            }))
            .unwrap();
            self.mirror.take(News::Slice(key(service), wire.fact()));
        }
    }

    fn plan(&self) -> Plan {
        plan(&Observed { mirror: &self.mirror, loads: &self.loads, in_flight: &self.in_flight })
    }

    /// Opens and shuts endpoints as planned; what was shut keeps what is open.
    fn follow(&mut self, plan: &Plan) {
        for load in self.loads.values_mut() {
            load.admitting = false;
        }
        for (route, target) in targets(plan).filter(|(_, t)| t.admitted) {
            let membership = Membership { service: route.service.clone(), pod: target.pod.1.clone() };
            self.loads.entry(membership).or_default().admitting = true;
        }
    }

    /// Patches pods as planned.
    fn acknowledge(&mut self, plan: &Plan) {
        for edit in &plan.edits {
            let pod = self.mirror.pods.get_mut(&edit.pod).unwrap();
            assert_eq!((&edit.uid, &edit.version), (&pod.uid, &pod.version), "fenced by what was seen");
            pod.version = (pod.revision() + 1).to_string();
            if let Some(finalizers) = &edit.finalizers {
                pod.finalizers.clone_from(finalizers);
            }
            if let Some(conditions) = &edit.conditions {
                let all: Value = serde_json::from_str(conditions.as_deref().unwrap_or("{}")).unwrap();
                pod.expected = from_value(all["expectedFinalizers"].clone()).unwrap_or_default();
                pod.conditions.clone_from(conditions);
            }
        }
    }

    fn open(&mut self, service: &str, number: u8, open: usize, connections: usize) {
        let membership = Membership { service: key(service), pod: format!("u{number}") };
        let load = self.loads.entry(membership).or_default();
        (load.open, load.connections) = (open, connections);
    }

    /// Plans and carries out until nothing is left to do; what happened, in words.
    fn settle(&mut self) -> String {
        let mut told = String::new();
        for round in 1..=8 {
            let plan = self.plan();
            let before = self.loads.clone();
            self.follow(&plan);
            self.acknowledge(&plan);
            let words = words(&plan);
            if plan.edits.is_empty() && before == self.loads {
                writeln!(told, "{words}").unwrap();
                return told;
            }
            writeln!(told, "{round}. {words}").unwrap();
        }
        panic!("not settled:\n{told}");
    }
}

fn targets(plan: &Plan) -> impl Iterator<Item = (&RouteKey, &Target)> {
    plan.routes.iter().flat_map(|(key, route)| route.targets.iter().map(move |t| (key, t)))
}

fn words(plan: &Plan) -> String {
    let mut words: Vec<String> = targets(plan)
        .map(|(route, t)| {
            let chosen = if t.admitted { "" } else { " not chosen" };
            format!("{}->{} {:?}{chosen}", route.service.name, t.pod.0, t.standing)
        })
        .collect();
    for edit in &plan.edits {
        let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join("+");
        let conditions = match &edit.conditions {
            None => String::new(),
            Some(None) => " expects nothing".to_owned(),
            Some(Some(text)) => {
                format!(" expects {}", text.replace("prot.podopslifecycle.kusionstack.io/", ".."))
            }
        };
        words.push(format!(
            "{}: register [{}] release [{}]{conditions}",
            edit.pod.name,
            names(&edit.registers),
            names(&edit.releases)
        ));
    }
    if words.is_empty() { "nothing".to_owned() } else { words.join("; ") }
}

fn check(bench: &mut Bench, expected: Expect) {
    expected.assert_eq(&bench.settle());
}

#[test]
fn story_of_a_pod_that_comes_and_goes() {
    let mut bench = Bench::new();
    bench.pod(1, PLAIN, &[]);
    bench.endpoint("web", 1, false);
    check(
        &mut bench,
        expect![[r#"
        web->pod-1 Out not chosen
    "#]],
    );
    bench.endpoint("web", 1, true);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Registering not chosen; pod-1: register [web] release [] expects {"expectedFinalizers":{"Service/shop/web":"..web"}}
        2. web->pod-1 Ready
        web->pod-1 Ready
    "#]],
    );
    // Its workload wants it out, while two requests are open.
    bench.open("web", 1, 2, 3);
    bench.mirror.pods.get_mut(&pod_key(1)).unwrap().gate_closed = true;
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Out not chosen
        web->pod-1 Out not chosen
    "#]],
    );
    bench.open("web", 1, 0, 1);
    check(
        &mut bench,
        expect![[r#"
        web->pod-1 Out not chosen
    "#]],
    );
    bench.open("web", 1, 0, 0);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Out not chosen; pod-1: register [] release [web]
        web->pod-1 Out not chosen
    "#]],
    );
    bench.mirror.pods.get_mut(&pod_key(1)).unwrap().gate_closed = false;
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Registering not chosen; pod-1: register [web] release []
        2. web->pod-1 Ready
        web->pod-1 Ready
    "#]],
    );
}

#[test]
fn story_of_a_pod_behind_two_services_of_which_one_goes() {
    let mut bench = Bench::new();
    bench.service("api", true);
    bench.pod(1, PLAIN, &["example.com/own"]);
    bench.endpoint("web", 1, true);
    bench.endpoint("api", 1, true);
    check(
        &mut bench,
        expect![[r#"
        1. api->pod-1 Registering not chosen; web->pod-1 Registering not chosen; pod-1: register [api+web] release [] expects {"expectedFinalizers":{"Service/shop/api":"..api","Service/shop/web":"..web"}}
        2. api->pod-1 Ready; web->pod-1 Ready
        api->pod-1 Ready; web->pod-1 Ready
    "#]],
    );
    bench.open("api", 1, 1, 1);
    bench.service("api", false);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Ready
        web->pod-1 Ready
    "#]],
    );
    bench.open("api", 1, 0, 0);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Ready; pod-1: register [] release [api] expects {"expectedFinalizers":{"Service/shop/web":"..web"}}
        web->pod-1 Ready
    "#]],
    );
}

#[test]
fn story_of_endpoints_that_are_terminating() {
    let mut bench = Bench::new();
    let leaving = Kind { gated: false, terminating: true, ..PLAIN };
    bench.pod(1, leaving, &[]);
    bench.pod(2, Kind { gated: false, ..PLAIN }, &[]);
    bench.endpoint("web", 1, true);
    bench.endpoint("web", 2, true);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Leaving not chosen; web->pod-2 Ready
        web->pod-1 Leaving not chosen; web->pod-2 Ready
    "#]],
    );
    bench.endpoint("web", 2, false);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Leaving; web->pod-2 Out not chosen
        web->pod-1 Leaving; web->pod-2 Out not chosen
    "#]],
    );
    // One that takes part has left by agreement before: it is never a last resort.
    bench.pod(1, Kind { terminating: true, ..PLAIN }, &["prot.podopslifecycle.kusionstack.io/web"]);
    check(
        &mut bench,
        expect![[r#"
        1. web->pod-1 Out not chosen; web->pod-2 Out not chosen
        2. web->pod-1 Out not chosen; web->pod-2 Out not chosen; pod-1: register [] release [web]
        web->pod-1 Out not chosen; web->pod-2 Out not chosen
    "#]],
    );
}

#[test]
fn a_pod_that_was_not_seen_yet_is_not_chosen() {
    let mut bench = Bench::new();
    bench.endpoint("web", 1, true);
    check(
        &mut bench,
        expect![[r#"
        web->pod-1 Registering not chosen
    "#]],
    );
    bench.pod(1, PLAIN, &[]);
    bench.mirror.pods.get_mut(&pod_key(1)).unwrap().uid = "of an earlier pod of this name".into();
    check(
        &mut bench,
        expect![[r#"
        web->pod-1 Registering not chosen
    "#]],
    );
}

#[test]
fn before_everything_was_listed_nothing_is_decided() {
    let mut bench = Bench::new();
    bench.pod(1, Kind { terminating: true, ..PLAIN }, &["prot.podopslifecycle.kusionstack.io/gone"]);
    bench.expects(1, json!({"Service/shop/gone": drain::protection_of("gone")}));
    assert_eq!(bench.plan().edits.len(), 1);
    let mut early = Mirror::default();
    early.pods.clone_from(&bench.mirror.pods);
    bench.mirror = early;
    assert_eq!(bench.plan(), Plan::default());
}

#[test]
fn a_finalizer_of_nobody_known_is_somebody_elses() {
    let mut bench = Bench::new();
    let foreign = drain::protection_of("balancer");
    let claimed = drain::protection_of("web");
    bench.pod(1, Kind { terminating: true, ..PLAIN }, &[&foreign, &claimed]);
    bench.expects(1, json!({"balancer": claimed}));
    assert_eq!(bench.plan().edits, [], "neither the unknown one nor the one that another claims");
    bench.pod(1, Kind { terminating: true, ..PLAIN }, &[&foreign, &claimed]);
    let edits = bench.plan().edits;
    assert_eq!(edits[0].finalizers.as_deref(), Some(&[foreign][..]), "nobody else claims ours");
}

#[test]
fn a_finalizer_that_may_just_be_going_does_not_count() {
    let mut bench = Bench::new();
    bench.pod(1, PLAIN, &[&drain::protection_of("web")]);
    bench.endpoint("web", 1, true);
    assert!(targets(&bench.plan()).all(|(_, t)| t.admitted));
    bench.in_flight.insert(pod_key(1), BTreeSet::from([drain::protection_of("web")]));
    let plan = bench.plan();
    assert!(targets(&plan).all(|(_, t)| !t.admitted && t.standing == Standing::Registering));
    assert_eq!(plan.edits, [], "one edit at a time");
}

#[test]
fn what_the_annotation_says_beside_is_kept() {
    let mut bench = Bench::new();
    bench.pod(1, PLAIN, &[]);
    bench.endpoint("web", 1, true);
    let pod = bench.mirror.pods.get_mut(&pod_key(1)).unwrap();
    pod.conditions = Some(r#"{"more":[1]}"#.into());
    let text = bench.plan().edits[0].conditions.clone().flatten().unwrap();
    let expected =
        json!({"more": [1], "expectedFinalizers": {"Service/shop/web": drain::protection_of("web")}});
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}

fn kind() -> impl Strategy<Value = Kind> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    flags.prop_map(|(gated, gate_closed, terminating, opted_out, labelled)| Kind {
        gated,
        gate_closed,
        terminating,
        opted_out,
        labelled,
    })
}

/// What may happen around the proxy.
#[derive(Clone, Debug)]
enum Event {
    Pod(u8, Kind),
    Endpoint(bool, u8, bool),
    Unlist(bool, u8),
    Service(bool, bool),
    Open(bool, u8, usize),
    Foreign(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let number = 1..4u8;
    prop_oneof![
        (number.clone(), kind()).prop_map(|(n, k)| Event::Pod(n, k)),
        (any::<bool>(), number.clone(), any::<bool>()).prop_map(|(s, n, r)| Event::Endpoint(s, n, r)),
        (any::<bool>(), number.clone()).prop_map(|(s, n)| Event::Unlist(s, n)),
        (any::<bool>(), any::<bool>()).prop_map(|(s, there)| Event::Service(s, there)),
        (any::<bool>(), number.clone(), 0..3usize).prop_map(|(s, n, open)| Event::Open(s, n, open)),
        number.prop_map(Event::Foreign),
    ]
}

fn service(first: bool) -> &'static str {
    if first { "web" } else { "api" }
}

impl Bench {
    fn happens(&mut self, event: &Event) {
        match *event {
            Event::Pod(number, kind) => {
                // Its finalizers and what it expects stay; what is terminating does not come back.
                let before = self.mirror.pods.get(&pod_key(number)).cloned();
                let terminating = kind.terminating || before.as_ref().is_some_and(|p| p.terminating);
                self.pod(number, Kind { terminating, ..kind }, &[]);
                if let Some(before) = before {
                    let pod = self.mirror.pods.get_mut(&pod_key(number)).unwrap();
                    pod.version = (before.revision() + 1).to_string();
                    (pod.finalizers, pod.expected, pod.conditions) =
                        (before.finalizers, before.expected, before.conditions);
                }
            }
            Event::Endpoint(first, number, ready) => self.endpoint(service(first), number, ready),
            Event::Unlist(first, number) => self.unlist(service(first), number),
            Event::Service(first, is_there) => self.service(service(first), is_there),
            Event::Open(first, number, open) => {
                let membership = Membership { service: key(service(first)), pod: format!("u{number}") };
                let load = self.loads.entry(membership).or_default();
                // At one that is shut nothing begins.
                load.open = if load.admitting { open } else { load.open.min(open) };
                load.connections = load.open;
            }
            Event::Foreign(number) => {
                if let Some(pod) = self.mirror.pods.get_mut(&pod_key(number)).filter(|p| !p.terminating) {
                    let foreign = drain::protection_of("balancer");
                    if !pod.finalizers.contains(&foreign) {
                        pod.finalizers.push(foreign);
                    }
                }
            }
        }
    }

    /// What holds for every plan.
    fn audit(&self, plan: &Plan) {
        for (route, target) in targets(plan).filter(|(_, t)| t.admitted) {
            let Some(pod) = self.mirror.pods.get(&key(&target.pod.0)) else {
                panic!("{target:?} is not known")
            };
            let finalizer = drain::protection_of(&route.service.name);
            assert!(!pod.takes_part || pod.finalizers.contains(&finalizer), "{target:?} is not protected");
            assert!(!pod.takes_part || !pod.gate_closed && !pod.terminating, "{target:?} is to leave");
        }
        for edit in &plan.edits {
            let pod = &self.mirror.pods[&edit.pod];
            let may_register = pod.takes_part && !pod.gate_closed && !pod.terminating;
            assert!(edit.registers.is_empty() || may_register, "{edit:?}");
            for name in edit.releases.iter().filter(|_| pod.takes_part) {
                let membership = Membership { service: key(name), pod: pod.uid.clone() };
                let load = self.loads.get(&membership).copied().unwrap_or_default();
                assert!(load.is_at_rest(), "{edit:?} while {load:?}");
            }
            let foreign = drain::protection_of("balancer");
            if let Some(finalizers) = edit.finalizers.as_ref().filter(|_| pod.finalizers.contains(&foreign)) {
                assert!(finalizers.contains(&foreign), "{edit:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_unprotected_pod_is_chosen_and_none_is_released_while_anything_is_open(
        events in prop::collection::vec((event(), any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut bench = Bench::new();
        for (event, follows, acknowledges) in events {
            bench.happens(&event);
            let plan = bench.plan();
            bench.audit(&plan);
            // The executor shuts and opens before it edits; either may be late.
            if follows || acknowledges {
                bench.follow(&plan);
            }
            if acknowledges {
                bench.acknowledge(&plan);
            }
        }
    }

    #[test]
    fn plans_reach_a_fixed_point_and_leave_no_terminating_pod_behind(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut bench = Bench::new();
        for event in &events {
            bench.happens(event);
        }
        for load in bench.loads.values_mut() {
            (load.open, load.connections) = (0, 0);
        }
        bench.settle();
        for pod in bench.mirror.pods.values().filter(|p| p.terminating) {
            let ours = ["web", "api"].map(drain::protection_of);
            prop_assert!(pod.finalizers.iter().all(|f| !ours.contains(f)), "{pod:?}");
        }
    }

    #[test]
    fn the_order_of_news_does_not_matter(
        pods in prop::collection::vec(kind(), 3),
        ready in prop::collection::vec(any::<bool>(), 6),
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let make = |order: &[usize]| {
            let mut bench = Bench::new();
            bench.service("api", true);
            for step in order {
                let number = u8::try_from(step % 3).unwrap() + 1;
                match step / 3 {
                    0 => bench.pod(number, pods[step % 3], &[]),
                    1 => bench.endpoint("web", number, ready[step % 3]),
                    _ => bench.endpoint("api", number, ready[step % 3 + 3]),
                }
            }
            // What slices say of termination depends on the order here, not in the world.
            for number in 1..=3 {
                bench.endpoint("web", number, ready[usize::from(number) - 1]);
                bench.endpoint("api", number, ready[usize::from(number) + 2]);
            }
            bench.plan()
        };
        let sorted: Vec<usize> = (0..9).collect();
        prop_assert_eq!(make(&order), make(&sorted));
    }
}
