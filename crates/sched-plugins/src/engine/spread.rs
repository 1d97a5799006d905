//! Raw scores of soft spreading: pods in the node's domains, each weighed by the logarithm of how many domains there are.

use sched_core::{Column, Slot, Snapshot};

use super::class::{Numbers, Soft};
use super::row::{Row, Sameness};
use super::wide::id_of;
use crate::logarithm::ln_fixed;

/// The soft constraints of one decision, ready to rate nodes.
pub(crate) struct Field<'a> {
    parts: Vec<Part<'a>>,
    /// A node without one of the labels takes no part.
    all_keys: bool,
}

struct Part<'a> {
    /// Whether the node has the label.
    label: &'a Column,
    /// By what pods are counted: the label, or the node itself for hosts.
    domains: &'a Column,
    /// What a node adds, in 2^-32, by domain plus one.
    by_id: Vec<i64>,
    /// What a node adds whose domain has no pods.
    empty: i64,
    is_host: bool,
}

impl<'a> Field<'a> {
    /// The soft constraints over the nodes that do.
    pub(crate) fn new(snapshot: &'a Snapshot, numbers: &Numbers, row: &Row) -> Field<'a> {
        let all_keys = numbers.soft_all_keys;
        let labels: Vec<&Column> = numbers.soft.iter().map(|s| snapshot.column(s.column)).collect();
        let lacking = Lacking::new(&labels, all_keys);
        let parts = numbers.soft.iter().zip(&labels).map(|(soft, label)| {
            let tally = snapshot.tally(soft.tally);
            let domains = snapshot.column(tally.column());
            let empty = (soft.max_skew - 1) << 32;
            let mut by_id = vec![empty; domains.domains() + 1];
            by_id[0] = 0;
            let weight = ln_fixed(size(soft, label, row, &lacking) + 2);
            tally.each(|domain, pods| {
                by_id[domain + 1] = i64::from(pods).saturating_mul(weight).saturating_add(empty);
            });
            Part { label, domains, by_id, empty, is_host: soft.is_host }
        });
        Field { parts: parts.collect(), all_keys }
    }

    /// Raw score: higher is worse; -1 for nodes that take no part.
    pub(crate) fn raw(&self, at: usize) -> i64 {
        const HALF: i64 = 1 << 31;
        let mut sum = HALF;
        for part in &self.parts {
            if id_of(part.label, at) == 0 {
                if self.all_keys {
                    return -1;
                }
                continue;
            }
            sum = sum.saturating_add(part.by_id[id_of(part.domains, at)]);
        }
        sum >> 32
    }

    /// Which nodes score alike: those of one domain of a label with few, apart from nodes that have pods or lack a label.
    pub(crate) fn sameness(&self, base_max: usize) -> Option<Sameness<'a>> {
        let base = self.parts.iter().position(|p| !p.is_host && p.label.domains() <= base_max);
        let mut exceptions = Vec::new();
        for (i, part) in self.parts.iter().enumerate() {
            exceptions.extend_from_slice(part.label.members(0));
            if Some(i) == base {
                continue;
            }
            for (id, _) in part.by_id.iter().enumerate().filter(|(id, add)| *id > 0 && **add != part.empty) {
                exceptions.extend_from_slice(part.domains.members(id));
            }
        }
        Some(Sameness { base: base.map(|i| self.parts[i].label), exceptions })
    }
}

/// Which nodes take no part for lack of a label.
struct Lacking<'a> {
    labels: Vec<&'a Column>,
}

impl<'a> Lacking<'a> {
    fn new(labels: &[&'a Column], all_keys: bool) -> Lacking<'a> {
        // Labels that every node has need not be asked for.
        let partial = labels.iter().filter(|c| all_keys && !c.members(0).is_empty());
        Lacking { labels: partial.copied().collect() }
    }

    fn has(&self, at: usize) -> bool {
        self.labels.iter().any(|column| id_of(column, at) == 0)
    }
}

/// How many domains there are: of hosts the nodes that take part, else the values of the label among them; no value is one.
fn size(soft: &Soft, label: &Column, row: &Row, lacking: &Lacking<'_>) -> usize {
    let takes_part = |at: usize| row.cells()[at] > 0 && !lacking.has(at);
    if soft.is_host && lacking.labels.is_empty() {
        return row.feasible();
    }
    if soft.is_host {
        return row.scores().filter(|(slot, _): &(Slot, i64)| !lacking.has(slot.index())).count();
    }
    let is_open = |id: &usize| label.members(*id).iter().any(|at| takes_part(*at as usize));
    (0..=label.domains()).filter(is_open).count()
}
