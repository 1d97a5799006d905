use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use api_core::{Pod, ReplicaSet};
use api_meta::{Object, ObjectKey, Reason, Status};
use builtins::replicaset::ReplicaSets;
use controller_host::{Handle, Host, HostConfig, over};
use reconcile::{
    Action, AllowAll, Note, Permission, Permit, PermitRequest, Plan, Row, Severity, Thinker, Verdict, Watch,
    World,
};
use serde_json::{Value, json};
use stdx::Time;

use crate::env;
use crate::server::Server;

const SETS: &str = "/apis/apps/v1/replicasets";
const PODS: &str = "/api/v1/pods";
const EVENTS: &str = "/api/v1/events";

fn set(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "x:1"}]}},
        },
    })
}

fn start_with(server: &Server, rows: Vec<Row>, permit: Arc<dyn Permit>, config: HostConfig) -> Handle {
    let client = Client::new(Arc::new(server.clone()), "test");
    let host = Host::new(over(client), env(), rows, permit, config);
    let handle = host.handle();
    tokio::spawn(async move {
        host.run().await;
    });
    handle
}

fn start(server: &Server) -> Handle {
    start_with(server, vec![Row::of::<ReplicaSets>()], Arc::new(AllowAll), HostConfig::alone())
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

fn writes(server: &Server, verb: &str) -> usize {
    server.requests().iter().filter(|r| r.starts_with(verb) && !r.contains("/events")).count()
}

#[tokio::test(start_paused = true)]
async fn a_set_gets_its_pods_and_every_write_happens_once() {
    let server = Server::new();
    start(&server);
    server.put(SETS, set("cart", 7));
    pass(5).await;
    assert_eq!(server.list(PODS).len(), 7);
    assert_eq!(writes(&server, "POST"), 7);
    assert_eq!(server.list(SETS)[0]["status"]["replicas"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_second_host_that_starts_late_finds_nothing_to_do() {
    let server = Server::new();
    server.put(SETS, set("cart", 3));
    start(&server);
    pass(5).await;
    let before = server.requests().iter().filter(|r| !r.starts_with("GET")).count();
    start(&server);
    pass(5).await;
    assert_eq!(server.requests().iter().filter(|r| !r.starts_with("GET")).count(), before);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_lags_creates_nothing_twice() {
    let server = Server::new();
    start(&server);
    pass(1).await;
    server.stall(&[PODS]);
    server.put(SETS, set("cart", 3));
    pass(2).await;
    server.edit(SETS, "shop", "cart", |s| s["metadata"]["labels"] = json!({"touched": "yes"}));
    pass(2).await;
    assert_eq!(server.list(PODS).len(), 3, "the pods are not seen yet, and known to be there");
    server.stall(&[]);
    pass(2).await;
    assert_eq!(server.list(PODS).len(), 3);
    assert_eq!(writes(&server, "POST"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_costs_one_request_a_try_and_is_told() {
    let server = Server::new();
    let handle = start(&server);
    server.refuse(|method, path| {
        let pods = method == "POST" && path.ends_with("/pods");
        pods.then(|| Status::failure(Reason::Forbidden, "pods is forbidden: exceeded quota"))
    });
    server.put(SETS, set("cart", 100));
    pass(10).await;
    assert!(writes(&server, "POST") < 20, "{} tries", writes(&server, "POST"));
    assert_eq!(server.list(SETS)[0]["status"]["conditions"][0]["reason"], "FailedCreate");
    let event = &server.list(EVENTS)[0];
    assert_eq!(event["message"], "Error creating: pods is forbidden: exceeded quota");
    assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("FailedCreate")));
    assert!(event["count"].as_i64().unwrap() > 3, "one event, counted");
    server.serve_all();
    pass(60).await;
    assert_eq!(server.list(PODS).len(), 100);
    assert!(server.list(SETS)[0]["status"]["conditions"].is_null());
    assert!(handle.metrics().contains(
        "controller_runtime_reconcile_total{controller=\"replicaset-controller\",result=\"error\"}"
    ));
}

#[tokio::test(start_paused = true)]
async fn done_actions_are_told_as_events() {
    let server = Server::new();
    start(&server);
    server.put(SETS, set("cart", 2));
    pass(5).await;
    let mut told: Vec<String> =
        server.list(EVENTS).iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect();
    let mut pods: Vec<String> = server
        .list(PODS)
        .iter()
        .map(|p| format!("Created pod: {}", p["metadata"]["name"].as_str().unwrap()))
        .collect();
    told.sort();
    pods.sort();
    assert_eq!(told, pods);
}

/// Refuses until a moment has come.
struct Until(Time);

impl Permit for Until {
    fn ask(&self, request: &PermitRequest, world: Option<&World>, now: Time) -> Verdict {
        assert!(world.is_some_and(|w| w.cache::<Pod>().len() == 3), "it sees the host's mirrors");
        assert_eq!((request.workload.as_str(), request.namespace.as_str()), ("shop/cart", "shop"));
        if now >= self.0 {
            return Verdict::Granted;
        }
        Verdict::Held { reason: "a sale is on".into(), retry_after: self.0.since(now) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_granted_waits_and_says_why() {
    let server = Server::new();
    let sale_ends = env().now() + Duration::from_secs(100);
    let rows = vec![Row::of::<ReplicaSets>()];
    let handle = start_with(&server, rows, Arc::new(Until(sale_ends)), HostConfig::alone());
    server.put(SETS, set("cart", 3));
    pass(5).await;
    server.edit(SETS, "shop", "cart", |s| s["spec"]["replicas"] = json!(1));
    pass(5).await;
    assert_eq!(server.list(PODS).len(), 3);
    let why = handle.why("replicaset-controller", &ObjectKey::new("shop", "cart"));
    assert_eq!(why, [Note::new(Severity::Why, "Held", "a sale is on")]);
    pass(100).await;
    assert_eq!(server.list(PODS).len(), 1);
    assert!(handle.why("replicaset-controller", &ObjectKey::new("shop", "cart")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_fuse_slows_down_mass_removal() {
    let server = Server::new();
    let mut config = HostConfig::alone();
    config.rates.remove_pod = reconcile::Rate { burst: 10, per_second: 1 };
    start_with(&server, vec![Row::of::<ReplicaSets>()], Arc::new(AllowAll), config);
    server.put(SETS, set("cart", 60));
    pass(5).await;
    server.edit(SETS, "shop", "cart", |s| s["spec"]["replicas"] = json!(0));
    pass(10).await;
    let left = server.list(PODS).len();
    assert!((38..=45).contains(&left), "{left}");
    pass(60).await;
    assert_eq!(server.list(PODS).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_planned_while_a_cache_is_not_synced() {
    let server = Server::new();
    server.put(SETS, set("cart", 1));
    server.put(PODS, json!({"metadata": {"name": "a", "namespace": "shop", "labels": {"app": "cart"}}}));
    server.refuse(|method, path| {
        let pods = method == "GET" && path.ends_with("/pods");
        pods.then(|| Status::failure(Reason::ServiceUnavailable, "not yet"))
    });
    start(&server);
    pass(20).await;
    assert_eq!(server.requests().iter().filter(|r| !r.starts_with("GET")).count(), 0);
    server.serve_all();
    pass(60).await;
    assert_eq!(server.list(PODS).len(), 1, "the one that was there all the time");
}

/// Panics on one name and creates a status for the others.
struct Touchy;

impl Thinker for Touchy {
    type Primary = ReplicaSet;
    type Observed = Arc<ReplicaSet>;
    const NAME: &'static str = "touchy";

    fn watches() -> Vec<Watch> {
        vec![Watch::silent::<Pod>()]
    }

    fn permissions() -> Vec<Permission> {
        Vec::new()
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Arc<ReplicaSet>> {
        world.cache::<ReplicaSet>().get(key).cloned()
    }

    fn plan(seen: &Arc<ReplicaSet>, _: Time) -> Plan {
        assert_ne!(seen.metadata.name, "bad", "cannot stand it");
        let mut plan = Plan::new();
        if seen.status.replicas != 5 {
            plan.act(Action::status(reconcile::Target::of(&**seen), json!({"replicas": 5})));
        }
        plan
    }
}

#[tokio::test(start_paused = true)]
async fn a_planner_that_panics_on_one_key_serves_the_others() {
    let server = Server::new();
    let handle = start_with(&server, vec![Row::of::<Touchy>()], Arc::new(AllowAll), HostConfig::alone());
    server.put(SETS, set("bad", 1));
    server.put(SETS, set("good", 1));
    pass(5).await;
    assert_eq!(server.list(SETS)[1]["status"]["replicas"], 5);
    let panics = "controller_runtime_reconcile_total{controller=\"touchy\",result=\"panic\"}";
    assert!(handle.metrics().contains(panics));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lost_most_objects_stops_removals_until_it_is_confirmed() {
    let server = Server::new();
    start(&server);
    server.put(SETS, set("cart", 30));
    server.put(SETS, set("till", 3));
    pass(5).await;
    // The watch breaks, and the list that follows lacks most pods.
    let gone: Vec<String> = server
        .list(PODS)
        .iter()
        .map(|p| p["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|n| n.starts_with("cart"))
        .collect();
    server.lose(PODS, &gone);
    pass(1).await;
    server.edit(SETS, "shop", "till", |s| s["spec"]["replicas"] = json!(0));
    pass(10).await;
    let till = |server: &Server| {
        server
            .list(PODS)
            .iter()
            .filter(|p| p["metadata"]["name"].as_str().unwrap().starts_with("till"))
            .count()
    };
    assert_eq!(till(&server), 3);
    pass(60).await;
    assert_eq!(till(&server), 0);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_hosts_acts_and_the_other_takes_over() {
    let lease = |identity: &str| controller_host::LeaseConfig {
        namespace: "kube-system".into(),
        name: "knarr".into(),
        identity: identity.into(),
    };
    let server = Server::new();
    let client = Client::new(Arc::new(server.clone()), "test");
    let host = |identity: &str| {
        let config = HostConfig::elected(lease(identity));
        Host::new(over(client.clone()), env(), vec![Row::of::<ReplicaSets>()], Arc::new(AllowAll), config)
    };
    let first = tokio::spawn(host("a").run());
    pass(1).await;
    tokio::spawn(host("b").run());
    server.put(SETS, set("cart", 2));
    pass(20).await;
    let holder = |server: &Server| {
        server.list("/apis/coordination.k8s.io/v1/leases")[0]["spec"]["holderIdentity"].clone()
    };
    assert_eq!((server.list(PODS).len(), holder(&server)), (2, json!("a")));
    first.abort();
    server.edit(SETS, "shop", "cart", |s| s["spec"]["replicas"] = json!(3));
    pass(10).await;
    assert_eq!(server.list(PODS).len(), 2, "the lease of the first is still valid");
    pass(20).await;
    assert_eq!((server.list(PODS).len(), holder(&server)), (3, json!("b")));
}

#[test]
fn the_kinds_of_a_row_are_known() {
    let row = Row::of::<ReplicaSets>();
    assert_eq!(row.primary, ReplicaSet::RESOURCE);
    assert_eq!(row.watches.len(), 2);
}

/// Deletes 60 of 100 sets behind the host's back, one watch event each, and then asks for a scale-in.
#[tokio::test(start_paused = true)]
async fn a_watch_that_loses_most_objects_stops_removals_for_a_second_look() {
    let server = Server::new();
    start(&server);
    (0..100).for_each(|n| server.put(SETS, set(&format!("empty-{n}"), 0)));
    server.put(SETS, set("till", 3));
    pass(5).await;
    let client = Client::new(Arc::new(server.clone()), "somebody");
    for n in 0..60 {
        let name = format!("empty-{n}");
        let options = api_client::DeleteOptions::default();
        client.delete(&ReplicaSet::RESOURCE, ("shop", &name), &options).await.unwrap();
    }
    pass(1).await;
    server.edit(SETS, "shop", "till", |s| s["spec"]["replicas"] = json!(1));
    pass(10).await;
    assert_eq!(server.list(PODS).len(), 3);
    pass(30).await;
    assert_eq!(server.list(PODS).len(), 1);
}

/// Grants everything and writes down what it hears.
#[derive(Default)]
struct Ears(std::sync::Mutex<Vec<String>>);

impl Permit for Ears {
    fn ask(&self, request: &PermitRequest, _: Option<&World>, _: Time) -> Verdict {
        self.0.lock().unwrap().push(format!("ask {}", request.risk.name()));
        Verdict::Granted
    }

    fn settle(&self, _: &PermitRequest, outcome: reconcile::Outcome, _: Time) {
        let outcome = match outcome {
            reconcile::Outcome::Done(_) => "done",
            reconcile::Outcome::Undone => "undone",
            reconcile::Outcome::Unknown => "unknown",
        };
        self.0.lock().unwrap().push(outcome.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn who_grants_hears_what_became_of_every_grant() {
    let server = Server::new();
    let ears = Arc::new(Ears::default());
    start_with(&server, vec![Row::of::<ReplicaSets>()], ears.clone(), HostConfig::alone());
    server.put(SETS, set("cart", 4));
    pass(5).await;
    let mut refusals = 2;
    server.refuse(move |method, _| {
        if method != "DELETE" || refusals == 0 {
            return None;
        }
        refusals -= 1;
        Some(Status::failure(Reason::Forbidden, "not today"))
    });
    server.edit(SETS, "shop", "cart", |s| s["spec"]["replicas"] = json!(1));
    pass(20).await;
    let heard = ears.0.lock().unwrap().clone();
    let count = |what: &str| heard.iter().filter(|h| *h == what).count();
    assert_eq!(count("ask pod removals"), count("done") + count("undone"), "{heard:?}");
    assert_eq!((count("done"), server.list(PODS).len()), (3, 1), "{heard:?}");
    assert!(count("undone") >= 2, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn the_guard_holds_while_its_brake_is_on_and_lets_go_without_a_restart() {
    const GUARDS: &str = "/apis/knarr.dev/v1alpha1/guards";
    let server = Server::new();
    let rows = std::iter::once(Row::of::<ReplicaSets>()).chain(guard::rows()).collect();
    let handle = start_with(&server, rows, Arc::new(guard::Guard::new()), HostConfig::alone());
    server.put(
        GUARDS,
        json!({"metadata": {"name": "default"}, "spec": {"brake": {"on": true, "reason": "a sale"}}}),
    );
    server.put(SETS, set("cart", 3));
    pass(5).await;
    server.edit(SETS, "shop", "cart", |s| s["spec"]["replicas"] = json!(1));
    pass(10).await;
    assert_eq!(server.list(PODS).len(), 3);
    let why = handle.why("replicaset-controller", &ObjectKey::new("shop", "cart"));
    assert!(why[0].message.starts_with("the brake of Guard/default was put on: a sale"), "{why:?}");
    let status = server.list(GUARDS)[0]["status"].clone();
    assert_eq!((&status["held"], &status["holds"][0]["object"]), (&json!(1), &json!("shop/cart")));
    server.edit(GUARDS, "", "default", |g| g["spec"]["brake"]["on"] = json!(false));
    pass(10).await;
    assert_eq!(server.list(PODS).len(), 1);
    assert_eq!(server.list(GUARDS)[0]["status"]["held"], 0);
}
