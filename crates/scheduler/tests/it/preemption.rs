//! Room made for more important pods: who goes, what is said, what is written, and what holds it back.

use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use reconcile::{Permit, PermitRequest, Verdict, World};
use serde_json::{Value, json};
use stdx::{Rng, SeededRng, Time};

use crate::server::Server;
use crate::world::{events, node, pod, settle, start, start_guarded};

fn ranked(name: &str, cpu: &str, priority: i32) -> Value {
    let mut pod = pod(name, cpu);
    pod["spec"]["priority"] = json!(priority);
    pod["metadata"]["labels"] = json!({"app": name});
    pod
}

fn placed(name: &str, cpu: &str, priority: i32, on: &str) -> Value {
    let mut pod = ranked(name, cpu, priority);
    pod["spec"]["nodeName"] = json!(on);
    pod
}

fn budget(app: &str, allowed: i64) -> Value {
    json!({"metadata": {"name": app, "namespace": "d", "uid": format!("pdb-{app}")},
        "spec": {"selector": {"matchLabels": {"app": app}}}, "status": {"disruptionsAllowed": allowed}})
}

fn find(server: &Server, name: &str) -> Value {
    let pods = server.list("pods");
    pods.into_iter().find(|p| p["metadata"]["name"] == name).expect("the pod is there")
}

