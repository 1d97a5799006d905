//! Why a workload waits, from its conditions, its pods and the events about it.

use std::collections::BTreeMap;

use serde_json::Value;
use stdx::Time;

use crate::human_duration;

/// One reason, with the pods it holds back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// How many pods it holds back; 0 when it is about the workload itself.
    pub pods: usize,
    /// Name of one of them.
    pub example: String,
    /// The sentence.
    pub why: String,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pods {
            0 => f.write_str(&self.why),
            1 => write!(f, "{}: {}", self.example, self.why),
            n => write!(f, "{n} pods ({}, …): {}", self.example, self.why),
        }
    }
}

/// Events older than this say nothing about the present.
const EVENT_FRESH_SECS: i64 = 60;
/// Warnings older than this are history, which `describe` tells.
const WARNING_FRESH_SECS: i64 = 900;
/// Warnings told at once.
const WARNINGS_MAX: usize = 5;

/// The reasons, those that hold back most pods first; equal ones are counted together.
pub fn waits(workload: &Value, pods: &[Value], events: &[Value], now: Time) -> Vec<Wait> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods {
        if let Some(why) = pod_wait(pod) {
            found.entry(why).or_default().push(pod["metadata"]["name"].as_str().unwrap_or_default());
        }
    }
    let mut out: Vec<Wait> = found
        .into_iter()
        .map(|(why, names)| Wait {
            pods: names.len(),
            example: names.iter().min().copied().unwrap_or_default().to_owned(),
            why,
        })
        .collect();
    out.sort_by(|a, b| b.pods.cmp(&a.pods).then_with(|| a.cmp(b)));
    for why in own_waits(workload, events, now) {
        if !out.iter().any(|w| w.why == why) {
            out.push(Wait { pods: 0, example: String::new(), why });
        }
    }
    out
}

fn own_waits(workload: &Value, events: &[Value], now: Time) -> Vec<String> {
    let mut out = Vec::new();
    for c in workload["status"]["conditions"].as_array().into_iter().flatten() {
        let bad = match c["type"].as_str().unwrap_or_default() {
            "Progressing" | "Available" => c["status"] == "False",
            kind if ["Failure", "Failed", "Stuck"].iter().any(|w| kind.contains(w)) => c["status"] == "True",
            _ => false,
        };
        if bad {
            out.push(sentence(c["reason"].as_str(), c["message"].as_str()));
        }
    }
    // The notes of the planners: newest first.
    let mut fresh: Vec<(i64, &Value)> = events
        .iter()
        .filter_map(|e| Some((moment(e)?, e)))
        .filter(|(at, e)| now.secs() - at <= EVENT_FRESH_SECS && (e["type"] == "Warning" || is_wait(e)))
        .collect();
    fresh.sort_by_key(|(at, _)| -at);
    out.extend(fresh.iter().take(3).map(|(_, e)| sentence(e["reason"].as_str(), e["message"].as_str())));
    out
}

/// Warnings that were seen lately, the newest first: `reason: message, 12s ago`.
pub fn warnings(events: &[Value], now: Time) -> Vec<String> {
    let mut fresh: Vec<(i64, &Value)> = events
        .iter()
        .filter(|e| e["type"] == "Warning")
        .filter_map(|e| Some((moment(e)?, e)))
        .filter(|(at, _)| now.secs() - at <= WARNING_FRESH_SECS)
        .collect();
    fresh.sort_by_key(|(at, _)| -at);
    let told = |(at, e): (i64, &Value)| {
        let ago = human_duration(now.since(Time::from_secs(at)));
        format!("{}, {ago} ago", sentence(e["reason"].as_str(), e["message"].as_str()))
    };
    fresh.into_iter().take(WARNINGS_MAX).map(told).collect()
}

/// Notes of planners that say what holds a step back.
fn is_wait(event: &Value) -> bool {
    let reason = event["reason"].as_str().unwrap_or_default();
    ["Wait", "Held", "Limited", "Blocked", "Paused", "Partition", "Hook", "Stuck"]
        .iter()
        .any(|w| reason.contains(w))
}

/// When an event was seen last.
pub(crate) fn moment(event: &Value) -> Option<i64> {
    let last = event.pointer("/series/lastObservedTime");
    let named = ["lastTimestamp", "eventTime", "firstTimestamp"].map(|n| event.get(n));
    let texts = [last].into_iter().chain(named).flatten().filter_map(Value::as_str);
    texts.filter_map(|t| t.parse::<Time>().ok()).map(Time::secs).next()
}

fn sentence(reason: Option<&str>, message: Option<&str>) -> String {
    match (reason.filter(|r| !r.is_empty()), message.filter(|m| !m.is_empty())) {
        (Some(r), Some(m)) => format!("{r}: {m}"),
        (one, other) => one.or(other).unwrap_or("no reason is given").to_owned(),
    }
}

