//! Replays, recordings and decision logs, from the words of the shell to what they print.

use expect_test::expect;
use scheduler::{DecisionLog, LogSettings};
use serde_json::{Value, json};

use crate::fixture::World;

const CLUSTER: &str = "apiVersion: v1
kind: Node
metadata:
  name: n
  labels: {topology.kubernetes.io/zone: a}
  annotations: {simulation.knarr.dev/count: '3'}
status: {allocatable: {cpu: '4', memory: 8Gi, pods: '10'}}
---
apiVersion: v1
kind: Pod
metadata:
  name: batch
  annotations: {simulation.knarr.dev/count: '8', simulation.knarr.dev/every: 1s}
spec:
  containers: [{name: c, image: x, resources: {requests: {cpu: '1'}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: urgent, annotations: {simulation.knarr.dev/at: 20s}}
spec:
  priority: 1000
  containers: [{name: c, image: x, resources: {requests: {cpu: '4'}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: big}
spec:
  containers: [{name: c, image: x, resources: {requests: {cpu: '9'}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: beside}
";

/// kube-scheduler that does not look at room, only at names.
const PLAIN: &str = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- plugins: {score: {disabled: [{name: '*'}]}}
";

#[tokio::test(start_paused = true)]
async fn manifests_are_replayed_under_policies_and_configurations_side_by_side() {
    let w = World::new("simulate-manifests").await;
    let (file, config) = (w.file("cluster.yaml", CLUSTER), w.file("plain.yaml", PLAIN));
    let said = w
        .run(&format!("simulate manifests -f {file} --policy default-scheduler --scheduler-config {config}"))
        .await;
    expect![[r#"
        TRACE       POLICY              RUNS   PODS   UNPLACED   VICTIMS   GPU%   GPU%@130   FRAG%   CPU%     SKEW   VIOLATIONS
        manifests   default-scheduler   1      10     1          2         -      -          -       100.00   0.00   0
        manifests   plain               1      10     1          2         -      -          -       100.00   0.00   0
    "#]].assert_eq(&said.out);
    expect![[r#"
        left out: ConfigMap/beside: neither node nor pod, and makes no pods
    "#]]
    .assert_eq(&said.err);
    let json: Value =
        serde_json::from_str(&w.run(&format!("simulate manifests -f {file} -o json --placements")).await.out)
            .unwrap();
    let run = &json["runs"][0];
    assert_eq!(
        (&run["policy"], &run["pods"], &run["unplaced"]),
        (&json!("default-scheduler"), &json!(10), &json!(1))
    );
    // The urgent one takes a whole node: whoever was there goes elsewhere.
    assert!(run["victims"].as_u64().unwrap() > 0, "{run}");
    assert_eq!(run["violations"], 0);
    assert!(run["placements"]["default/urgent"].as_str().unwrap().starts_with("n-"));
}

#[tokio::test(start_paused = true)]
async fn a_page_has_table_legend_and_the_plots_that_there_is_something_to_draw_for() {
    let w = World::new("simulate-page").await;
    let file = w.file("cluster.yaml", CLUSTER);
    let page = w.dir().join("page.html");
    let line = format!("simulate manifests -f {file} --html {}", page.display());
    w.run(&line).await;
    let first = std::fs::read_to_string(&page).unwrap();
    w.run(&line).await;
    assert_eq!(first, std::fs::read_to_string(&page).unwrap(), "the same input gives the same bytes");
    let parts: Vec<String> = first
        .split('<')
        .filter(|t| {
            ["title>", "h1>", "h2>", "figcaption>", "th>", "svg"].iter().any(|tag| t.starts_with(tag))
        })
        .map(|t| {
            t.split_once(if t.starts_with("svg") { ' ' } else { '>' }).map_or_else(
                String::new,
                |(tag, text)| {
                    if tag == "svg" { tag.to_owned() } else { format!("{tag}: {text}") }
                },
            )
        })
        .collect();
    expect![[r#"
        title: Simulation: manifests
        h1: Simulation
        th: TRACE
        th: POLICY
        th: RUNS
        th: PODS
        th: UNPLACED
        th: VICTIMS
        th: GPU%
        th: GPU%@130
        th: FRAG%
        th: CPU%
        th: SKEW
        th: VIOLATIONS
        th: WAIT-P50-S
        th: WAIT-P99-S
        th: LATENCY-P50-US
        th: LATENCY-P99-US
        th: NODES
        th: TYPICAL
        h2: manifests
        figcaption: CPU allocated
        svg
        title: default-scheduler
        title: knarr
        figcaption: Pods waiting
        svg
        title: default-scheduler
        title: knarr
        figcaption: Skew: nodes by use at the end
        svg
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 3
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 3
        figcaption: Waiting of placed pods
        svg
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: default-scheduler: 0
        title: knarr: 0
        title: knarr: 0
        title: knarr: 0
    "#]]
    .assert_eq(&(parts.join("\n") + "\n"));
}

#[tokio::test(start_paused = true)]
async fn wrong_files_are_named_with_what_is_wrong_and_what_to_do() {
    let w = World::new("simulate-wrong").await;
    let lonely =
        w.file("lonely.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n");
    let odd = w.file("odd.yaml", &CLUSTER.replace("every: 1s", "every: soon"));
    let text = w.file("text.txt", "hello\n");
    let config = w.file("config.yaml", &PLAIN.replace("name: '*'", "name: Fancy"));
    let report = w.file("report.json", "{}");
    let good = w.file("cluster.yaml", CLUSTER);
    let mut said = String::new();
    for line in [
        format!("simulate manifests -f {lonely}"),
        format!("simulate manifests -f {odd}"),
        "simulate manifests -f /nowhere.yaml".to_owned(),
        format!("simulate recording {text}"),
        format!("simulate log {text}"),
        format!("simulate diff {report} {report}"),
        format!("simulate manifests -f {good} --scheduler-config {config}"),
        format!("simulate manifests -f {good} -o xml"),
    ] {
        said += &w.err(&line).await;
    }
    expect![[r#"
        error: no nodes among the manifests: add a Node with status.allocatable; the annotation simulation.knarr.dev/count makes many of it
        error: odd.yaml:13: Pod batch: metadata.annotations: simulation.knarr.dev/every: "soon" is no duration such as 30s, 500ms, 10m, 2h
        error: read /nowhere.yaml: No such file or directory (os error 2)
        error: text.txt:1: is no head of a recording, as `knarr record` writes it: expected value at line 1 column 1
        error: text.txt:1: is no head of a decision log, as `--decision-log` writes it: expected value at line 1 column 1
        error: report.json is no simulation report: missing field `apiVersion` at line 1 column 2
        left out: ConfigMap/beside: neither node nor pod, and makes no pods
        error: config.yaml: profiles[0].plugins.score: not supported: Fancy
        left out: ConfigMap/beside: neither node nor pod, and makes no pods
        error: -o xml: expected json, yaml, wide, name, jsonpath=TEMPLATE or custom-columns=SPEC
    "#]].assert_eq(&said);
}

#[tokio::test(start_paused = true)]
async fn a_live_cluster_is_recorded_and_replayed() {
    let w = World::cluster("simulate-record").await;
    let tape = w.dir().join("tape.jsonl").display().to_string();
    let pods = w.file(
        "pods.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: x, env: [{name: PASSWORD, value: secret}]}]}\n",
    );
    let later = w.file(
        "later.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {nodeSelector: {disk: none}, containers: [{name: c, image: x}]}\n",
    );
    w.out(&format!("apply -f {pods}")).await;
    w.pass(5).await;
    let line = format!("record -o {tape} --for 30");
    let (said, ()) = tokio::join!(w.run(&line), async {
        w.pass(10).await;
        w.out(&format!("apply -f {later}")).await;
        w.pass(5).await;
        w.out("delete pod a").await;
    });
    assert_eq!(said.code, std::process::ExitCode::SUCCESS, "{}", said.err);
    assert!(said.err.contains("recording to tape.jsonl: Ctrl-C ends it"), "{}", said.err);
    let text = std::fs::read_to_string(&tape).unwrap();
    assert!(!text.contains("secret"), "what placement does not read is not recorded");
    let report: Value = serde_json::from_str(
        &w.out(&format!("simulate recording {tape} -o json --placements --policy default-scheduler")).await,
    )
    .unwrap();
    let run = &report["runs"][0];
    assert_eq!((&run["nodes"], &run["pods"], &run["unplaced"]), (&json!(4), &json!(2), &json!(1)), "{run}");
    let reason = run["refused"].as_object().unwrap().keys().next().unwrap().clone();
    assert!(
        reason.starts_with("0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."),
        "{reason}"
    );
    // Taken down at once, the cluster is only what is there.
    let now = w.dir().join("now.jsonl").display().to_string();
    w.run(&format!("record -o {now} --for 0")).await;
    assert!(std::fs::read_to_string(&now).unwrap().lines().count() >= 6);
}

/// Waits until the log's thread has written so many lines with a word.
fn written(path: &std::path::Path, word: &str, lines: usize) {
    while std::fs::read_to_string(path).unwrap().matches(word).count() < lines {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn a_decision_log_of_a_live_scheduler_is_decided_identically_once_more() {
    let w = World::bare_cluster("simulate-log").await;
    let path = w.dir().join("decisions.jsonl");
    let log = DecisionLog::open(LogSettings::new(path.clone())).unwrap();
    let scheduler = scheduler::Scheduler::new(w.client(), w.env.clone(), scheduler::Config::default());
    let metrics = scheduler.metrics();
    tokio::spawn(scheduler.logging(log).run());
    let nodes = "apiVersion: v1\nkind: Node\nmetadata: {name: NAME}\nstatus: {allocatable: {cpu: '2', memory: 8Gi, pods: '10'}}\n";
    let nodes: String = ["n1", "n2"].map(|name| nodes.replace("NAME", name)).join("---\n");
    w.out(&format!("apply -f {}", w.file("nodes.yaml", &nodes))).await;
    w.pass(2).await;
    for i in 0..6 {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{i}}}\nspec: {{tolerations: [{{operator: Exists}}], containers: [{{name: c, image: x, resources: {{requests: {{cpu: 700m}}}}}}]}}\n"
        );
        w.out(&format!("apply -f {}", w.file("pod.yaml", &pod))).await;
        w.pass(1).await;
    }
    w.pass(5).await;
    written(&path, "\"decide\"", 6);
    let log = path.display();
    let said = w.out(&format!("simulate log {log} --pod default/p5")).await;
    // Times and numbers of states are those of the day.
    let stable = said.lines().map(|line| {
        let skip = if line.starts_with("20") { 2 } else { 0 };
        line.split_whitespace().skip(skip).collect::<Vec<_>>().join(" ")
    });
    expect![[r#"
        decisions.jsonl, as logged: 6 decisions, 6 identical, 0 with other scores or reasons, 0 with another outcome
        AT STATE CHOICE WHY
        - 2 Insufficient cpu
    "#]].assert_eq(&(stable.collect::<Vec<_>>().join("\n") + "\n"));
    let config = w.file("plain.yaml", PLAIN);
    let other: Value = serde_json::from_str(
        &w.out(&format!("simulate log {log} --scheduler-config {config} -o json")).await,
    )
    .unwrap();
    assert_eq!(other["policy"], "plain");
    assert!(metrics.text().contains("knarr_scheduler_decision_log_lines_total{result=\"dropped\"} 0"));
}
