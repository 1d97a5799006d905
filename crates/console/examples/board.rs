//! The board with a story that tells itself: a release by groups, a broken one, a lost cell; the buttons work.
//!
//! `cargo run -p console@0.1.0 --example board -- [PORT] [auto]` prints a link. With `auto` nobody needs to press. The API
//! server is real and in memory; what a cluster would do to its objects is written by a script that knows three states.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example that cannot go on has failed; it speaks to a terminal"
)]

#[path = "../tests/it/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use console::{Config, Console, Limits, Token};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use world::{APPS, EVENTS, PODS, World};

const STEP: Duration = Duration::from_millis(400);
const CELLS: [(&str, char); 2] = [("CellA", 'a'), ("CellB", 'b')];
/// Pods of each cell by group: beta first, then four at a time.
const GROUPS: [&[usize]; 4] = [&[0], &[1, 2], &[3, 4], &[5]];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port: u16 = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(0);
    let world = Arc::new(World::new(os::env()).await);
    world.deploy(6).await;
    for n in 0..1000 {
        let cell = CELLS[n % 2].0;
        world.node(&format!("sim-{n}"), cell, json!({})).await;
    }
    let traffic = Arc::new(Traffic::default());
    let proxy = serve_traffic(traffic.clone()).await;
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        token: Token::new("example-example-example").unwrap(),
        allowed_hosts: vec!["localhost".to_owned()],
        traffic: Some(proxy),
        limits: Limits::default(),
    };
    let console = Console::bind(config).await.unwrap();
    println!("{}", console.link());
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let mut story = Story {
        world: world.clone(),
        traffic,
        auto: arguments.iter().any(|a| a == "auto"),
        old: 1,
        new: 1,
        failed: false,
    };
    tokio::spawn(async move {
        loop {
            story.tell().await;
        }
    });
    console.serve(world.client.clone(), world.env.clone(), stopped).await;
}

/// What a proxy would count.
#[derive(Default)]
struct Traffic(Mutex<BTreeMap<String, (u64, u64, bool)>>);

impl Traffic {
    fn set(&self, pod: &str, takes: bool) {
        self.0.lock().unwrap().entry(pod.to_owned()).or_default().2 = takes;
    }

    /// A quarter of a second of 2,000 requests/s, spread over who takes any.
    fn pass(&self, beat: u64) {
        let mut pods = self.0.lock().unwrap();
        let takers = pods.values().filter(|p| p.2).count().max(1) as u64;
        for (n, (requests, open, takes)) in pods.values_mut().enumerate() {
            let wave = (beat * 7 + n as u64 * 13) % 11;
            *open = if *takes { 2 + wave % 4 } else { open.saturating_sub(1) };
            *requests += if *takes { 500 / takers + wave } else { 0 };
        }
    }

    fn json(&self) -> Value {
        let pods = self.0.lock().unwrap();
        let requests: u64 = pods.values().map(|p| p.0).sum();
        let endpoints: Vec<Value> =
            pods.iter().map(|(pod, p)| json!({"pod": pod, "requests": p.0, "open": p.1})).collect();
        json!([{"namespace": "default", "name": "web", "totals": {"requests": requests, "failed": 0, "rps": 2000.0}, "endpoints": endpoints}])
    }
}

