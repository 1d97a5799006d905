//! Decisions and their reasons.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::sync::Arc;

/// The outcome of one cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Bind the pod to this node.
    Bind(Placement),
    /// No node will do.
    Refused(Refusal),
}

/// Where a pod goes and why there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node.
    pub node: Arc<str>,
    /// Sum of weighted scores.
    pub score: i64,
    /// Weighted score of each rule that had an opinion.
    pub scores: Vec<(&'static str, i64)>,
    /// How many nodes would have done.
    pub feasible: usize,
    /// How many nodes there are.
    pub nodes: usize,
}

/// Why a pod cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How many nodes there are.
    pub nodes: usize,
    /// Said before any node was looked at; then there are no counts.
    pub upfront: Option<Reason>,
    /// The nodes by what is against them, in the order in which the rules are asked.
    pub groups: Vec<Rejected>,
    /// The pod may not preempt.
    pub never_preempts: bool,
    /// What came of the attempt to make room by sending others away; nothing when it was not made.
    pub preempting: Option<Preempting>,
    /// Changes after which another look is worth while.
    pub wake: Hints,
}

/// What came of the attempt to make room for a refused pod by sending others away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preempting {
    /// Room is being made, or the question does not arise: nothing is said of it.
    Silent,
    /// It was not made; why, as a sentence.
    Not(Reason),
    /// It would help nowhere: number of nodes by reason.
    Futile(BTreeMap<Reason, usize>),
}

/// Nodes that one rule refused for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The rule, by its name in kube-scheduler.
    pub rule: &'static str,
    /// What it says; at least one sentence.
    pub reasons: Vec<Reason>,
    /// Whether taking pods off these nodes could help.
    pub resolvable: Resolvable,
    /// How many nodes.
    pub nodes: usize,
    /// How many of them have pods of lower priority.
    pub outranked: usize,
}

/// A sentence about a node, as kube-scheduler says it.
#[derive(Clone, Debug)]
pub enum Reason {
    /// One that is always the same.
    Fixed(&'static str),
    /// One that names something.
    Made(Arc<str>),
}

impl Reason {
    /// The sentence.
    pub fn as_str(&self) -> &str {
        match self {
            Reason::Fixed(text) => text,
            Reason::Made(text) => text,
        }
    }
}

impl Borrow<str> for Reason {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Reason {
    fn eq(&self, other: &Reason) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Reason {}

impl PartialOrd for Reason {
    fn partial_cmp(&self, other: &Reason) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reason {
    fn cmp(&self, other: &Reason) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

/// Whether taking pods off the node could help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resolvable {
    /// It could.
    ByRemovingPods,
    /// It could not.
    No,
}

/// A rule's refusal of one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// Why; at least one.
    pub reasons: Vec<Reason>,
    /// Whether taking pods off the node could help.
    pub resolvable: Resolvable,
}

impl Rejection {
    /// A rejection that taking pods off the node could lift.
    pub fn resolvable(reason: &'static str) -> Rejection {
        Rejection { reasons: vec![Reason::Fixed(reason)], resolvable: Resolvable::ByRemovingPods }
    }

    /// A rejection that stands whatever pods the node has.
    pub fn lasting(reason: &'static str) -> Rejection {
        Rejection { reasons: vec![Reason::Fixed(reason)], resolvable: Resolvable::No }
    }
}

/// Kinds of change that can make a refused pod fit; a set.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hints(u16);

impl Hints {
    /// Nothing.
    pub const NONE: Hints = Hints(0);
    /// A node came.
    pub const NODE_ADDED: Hints = Hints(1);
    /// A node's room grew or shrank.
    pub const NODE_ROOM: Hints = Hints(1 << 1);
    /// A node's labels changed.
    pub const NODE_LABELS: Hints = Hints(1 << 2);
    /// A node's taints changed, or it was (un)cordoned.
    pub const NODE_TAINTS: Hints = Hints(1 << 3);
    /// A placed pod went or began to go.
    pub const POD_REMOVED: Hints = Hints(1 << 4);
    /// A pod was placed.
    pub const POD_ADDED: Hints = Hints(1 << 5);
    /// A placed pod changed: labels or requests.
    pub const POD_CHANGED: Hints = Hints(1 << 6);
    /// A namespace's labels changed.
    pub const NAMESPACE: Hints = Hints(1 << 7);

    /// A claim of storage came or changed.
    pub const CLAIM: Hints = Hints(1 << 8);
    /// A volume came or changed.
    pub const VOLUME: Hints = Hints(1 << 9);
    /// A class of storage came or changed.
    pub const CLASS: Hints = Hints(1 << 10);
    /// A node's limits of volumes changed.
    pub const LIMITS: Hints = Hints(1 << 11);

    /// How many kinds there are.
    pub(crate) const KINDS: usize = 12;

