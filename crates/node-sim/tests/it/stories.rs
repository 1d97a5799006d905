use std::time::Duration;

use expect_test::{Expect, expect};
use node_sim::Config;
use serde_json::{Value, json};
use stdx::Env;

use crate::fake_api::FakeApi;
use crate::virtual_env;

struct World {
    env: Env,
    api: FakeApi,
    sim: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(nodes: usize) -> World {
        let env = virtual_env::env(1);
        let api = FakeApi::new(&env);
        let sim = simulate(&api, &env, nodes);
        World { env, api, sim }
    }

    async fn wait(&self, secs: u64) {
        self.env.sleep(Duration::from_secs(secs)).await;
    }

    fn pod(&self, name: &str) -> Value {
        self.api.object(&path(name)).unwrap_or(Value::Null)
    }

    /// What a watcher of pods saw since the last call, told in lines.
    fn told(&self, expected: &Expect) {
        let start = stdx::Time::from_secs(1_800_000_000);
        let lines = self.api.history().into_iter().map(|event| line(&event)).collect::<Vec<_>>();
        let mut lines = lines;
        lines.dedup();
        expected.assert_eq(&format!(
            "{}\nat {} s\n",
            lines.join("\n"),
            self.env.now().since(start).as_secs()
        ));
    }
}

fn simulate(api: &FakeApi, env: &Env, nodes: usize) -> tokio::task::JoinHandle<()> {
    let mut config = Config::new("t", nodes);
    config.zones = vec!["z1".into(), "z2".into()];
    config.cells = vec!["rz1".into()];
    let run = node_sim::run(api.client(), env.clone(), config);
    tokio::spawn(async move { run.await.unwrap() })
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/d/pods/{name}")
}

fn line(event: &Value) -> String {
    let pod = &event["object"];
    if event["type"] == "DELETED" {
        return format!("{} deleted", pod["metadata"]["name"].as_str().unwrap());
    }
    let status = &pod["status"];
    let states = status["containerStatuses"].as_array().into_iter().flatten().map(|c| {
        let state = c["state"].as_object().unwrap().iter().next().map(|(kind, detail)| {
            let detail = detail["reason"].as_str().map(str::to_owned);
            detail.unwrap_or_else(|| kind.clone())
        });
        let id = c["containerID"].as_str().unwrap_or("sim://-").trim_start_matches("sim://");
        let (name, count) = (c["name"].as_str().unwrap(), &c["restartCount"]);
        format!("{name}#{count} {} {}", state.unwrap_or_default(), &id[..id.len().min(6)])
    });
    let states: Vec<String> = states.collect();
    let ready = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
    let ready = ready.map_or("-", |c| c["status"].as_str().unwrap());
    let phase = status["phase"].as_str().unwrap_or("-");
    let leaving = if pod["metadata"]["deletionTimestamp"].is_null() { "" } else { " leaving" };
    let ip = status["podIP"].as_str().unwrap_or("-");
    format!(
        "{}{leaving} {phase} {ip} ready={ready} {}",
        pod["metadata"]["name"].as_str().unwrap(),
        states.join(", ")
    )
}

fn one(image: &str) -> Value {
    json!({"containers": [{"name": "a", "image": image, "readinessProbe": {"tcpSocket": {"port": 80}}}]})
}

#[tokio::test(start_paused = true)]
async fn nodes_are_registered_with_labels_and_keep_their_leases() {
    let w = World::start(3);
    w.wait(60).await;
    let node = w.api.object("/api/v1/nodes/sim-1").unwrap();
    assert_eq!(node["metadata"]["labels"]["topology.kubernetes.io/zone"], "z2");
    assert_eq!(node["metadata"]["labels"]["cafe.sofastack.io/cell"], "rz1");
    assert_eq!(node["metadata"]["labels"]["knarr.dev/runtime"], "sim");
    assert_eq!(node["status"]["allocatable"]["pods"], "110");
    assert_eq!(w.api.count("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/"), 3);
    let leases =
        w.api.requests().into_iter().filter(|r| r.starts_with("PATCH") && r.contains("/leases/")).count();
    // Three nodes, each at once and then once in ten seconds, to second 60.
    assert!((20..=22).contains(&leases), "{leases}");
}