/// What a pod waits for; nothing when it is ready or over.
fn pod_wait(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let condition = |kind: &str| {
        let all = status["conditions"].as_array();
        all.into_iter().flatten().find(|c| c["type"] == kind)
    };
    let is_true = |kind: &str| condition(kind).is_some_and(|c| c["status"] == "True");
    if pod["metadata"].get("deletionTimestamp").is_some_and(|t| !t.is_null()) {
        return Some("terminating".to_owned());
    }
    if is_true("Ready") || status["phase"] == "Succeeded" {
        return None;
    }
    if status["phase"] == "Failed" {
        return Some(sentence(status["reason"].as_str().or(Some("Failed")), status["message"].as_str()));
    }
    if let Some(c) = condition("PodScheduled").filter(|c| c["status"] == "False") {
        return Some(sentence(c["reason"].as_str(), c["message"].as_str()));
    }
    if status["phase"].as_str().unwrap_or("Pending") == "Pending" && pod["spec"].get("nodeName").is_none() {
        return Some("not scheduled yet".to_owned());
    }
    container_wait(status).or_else(|| gate_wait(pod, condition)).or_else(|| Some("starting".to_owned()))
}

fn container_wait(status: &Value) -> Option<String> {
    let both = ["initContainerStatuses", "containerStatuses"];
    let all = both.iter().filter_map(|n| status[*n].as_array()).flatten();
    let mut unready = None;
    for c in all {
        let name = c["name"].as_str().unwrap_or_default();
        if let Some(w) = c.pointer("/state/waiting") {
            let plain = matches!(w["reason"].as_str(), Some("ContainerCreating" | "PodInitializing"));
            if !plain {
                return Some(format!(
                    "container {name}: {}",
                    sentence(w["reason"].as_str(), w["message"].as_str())
                ));
            }
        }
        if let Some(t) = c.pointer("/state/terminated").filter(|t| t["exitCode"] != 0) {
            return Some(format!("container {name} ended with exit code {}", t["exitCode"]));
        }
        if c.pointer("/state/running").is_some() && c["ready"] == false {
            unready.get_or_insert_with(|| format!("container {name} is not ready"));
        }
    }
    unready
}

/// A gate that somebody else has to open.
fn gate_wait<'v>(pod: &'v Value, condition: impl Fn(&str) -> Option<&'v Value>) -> Option<String> {
    let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
    let closed = gates
        .filter_map(|g| g["conditionType"].as_str())
        .find(|kind| condition(kind).is_none_or(|c| c["status"] != "True"))?;
    let message = condition(closed).and_then(|c| c["message"].as_str()).filter(|m| !m.is_empty());
    Some(match message {
        Some(m) => format!("readiness gate {closed} is closed: {m}"),
        None => format!("readiness gate {closed} is closed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(pods: &[Value], events: &[Value]) -> Vec<String> {
        waits(&json!({}), pods, events, Time::from_secs(1000)).iter().map(Wait::to_string).collect()
    }

    fn pod(name: &str, status: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": status})
    }

    #[test]
    fn equal_reasons_are_counted_together() {
        let pulling = json!({"phase": "Pending", "containerStatuses": [{"name": "main", "ready": false,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
        let unplaced = json!({"metadata": {"name": "c"}, "spec": {}, "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}});
        let ready =
            pod("d", json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
        assert_eq!(
            told(&[pod("b", pulling.clone()), pod("a", pulling), unplaced, ready], &[]),
            [
                "2 pods (a, …): container main: ImagePullBackOff: no such image",
                "c: Unschedulable: 0/3 nodes are available"
            ]
        );
    }

    #[test]
    fn a_closed_gate_is_named() {
        let mut gated = pod(
            "a",
            json!({"phase": "Running", "containerStatuses": [
            {"name": "main", "ready": true, "state": {"running": {}}}]}),
        );
        gated["spec"]["readinessGates"] = json!([{"conditionType": "InPlaceUpdateReady"}]);
        assert_eq!(told(&[gated], &[]), ["a: readiness gate InPlaceUpdateReady is closed"]);
    }

    #[test]
    fn bad_conditions_are_told_and_good_ones_are_not() {
        let set = json!({"status": {"conditions": [
            {"type": "PodsStuck", "status": "True", "reason": "PodsNotReady", "message": "1 of 20"},
            {"type": "Progressing", "status": "True", "reason": "R", "message": "fine"},
            {"type": "FailedScale", "status": "False", "reason": "R", "message": "fine"},
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "too few"}]}});
        let told: Vec<String> =
            waits(&set, &[], &[], Time::from_secs(0)).iter().map(Wait::to_string).collect();
        assert_eq!(told, ["PodsNotReady: 1 of 20", "MinimumReplicasUnavailable: too few"]);
    }

    #[test]
    fn fresh_warnings_and_waits_are_told_and_old_ones_are_not() {
        let event = |at: i64, kind: &str, reason: &str| json!({"type": kind, "reason": reason, "message": "m", "lastTimestamp": Time::from_secs(at).to_string()});
        let events = [
            event(990, "Normal", "UpdateWaiting"),
            event(995, "Warning", "FailedCreate"),
            event(900, "Warning", "Old"),
            event(999, "Normal", "SuccessfulCreate"),
        ];
        assert_eq!(told(&[], &events), ["FailedCreate: m", "UpdateWaiting: m"]);
    }
}
