//! The page of a pod.

use serde_json::Value;
use stdx::Time;

use super::meta::{conditions, controlled_by, head, pairs, text};
use super::page::Page;
use super::template::{containers, volumes};
use crate::waits;

pub(super) fn write(page: &mut Page, pod: &Value, now: Time) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    head(page, pod);
    page.some("Priority", Some(&text(&spec["priority"])));
    page.some("Service Account", spec["serviceAccountName"].as_str());
    let node = spec["nodeName"].as_str().unwrap_or("<none>");
    let host = status["hostIP"].as_str().map_or(String::new(), |ip| format!("/{ip}"));
    page.field("Node", format!("{node}{host}"));
    page.some("Start Time", status["startTime"].as_str());
    page.field("Status", status["phase"].as_str().unwrap_or("Pending"));
    page.some("Reason", status["reason"].as_str());
    page.some("Message", status["message"].as_str());
    page.field("IP", text(&status["podIP"]));
    controlled_by(page, pod);
    let waiting = waits(&Value::Null, std::slice::from_ref(pod), &[], now);
    if let Some(wait) = waiting.first() {
        page.field("Waits For", wait.why.as_str());
    }
    containers(page, "Init Containers", &spec["initContainers"], &status["initContainerStatuses"]);
    containers(page, "Containers", &spec["containers"], &status["containerStatuses"]);
    gates(page, pod);
    conditions(page, pod);
    volumes(page, &spec["volumes"]);
    page.some("QoS Class", status["qosClass"].as_str());
    page.list("Node-Selectors", pairs(&spec["nodeSelector"], "="));
    page.list("Tolerations", spec["tolerations"].as_array().into_iter().flatten().map(toleration));
}

fn gates(page: &mut Page, pod: &Value) {
    let Some(list) = pod["spec"]["readinessGates"].as_array().filter(|l| !l.is_empty()) else { return };
    page.section("Readiness Gates", |page| {
        for gate in list {
            let all = pod["status"]["conditions"].as_array();
            let found = all.into_iter().flatten().find(|c| c["type"] == gate["conditionType"]);
            page.field(
                &text(&gate["conditionType"]),
                found.map_or("<none>".to_owned(), |c| text(&c["status"])),
            );
        }
    });
}

fn toleration(t: &Value) -> String {
    let mut out = text(&t["key"]);
    if let Some(value) = t["value"].as_str().filter(|v| !v.is_empty()) {
        out += &format!("={value}");
    }
    if let Some(effect) = t["effect"].as_str().filter(|e| !e.is_empty()) {
        out += &format!(":{effect}");
    }
    if t["operator"] == "Exists" {
        out += " op=Exists";
    }
    if let Some(secs) = t["tolerationSeconds"].as_i64() {
        out += &format!(" for {secs}s");
    }
    out
}