#[tokio::test(start_paused = true)]
async fn a_ready_node_loses_the_taint_of_new_nodes_and_keeps_the_others() {
    let w = World::start(1);
    w.wait(1).await;
    let taints = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]);
    w.api.put("/api/v1/nodes/sim-0", json!({"spec": {"taints": taints}}));
    w.wait(1).await;
    let node = w.api.object("/api/v1/nodes/sim-0").unwrap();
    assert_eq!(node["spec"]["taints"], json!([{"key": "a", "effect": "NoSchedule"}]));
}

#[tokio::test(start_paused = true)]
async fn a_pod_lives_from_binding_to_deletion() {
    let w = World::start(2);
    w.wait(1).await;
    w.api.pod("p", "sim-0", one("x:1"));
    w.wait(5).await;
    w.api.delete(&path("p"), 30);
    w.wait(5).await;
    w.told(&expect![[r#"
        p - - ready=- 
        p Pending 10.128.0.1 ready=False a#0 ContainerCreating -
        p Running 10.128.0.1 ready=False a#0 running b365c8
        p Running 10.128.0.1 ready=True a#0 running b365c8
        p leaving Running 10.128.0.1 ready=True a#0 running b365c8
        p leaving Failed 10.128.0.1 ready=False a#0 Error b365c8
        p deleted
        at 11 s
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn an_image_change_replaces_one_container_and_nothing_else() {
    let w = World::start(1);
    w.wait(1).await;
    let spec = |image: &str| {
        json!({"readinessGates": [{"conditionType": "InPlaceUpdateReady"}],
               "containers": [{"name": "a", "image": image}, {"name": "b", "image": "y:1"}]})
    };
    w.api.pod("p", "sim-0", spec("x:1"));
    let gate =
        |status: &str| json!({"status": {"conditions": [{"type": "InPlaceUpdateReady", "status": status}]}});
    w.api.put(&path("p"), gate("True"));
    w.wait(5).await;
    let before = w.pod("p");
    w.api.put(&path("p"), gate("False"));
    w.wait(1).await;
    w.api.pod("p", "sim-0", spec("x:2"));
    w.wait(5).await;
    w.api.put(&path("p"), gate("True"));
    w.wait(1).await;
    let after = w.pod("p");
    let container = |pod: &Value, i: usize| pod["status"]["containerStatuses"][i].clone();
    assert_eq!(container(&before, 1), container(&after, 1));
    assert_ne!(container(&before, 0)["imageID"], container(&after, 0)["imageID"]);
    assert_ne!(container(&before, 0)["containerID"], container(&after, 0)["containerID"]);
    assert_eq!(container(&after, 0)["restartCount"], 1);
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    w.told(&expect![[r#"
        p - - ready=- 
        p Pending 10.128.0.1 ready=False a#0 ContainerCreating -, b#0 ContainerCreating -
        p Pending 10.128.0.1 ready=False a#0 ContainerCreating -, b#0 running 4912f7
        p Running 10.128.0.1 ready=True a#0 running 7e2390, b#0 running 4912f7
        p Running 10.128.0.1 ready=False a#0 running 7e2390, b#0 running 4912f7
        p Running 10.128.0.1 ready=False a#1 ContainerCreating 7e2390, b#0 running 4912f7
        p Running 10.128.0.1 ready=False a#1 running 9c564d, b#0 running 4912f7
        p Running 10.128.0.1 ready=True a#1 running 9c564d, b#0 running 4912f7
        at 13 s
    "#]]);
}

#[tokio::test(start_paused = true)]
async fn a_simulator_started_again_goes_on_where_it_was() {
    let w = World::start(2);
    w.wait(1).await;
    for i in 0..4 {
        w.api.pod(&format!("p{i}"), ["sim-0", "sim-1"][i % 2], one("x:1"));
    }
    w.wait(5).await;
    let before: Vec<Value> = (0..4).map(|i| w.pod(&format!("p{i}"))).collect();
    w.sim.abort();
    w.wait(100).await;
    w.api.requests();
    let again = simulate(&w.api, &w.env, 2);
    w.wait(30).await;
    let after: Vec<Value> = (0..4).map(|i| w.pod(&format!("p{i}"))).collect();
    assert_eq!(before, after);
    let writes = w.api.requests().into_iter().filter(|r| r.starts_with("PATCH") && r.contains("/pods/"));
    assert_eq!(writes.count(), 0, "nothing has changed, so there is nothing to tell");
    w.api.pod("p9", "sim-0", one("x:1"));
    w.wait(5).await;
    let mut all: Vec<Value> = before.iter().map(|p| p["status"]["podIP"].clone()).collect();
    all.push(w.pod("p9")["status"]["podIP"].clone());
    all.dedup();
    assert_eq!(all.len(), 5, "{all:?}");
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn rules_break_pulls_readiness_and_containers() {
    let w = World::start(2);
    w.wait(1).await;
    w.api.put(
        "/api/v1/nodes/sim-1",
        json!({"metadata": {"annotations": {"knarr.dev/sim-never-ready": "*:2"}}}),
    );
    let annotate = |name: &str, key: &str, value: &str| {
        w.api.put(&path(name), json!({"metadata": {"annotations": {key: value}}}));
    };
    annotate("pull", "knarr.dev/sim-fail-pull", "x:*");
    annotate("crash", "knarr.dev/sim-crash", "true");
    annotate("job", "knarr.dev/sim-run-seconds", "2");
    let mut job = one("x:1");
    job["restartPolicy"] = json!("Never");
    for (name, node, spec) in [
        ("pull", "sim-0", one("x:1")),
        ("crash", "sim-0", one("x:1")),
        ("stuck", "sim-1", one("x:2")),
        ("job", "sim-0", job),
    ] {
        w.api.pod(name, node, spec);
    }
    w.wait(12).await;
    let now: Vec<String> =
        ["pull", "crash", "stuck", "job"].iter().map(|n| line(&json!({"object": w.pod(n)}))).collect();
    expect![[r#"
        pull Pending 10.128.0.1 ready=False a#0 ErrImagePull -
        crash Running 10.128.0.2 ready=False a#1 CrashLoopBackOff a7f069
        stuck Running 10.128.1.1 ready=False a#0 running 651f08
        job Succeeded 10.128.0.3 ready=False a#0 Completed 77809c"#]]
    .assert_eq(&now.join("\n"));
    w.api.put(
        "/api/v1/nodes/sim-1",
        json!({"metadata": {"annotations": {"knarr.dev/sim-never-ready": null}}}),
    );
    w.wait(3).await;
    assert!(line(&json!({"object": w.pod("stuck")})).contains("ready=True"));
}

#[tokio::test(start_paused = true)]
async fn nodes_and_pods_of_others_are_left_alone() {
    let w = World::start(0);
    w.sim.abort();
    let foreign = json!({"metadata": {"labels": {"knarr.dev/runtime": "sim"}}, "status": {"conditions": []}});
    w.api.put("/api/v1/nodes/sim-0", foreign.clone());
    w.api.pod("p", "sim-0", one("x"));
    w.api.pod("q", "real-node", one("x"));
    let before = w.api.object("/api/v1/nodes/sim-0");
    let sim = simulate(&w.api, &w.env, 1);
    w.wait(60).await;
    assert_eq!(w.api.object("/api/v1/nodes/sim-0"), before);
    assert!(w.pod("p")["status"].is_null() && w.pod("q")["status"].is_null());
    assert_eq!(w.api.count("/apis/coordination.k8s.io/"), 0);
    sim.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_the_same_name_is_another_pod() {
    let w = World::start(1);
    w.wait(1).await;
    w.api.pod("p", "sim-0", one("x"));
    w.wait(5).await;
    let first = w.pod("p");
    w.api.delete(&path("p"), 0);
    w.api.pod("p", "sim-0", one("x"));
    w.wait(5).await;
    let second = w.pod("p");
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_ne!(
        first["status"]["containerStatuses"][0]["containerID"],
        second["status"]["containerStatuses"][0]["containerID"]
    );
    assert_eq!(second["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_acted_upon_without_a_restart() {
    let w = World::start(1);
    w.wait(1).await;
    let spec = |cpu: &str| json!({"containers": [{"name": "a", "image": "x", "resources": {"requests": {"cpu": cpu}}}]});
    w.api.pod("p", "sim-0", spec("1"));
    w.wait(3).await;
    w.api.pod("p", "sim-0", spec("2"));
    w.wait(3).await;
    let status = w.pod("p")["status"]["containerStatuses"][0].clone();
    assert_eq!(status["resources"]["requests"]["cpu"], "2");
    assert_eq!(status["allocatedResources"]["cpu"], "2");
    assert_eq!(status["restartCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_story() {
    async fn story() -> Vec<Value> {
        let w = World::start(20);
        w.wait(1).await;
        for i in 0..100 {
            w.api.pod(&format!("p{i}"), &format!("sim-{}", i % 20), one("x:1"));
        }
        w.wait(10).await;
        for i in 0..100 {
            w.api.pod(&format!("p{i}"), &format!("sim-{}", i % 20), one("x:2"));
        }
        w.wait(10).await;
        w.sim.abort();
        w.api.history()
    }
    let first = story().await;
    assert!(first.len() > 400);
    assert_eq!(first, story().await);
}

#[tokio::test(start_paused = true)]
async fn an_offline_node_stands_still_until_it_is_back() {
    let w = World::start(1);
    w.wait(1).await;
    w.api.pod("p", "sim-0", one("x:1"));
    w.wait(5).await;
    let offline = |value: Value| {
        w.api.put(
            "/api/v1/nodes/sim-0",
            json!({"metadata": {"annotations": {"knarr.dev/sim-offline": value}}}),
        );
    };
    offline(json!("true"));
    w.wait(1).await;
    w.api.requests();
    w.api.delete(&path("p"), 5);
    w.api.pod("q", "sim-0", one("x:1"));
    w.wait(60).await;
    assert_eq!(w.api.requests(), Vec::<String>::new());
    offline(Value::Null);
    w.wait(15).await;
    assert!(w.pod("p").is_null());
    assert_eq!(w.pod("q")["status"]["phase"], "Running");
    assert!(w.api.requests().iter().any(|r| r.contains("/leases/")));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_given_up_as_silent_says_again_that_it_and_its_pods_are_ready() {
    let w = World::start(1);
    w.wait(1).await;
    w.api.pod("p", "sim-0", one("x:1"));
    w.wait(5).await;
    let ready = |object: &Value| {
        let all = object["status"]["conditions"].as_array().unwrap().clone();
        all.into_iter().find(|c| c["type"] == "Ready").unwrap()
    };
    let offline = |value: Value| {
        w.api.put(
            "/api/v1/nodes/sim-0",
            json!({"metadata": {"annotations": {"knarr.dev/sim-offline": value}}}),
        );
    };
    offline(json!("true"));
    w.wait(1).await;
    let unknown = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"});
    w.api.put("/api/v1/nodes/sim-0", json!({"status": {"conditions": [unknown]}}));
    let mark =
        json!({"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"});
    w.api.put(&path("p"), json!({"status": {"conditions": [mark]}}));
    w.wait(60).await;
    assert_eq!(ready(&w.pod("p"))["status"], "False", "nobody is there to say otherwise");
    w.api.requests();
    offline(Value::Null);
    w.wait(2).await;
    assert_eq!(ready(&w.api.object("/api/v1/nodes/sim-0").unwrap())["status"], "True");
    let pod = ready(&w.pod("p"));
    assert_eq!((&pod["status"], pod.get("reason")), (&json!("True"), None));
    let requests = w.api.requests();
    let place =
        |what: &str| requests.iter().position(|r| r.starts_with("PATCH") && r.contains(what)).unwrap();
    assert!(place("/leases/") < place("/nodes/sim-0/status"), "it renews before it says so: {requests:?}");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_keeps_coming_is_answered_once_a_second() {
    let w = World::start(1);
    w.wait(1).await;
    w.api.pod("p", "sim-0", one("x:1"));
    w.wait(5).await;
    w.api.requests();
    for _ in 0..50 {
        let mark = json!({"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"});
        w.api.put(&path("p"), json!({"status": {"conditions": [mark]}}));
        w.env.sleep(Duration::from_millis(100)).await;
    }
    let written = w.api.requests().into_iter().filter(|r| r.starts_with("PATCH") && r.contains("/pods/p/"));
    let written = written.count();
    assert!((4..=6).contains(&written), "{written} in five seconds");
}
