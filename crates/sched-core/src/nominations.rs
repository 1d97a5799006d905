//! Nominations: pods that wait for room on a node, made for them by sending others away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::PodFact;

/// Who waits for room where. A nominated pod is on no node: whoever decides about another pod of at most its priority looks at
/// the node both with it and without it, as kube-scheduler does.
#[derive(Clone, Debug, Default)]
pub struct Nominations {
    pods: BTreeMap<Arc<str>, (Arc<PodFact>, Arc<str>)>,
    nodes: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Nominations {
    /// Nobody waits.
    pub const fn none() -> Nominations {
        Nominations { pods: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Nominates a pod for a node, and for no other any more.
    pub fn set(&mut self, pod: Arc<PodFact>, node: Arc<str>) {
        self.remove(&pod.uid);
        self.nodes.entry(node.clone()).or_default().insert(pod.uid.clone());
        self.pods.insert(pod.uid.clone(), (pod, node));
    }

    /// The pod waits for no node any more; says whether it did.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some((_, node)) = self.pods.remove(uid) else { return false };
        if let Some(uids) = self.nodes.get_mut(&node) {
            uids.remove(uid);
            if uids.is_empty() {
                self.nodes.remove(&node);
            }
        }
        true
    }

    /// The node a pod waits for.
    pub fn node_of(&self, uid: &str) -> Option<&Arc<str>> {
        self.pods.get(uid).map(|(_, node)| node)
    }

    /// The pods that wait for a node.
    pub fn on(&self, node: &str) -> impl Iterator<Item = &Arc<PodFact>> {
        self.nodes.get(node).into_iter().flatten().filter_map(|uid| self.pods.get(uid)).map(|(pod, _)| pod)
    }

    /// The pods that `pod` must leave room for on a node: those of at least its priority, apart from itself.
    pub fn ahead(&self, node: &str, pod: &PodFact) -> Vec<Arc<PodFact>> {
        let ahead = |p: &&Arc<PodFact>| p.demand.priority >= pod.demand.priority && p.uid != pod.uid;
        self.on(node).filter(ahead).cloned().collect()
    }

    /// The nodes on which `pod` must leave room for somebody.
    pub fn nodes_ahead<'a>(&'a self, pod: &'a PodFact) -> impl Iterator<Item = &'a Arc<str>> {
        self.nodes.keys().filter(move |node| {
            self.on(node).any(|p| p.demand.priority >= pod.demand.priority && p.uid != pod.uid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Interner;

    fn pod(name: &str, priority: i32) -> Arc<PodFact> {
        let json =
            serde_json::json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority}});
        Arc::new(Interner::default().project(&serde_json::from_value(json).unwrap()))
    }

    #[test]
    fn a_pod_leaves_room_for_its_equals_and_betters_but_not_for_itself() {
        let mut all = Nominations::none();
        all.set(pod("low", 1), "n1".into());
        all.set(pod("high", 9), "n1".into());
        let ahead = |name: &str, priority| -> Vec<String> {
            all.ahead("n1", &pod(name, priority)).iter().map(|p| p.name.to_string()).collect()
        };
        assert_eq!(ahead("x", 5), ["high"]);
        assert_eq!(ahead("x", 1), ["high", "low"]);
        assert_eq!(ahead("high", 9), Vec::<String>::new());
        assert_eq!(all.nodes_ahead(&pod("x", 10)).count(), 0);
    }

    #[test]
    fn a_pod_waits_for_one_node_at_most() {
        let mut all = Nominations::none();
        all.set(pod("a", 1), "n1".into());
        all.set(pod("a", 1), "n2".into());
        assert_eq!((all.on("n1").count(), all.node_of("a").map(|n| &**n)), (0, Some("n2")));
        assert!(all.remove("a") && !all.remove("a") && all.is_empty());
    }
}
