//! Conditions on nodes that many classes and counts share, each with the set of nodes it holds for.

use std::collections::HashMap;
use std::sync::Arc;

use api_meta::{Requirement, Selector};

use crate::column::Columns;
use crate::{Bits, Demand, NodeFact, NodeInfo, NodeTerm, Policy, Slot, Tolerance};

/// A condition on a node's object: on its labels, its taints, its being open for new pods. Holds for known nodes only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Labels that must be there, with any value.
    pub keys: Vec<Arc<str>>,
    /// Labels the node must have.
    pub selector: Selector,
    /// Alternatives of which one must hold.
    pub terms: Option<Vec<NodeTerm>>,
    /// All taints that keep pods away must be accepted by one of these.
    pub tolerances: Option<Vec<Tolerance>>,
    /// The node must not be cordoned.
    pub uncordoned: bool,
}

impl Fence {
    /// The nodes that count as domains of a spread constraint: those with all `keys` that pass what the policies honour.
    pub fn of_spread(demand: &Demand, keys: &[Arc<str>], affinity: Policy, taints: Policy) -> Fence {
        let mut fence = Fence { keys: keys.to_vec(), ..Fence::default() };
        if affinity == Policy::Honor {
            fence.selector = demand.node_selector.clone();
            fence.terms = demand.node_terms.clone();
        }
        if taints == Policy::Honor {
            fence.tolerances = Some(demand.tolerances.clone());
        }
        fence
    }

    /// Whether it holds for a node.
    pub fn holds(&self, node: &NodeInfo) -> bool {
        node.known && self.holds_for(&node.fact)
    }

    fn holds_for(&self, node: &NodeFact) -> bool {
        self.keys.iter().all(|k| node.labels.contains_key(&**k))
            && self.selector.matches(&node.labels)
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|t| t.matches(node)))
            && self.tolerances.as_ref().is_none_or(|list| tolerated(node, list))
            && !(self.uncordoned && node.unschedulable)
    }

    /// The label keys it reads.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &str> {
        let selected = self.selector.0.iter().map(key_of);
        let termed = self.terms.iter().flatten().flat_map(|t| t.labels.iter().map(key_of));
        self.keys.iter().map(|k| &**k).chain(selected).chain(termed)
    }
}

fn tolerated(node: &NodeFact, list: &[Tolerance]) -> bool {
    node.taints.iter().filter(|t| t.effect.repels()).all(|t| list.iter().any(|o| o.accepts(t)))
}

fn key_of(requirement: &Requirement) -> &str {
    match requirement {
        Requirement::In(k, _)
        | Requirement::NotIn(k, _)
        | Requirement::Exists(k)
        | Requirement::Absent(k)
        | Requirement::Greater(k, _)
        | Requirement::Less(k, _) => k,
    }
}

/// Number of an interned fence; good until [`Snapshot::epoch`](crate::Snapshot::epoch) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceId(u32);

/// What few nodes are, as bitmaps, so that the many others need not be looked at.
#[derive(Default)]
pub(crate) struct Marks {
    /// Nodes whose object is there.
    pub(crate) known: Bits,
    cordoned: Bits,
    /// Nodes with taints that keep pods away.
    repelling: Bits,
    /// Nodes with taints that make pods prefer others.
    pub(crate) soft: Bits,
}

impl Marks {
    /// A node's object changed.
    pub(crate) fn follow(&mut self, slot: Slot, node: &NodeInfo) {
        self.known.set(slot, node.known);
        self.cordoned.set(slot, node.fact.unschedulable);
        self.repelling.set(slot, node.fact.taints.iter().any(|t| t.effect.repels()));
        self.soft.set(slot, node.fact.taints.iter().any(|t| !t.effect.repels()));
    }
}

/// All fences in use.
#[derive(Default)]
pub(crate) struct Fences {
    ids: HashMap<Arc<Fence>, FenceId>,
    list: Vec<(Arc<Fence>, Bits)>,
}

impl Fences {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn find(&self, fence: &Fence) -> Option<FenceId> {
        self.ids.get(fence).copied()
    }

    pub(crate) fn bits(&self, id: FenceId) -> &Bits {
        &self.list[id.0 as usize].1
    }

    /// Takes in a fence with the nodes it holds for. The columns of all labels it reads must be there.
    pub(crate) fn add(
        &mut self,
        fence: Fence,
        nodes: &[NodeInfo],
        marks: &Marks,
        columns: &Columns,
    ) -> FenceId {
        let id = FenceId(u32::try_from(self.list.len()).expect("fewer fences than their limit"));
        let bits = measure(&fence, nodes, marks, columns);
        let fence = Arc::new(fence);
        self.ids.insert(fence.clone(), id);
        self.list.push((fence, bits));
        id
    }

    /// A node's object changed.
    pub(crate) fn follow(&mut self, slot: Slot, node: &NodeInfo) {
        for (fence, bits) in &mut self.list {
            bits.set(slot, fence.holds(node));
        }
    }
}

/// The nodes a fence holds for, label by label over whole columns rather than node by node.
fn measure(fence: &Fence, nodes: &[NodeInfo], marks: &Marks, columns: &Columns) -> Bits {
    let slots = nodes.len();
    let labels = |r: &Requirement| {
        columns.of_label(key_of(r)).map_or_else(|| Bits::none(slots), |c| c.satisfying(r, slots))
    };
    let mut bits = marks.known.clone();
    if fence.uncordoned {
        marks.cordoned.iter().for_each(|slot| bits.set(slot, false));
    }
    if let Some(list) = &fence.tolerances {
        let against = marks.repelling.iter().filter(|slot| !tolerated(&nodes[slot.index()].fact, list));
        against.for_each(|slot| bits.set(slot, false));
    }
    for key in &fence.keys {
        bits.and(&labels(&Requirement::Exists(key.to_string())));
    }
    for requirement in &fence.selector.0 {
        bits.and(&labels(requirement));
    }
    if let Some(terms) = &fence.terms {
        let mut any = Bits::none(slots);
        for term in terms {
            any.or(&term_bits(term, nodes, &labels));
        }
        bits.and(&any);
    }
    bits
}

fn term_bits(term: &NodeTerm, nodes: &[NodeInfo], labels: &impl Fn(&Requirement) -> Bits) -> Bits {
    let slots = nodes.len();
    if !term.names.is_empty() || term.labels.is_empty() || term.broken {
        // Names are rarely asked for, and then of few nodes: no column is worth it.
        let mut bits = Bits::none(slots);
        for (at, node) in nodes.iter().enumerate() {
            bits.set(Slot::at(at), term.matches(&node.fact));
        }
        return bits;
    }
    let mut bits = Bits::all(slots);
    for requirement in &term.labels {
        bits.and(&labels(requirement));
    }
    bits
}
