//! What kube-scheduler 1.36.3 answered about 240 pods on six random clusters, asked of these rules. Recorded by
//! `conformance/foreign/scheduler.py --record`, with all nodes scored and the scores from its log.
//!
//! Each recorded pod is decided on the state in which kube-scheduler decided it, and then put where kube-scheduler put it. Our node
//! must be among those with its best score: it breaks ties by chance. Refusals must say the same of as many nodes, but
//! for two things: we still say which taint keeps a pod away, and have no rule about devices that would say it has nothing to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sched_core::Decision;
use serde_json::{Value, json};

use crate::world::{World, merged};

/// How often each kind of agreement was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    same_node: usize,
    tie: usize,
    refused_alike: usize,
}

fn records() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kube-scheduler-1.36.3");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("the records are there").map(|f| f.expect("readable").path()).collect();
    files.sort();
    files
}

/// A sentence as counts by reason, without the words that are ours or theirs alone.
fn counts(sentence: &str) -> BTreeMap<String, u32> {
    let mut out = BTreeMap::new();
    let sentence = sentence
        .replace(" no new claims to deallocate,", "")
        .replace("untolerated taint(s)", "untolerated taint");
    let (_, reasons) = sentence.split_once(": ").expect("it counts nodes");
    for part in reasons.trim_end_matches('.').split(", ").flat_map(|p| p.split(". ")) {
        // "… had untolerated taint {key: value}"
        let part = part.split(" {").next().unwrap_or_default();
        let (count, reason) =
            part.split_once(' ').filter(|(n, _)| n.parse::<u32>().is_ok()).unwrap_or(("0", part));
        *out.entry(reason.to_owned()).or_default() += count.parse::<u32>().unwrap_or(0);
    }
    out
}

fn identified(pod: &Value, node: Option<&str>) -> Value {
    let name = pod["metadata"]["name"].as_str().expect("pods have names");
    let mut out =
        merged(pod.clone(), json!({"metadata": {"namespace": "default", "uid": format!("uid-{name}")}}));
    if let Some(node) = node {
        out["spec"]["nodeName"] = json!(node);
    }
    out
}

fn replay(path: &Path, tally: &mut Tally) {
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON");
    let list = |field: &str| record[field].as_array().cloned().unwrap_or_default();
    let placed: Vec<Value> = list("placed").iter().map(|p| identified(p, None)).collect();
    let mut world = World::new(&list("nodes")).with(&placed);
    for case in list("cases") {
        let name = format!("{} {}", path.display(), case["pod"]["metadata"]["name"]);
        let decision = world.decide(&identified(&case["pod"], None));
        match (decision, case["node"].as_str(), case["says"].as_str()) {
            (Decision::Bind(ours), Some(theirs), _) if *ours.node == *theirs => tally.same_node += 1,
            (Decision::Bind(ours), Some(theirs), _) => {
                let score = |node: &str| case["scores"][node].as_i64();
                assert!(score(theirs).is_some(), "{name}: {theirs} was the only one, not {}", ours.node);
                assert_eq!(
                    score(&ours.node),
                    score(theirs),
                    "{name}: {ours:?}, {theirs} in {}",
                    case["scores"]
                );
                tally.tie += 1;
            }
            (Decision::Refused(refusal), None, Some(says)) => {
                assert_eq!(counts(&refusal.message()), counts(says), "{name}: {}\n{says}", refusal.message());
                tally.refused_alike += 1;
            }
            (decision, ..) => panic!("{name}: {decision:?}, kube-scheduler {case}"),
        }
        if let Some(node) = case["node"].as_str() {
            let fact = world.pod(&identified(&case["pod"], Some(node)));
            world.snapshot.place(Arc::new(fact));
        }
    }
}

#[test]
fn recorded_answers_of_kube_scheduler_are_given_here_too() {
    let mut tally = Tally::default();
    records().iter().for_each(|path| replay(path, &mut tally));
    assert_eq!(tally.same_node + tally.tie + tally.refused_alike, 240, "{tally:?}");
    assert!(tally.same_node > 60 && tally.refused_alike > 60, "{tally:?}");
}
