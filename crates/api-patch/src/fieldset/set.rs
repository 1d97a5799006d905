//! The set itself: a tree of path elements, each a member or not, sorted at every level.

use std::cmp::Ordering;

use super::{Path, PathElement};

/// A set of paths. A path may be a member and have members below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Sorted by key, keys unique; each is a member or has something below.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) key: PathElement,
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Node {
    fn is_void(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// The empty set.
    pub const fn new() -> FieldSet {
        FieldSet { nodes: Vec::new() }
    }

    /// A set of whole paths.
    pub fn of(paths: impl IntoIterator<Item = Path>) -> FieldSet {
        let mut set = FieldSet::new();
        for path in paths {
            set.insert(path);
        }
        set
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|n| usize::from(n.member) + n.below.len()).sum()
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Nodes may come in any order; void ones are dropped.
    pub(super) fn from_nodes(mut nodes: Vec<Node>) -> FieldSet {
        nodes.retain(|n| !n.is_void());
        nodes.sort_by(|a, b| a.key.cmp(&b.key));
        FieldSet { nodes }
    }

    fn find(&self, key: &PathElement) -> Result<usize, usize> {
        self.nodes.binary_search_by(|n| n.key.cmp(key))
    }

    /// Adds a path; the root itself cannot be a member.
    pub fn insert(&mut self, path: Path) {
        let mut at = self;
        let mut steps = path.0.into_iter().peekable();
        while let Some(step) = steps.next() {
            let node = at.node(step);
            if steps.peek().is_none() {
                node.member = true;
                return;
            }
            at = &mut node.below;
        }
    }

    fn node(&mut self, key: PathElement) -> &mut Node {
        let i = match self.find(&key) {
            Ok(i) => i,
            Err(i) => {
                self.nodes.insert(i, Node { key, member: false, below: FieldSet::new() });
                i
            }
        };
        &mut self.nodes[i]
    }

    /// Makes room for so many children.
    pub(crate) fn reserve(&mut self, children: usize) {
        self.nodes.reserve(children);
    }

    /// Puts a child in place: a member or not, with what is below it. Nothing happens when both say nothing.
    pub(crate) fn put(&mut self, key: PathElement, member: bool, below: FieldSet) {
        let new = Node { key, member, below };
        if new.is_void() {
            return;
        }
        // Walkers come in sorted order mostly: the end is the usual place.
        if self.nodes.last().is_none_or(|n| n.key < new.key) {
            self.nodes.push(new);
            return;
        }
        match self.find(&new.key) {
            Ok(i) => {
                let old = &mut self.nodes[i];
                old.member |= new.member;
                old.below.add_all(new.below);
            }
            Err(i) => self.nodes.insert(i, new),
        }
    }

    /// Whether a path is a member.
    pub fn has(&self, path: &Path) -> bool {
        let Some((last, way)) = path.0.split_last() else { return false };
        let mut at = self;
        for step in way {
            match at.below(step) {
                Some(below) => at = below,
                None => return false,
            }
        }
        at.has_child(last)
    }

    /// Whether a direct child is a member.
    pub(crate) fn has_child(&self, key: &PathElement) -> bool {
        self.find(key).is_ok_and(|i| self.nodes[i].member)
    }

    /// The set below a child; nothing when it is empty.
    pub(crate) fn below(&self, key: &PathElement) -> Option<&FieldSet> {
        let node = &self.nodes[self.find(key).ok()?];
        (!node.below.is_empty()).then_some(&node.below)
    }

    /// Members of either.
    pub fn union(&self, other: &FieldSet) -> FieldSet {
        if self.is_empty() {
            return other.clone();
        }
        if other.is_empty() {
            return self.clone();
        }
        self.zip(other, |a, b| match (a, b) {
            (Some(a), Some(b)) => Some(Node {
                key: a.key.clone(),
                member: a.member || b.member,
                below: a.below.union(&b.below),
            }),
            (one, None) | (None, one) => one.cloned(),
        })
    }

    /// Members of both.
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        self.zip(other, |a, b| {
            let (a, b) = (a?, b?);
            let below = a.below.intersection(&b.below);
            Some(Node { key: a.key.clone(), member: a.member && b.member, below })
        })
    }

    /// Members of this that are not members of the other; what is below a member of the other stays.
    pub fn difference(&self, other: &FieldSet) -> FieldSet {
        if other.is_empty() {
            return self.clone();
        }
        self.zip(other, |a, b| {
            let a = a?;
            let Some(b) = b else { return Some(a.clone()) };
            let below = a.below.difference(&b.below);
            Some(Node { key: a.key.clone(), member: a.member && !b.member, below })
        })
    }

    /// Members of this that are neither members of the other nor below one.
    pub fn recursive_difference(&self, other: &FieldSet) -> FieldSet {
        if other.is_empty() {
            return self.clone();
        }
        self.zip(other, |a, b| {
            let a = a?;
            match b {
                None => Some(a.clone()),
                Some(b) if b.member => None,
                Some(b) => {
                    let below = a.below.recursive_difference(&b.below);
                    Some(Node { key: a.key.clone(), member: a.member, below })
                }
            }
        })
    }

    /// Adds all members of another set.
    pub fn add_all(&mut self, other: FieldSet) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for node in other.nodes {
            self.put(node.key, node.member, node.below);
        }
    }

    /// Removes members of another set; what is below them stays. Cheap when the other set is small.
    pub fn remove_all(&mut self, other: &FieldSet) {
        self.prune(other, &mut |ours, theirs| {
            ours.member &= !theirs.member;
            ours.below.remove_all(&theirs.below);
        });
    }

    /// Removes members of another set and all that is below them.
    pub fn remove_below(&mut self, other: &FieldSet) {
        self.prune(other, &mut |ours, theirs| {
            if theirs.member {
                ours.member = false;
                ours.below = FieldSet::new();
            } else {
                ours.below.remove_below(&theirs.below);
            }
        });
    }

    /// Changes the nodes that both have, then drops void ones.
    fn prune(&mut self, other: &FieldSet, change: &mut dyn FnMut(&mut Node, &Node)) {
        let mut void = false;
        for theirs in &other.nodes {
            if let Ok(i) = self.find(&theirs.key) {
                change(&mut self.nodes[i], theirs);
                void |= self.nodes[i].is_void();
            }
        }
        if void {
            self.nodes.retain(|n| !n.is_void());
        }
    }

    /// Whether both have a member in common.
    pub fn meets(&self, other: &FieldSet) -> bool {
        let small = if self.nodes.len() <= other.nodes.len() { self } else { other };
        let large = if std::ptr::eq(small, self) { other } else { self };
        small.nodes.iter().any(|a| {
            let Ok(i) = large.find(&a.key) else { return false };
            let b = &large.nodes[i];
            (a.member && b.member) || a.below.meets(&b.below)
        })
    }

    /// Members that have no member below them.
    pub fn leaves(&self) -> FieldSet {
        let leaf = |n: &Node| Node {
            key: n.key.clone(),
            member: n.member && n.below.is_empty(),
            below: n.below.leaves(),
        };
        FieldSet { nodes: self.nodes.iter().map(leaf).collect() }
    }

    /// All members, in order, parents before children.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, way: &mut Vec<PathElement>, out: &mut Vec<Path>) {
        for node in &self.nodes {
            way.push(node.key.clone());
            if node.member {
                out.push(Path(way.clone()));
            }
            node.below.collect(way, out);
            way.pop();
        }
    }

    /// A set of the same shape in which `named` decides, per child with something below, whether it becomes a member.
    pub(crate) fn widen<T: Copy>(
        &self,
        ty: T,
        named: &impl Fn(T, &PathElement) -> bool,
        next: &impl Fn(T, &PathElement) -> T,
    ) -> FieldSet {
        let node = |n: &Node| Node {
            key: n.key.clone(),
            member: n.member || (!n.below.is_empty() && named(ty, &n.key)),
            below: n.below.widen(next(ty, &n.key), named, next),
        };
        FieldSet { nodes: self.nodes.iter().map(node).collect() }
    }

    /// Walks both in step; `join` builds the node of each key, void ones are left out.
    fn zip(&self, other: &FieldSet, join: impl Fn(Option<&Node>, Option<&Node>) -> Option<Node>) -> FieldSet {
        let (mut a, mut b) = (self.nodes.iter().peekable(), other.nodes.iter().peekable());
        let mut nodes = Vec::with_capacity(self.nodes.len());
        loop {
            let order = match (a.peek(), b.peek()) {
                (None, None) => return FieldSet { nodes },
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(x), Some(y)) => x.key.cmp(&y.key),
            };
            let node = match order {
                Ordering::Less => join(a.next(), None),
                Ordering::Greater => join(None, b.next()),
                Ordering::Equal => join(a.next(), b.next()),
            };
            nodes.extend(node.filter(|n| !n.is_void()));
        }
    }
}
