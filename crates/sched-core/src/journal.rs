//! What happened to a snapshot, in order: enough to have the same snapshot elsewhere, and the same decisions.
//!
//! The lines of a decision log are these entries as JSON, one a line. Facts are written whole: whoever reads a log needs no
//! other source. What is absent: files, and what waits in the queue (a decision names its pod with all that the rules read).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stdx::Time;

use crate::{Decision, Interner, NodeFact, PodFact, Refusal, Snapshot};

/// Group and version of a decision log's head: its first line, with the configuration in force.
pub const LOG_VERSION: &str = "simulation.knarr.dev/v1alpha1";
/// Its kind.
pub const LOG_KIND: &str = "DecisionLog";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    /// What follows begins with the whole state: forget what was known. So many entries before it were lost.
    Begin {
        /// How many.
        lost: u64,
    },
    /// A node came or changed.
    Node(NodeFact),
    /// A node went.
    NodeGone(Arc<str>),
    /// A namespace has these labels.
    Namespace(String, BTreeMap<String, String>),
    /// A namespace went.
    NamespaceGone(String),
    /// A pod is bound, or changed in a way that matters.
    Place(Arc<PodFact>),
    /// A pod is counted on a node before the server has confirmed it.
    Assume(Assumed),
    /// A pod is counted no more.
    Remove(Arc<str>),
    /// A decision.
    Decide(Box<Decided>),
}

/// A pod counted where it is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assumed {
    /// Identity.
    pub uid: Arc<str>,
    /// Where.
    pub node: Arc<str>,
    /// The pod; absent when the entry before is the decision about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<PodFact>>,
}

/// A decision with what it was about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// State of the snapshot it rests on; meaningful within one life of the scheduler.
    pub generation: u64,
    /// The pod.
    pub pod: Arc<PodFact>,
    /// What was decided.
    pub choice: Choice,
}

/// A decision in a form that can be read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    /// To a node.
    Node {
        /// Its name.
        name: String,
        /// Sum of weighted scores.
        score: i64,
        /// Weighted score of each rule that had an opinion.
        scores: Vec<(String, i64)>,
        /// How many nodes would have done.
        feasible: usize,
        /// How many nodes there were.
        nodes: usize,
    },
    /// Nowhere.
    Refused {
        /// How many nodes there were.
        nodes: usize,
        /// Said before any node was looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upfront: Option<String>,
        /// Rule, reasons, number of nodes.
        groups: Vec<(String, Vec<String>, usize)>,
    },
}

impl Choice {
    /// The decision as it is written down.
    pub fn of(decision: &Decision) -> Choice {
        match decision {
            Decision::Bind(p) => Choice::Node {
                name: p.node.to_string(),
                score: p.score,
                scores: p.scores.iter().map(|(rule, score)| ((*rule).to_owned(), *score)).collect(),
                feasible: p.feasible,
                nodes: p.nodes,
            },
            Decision::Refused(refusal) => Choice::refused(refusal),
        }
    }

    fn refused(refusal: &Refusal) -> Choice {
        let groups = refusal
            .groups
            .iter()
            .map(|g| (g.rule.to_owned(), g.reasons.iter().map(|r| r.as_str().to_owned()).collect(), g.nodes));
        Choice::Refused {
            nodes: refusal.nodes,
            upfront: refusal.upfront.as_ref().map(|r| r.as_str().to_owned()),
            groups: groups.collect(),
        }
    }

    /// The node; nothing when refused.
    pub fn node(&self) -> Option<&str> {
        match self {
            Choice::Node { name, .. } => Some(name),
            Choice::Refused { .. } => None,
        }
    }
}

/// Entries not yet fetched; only while somebody asked for them.
#[derive(Default)]
pub(crate) struct Journal {
    entries: Option<Vec<Entry>>,
}

impl Journal {
    pub(crate) fn note(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(entries) = &mut self.entries {
            entries.push(entry());
        }
    }

    /// A decision about the pod is the newest entry.
    fn has_decided(&self, uid: &str) -> bool {
        let last = self.entries.as_ref().and_then(|e| e.last());
        matches!(last, Some(Entry::Decide(d)) if *d.pod.uid == *uid)
    }

    pub(crate) fn note_assumed(&mut self, pod: &Arc<PodFact>, node: &Arc<str>) {
        let known = self.has_decided(&pod.uid);
        self.note(|| {
            let pod_too = (!known).then(|| pod.clone());
            Entry::Assume(Assumed { uid: pod.uid.clone(), node: node.clone(), pod: pod_too })
        });
    }
}

impl Snapshot {
    /// From now on everything that happens is noted down, until it is fetched: fetch it often.
    pub fn keep_journal(&mut self) {
        self.journal.entries.get_or_insert_with(Vec::new);
    }

