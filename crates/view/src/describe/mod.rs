//! The page of one object, in the sections kubectl has.
//!
//! Pods, nodes and workloads have pages of their own; every other kind is printed field by field. Events close each page.

mod events;
mod generic;
mod meta;
mod node;
mod page;
mod pod;
mod template;
#[cfg(test)]
mod tests;
mod workload;

use serde_json::Value;
use stdx::Time;

use page::Page;

/// What belongs to an object and is stored elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Related<'a> {
    /// Events about it.
    pub events: &'a [Value],
    /// Pods of a workload, or on a node.
    pub pods: &'a [Value],
}

/// The page of an object.
pub fn describe(object: &Value, related: Related<'_>, now: Time) -> String {
    let mut page = Page::default();
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => pod::write(&mut page, object, now),
        "Node" => node::write(&mut page, object, related.pods),
        "Deployment" | "CloneSet" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "InPlaceSet"
        | "CafeDeployment" => {
            workload::write(&mut page, object, related, now);
        }
        _ => generic::write(&mut page, object),
    }
    events::write(&mut page, related.events, now);
    page.text()
}
