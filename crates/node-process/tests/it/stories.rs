use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, container, get, is_running, path, script, server, until_gone};

#[tokio::test]
async fn a_pod_serves_on_its_own_address_and_leaves_nothing_behind() {
    let w = World::new();
    w.api.pod("p", "n1", json!({"containers": [server("serve:1")]}));
    let pod = w.until_ready("p").await;
    let ip = pod["status"]["podIP"].as_str().unwrap();
    assert!(ip.starts_with("127.") && ip.ends_with(".64.1"), "{ip}");
    assert_eq!(pod["status"]["hostIP"], "127.0.0.1");
    assert_eq!(get(&format!("{ip}:8080"), "/").await.unwrap(), "one\n");
    let (pid, shim) = (w.pid("p", "a"), w.start_record("p", "a")["shim_pid"].as_i64().unwrap());
    w.api.delete(&path("p"), 30);
    w.until("p", "gone", Value::is_null).await;
    until_gone(pid).await;
    until_gone(i32::try_from(shim).unwrap()).await;
    let start = std::time::Instant::now();
    while std::fs::read_dir(w.dir.join("state/pods")).unwrap().count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "the pod's directory is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_pod_finds_token_authority_and_namespace_of_its_account_and_a_new_token_before_the_old_one_ends() {
    let w = World::new();
    w.api.put("/api/v1/namespaces/d/configmaps/kube-root-ca.crt", json!({"data": {"ca.crt": "authority"}}));
    let field = json!({"fieldPath": "metadata.namespace"});
    let sources = json!([
        // Two seconds to live: renewed after 1.6.
        {"serviceAccountToken": {"expirationSeconds": 2, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]);
    let mount = json!({"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    let mut own = server("serve:1");
    own["volumeMounts"] = json!([mount]);
    let volume = json!({"name": "kube-api-access-abcde", "projected": {"sources": sources}});
    w.api.pod("p", "n1", json!({"serviceAccountName": "robot", "containers": [own], "volumes": [volume]}));
    let pod = w.until_ready("p").await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let dir = w.dir.join("state/pods").join(uid).join("volumes/kube-api-access-abcde");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!((read("ca.crt").as_str(), read("namespace").as_str()), ("authority", "d"));
    let first = read("token");
    assert!(first.starts_with("token-"), "{first}");
    let renewed = |_: &Value| read("token") != first;
    w.until("p", "given a new token", renewed).await;
    let asked = w.api.requests();
    assert!(asked.iter().any(|r| r == "POST /api/v1/namespaces/d/serviceaccounts/robot/token"), "{asked:?}");
}

#[tokio::test]
async fn an_image_change_restarts_only_the_changed_container() {
    let w = World::new();
    let spec = |image: &str| json!({"containers": [server(image), script("b", "sleep 1000")]});
    w.api.pod("p", "n1", spec("serve:1"));
    let before = w.until_ready("p").await;
    let (a, b) = (w.pid("p", "a"), w.pid("p", "b"));
    w.api.pod("p", "n1", spec("serve:2"));
    let is_new =
        |pod: &Value| container(pod, "a")["restartCount"] == 1 && container(pod, "a")["ready"] == true;
    let after = w.until("p", "updated", is_new).await;
    assert_eq!(w.pid("p", "b"), b);
    assert!(is_running(b) && !is_running(a));
    assert_eq!(container(&before, "b"), container(&after, "b"));
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_ne!(container(&before, "a")["imageID"], container(&after, "a")["imageID"]);
    assert_ne!(container(&before, "a")["containerID"], container(&after, "a")["containerID"]);
    assert_eq!(container(&after, "a")["image"], "serve:2");
    let ip = after["status"]["podIP"].as_str().unwrap();
    assert_eq!(get(&format!("{ip}:8080"), "/").await.unwrap(), "two\n");
}

#[tokio::test]
async fn an_agent_that_comes_back_adopts_what_runs() {
    let mut w = World::new();
    w.api.pod("p", "n1", json!({"containers": [server("serve:1"), script("b", "sleep 1000")]}));
    let before = w.until_ready("p").await;
    let (a, b) = (w.pid("p", "a"), w.pid("p", "b"));
    w.kill_agent().await;
    assert!(is_running(a) && is_running(b));
    // Ends while nobody looks; its shim writes down how.
    rustix::process::kill_process(rustix::process::Pid::from_raw(b).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    until_gone(b).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    w.api.history();
    w.start_agent();
    let after = w.until("p", "restarted", |p| container(p, "b")["restartCount"] == 1).await;
    assert_eq!(w.pid("p", "a"), a);
    assert!(is_running(a));
    assert_eq!(container(&before, "a")["containerID"], container(&after, "a")["containerID"]);
    assert_eq!(container(&after, "a")["restartCount"], 0);
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_eq!(container(&after, "b")["lastState"]["terminated"]["exitCode"], 137);
}

#[tokio::test]
async fn two_agents_do_not_share_a_directory() {
    let mut first = World::new();
    first.api.pod("p", "n1", json!({"containers": [server("serve:1")]}));
    first.until_ready("p").await;
    let agent = std::mem::replace(&mut first, World::new());
    let mut second = World::new();
    second.kill_agent().await;
    second.dir.clone_from(&agent.dir);
    second.start_agent();
    let error = second.agent_ends().await.unwrap_err();
    assert!(
        error.to_string().contains(&format!("in use by the agent with pid {}", std::process::id())),
        "{error}"
    );
}

#[tokio::test]
async fn a_killed_container_comes_back_and_says_so() {
    let w = World::new();
    w.api.pod("p", "n1", json!({"containers": [script("a", "echo hello; sleep 1000")]}));
    w.until_ready("p").await;
    let pid = rustix::process::Pid::from_raw(w.pid("p", "a")).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let pod = w.until("p", "restarted", |p| container(p, "a")["restartCount"] == 1).await;
    let last = container(&pod, "a")["lastState"]["terminated"].clone();
    assert_eq!(
        (&last["exitCode"], &last["signal"], &last["reason"]),
        (&json!(137), &json!(9), &json!("Error"))
    );
    assert_eq!(w.log("p", "a", "previous=true").await, "hello\n");
}

#[tokio::test]
async fn a_container_whose_shim_is_killed_ends_with_it_and_comes_back() {
    let w = World::new();
    w.api.pod("p", "n1", json!({"containers": [script("a", "sleep 1000 & sleep 1000")]}));
    w.until_ready("p").await;
    let record = w.start_record("p", "a");
    let shim = i32::try_from(record["shim_pid"].as_i64().unwrap()).unwrap();
    let pid = w.pid("p", "a");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(shim).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    until_gone(pid).await;
    let pod = w.until("p", "restarted", |p| container(p, "a")["restartCount"] == 1).await;
    let last = container(&pod, "a")["lastState"]["terminated"].clone();
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("ContainerStatusUnknown")));
}

#[tokio::test]
async fn term_comes_first_and_kill_after_the_grace() {
    let w = World::new();
    let deaf = "trap '' TERM; while true; do sleep 0.1; done";
    let polite = "trap 'echo bye; exit 7' TERM; while true; do sleep 0.1; done";
    w.api.pod("p", "n1", json!({"containers": [script("deaf", deaf), script("polite", polite)]}));
    w.until_ready("p").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let pids = [w.pid("p", "deaf"), w.pid("p", "polite")];
    w.api.history();
    let start = std::time::Instant::now();
    w.api.delete(&path("p"), 2);
    w.until("p", "gone", Value::is_null).await;
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(pids.iter().all(|p| !is_running(*p)));
    let history = w.api.history();
    let last = history.iter().rev().find(|e| e["type"] == "MODIFIED").unwrap()["object"].clone();
    assert_eq!(container(&last, "deaf")["state"]["terminated"]["exitCode"], 137);
    assert_eq!(container(&last, "polite")["state"]["terminated"]["exitCode"], 7);
    assert_eq!(last["status"]["phase"], "Failed");
}

#[tokio::test]
async fn agent_and_pods_end_when_their_directory_is_gone() {
    let mut w = World::new();
    w.api.pod(
        "p",
        "n1",
        json!({"containers": [script("a", "trap '' TERM; while true; do sleep 0.1; done")]}),
    );
    w.until_ready("p").await;
    let pid = w.pid("p", "a");
    std::fs::remove_dir_all(&w.dir).unwrap();
    assert!(w.agent_ends().await.is_err());
    until_gone(pid).await;
}

#[tokio::test]
async fn a_shutdown_ends_the_pods() {
    let mut w = World::new();
    w.api.pod("p", "n1", json!({"containers": [script("a", "sleep 1000"), script("b", "sleep 1000")]}));
    w.until_ready("p").await;
    let pids = [w.pid("p", "a"), w.pid("p", "b")];
    w.shut_down().await;
    assert!(pids.iter().all(|p| !is_running(*p)));
    // The object is still there, and the next agent starts its containers again.
    w.start_agent();
    let pod = w
        .until("p", "restarted", |p| {
            container(p, "a")["restartCount"] == 1 && container(p, "b")["restartCount"] == 1
        })
        .await;
    assert!(!pod.is_null());
}

#[tokio::test]
async fn logs_are_answered_by_tail_follow_and_timestamp() {
    let w = World::new();
    let text = "for i in 1 2 3; do echo line $i; done; sleep 1; echo late >&2; sleep 0.2; exit 0";
    w.api.pod("p", "n1", json!({"restartPolicy": "Never", "containers": [script("a", text)]}));
    w.until("p", "running", |p| !container(p, "a")["state"]["running"].is_null()).await;
    let followed = w.log("p", "a", "follow=true").await;
    assert_eq!(followed, "line 1\nline 2\nline 3\nlate\n");
    assert_eq!(w.log("p", "a", "tailLines=2").await, "line 3\nlate\n");
    let stamped = w.log("p", "a", "tailLines=1&timestamps=true").await;
    let (stamp, rest) = stamped.split_once(' ').unwrap();
    assert!(stamp.parse::<stdx::Time>().is_ok() && rest == "late\n", "{stamped}");
    let pod = w.until("p", "over", |p| p["status"]["phase"] == "Succeeded").await;
    assert_eq!(container(&pod, "a")["state"]["terminated"]["reason"], "Completed");
    assert!(w.log("p", "x", "").await.contains("not found"));
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let w = World::new();
    let refuse = |name: &str, spec: Value| w.api.pod(name, "n1", spec);
    refuse("image", json!({"containers": [{"name": "a", "image": "nginx:1"}]}));
    refuse("command", json!({"containers": [{"name": "a", "image": "serve:1", "command": ["sh"]}]}));
    refuse(
        "volume",
        json!({"containers": [server("serve:1")], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    );
    refuse(
        "map",
        json!({"containers": [{"name": "a", "image": "serve:1", "envFrom": [{"configMapRef": {"name": "c"}}]}]}),
    );
    let waits =
        |reason: &'static str| move |p: &Value| container(p, "a")["state"]["waiting"]["reason"] == reason;
    let message =
        |pod: Value| container(&pod, "a")["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    let image = message(w.until("image", "refused", waits("ErrImagePull")).await);
    assert!(image.contains("serve:1, serve:2, sh:1"), "{image}");
    assert!(
        message(w.until("command", "refused", waits("CreateContainerError")).await).contains("allowCommand")
    );
    assert!(message(w.until("volume", "refused", waits("UnsupportedVolume")).await).contains("hostPath"));
    let map = w.until("map", "refused", waits("CreateContainerConfigError")).await;
    assert_eq!(message(map), "configmap \"c\" not found");
    assert!(w.until_event("UnsupportedVolume").await.contains("emptyDir"));
    w.api.put("/api/v1/namespaces/d/configmaps/c", json!({"data": {"k": "v"}}));
    w.until("map", "running", |p| !container(p, "a")["state"]["running"].is_null()).await;
}

#[tokio::test]
async fn surroundings_are_clean_and_volumes_are_found() {
    let w = World::new();
    w.api.put("/api/v1/namespaces/d/configmaps/c", json!({"data": {"k": "from the map"}}));
    let text = "env | sort; grep NoNewPrivs /proc/self/status; cat etc/c/k; echo; echo kept > data/x; cat \"$KNARR_VOLUME_DATA/x\"";
    let mut a = script("a", text);
    a["env"] = json!([{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    a["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}, {"name": "c", "mountPath": "/etc/c"}]);
    let volumes = json!([{"name": "data", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]);
    w.api.pod("p", "n1", json!({"restartPolicy": "Never", "containers": [a], "volumes": volumes}));
    w.until("p", "over", |p| p["status"]["phase"] == "Succeeded").await;
    let log = w.log("p", "a", "").await;
    let names: Vec<&str> = log.lines().filter_map(|l| Some(l.split_once('=')?.0)).collect();
    assert_eq!(
        names,
        [
            "HOME",
            "HOSTNAME",
            "KNARR_VOLUME_C",
            "KNARR_VOLUME_DATA",
            "NODE_NAME",
            "PATH",
            "POD_IP",
            "POD_NAME",
            "POD_NAMESPACE",
            "PWD",
            "WHO"
        ]
    );
    assert!(log.contains("WHO=p\n"), "{log}");
    assert!(log.ends_with("NoNewPrivs:\t1\nfrom the map\nkept\n"), "{log}");
}

#[tokio::test]
async fn probes_decide_by_command_and_restart_what_is_dead() {
    let w = World::new();
    let mut a = script("a", "touch alive; while true; do sleep 0.1; done");
    a["livenessProbe"] = json!({"exec": {"command": ["test", "-e", "alive"]}, "periodSeconds": 1, "failureThreshold": 1,
                                "initialDelaySeconds": 1});
    a["readinessProbe"] = json!({"tcpSocket": {"host": "8.8.8.8", "port": 53}, "periodSeconds": 1});
    w.api.pod("p", "n1", json!({"terminationGracePeriodSeconds": 1, "containers": [a]}));
    w.until("p", "running", |p| !container(p, "a")["state"]["running"].is_null()).await;
    assert!(w.until_event("Unhealthy").await.contains("outside 127.0.0.0/8"));
    let uid = w.pod("p")["metadata"]["uid"].as_str().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(container(&w.pod("p"), "a")["restartCount"], 0);
    std::fs::remove_file(w.dir.join(format!("state/pods/{uid}/containers/a/0/root/alive"))).unwrap();
    let pod = w.until("p", "restarted", |p| container(p, "a")["restartCount"] == 1).await;
    assert!(container(&pod, "a")["lastState"]["terminated"]["exitCode"].as_i64().unwrap() > 128);
    assert!(w.until_event("Killing").await.contains("failed liveness probe"));
}

#[tokio::test]
async fn a_container_that_listens_everywhere_is_named() {
    let w = World::new();
    let mut a = server("serve:1");
    a["args"] = json!(["--host=0.0.0.0", "--port=18999"]);
    a["readinessProbe"] = Value::Null;
    w.api.pod("p", "n1", json!({"containers": [a]}));
    let message = w.until_event("ListensOnAllAddresses").await;
    assert!(message.contains("container a") && message.contains("port 18999"), "{message}");
}

#[tokio::test]
async fn a_pod_deleted_behind_the_agents_back_is_ended() {
    let mut w = World::new();
    w.api.pod("p", "n1", json!({"containers": [script("a", "sleep 1000")]}));
    w.api.pod("q", "n1", json!({"containers": [script("a", "sleep 1000")]}));
    w.until_ready("p").await;
    w.until_ready("q").await;
    let (p, q) = (w.pid("p", "a"), w.pid("q", "a"));
    w.api.delete(&path("p"), 0);
    until_gone(p).await;
    w.kill_agent().await;
    w.api.delete(&path("q"), 0);
    w.start_agent();
    until_gone(q).await;
}

#[tokio::test]
async fn a_pre_stop_hook_comes_before_term() {
    let w = World::new();
    let mut a = script("a", "trap 'cat hook; exit 0' TERM; while true; do sleep 0.1; done");
    a["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh", "-c", "echo first > hook; sleep 0.5"]}}});
    w.api.pod("p", "n1", json!({"containers": [a, script("b", "while true; do sleep 0.1; done")]}));
    w.until_ready("p").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log = w.log("p", "a", "follow=true");
    let (log, ()) = tokio::join!(log, async { w.api.delete(&path("p"), 10) });
    assert_eq!(log, "first\n");
    w.until("p", "gone", Value::is_null).await;
}

#[tokio::test]
async fn containers_are_kept_alive_while_the_server_is_away() {
    let w = World::new();
    w.api.pod("p", "n1", json!({"containers": [script("a", "sleep 1000")]}));
    w.until_ready("p").await;
    w.api.set_down(true);
    let old = w.pid("p", "a");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(old).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let start = std::time::Instant::now();
    let records = w.dir.join("state/pods").join(w.pod("p")["metadata"]["uid"].as_str().unwrap());
    while !records.join("containers/a/1/start.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "not restarted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(container(&w.pod("p"), "a")["restartCount"], 0, "nobody can have been told");
    w.api.set_down(false);
    w.until("p", "reported", |p| container(p, "a")["restartCount"] == 1).await;
}