    /// The numbers of the kinds in the set.
    pub(crate) fn each(self) -> impl Iterator<Item = usize> {
        (0..Hints::KINDS).filter(move |i| self.0 & (1 << i) != 0)
    }

    /// Both sets together.
    pub const fn with(self, other: Hints) -> Hints {
        Hints(self.0 | other.0)
    }

    /// Whether both sets share something.
    pub fn touches(self, other: Hints) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Hints {
    type Output = Hints;
    fn bitor(self, other: Hints) -> Hints {
        Hints(self.0 | other.0)
    }
}

impl BitOrAssign for Hints {
    fn bitor_assign(&mut self, other: Hints) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; Hints::KINDS] = [
            "NodeAdded",
            "NodeRoom",
            "NodeLabels",
            "NodeTaints",
            "PodRemoved",
            "PodAdded",
            "PodChanged",
            "Namespace",
            "Claim",
            "Volume",
            "Class",
            "Limits",
        ];
        let set = self.each().map(|i| NAMES[i]);
        f.debug_set().entries(set).finish()
    }
}

/// Said of nodes on which taking pods off changes nothing.
pub const NOT_HELPFUL: Reason = Reason::Fixed("Preemption is not helpful for scheduling");
/// Said of nodes without any pod of lower priority.
pub const NO_VICTIMS: Reason = Reason::Fixed("No preemption victims found for incoming pod");
/// Said where nobody has looked whether preemption helps: the decision alone does not.
const NOT_TRIED: Reason = Reason::Fixed("node(s) with lower-priority pods, which nobody tried to preempt");

impl Refusal {
    /// Number of nodes per reason. A node can have several.
    pub fn reasons(&self) -> BTreeMap<Reason, usize> {
        let mut counts = BTreeMap::new();
        for group in &self.groups {
            for reason in &group.reasons {
                *counts.entry(reason.clone()).or_default() += group.nodes;
            }
        }
        counts
    }

    /// Number of nodes per reason why preemption does not help, as far as the decision alone tells.
    pub fn preemption(&self) -> BTreeMap<Reason, usize> {
        let mut counts = BTreeMap::new();
        let mut add = |reason, nodes| {
            if nodes > 0 {
                *counts.entry(reason).or_default() += nodes;
            }
        };
        if self.upfront.is_some() {
            add(NOT_HELPFUL, self.nodes);
        }
        for group in &self.groups {
            match group.resolvable {
                Resolvable::No => add(NOT_HELPFUL, group.nodes),
                Resolvable::ByRemovingPods => {
                    add(NOT_TRIED, group.outranked);
                    add(NO_VICTIMS, group.nodes - group.outranked);
                }
            }
        }
        counts
    }

    /// Names of the rules that refused, each once.
    pub fn rules(&self) -> Vec<&'static str> {
        let mut rules: Vec<&'static str> = self.groups.iter().map(|g| g.rule).collect();
        rules.dedup();
        rules
    }

    /// The sentence of the condition and the event, as kube-scheduler writes it.
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut out = format!("0/{} nodes are available:", self.nodes);
        match &self.upfront {
            Some(reason) => out.push_str(&format!(" {}.", reason.as_str())),
            None => out.push_str(&counted(&self.reasons())),
        }
        match &self.preempting {
            _ if self.never_preempts => {
                out.push_str(" preemption: not eligible due to preemptionPolicy=Never.");
            }
            Some(Preempting::Silent) => {}
            Some(Preempting::Not(why)) => out.push_str(&format!(" preemption: {}", why.as_str())),
            Some(Preempting::Futile(reasons)) => {
                out.push_str(&format!(" preemption: 0/{} nodes are available:", self.nodes));
                out.push_str(&counted(reasons));
            }
            None => {
                out.push_str(&format!(" preemption: 0/{} nodes are available:", self.nodes));
                out.push_str(&counted(&self.preemption()));
            }
        }
        out
    }
}

/// ` 2 reason one, 3 reason two.`: sorted as text, counts included, as kube-scheduler does.
fn counted(reasons: &BTreeMap<Reason, usize>) -> String {
    let mut parts: Vec<String> = reasons.iter().map(|(r, n)| format!("{n} {}", r.as_str())).collect();
    if parts.is_empty() {
        return String::new();
    }
    parts.sort();
    format!(" {}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_print_by_name() {
        let hints = Hints::NODE_ADDED | Hints::POD_REMOVED;
        assert_eq!(format!("{hints:?}"), r#"{"NodeAdded", "PodRemoved"}"#);
        assert!(hints.touches(Hints::POD_REMOVED) && !hints.touches(Hints::NAMESPACE));
    }

    #[test]
    fn counts_sort_as_text_like_upstream() {
        let reasons =
            BTreeMap::from([(Reason::Fixed("Insufficient cpu"), 2), (Reason::Fixed("Too many pods"), 10)]);
        assert_eq!(counted(&reasons), " 10 Too many pods, 2 Insufficient cpu.");
    }
}