    /// What has happened since this was asked for last.
    pub fn take_journal(&mut self) -> Vec<Entry> {
        self.journal.entries.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes down a decision, made in this state and not yet carried out. Costs nothing while no journal is kept.
    pub fn note_decision(&mut self, pod: &Arc<PodFact>, decision: &Decision, now: Time) {
        let generation = self.generation();
        self.journal.note(|| {
            let choice = Choice::of(decision);
            Entry::Decide(Box::new(Decided { at: now.micros(), generation, pod: pod.clone(), choice }))
        });
    }

    /// The entries that make an empty snapshot equal to this one, after [`Entry::Begin`]. Takes time in proportion to nodes and
    /// pods, most of it for copies of nodes: pods are shared.
    pub fn state(&self) -> Vec<Entry> {
        let mut out = Vec::new();
        let namespaces = self.namespaces().iter();
        out.extend(namespaces.map(|(name, labels)| Entry::Namespace(name.clone(), labels.clone())));
        for node in self.all_nodes() {
            if node.known {
                out.push(Entry::Node(node.fact.clone()));
            }
            let (name, held) = (&node.fact.name, node.facts());
            out.extend(held.map(|pod| match &pod.node {
                Some(_) => Entry::Place(pod.clone()),
                None => Entry::Assume(Assumed {
                    uid: pod.uid.clone(),
                    node: name.clone(),
                    pod: Some(pod.clone()),
                }),
            }));
        }
        out
    }
}

/// Makes a snapshot go through what a journal says.
#[derive(Default)]
pub struct Replayer {
    /// The snapshot as it was then.
    pub snapshot: Snapshot,
    interner: Interner,
    decided: Option<Arc<PodFact>>,
}

impl Replayer {
    /// Takes in one entry. A decision changes nothing by itself; it is returned with its pod's parts shared, so that equal pods
    /// are of one class again.
    pub fn take(&mut self, entry: Entry) -> Option<Box<Decided>> {
        let decided = self.decided.take();
        match entry {
            Entry::Begin { .. } => self.snapshot = Snapshot::new(),
            Entry::Node(fact) => {
                self.snapshot.set_node(fact);
            }
            Entry::NodeGone(name) => self.snapshot.drop_node(&name),
            Entry::Namespace(name, labels) => {
                self.snapshot.set_namespace(&name, &labels);
            }
            Entry::NamespaceGone(name) => self.snapshot.drop_namespace(&name),
            Entry::Place(pod) => {
                let pod = self.share(&pod);
                self.snapshot.place(pod);
            }
            Entry::Assume(assumed) => {
                let known = decided.filter(|p| p.uid == assumed.uid);
                let pod = known.or_else(|| assumed.pod.as_ref().map(|p| self.share(p)));
                if let Some(pod) = pod {
                    self.snapshot.assume(pod, &assumed.node);
                }
            }
            Entry::Remove(uid) => {
                self.snapshot.remove(&uid);
            }
            Entry::Decide(mut decided) => {
                decided.pod = self.share(&decided.pod);
                self.decided = Some(decided.pod.clone());
                return Some(decided);
            }
        }
        None
    }

    fn share(&mut self, pod: &Arc<PodFact>) -> Arc<PodFact> {
        Arc::new(self.interner.share(PodFact::clone(pod)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str) -> NodeFact {
        let json = json!({"metadata": {"name": name, "labels": {"zone": "a"}}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "1", "a.b/c": "2", "pods": "10"}}});
        NodeFact::of(&serde_json::from_value(json).unwrap())
    }

    fn pod(name: &str, node: &str) -> PodFact {
        let json = json!({"metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": "x"}}, "spec": {
            "nodeName": node, "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "x"}}}]}},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}, "ports": [{"hostPort": 80, "containerPort": 80}]}]}});
        Interner::default().project(&serde_json::from_value(json).unwrap())
    }

    fn told(snapshot: &Snapshot) -> Vec<String> {
        let mut lines: Vec<String> =
            snapshot.state().iter().map(|e| serde_json::to_string(e).unwrap()).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_snapshot_read_back_from_its_journal_is_the_same() {
        let mut snapshot = Snapshot::new();
        snapshot.keep_journal();
        snapshot.set_node(node("n1"));
        snapshot.set_node(node("n2"));
        snapshot.set_namespace("d", &BTreeMap::from([("team".into(), "blue".into())]));
        let (a, b, c) = (Arc::new(pod("a", "n1")), Arc::new(pod("b", "")), Arc::new(pod("c", "")));
        snapshot.place(a);
        let refusal = Refusal {
            nodes: 2,
            upfront: None,
            groups: Vec::new(),
            never_preempts: false,
            preempting: None,
            wake: crate::Hints::NONE,
        };
        snapshot.note_decision(&b, &Decision::Refused(refusal), Time::from_secs(1));
        snapshot.assume(b, &"n2".into());
        snapshot.assume(c, &"n2".into());
        snapshot.forget("c");
        snapshot.drop_node("n1");
        let mut replayer = Replayer::default();
        for entry in snapshot.take_journal() {
            let line = serde_json::to_string(&entry).unwrap();
            let back: Entry = serde_json::from_str(&line).unwrap();
            assert_eq!(back, entry, "{line}");
            replayer.take(back);
        }
        assert_eq!(told(&replayer.snapshot), told(&snapshot));
        assert_eq!(snapshot.take_journal(), []);
        let mut again = Replayer::default();
        for entry in snapshot.state() {
            again.take(entry);
        }
        assert_eq!(told(&again.snapshot), told(&snapshot));
    }
}
