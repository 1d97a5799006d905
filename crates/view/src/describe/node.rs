//! The page of a node.

use api_meta::Quantity;
use serde_json::Value;

use super::meta::{conditions, head, text};
use super::page::Page;
use crate::Table;

pub(super) fn write(page: &mut Page, node: &Value, pods: &[Value]) {
    let (spec, status) = (&node["spec"], &node["status"]);
    head(page, node);
    page.field("CreationTimestamp", text(&node["metadata"]["creationTimestamp"]));
    page.list("Taints", spec["taints"].as_array().into_iter().flatten().map(taint));
    page.field("Unschedulable", if spec["unschedulable"] == true { "true" } else { "false" });
    conditions(page, node);
    let addresses: Vec<&Value> = status["addresses"].as_array().into_iter().flatten().collect();
    if !addresses.is_empty() {
        page.section("Addresses", |page| {
            addresses.iter().for_each(|a| page.field(&text(&a["type"]), text(&a["address"])));
        });
    }
    for (head, name) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        page.section(head, |page| {
            status[name].as_object().into_iter().flatten().for_each(|(k, v)| page.field(k, text(v)));
        });
    }
    page.section("System Info", |page| {
        for (key, value) in
            status["nodeInfo"].as_object().into_iter().flatten().filter(|(_, v)| v.is_string())
        {
            page.some(key, Some(&text(value)));
        }
    });
    let running: Vec<&Value> = pods.iter().filter(|p| !is_over(p)).collect();
    pod_table(page, &running);
    allocated(page, &status["allocatable"], &running);
}

fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn taint(t: &Value) -> String {
    let value = t["value"].as_str().filter(|v| !v.is_empty()).map_or(String::new(), |v| format!("={v}"));
    format!("{}{value}:{}", text(&t["key"]), text(&t["effect"]))
}

/// Most pods listed; a full node of a simulation would fill the terminal.
const PODS_SHOWN: usize = 100;

fn pod_table(page: &mut Page, pods: &[&Value]) {
    let mut table =
        Table::new(&["Namespace", "Name", "CPU Requests", "CPU Limits", "Memory Requests", "Memory Limits"]);
    table.row(["---------", "----", "------------", "----------", "---------------", "-------------"]);
    for pod in pods.iter().take(PODS_SHOWN) {
        let sum = |kind: &str, name: &str| spelled(name, total(pod, kind, name));
        table.row([
            text(&pod["metadata"]["namespace"]),
            text(&pod["metadata"]["name"]),
            sum("requests", "cpu"),
            sum("limits", "cpu"),
            sum("requests", "memory"),
            sum("limits", "memory"),
        ]);
    }
    page.section(&format!("Non-terminated Pods ({} in total)", pods.len()), |page| {
        page.block(&table.text());
        if pods.len() > PODS_SHOWN {
            page.line(format!("… and {} more", pods.len() - PODS_SHOWN));
        }
    });
}

/// The sum over the containers of a pod, in thousandths.
fn total(pod: &Value, kind: &str, name: &str) -> i64 {
    let all = pod["spec"]["containers"].as_array().into_iter().flatten();
    let values = all.map(|c| quantity(&c["resources"][kind][name]));
    values.fold(0, i64::saturating_add)
}

fn quantity(value: &Value) -> i64 {
    text(value).parse::<Quantity>().map_or(0, Quantity::milli)
}

fn spelled(name: &str, milli: i64) -> String {
    if name != "memory" {
        return Quantity::from_milli(milli).to_string();
    }
    let bytes = milli / 1000;
    match bytes {
        0 => "0".to_owned(),
        b if b % (1 << 20) == 0 => format!("{}Mi", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}Ki", b >> 10),
        b => b.to_string(),
    }
}

fn allocated(page: &mut Page, allocatable: &Value, pods: &[&Value]) {
    let mut table = Table::new(&["Resource", "Requests", "Limits"]);
    table.row(["--------", "--------", "------"]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let whole = quantity(&allocatable[name]);
        let cell = |kind: &str| {
            let sum = pods.iter().map(|p| total(p, kind, name)).fold(0, i64::saturating_add);
            let share = if whole > 0 { i128::from(sum) * 100 / i128::from(whole) } else { 0 };
            format!("{} ({share}%)", spelled(name, sum))
        };
        table.row([name.to_owned(), cell("requests"), cell("limits")]);
    }
    page.section("Allocated resources", |page| page.block(&table.text()));
}
