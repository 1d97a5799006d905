//! CPUs of nodes that say what they have, and who shares physical cores at the end.
//!
//! Pods that ask for CPUs of their own get them on the node that was chosen for them, by the rules of `sched-cpu`; those that stay
//! where they were keep what their annotation says. It is measured and not yet a reason to choose a node.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_core::{Node, Pod};
use api_koord::apart::Exclusions;
use api_koord::cpu::{BindPolicy, NodeWords, NumaStrategy, ResourceStatus};
use api_koord::names;
use sched_cpu::{Ask, CpuNode, CpuSet, Holder, Wants};

use crate::report::Cores;

/// The nodes with known CPUs.
#[derive(Default)]
pub(super) struct Stacking {
    nodes: BTreeMap<Arc<str>, CpuNode>,
    places: HashMap<Arc<str>, Arc<str>>,
    /// Pods that found no CPUs of their own on their node.
    without: usize,
}

impl Stacking {
    /// Takes in a node, once; one without a topology is left out. Its topology stands where NodeResourceTopology has it, or on the
    /// node itself.
    ///
    /// # Errors
    /// When what it says of its CPUs cannot be read.
    pub(super) fn set_node(&mut self, node: &Node) -> Result<(), String> {
        let (name, words) = (&node.metadata.name, &node.metadata.annotations);
        if !words.contains_key(names::CPU_TOPOLOGY) || self.nodes.contains_key(name.as_str()) {
            return Ok(());
        }
        let words = NodeWords::read(node, words, NumaStrategy::LeastAllocated)
            .map_err(|e| format!("node {name}: {e}"))?;
        let cpus = CpuNode::read(&words).map_err(|e| format!("node {name}: {e}"))?;
        self.nodes.insert(name.as_str().into(), cpus);
        Ok(())
    }

    pub(super) fn drop_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.places.retain(|_, node| **node != *name);
    }

    /// A pod is on a node.
    pub(super) fn put(&mut self, pod: &Pod, uid: &Arc<str>, name: &Arc<str>) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Ok(wants) = Wants::of(pod, BindPolicy::FullPCPUs) else { return };
        let Ok(Some(ask)) = node.resolve(&wants) else { return };
        let stays = *pod.spec.node_name == **name;
        let given = given(pod).filter(|cpus| stays && !cpus.is_empty());
        let Some(cpus) = given.or_else(|| node.allocate(&ask, &Exclusions::default()).ok().map(|a| a.cpus))
        else {
            self.without += 1;
            return;
        };
        node.hold(uid.clone(), holder(pod, &ask, cpus));
        self.places.insert(uid.clone(), name.clone());
    }

    /// A pod has left.
    pub(super) fn take(&mut self, uid: &str) {
        if let Some(node) = self.places.remove(uid).and_then(|name| self.nodes.get_mut(&name)) {
            node.release(uid);
        }
    }

    /// How the physical cores are shared; nothing when no node says what it has.
    pub(super) fn cores(&self) -> Option<Cores> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut cores = Cores { without: self.without, ..Cores::default() };
        for node in self.nodes.values() {
            for first in node.topology().first_threads().iter() {
                let mut one = CpuSet::EMPTY;
                one.insert(first);
                count(node, &node.topology().widened(&one), &mut cores);
            }
            for finding in node.audit(&Exclusions::default()).findings {
                *cores.findings.entry(finding.kind.to_string()).or_default() += 1;
            }
        }
        Some(cores)
    }
}

/// Counts one physical core by who is on it.
fn count(node: &CpuNode, core: &CpuSet, cores: &mut Cores) {
    let on = |h: &&Holder| h.cpus.meets(core);
    let holders: Vec<&Holder> = node.holders().values().filter(on).collect();
    let threads = holders.iter().map(|h| h.cpus.common(core)).sum::<usize>();
    let twice = holders.iter().any(|h| h.cpus.common(core) > 1);
    let siblings = holders
        .iter()
        .enumerate()
        .any(|(i, a)| holders[i + 1..].iter().any(|b| a.identity.is_same_application(&b.identity)));
    match threads {
        0 => cores.idle += 1,
        1 => cores.one_thread += 1,
        _ if twice || siblings => cores.one_application += 1,
        _ => cores.several_applications += 1,
    }
}

fn holder(pod: &Pod, ask: &Ask, cpus: CpuSet) -> Holder {
    let mut holder = Holder::of(&pod.metadata.key().to_string(), ask, cpus);
    holder.priority = pod.spec.priority.unwrap_or(0);
    holder.created = pod.metadata.creation_timestamp.unwrap_or_default();
    holder
}

/// The CPUs that a scheduler gave a pod before.
fn given(pod: &Pod) -> Option<CpuSet> {
    let text = pod.metadata.annotations.get(names::RESOURCE_STATUS)?;
    let status: ResourceStatus = serde_json::from_str(text).ok()?;
    status.cpuset.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node() -> Node {
        // Two cores of two threads.
        let detail: Vec<Value> =
            (0..4).map(|id| json!({"id": id, "core": id / 2, "node": 0, "socket": 0})).collect();
        let topology = json!({"detail": detail}).to_string();
        serde_json::from_value(
            json!({"metadata": {"name": "n", "annotations": {names::CPU_TOPOLOGY: topology}}}),
        )
        .unwrap()
    }

    fn pod(app: &str, cpus: u64, policy: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": app, "namespace": "d", "uid": app, "labels": {"koordinator.sh/qosClass": "LSR", "app": app},
                "annotations": {names::RESOURCE_SPEC: json!({"preferredCPUBindPolicy": policy}).to_string()}},
            "spec": {"priority": 9500, "containers": [{"name": "c", "resources":
                {"requests": {"cpu": cpus.to_string(), "memory": "1Gi"}, "limits": {"cpu": cpus.to_string(), "memory": "1Gi"}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn cores_are_counted_by_who_shares_them() {
        let mut stacking = Stacking::default();
        assert_eq!(stacking.cores(), None);
        stacking.set_node(&node()).unwrap();
        stacking.put(&pod("a", 2, "SpreadByPCPUs"), &"a".into(), &"n".into());
        let cores = stacking.cores().unwrap();
        assert_eq!((cores.one_thread, cores.one_application), (2, 0), "{cores:?}");
        stacking.take("a");
        stacking.put(&pod("b", 2, "FullPCPUs"), &"b".into(), &"n".into());
        let cores = stacking.cores().unwrap();
        assert_eq!((cores.idle, cores.one_application), (1, 1), "{cores:?}");
        stacking.put(&pod("c", 4, "FullPCPUs"), &"c".into(), &"n".into());
        assert_eq!(stacking.cores().unwrap().without, 1);
    }
}
