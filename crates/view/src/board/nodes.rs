//! Nodes that host no pod of a shown application: counted by cell, with a strip of heat.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::facts::NodeFact;
use super::observed::Observed;

/// Longest strip; a column stands for several nodes when there are more.
const STRIP_MAX: usize = 64;

/// The other nodes of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct NodesView {
    /// The cell; empty for nodes outside of all cells.
    pub(super) cell: String,
    /// How many.
    pub(super) nodes: usize,
    /// Of these, answering.
    pub(super) ready: usize,
    /// Of these, known not to answer.
    pub(super) lost: usize,
    /// Of these, cordoned.
    pub(super) cordoned: usize,
    /// Pods on them.
    pub(super) pods: usize,
    /// A column for each node or few, in the order of their names: `0` to `9` by pods, `x` when one does not answer.
    pub(super) strip: String,
}

/// Other nodes by cell. `busy` are the nodes that are drawn by name, `used` the cells that applications name.
pub(super) fn view(seen: &Observed, busy: &BTreeSet<&str>, used: &BTreeSet<&str>) -> Vec<NodesView> {
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in seen.pods.values().filter(|p| !p.node.is_empty()) {
        *load.entry(&pod.node).or_default() += 1;
    }
    let mut cells: BTreeMap<&str, Vec<(&NodeFact, usize)>> = BTreeMap::new();
    for node in seen.nodes.values().filter(|n| !busy.contains(n.name.as_str())) {
        let pods = load.get(node.name.as_str()).copied().unwrap_or(0);
        cells.entry(home(node, used)).or_default().push((node, pods));
    }
    cells.into_iter().map(|(cell, nodes)| of_cell(cell, nodes)).collect()
}

/// The cell that a node is drawn in: the one that applications use, be it drawn by cell or by zone.
fn home<'a>(node: &'a NodeFact, used: &BTreeSet<&str>) -> &'a str {
    let both = [node.cell.as_str(), node.zone.as_str()];
    let named = both.into_iter().filter(|c| !c.is_empty());
    named.clone().find(|c| used.contains(c)).or_else(|| named.clone().next()).unwrap_or_default()
}

fn of_cell(cell: &str, mut nodes: Vec<(&NodeFact, usize)>) -> NodesView {
    // `sim-9` before `sim-10`.
    nodes.sort_by(|(a, _), (b, _)| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    let count = |is: fn(&NodeFact) -> bool| nodes.iter().filter(|(n, _)| is(n)).count();
    NodesView {
        cell: cell.to_owned(),
        nodes: nodes.len(),
        ready: count(|n| n.is_ready == Some(true)),
        lost: count(NodeFact::is_lost),
        cordoned: count(|n| n.is_cordoned),
        pods: nodes.iter().map(|(_, pods)| pods).sum(),
        strip: strip(&nodes),
    }
}

fn strip(nodes: &[(&NodeFact, usize)]) -> String {
    let width = nodes.len().div_ceil(STRIP_MAX).max(1);
    let most = nodes.iter().map(|(_, pods)| *pods).max().unwrap_or(0).max(1);
    let column = |some: &[(&NodeFact, usize)]| {
        if some.iter().any(|(n, _)| n.is_lost()) {
            return 'x';
        }
        let pods: usize = some.iter().map(|(_, pods)| pods).sum();
        // Rounded up: a column that has a pod never looks empty.
        let heat = (pods * 9).div_ceil(most * some.len());
        char::from_digit(u32::try_from(heat.min(9)).unwrap_or(9), 10).unwrap_or('9')
    };
    nodes.chunks(width).map(column).collect()
}
