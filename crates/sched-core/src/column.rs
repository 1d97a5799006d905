//! Labels as columns: which value each node has of one key, as a small number.

use std::collections::HashMap;
use std::sync::Arc;

use api_meta::{Labels, Requirement};

use crate::{Bits, NodeInfo, Slot};

/// The values of one label key by slot. A value is a *domain*.
#[derive(Clone, Debug, Default)]
pub struct Column {
    ids: HashMap<Arc<str>, u32>,
    values: Vec<Arc<str>>,
    /// Domain plus one by slot; zero when the node has no such label.
    of: Vec<u32>,
    /// The other way round, while it is up to date.
    members: Option<Members>,
}

/// Slots by domain plus one: `slots[starts[id]..starts[id + 1]]`.
#[derive(Clone, Debug, Default)]
struct Members {
    starts: Vec<u32>,
    slots: Vec<u32>,
}

impl Members {
    fn of(ids: &[u32], domains: usize) -> Members {
        let mut starts = vec![0_u32; domains + 2];
        for id in ids {
            starts[*id as usize + 1] += 1;
        }
        for id in 1..starts.len() {
            starts[id] += starts[id - 1];
        }
        let mut next = starts.clone();
        let mut slots = vec![0; ids.len()];
        for (slot, id) in (0_u32..).zip(ids) {
            let at = &mut next[*id as usize];
            slots[*at as usize] = slot;
            *at += 1;
        }
        Members { starts, slots }
    }
}

/// One label alone, for asking a requirement about it.
struct Only<'a>(&'a str, Option<&'a str>);

impl Labels for Only<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.1.filter(|_| key == self.0)
    }
}

impl Column {
    /// The domain of a node, below [`Column::domains`].
    pub fn domain(&self, slot: Slot) -> Option<usize> {
        self.of.get(slot.index()).and_then(|d| d.checked_sub(1)).map(|d| d as usize)
    }

    /// One more than the greatest domain number; not all need be in use.
    pub fn domains(&self) -> usize {
        self.values.len()
    }

    /// Domain plus one by slot, zero for nodes without the label: made to be scanned. Slots beyond the end have none.
    pub fn ids(&self) -> &[u32] {
        &self.of
    }

    /// The nodes of a domain plus one, in rising order of slots; of zero those without the label. Only after
    /// [`Snapshot::settle`](crate::Snapshot::settle).
    pub fn members(&self, id: usize) -> &[u32] {
        let members = self.members.as_ref().expect("columns are settled before they are read by domain");
        &members.slots[members.starts[id] as usize..members.starts[id + 1] as usize]
    }

    fn settle(&mut self) {
        if self.members.is_none() {
            self.members = Some(Members::of(&self.of, self.values.len()));
        }
    }

    pub(crate) fn set(&mut self, slot: Slot, value: Option<&str>) {
        let id = value.map_or(0, |v| match self.ids.get(v) {
            Some(id) => *id,
            None => {
                let value: Arc<str> = v.into();
                self.values.push(value.clone());
                let id = u32::try_from(self.values.len()).expect("fewer domains than nodes ever seen");
                self.ids.insert(value, id);
                id
            }
        });
        if self.of.len() <= slot.index() {
            self.of.resize(slot.index() + 1, 0);
            self.members = None;
        }
        if self.of[slot.index()] != id {
            self.of[slot.index()] = id;
            self.members = None;
        }
    }

    /// Whether so many values have gone that it should be built anew.
    pub(crate) fn is_worn(&self) -> bool {
        self.values.len() > 2 * self.of.len() + 1024
    }

    /// The slots below `slots` that satisfy a requirement on this column's key. Each value is judged once.
    pub(crate) fn satisfying(&self, requirement: &Requirement, slots: usize) -> Bits {
        let (listed, others) = match requirement {
            Requirement::In(_, values) => (values.as_slice(), false),
            Requirement::NotIn(_, values) => (values.as_slice(), true),
            _ => (&[][..], false),
        };
        let mut verdict = vec![others; self.values.len() + 1];
        match requirement {
            Requirement::In(..) | Requirement::NotIn(..) => {
                for id in listed.iter().filter_map(|v| self.ids.get(v.as_str())) {
                    verdict[*id as usize] = !others;
                }
            }
            Requirement::Exists(key)
            | Requirement::Absent(key)
            | Requirement::Greater(key, _)
            | Requirement::Less(key, _) => {
                for (i, value) in self.values.iter().enumerate() {
                    verdict[i + 1] = requirement.matches(&Only(key, Some(value)));
                }
                verdict[0] = requirement.matches(&Only(key, None));
            }
        }
        let mut bits = Bits::none(slots);
        for at in 0..slots {
            if verdict[self.of.get(at).copied().unwrap_or(0) as usize] {
                bits.set(Slot::at(at), true);
            }
        }
        bits
    }
}