/// Names of the pods that are going.
fn going(server: &Server) -> Vec<String> {
    let pods = server.list("pods");
    let gone = pods.iter().filter(|p| !p["metadata"]["deletionTimestamp"].is_null());
    gone.map(|p| p["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Lets all that are going end.
fn let_end(server: &Server) {
    going(server).iter().for_each(|name| server.remove("pods", name));
}

#[tokio::test(start_paused = true)]
async fn the_victim_is_told_why_and_the_pod_takes_its_room_when_it_is_gone() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", placed("low", "1", 1, "n1"));
    server.put("pods", ranked("high", "1", 9));
    let metrics = start(&server);
    settle(1).await;
    assert_eq!(going(&server), ["low"]);
    assert_eq!(find(&server, "high")["status"]["nominatedNodeName"], "n1");
    let condition = &find(&server, "low")["status"]["conditions"][0];
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [text("type"), text("status"), text("reason"), text("message")],
        [
            "DisruptionTarget",
            "True",
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod"
        ]
    );
    // While it ends nobody else is looked for, however often the pod is tried.
    settle(30).await;
    assert_eq!(going(&server), ["low"]);
    let_end(&server);
    settle(15).await;
    assert_eq!(server.places(), ["high -> n1"]);
    expect![[r#"
        Normal Preempted x1 low: Preempted by pod uid-high on node n1
        Normal Scheduled x1 high: Successfully assigned d/high to n1
        Warning FailedScheduling x1 high: 0/1 nodes are available: 1 Insufficient cpu.
        Warning FailedScheduling x1 high: 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to a terminating pod on the nominated node.
    "#]]
    .assert_eq(&events(&server));
    assert!(metrics.text().contains("scheduler_preemption_victims_total 1"));
}

#[tokio::test(start_paused = true)]
async fn the_room_is_kept_from_equals_and_lesser_pods_but_not_from_betters() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", placed("low", "1", 1, "n1"));
    server.put("pods", ranked("high", "1", 5));
    start(&server);
    settle(1).await;
    // Gone while an equal and a lesser pod wait too.
    server.put("pods", ranked("equal", "1", 5));
    server.put("pods", ranked("lesser", "1", 2));
    settle(1).await;
    let_end(&server);
    settle(15).await;
    assert_eq!(server.places(), ["equal -> -", "high -> n1", "lesser -> -"]);
}

#[tokio::test(start_paused = true)]
async fn a_better_pod_takes_the_place_and_the_displaced_one_says_it_waits_for_none() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", placed("low", "1", 1, "n1"));
    server.put("pods", ranked("high", "1", 5));
    start(&server);
    settle(1).await;
    server.put("pods", ranked("higher", "1", 8));
    settle(2).await;
    assert_eq!(find(&server, "higher")["status"]["nominatedNodeName"], "n1");
    assert_eq!(find(&server, "high")["status"]["nominatedNodeName"], Value::Null);
    let_end(&server);
    settle(15).await;
    assert_eq!(server.places(), ["high -> -", "higher -> n1"]);
    // Two that want the same place do not chase each other: nobody else went.
    settle(400).await;
    assert_eq!((server.places(), going(&server)), (vec!["high -> -".into(), "higher -> n1".into()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_when_the_pod_fits_elsewhere_or_nowhere_anyway() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("nodes", node("n2", "1"));
    server.put("pods", placed("low", "1", 1, "n1"));
    server.put("pods", ranked("fits", "1", 9));
    start(&server);
    settle(1).await;
    server.put("pods", ranked("too-big", "2", 9));
    let mut never = ranked("never", "1", 9);
    never["spec"]["preemptionPolicy"] = json!("Never");
    server.put("pods", never);
    settle(400).await;
    assert_eq!(going(&server), Vec::<String>::new());
    assert_eq!(server.places(), ["fits -> n2", "low -> n1", "never -> -", "too-big -> -"]);
    expect![[r#"
        Normal Scheduled x1 fits: Successfully assigned d/fits to n2
        Warning FailedScheduling x2 never: 0/2 nodes are available: 2 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.
        Warning FailedScheduling x2 too-big: 0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.
    "#]]
    .assert_eq(&events(&server));
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_not_broken_where_another_node_can_be_opened() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("nodes", node("n2", "1"));
    server.put("poddisruptionbudgets", budget("held", 0));
    server.put("pods", placed("held", "1", 1, "n1"));
    server.put("pods", placed("free", "1", 3, "n2"));
    server.put("pods", ranked("high", "1", 9));
    start(&server);
    settle(1).await;
    assert_eq!(going(&server), ["free"]);
}

/// Holds everything, and says why.
struct Closed;

impl Permit for Closed {
    fn ask(&self, _: &PermitRequest, _: Option<&World>, _: Time) -> Verdict {
        Verdict::Held { reason: "the brake is on".into(), retry_after: Duration::from_secs(5) }
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_holds_preemption_back_and_the_pod_says_so() {
    let server = Server::new(None);
    server.put("nodes", node("n1", "1"));
    server.put("pods", placed("low", "1", 1, "n1"));
    server.put("pods", ranked("high", "1", 9));
    start_guarded(&server, Arc::new(Closed));
    settle(60).await;
    assert_eq!(
        (going(&server), &find(&server, "high")["status"]["nominatedNodeName"]),
        (vec![], &Value::Null)
    );
    expect![[r#"
        Warning FailedScheduling x2 high: 0/1 nodes are available: 1 Insufficient cpu. preemption: held back, pod d/low stays: the brake is on.
    "#]]
    .assert_eq(&events(&server));
}

/// Random clusters, some pods in front of a budget, victims that take their time: whoever goes goes for somebody who then gets
/// the room, no budget is broken that need not be, and it comes to rest.
#[tokio::test(start_paused = true)]
async fn random_clusters_come_to_rest_with_nobody_sent_away_in_vain() {
    for seed in 0..40 {
        let rng = SeededRng::new(seed);
        let below = |n: u64| rng.next_u64() % n;
        let server = Server::new(None);
        for n in 0..4 {
            server.put("nodes", node(&format!("n{n}"), "4"));
        }
        let mut serial = 0;
        for n in 0..4 {
            for _ in 0..2 {
                serial += 1;
                let app = if below(2) == 0 { "held" } else { "free" };
                let mut pod = placed(&format!("old{serial}"), "2", 1 + below(3) as i32, &format!("n{n}"));
                pod["metadata"]["labels"] = json!({"app": app});
                server.put("pods", pod);
            }
        }
        server.put("poddisruptionbudgets", budget("held", 0));
        start(&server);
        settle(1).await;
        let wanted = 1 + below(3);
        for i in 0..wanted {
            server.put("pods", ranked(&format!("new{i}"), "2", 5));
        }
        settle(2).await;
        let victims = going(&server);
        let pods = server.list("pods");
        let app = |name: &String| {
            let pod = pods.iter().find(|p| p["metadata"]["name"] == **name).expect("still going");
            pod["metadata"]["labels"]["app"] == "held"
        };
        let free = pods.iter().filter(|p| p["metadata"]["labels"]["app"] == "free").count();
        let broken = victims.iter().filter(|v| app(v)).count();
        assert_eq!(victims.len() as u64, wanted, "seed {seed}: one each, of the same size: {victims:?}");
        assert!(broken == 0 || free < wanted as usize, "seed {seed}: {victims:?}");
        // They end one after the other.
        for _ in 0..8 {
            if let Some(first) = going(&server).first() {
                server.remove("pods", first);
            }
            settle(7).await;
        }
        assert_eq!(going(&server), Vec::<String>::new(), "seed {seed}: nobody else went");
        let waiting = server.places().iter().filter(|p| p.ends_with("-> -")).count();
        assert_eq!(waiting, 0, "seed {seed}: {:?}", server.places());
    }
}