async fn serve_traffic(traffic: Arc<Traffic>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = traffic.clone();
    tokio::spawn(async move {
        for beat in 0.. {
            counted.pass(beat);
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let traffic = traffic.clone();
            let service = service_fn(move |_| {
                let body = Full::<bytes::Bytes>::from(traffic.json().to_string());
                async move { Ok::<_, std::convert::Infallible>(http::Response::new(body)) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

/// The script.
struct Story {
    world: Arc<World>,
    traffic: Arc<Traffic>,
    auto: bool,
    old: u32,
    new: u32,
    failed: bool,
}

/// How a group ends.
enum End {
    Done,
    RollBack,
}

impl Story {
    async fn tell(&mut self) {
        self.all_serve().await;
        self.stable().await;
        self.rest(6).await;
        self.release(self.old + 1, false).await;
        self.rest(6).await;
        self.release(self.old + 1, true).await;
        self.rest(6).await;
        self.lose_a_cell().await;
    }

    async fn rest(&self, steps: u32) {
        tokio::time::sleep(STEP * steps).await;
    }

    async fn all_serve(&self) {
        for (_, letter) in CELLS {
            for n in 0..6 {
                self.traffic.set(&format!("web-{letter}-{n}"), true);
            }
        }
    }

    async fn release(&mut self, version: u32, broken: bool) {
        self.new = version;
        let image = json!([{"name": "main", "image": format!("shop:v{version}")}]);
        self.app("", json!({"spec": {"template": {"spec": {"containers": image}}}})).await;
        self.event("Normal", "ReleaseStarted", &format!("release of v{version} begins with beta")).await;
        for group in 0..GROUPS.len() {
            if let End::RollBack = self.group(group, broken).await {
                return self.roll_back(group).await;
            }
        }
        self.old = version;
        self.stable().await;
        self.event("Normal", "ReleaseDone", &format!("all pods serve v{version}")).await;
    }

    async fn group(&mut self, group: usize, broken: bool) -> End {
        let name = group_name(group);
        self.event("Normal", "GroupStarted", &format!("{name} starts")).await;
        for n in GROUPS[group] {
            for (_, letter) in CELLS {
                let pod = format!("web-{letter}-{n}");
                self.traffic.set(&pod, false);
                self.drain(&pod).await;
                self.status(
                    "RollingOut",
                    group,
                    "Running",
                    Some(&format!("{pod} waits until its open requests end")),
                )
                .await;
            }
            self.rest(4).await;
            for (_, letter) in CELLS {
                self.update(&format!("web-{letter}-{n}"), self.new).await;
            }
            self.status("RollingOut", group, "Running", Some("new processes start")).await;
            self.rest(4).await;
            for (_, letter) in CELLS {
                let pod = format!("web-{letter}-{n}");
                match broken {
                    true => self.crash(&pod).await,
                    false => {
                        self.serve(&pod).await;
                        self.traffic.set(&pod, true);
                    }
                }
            }
            self.status("RollingOut", group, "Running", None).await;
            self.rest(2).await;
            if self.is_paused().await {
                self.status("Paused", group, "Running", None).await;
                while self.is_paused().await {
                    self.rest(1).await;
                }
            }
            if self.wants_back().await {
                return End::RollBack;
            }
        }
        if broken {
            return self.hold(group).await;
        }
        if group + 1 < GROUPS.len() { self.confirmation(group).await } else { End::Done }
    }

    async fn hold(&mut self, group: usize) -> End {
        self.failed = true;
        let why = format!(
            "2 pods of {} fail at v{}: process ended with exit code 1; nothing else is touched",
            group_name(group),
            self.new
        );
        self.status("Held", group, "Running", Some(&why)).await;
        self.event("Warning", "ReleaseHeld", &why).await;
        for _ in 0..if self.auto { 12 } else { u32::MAX } {
            if self.wants_back().await {
                break;
            }
            self.rest(1).await;
        }
        End::RollBack
    }

    async fn confirmation(&mut self, group: usize) -> End {
        self.app("", json!({"metadata": {"annotations": {"cafe.sofastack.io/upgrade-confirmed": "false"}}}))
            .await;
        for waited in 0.. {
            let phase = if self.is_paused().await { "Paused" } else { "WaitingForConfirmation" };
            self.status(phase, group, "WaitingForConfirmation", None).await;
            let app = self.world.app().await;
            let is_confirmed =
                app["metadata"]["annotations"]["cafe.sofastack.io/upgrade-confirmed"] == "true";
            if is_confirmed && phase != "Paused" || self.auto && waited > 8 {
                break;
            }
            if self.wants_back().await {
                return End::RollBack;
            }
            self.rest(1).await;
        }
        End::Done
    }

    async fn roll_back(&mut self, group: usize) {
        let back = self.old;
        self.app("", json!({"metadata": {"annotations": {"knarr.dev/rollback-to": null}}})).await;
        self.event("Warning", "RollingBack", &format!("the release goes back to v{back}")).await;
        self.failed = false;
        self.new = back;
        for n in GROUPS[..=group].iter().flat_map(|g| g.iter()) {
            for (_, letter) in CELLS {
                let pod = format!("web-{letter}-{n}");
                self.traffic.set(&pod, false);
                self.update(&pod, back).await;
            }
            self.status("RollingBack", group, "Running", Some("old processes start again")).await;
            self.rest(4).await;
            for (_, letter) in CELLS {
                let pod = format!("web-{letter}-{n}");
                self.serve(&pod).await;
                self.traffic.set(&pod, true);
            }
        }
        let image = json!([{"name": "main", "image": format!("shop:v{back}")}]);
        self.app("", json!({"spec": {"template": {"spec": {"containers": image}}}})).await;
        self.stable().await;
    }

    async fn lose_a_cell(&mut self) {
        self.event("Warning", "CellLost", "none of the nodes of CellB answers").await;
        for n in 0..3 {
            self.world.answers(&format!("node-b{n}"), "Unknown").await;
        }
        (0..6).for_each(|n| self.traffic.set(&format!("web-b-{n}"), false));
        let mut cells = self.cells(0).await;
        cells[1]["lost"] = json!(true);
        cells[1]["available"] = json!(0);
        cells[1]["ready"] = json!(0);
        self.app("status", json!({"status": {"cells": cells, "availableReplicas": 6, "readyReplicas": 6}}))
            .await;
        self.rest(15).await;
        for n in 0..3 {
            self.world.answers(&format!("node-b{n}"), "True").await;
        }
        self.stable().await;
    }

    async fn stable(&mut self) {
        let cells = self.cells(0).await;
        let generation = self.world.app().await["metadata"]["generation"].clone();
        let revision = format!("web-v{}", self.old);
        self.app("status", json!({"status": {"phase": "Stable", "observedGeneration": generation, "currentRevision": revision,
            "updateRevision": revision, "replicas": 12, "readyReplicas": 12, "availableReplicas": 12, "updatedReplicas": 12,
            "groups": null, "waitsFor": null, "cells": cells}})).await;
    }

    async fn status(&mut self, phase: &str, group: usize, group_phase: &str, wait: Option<&str>) {
        let pods =
            self.world.client.list::<Value>(&PODS, "default", &Default::default()).await.unwrap().items;
        let now = self.world.env.now();
        let old = self.world.app().await;
        let started = |g: usize| {
            old["status"]["groups"][g]["startedAt"].as_str().map_or_else(|| now.to_string(), str::to_owned)
        };
        let is = |name: String, what: &dyn Fn(&Value) -> bool| {
            pods.iter().any(|p| p["metadata"]["name"] == *name && what(p))
        };
        let revision = format!("web-v{}", self.new);
        let fresh = |p: &Value| p["metadata"]["labels"]["cafe.sofastack.io/revision"] == *revision;
        let ready = |p: &Value| p["status"]["conditions"][0]["status"] == "True";
        let groups: Vec<Value> = GROUPS
            .iter()
            .enumerate()
            .map(|(g, members)| {
                let names =
                    || members.iter().flat_map(|n| CELLS.map(|(_, letter)| format!("web-{letter}-{n}")));
                let phase = match g.cmp(&group) {
                    std::cmp::Ordering::Less => "Done",
                    std::cmp::Ordering::Equal => group_phase,
                    _ => "Planned",
                };
                let mut row = json!({"index": g, "name": group_name(g), "phase": phase,
                "cells": CELLS.map(|(cell, _)| json!({"name": cell, "pods": members.len()})),
                "updated": names().filter(|n| is(n.clone(), &fresh)).count(),
                "ready": names().filter(|n| is(n.clone(), &|p| fresh(p) && ready(p))).count()});
                if g <= group {
                    row["startedAt"] = json!(started(g));
                }
                if g < group || group_phase != "Running" && g == group {
                    row["finishedAt"] = old["status"]["groups"][g]["finishedAt"]
                        .as_str()
                        .map_or_else(|| json!(now), |t| json!(t));
                }
                row
            })
            .collect();
        let updated = pods.iter().filter(|p| fresh(p)).count();
        let available = pods.iter().filter(|p| ready(p)).count();
        let cells = self.cells(self.new).await;
        let generation = old["metadata"]["generation"].clone();
        let waits = wait
            .map_or(Value::Null, |message| json!({"reason": "Waiting", "message": message, "since": now}));
        self.app("status", json!({"status": {"phase": phase, "observedGeneration": generation, "currentRevision": format!("web-v{}", self.old),
            "updateRevision": revision, "replicas": 12, "readyReplicas": available, "availableReplicas": available,
            "updatedReplicas": updated, "groups": groups, "waitsFor": waits, "cells": cells}})).await;
    }

    async fn cells(&self, version: u32) -> Value {
        let pods =
            self.world.client.list::<Value>(&PODS, "default", &Default::default()).await.unwrap().items;
        let revision = format!("web-v{version}");
        CELLS.iter().map(|(cell, letter)| {
            let own = || pods.iter().filter(|p| p["metadata"]["name"].as_str().unwrap().starts_with(&format!("web-{letter}-")));
            let available = own().filter(|p| p["status"]["conditions"][0]["status"] == "True").count();
            let updated = own().filter(|p| version == 0 || p["metadata"]["labels"]["cafe.sofastack.io/revision"] == *revision).count();
            json!({"name": cell, "podSet": format!("web-{letter}"), "replicas": 6, "current": 6, "ready": available,
                "available": available, "updated": updated, "updatedAvailable": updated, "minAvailable": 4, "lost": false})
        }).collect()
    }

    async fn app(&self, sub: &str, patch: Value) {
        self.world.patch(&APPS, ("default", "web"), sub, patch).await;
    }

    async fn is_paused(&self) -> bool {
        self.world.app().await["spec"]["strategy"]["pause"] == true
    }

    async fn wants_back(&self) -> bool {
        self.world.app().await["metadata"]["annotations"]["knarr.dev/rollback-to"].is_string()
    }

    async fn drain(&self, pod: &str) {
        self.conditions(pod, false, json!([])).await;
    }

    async fn update(&self, pod: &str, version: u32) {
        let patch = json!({"metadata": {"finalizers": null, "labels": {"cafe.sofastack.io/revision": format!("web-v{version}")}},
            "spec": {"containers": [{"name": "main", "image": format!("shop:v{version}")}]}});
        let patch = api_client::Patch::Strategic(patch);
        let _: Value =
            self.world.client.patch(&PODS, ("default", pod), "", &patch, &Default::default()).await.unwrap();
        self.conditions(pod, false, json!([])).await;
    }

    async fn serve(&self, pod: &str) {
        self.world
            .patch(
                &PODS,
                ("default", pod),
                "",
                json!({"metadata": {"finalizers": ["prot.podopslifecycle.kusionstack.io/web"]}}),
            )
            .await;
        self.conditions(pod, true, json!([])).await;
    }

    async fn crash(&self, pod: &str) {
        let container = json!([{"name": "main", "image": format!("shop:v{}", self.new), "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}]);
        self.conditions(pod, false, container).await;
    }

    async fn conditions(&self, pod: &str, is_open: bool, containers: Value) {
        let word = if is_open { "True" } else { "False" };
        let now = self.world.env.now();
        let conditions = ["Ready", "InPlaceUpdateReady"]
            .map(|kind| json!({"type": kind, "status": word, "lastTransitionTime": now}));
        self.world
            .patch(
                &PODS,
                ("default", pod),
                "status",
                json!({"status": {"conditions": conditions, "containerStatuses": containers}}),
            )
            .await;
    }

    async fn event(&self, kind: &str, reason: &str, message: &str) {
        let now = self.world.env.now();
        let name = format!("web.{:x}", now.micros());
        self.world.create(&EVENTS, "default", json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "CafeDeployment", "name": "web", "namespace": "default"}, "type": kind, "reason": reason,
            "message": message, "firstTimestamp": now, "lastTimestamp": now, "count": 1})).await;
    }
}

fn group_name(group: usize) -> String {
    if group == 0 { "beta".to_owned() } else { format!("group-{group}") }
}