/// Number of a column; good until [`Snapshot::epoch`](crate::Snapshot::epoch) changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(u32);

/// What divides nodes into domains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topology {
    /// Each node is a domain of its own.
    Node,
    /// The values of a label.
    Label(Arc<str>),
}

/// All columns in use.
#[derive(Default)]
pub(crate) struct Columns {
    ids: HashMap<Topology, ColumnId>,
    list: Vec<(Topology, Column)>,
}

impl Columns {
    pub(crate) fn find(&self, topology: &Topology) -> Option<ColumnId> {
        self.ids.get(topology).copied()
    }

    pub(crate) fn get(&self, id: ColumnId) -> &Column {
        &self.list[id.0 as usize].1
    }

    pub(crate) fn of_label(&self, key: &str) -> Option<&Column> {
        self.list.iter().find(|(t, _)| matches!(t, Topology::Label(k) if **k == *key)).map(|(_, c)| c)
    }

    pub(crate) fn add(&mut self, topology: &Topology, nodes: &[NodeInfo]) -> ColumnId {
        if let Some(id) = self.find(topology) {
            return id;
        }
        let id = ColumnId(u32::try_from(self.list.len()).expect("fewer columns than label keys"));
        self.list.push((topology.clone(), build(topology, nodes)));
        self.ids.insert(topology.clone(), id);
        id
    }

    pub(crate) fn settle(&mut self) {
        self.list.iter_mut().for_each(|(_, column)| column.settle());
    }

    /// A node's object changed.
    pub(crate) fn follow(&mut self, slot: Slot, node: &NodeInfo) {
        for (topology, column) in &mut self.list {
            column.set(slot, value(topology, node));
        }
    }

    /// Builds columns anew that mostly hold values which nobody has any more; says whether there were any.
    pub(crate) fn renew(&mut self, nodes: &[NodeInfo]) -> bool {
        let mut renewed = false;
        for (topology, column) in self.list.iter_mut().filter(|(_, c)| c.is_worn()) {
            *column = build(topology, nodes);
            renewed = true;
        }
        renewed
    }
}

fn build(topology: &Topology, nodes: &[NodeInfo]) -> Column {
    let mut column = Column::default();
    for (at, node) in nodes.iter().enumerate() {
        column.set(Slot::at(at), value(topology, node));
    }
    column
}

fn value<'a>(topology: &Topology, node: &'a NodeInfo) -> Option<&'a str> {
    match topology {
        _ if !node.known => None,
        Topology::Node => Some(&node.fact.name),
        Topology::Label(key) => node.fact.labels.get(&**key).map(String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_the_nodes_of_each_domain() {
        let mut column = Column::default();
        for (at, value) in [Some("a"), None, Some("b"), Some("a")].into_iter().enumerate() {
            column.set(Slot::at(at), value);
        }
        column.settle();
        assert_eq!(
            (column.members(0), column.members(1), column.members(2)),
            (&[1][..], &[0, 3][..], &[2][..])
        );
        column.set(Slot::at(0), Some("b"));
        column.settle();
        assert_eq!((column.members(1), column.members(2)), (&[3][..], &[0, 2][..]));
    }

    #[test]
    fn a_requirement_on_a_column_holds_for_the_nodes_whose_labels_satisfy_it() {
        let values = [Some("1"), None, Some("20"), Some("x"), Some("1")];
        let mut column = Column::default();
        for (at, value) in values.iter().enumerate() {
            column.set(Slot::at(at), *value);
        }
        let list = || vec!["1".to_owned(), "absent".to_owned()];
        let all = [
            Requirement::In("k".into(), list()),
            Requirement::NotIn("k".into(), list()),
            Requirement::Exists("k".into()),
            Requirement::Absent("k".into()),
            Requirement::Greater("k".into(), 5),
            Requirement::Less("k".into(), 5),
        ];
        for requirement in &all {
            let bits = column.satisfying(requirement, 6);
            for at in 0..6 {
                let value = values.get(at).copied().flatten();
                assert_eq!(
                    bits.has(Slot::at(at)),
                    requirement.matches(&Only("k", value)),
                    "{requirement:?} {at}"
                );
            }
        }
    }
}
