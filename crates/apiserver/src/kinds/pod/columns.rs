//! How a pod is shown (`printPod` of kube-apiserver 1.36).

use serde_json::{Value, json};
use stdx::Time;

use super::super::check::{flag, given, int, list, text};
use super::super::names::show_labels;
use super::super::show::{age_of, ago, none_if_empty};
use crate::registry::{Cell, Column};

pub(super) static COLUMNS: [Column; 9] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Ready", "string", "", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Restarts", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("IP", "string", "", 1),
    Column::new("Node", "string", "", 1),
    Column::new("Nominated Node", "string", "", 1),
    Column::new("Readiness Gates", "string", "", 1),
];

pub(super) static TEMPLATE_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Containers", "string", "", 0),
    Column::new("Images", "string", "", 0),
    Column::new("Pod Labels", "string", "", 0),
];

pub(super) fn template_row(v: &Value, _: Time) -> Vec<Cell> {
    let (containers, images) = super::super::show::containers(&v["template"]["spec"]);
    vec![
        v["metadata"]["name"].clone(),
        containers.into(),
        images.into(),
        show_labels(&v["template"]["metadata"], "labels").into(),
    ]
}

pub(super) fn row(pod: &Value, now: Time) -> Vec<Cell> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let seen = Seen::of(pod, now);
    vec![
        pod["metadata"]["name"].clone(),
        format!("{}/{}", seen.ready, seen.total).into(),
        seen.reason.into(),
        seen.restarts.into(),
        age_of(pod, now).into(),
        none_if_empty(match text(status, "podIP") {
            "" => status["podIPs"][0]["ip"].as_str().unwrap_or_default(),
            ip => ip,
        }),
        none_if_empty(text(spec, "nodeName")),
        none_if_empty(text(status, "nominatedNodeName")),
        readiness_gates(pod),
    ]
}

/// Marks the rows of pods that are over.
pub(super) fn conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match text(&pod["status"], "phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn readiness_gates(pod: &Value) -> Cell {
    let gates = list(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let is_true = |gate: &&Value| {
        let wanted = text(gate, "conditionType");
        let conditions = list(&pod["status"], "conditions");
        conditions.iter().any(|c| text(c, "type") == wanted && text(c, "status") == "True")
    };
    json!(format!("{}/{}", gates.iter().filter(is_true).count(), gates.len()))
}

/// What the columns say together.
struct Seen {
    ready: usize,
    total: usize,
    reason: String,
    restarts: String,
}

#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<Time>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += int(status, "restartCount").unwrap_or(0);
        let ended = text(&status["lastState"]["terminated"], "finishedAt").parse().ok();
        self.last = self.last.max(ended);
    }

    fn show(&self, now: Time) -> String {
        match self.last {
            Some(at) if self.count > 0 => format!("{} ({} ago)", self.count, ago(now, at)),
            _ => self.count.to_string(),
        }
    }
}

impl Seen {
    fn of(pod: &Value, now: Time) -> Seen {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let mut total = list(spec, "containers").len();
        let sidecars: Vec<&str> = list(spec, "initContainers")
            .iter()
            .filter(|c| text(c, "restartPolicy") == "Always")
            .map(|c| text(c, "name"))
            .collect();
        total += sidecars.len();
        let mut reason = text(status, "phase").to_owned();
        if !text(status, "reason").is_empty() {
            reason = text(status, "reason").to_owned();
        }
        if list(status, "conditions").iter().any(|c| text(c, "reason") == "SchedulingGated") {
            reason = "SchedulingGated".to_owned();
        }
        let (mut all, mut of_sidecars) = (Restarts::default(), Restarts::default());
        let mut ready = 0;
        let mut initializing = false;
        let init_total = list(spec, "initContainers").len();
        for (i, c) in list(status, "initContainerStatuses").iter().enumerate() {
            all.add(c);
            let is_sidecar = sidecars.contains(&text(c, "name"));
            if is_sidecar {
                of_sidecars.add(c);
                ready += usize::from(flag(c, "ready"));
            }
            match init_reason(c, i, init_total, is_sidecar) {
                None => continue,
                Some(why) => {
                    reason = why;
                    initializing = true;
                    break;
                }
            }
        }
        let mut restarts = all;
        if !initializing || is_initialized(status) {
            restarts = of_sidecars;
            let mut has_running = false;
            for c in list(status, "containerStatuses").iter().rev() {
                restarts.add(c);
                match container_reason(c) {
                    Some(why) => reason = why,
                    None if flag(c, "ready") && given(&c["state"], "running").is_some() => {
                        has_running = true;
                        ready += 1;
                    }
                    None => {}
                }
            }
            if reason == "Completed" && has_running {
                reason = if has_ready_condition(status) { "Running" } else { "NotReady" }.to_owned();
            }
        }
        if given(&pod["metadata"], "deletionTimestamp").is_some() {
            let is_lost = text(status, "reason") == "NodeLost";
            let is_over = matches!(text(status, "phase"), "Succeeded" | "Failed");
            if is_lost {
                reason = "Unknown".to_owned();
            } else if !is_over {
                reason = "Terminating".to_owned();
            }
        }
        Seen { ready, total, reason, restarts: restarts.show(now) }
    }
}

/// What holds an init container up; nothing when it is done, or runs as a sidecar should.
fn init_reason(c: &Value, i: usize, total: usize, is_sidecar: bool) -> Option<String> {
    let state = &c["state"];
    if let Some(ended) = given(state, "terminated") {
        if int(ended, "exitCode") == Some(0) {
            return None;
        }
        return Some(match (text(ended, "reason"), int(ended, "signal").unwrap_or(0)) {
            ("", 0) => format!("Init:ExitCode:{}", int(ended, "exitCode").unwrap_or(0)),
            ("", signal) => format!("Init:Signal:{signal}"),
            (reason, _) => format!("Init:{reason}"),
        });
    }
    if is_sidecar && flag(c, "started") {
        return None;
    }
    match text(&state["waiting"], "reason") {
        "" | "PodInitializing" => Some(format!("Init:{i}/{total}")),
        reason => Some(format!("Init:{reason}")),
    }
}

/// Why a container does not run.
fn container_reason(c: &Value) -> Option<String> {
    let waiting = text(&c["state"]["waiting"], "reason");
    if !waiting.is_empty() {
        return Some(waiting.to_owned());
    }
    let ended = given(&c["state"], "terminated")?;
    Some(match (text(ended, "reason"), int(ended, "signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", int(ended, "exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    })
}

fn condition(status: &Value, kind: &str) -> bool {
    list(status, "conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn has_ready_condition(status: &Value) -> bool {
    condition(status, "Ready")
}

fn is_initialized(status: &Value) -> bool {
    condition(status, "Initialized")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(status: Value, expected: Expect) {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        let seen = Seen::of(&pod, Time::from_secs(600));
        expected.assert_eq(&format!("{}/{} {} {}", seen.ready, seen.total, seen.reason, seen.restarts));
    }

    #[test]
    fn the_reason_is_that_of_what_holds_the_pod_up() {
        check(json!({"phase": "Pending"}), expect!["0/2 Pending 0"]);
        check(
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            expect!["0/2 Init:0/1 0"],
        );
        check(
            json!({"phase": "Running", "containerStatuses": [
                {"name": "a", "ready": true, "state": {"running": {}}, "restartCount": 2,
                 "lastState": {"terminated": {"finishedAt": "1970-01-01T00:05:00Z"}}},
                {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            expect!["1/2 CrashLoopBackOff 2 (5m ago)"],
        );
        check(
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
            expect!["0/2 ExitCode:3 0"],
        );
    }
}
