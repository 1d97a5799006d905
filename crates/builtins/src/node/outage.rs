//! Whether nodes are gone, or only out of sight: how fast pods may be evicted from nodes that are not well.
//!
//! As upstream, by domains (zone and cell here, zone there): one node each ten seconds; where at least 55 % of a domain's
//! nodes (and more than two) are not well, one in a hundred seconds in domains of more than fifty nodes and none in smaller
//! ones; a domain that is gone as a whole is evicted at the usual pace, for others can take its pods; when no node in the
//! cluster is well, nobody is evicted and taints that would evict are taken back, for then it is the control plane that
//! stands alone. None is given up in its first ten seconds, so that an outage shows whole before anything follows from it.
//! Upstream keeps the pace in memory; here the times on the taints of the domain's nodes tell it.

use std::sync::Arc;
use std::time::Duration;

use api_core::Node;
use stdx::Time;

use crate::node::taints::{is_well, our_eviction, ready};

/// From one node to the next.
const PACE: Duration = Duration::from_secs(10);
/// The same in a large domain of which most is gone.
const PACE_SLOW: Duration = Duration::from_secs(100);
/// A domain of more nodes is large.
const LARGE: usize = 50;
/// More nodes than this must be unwell before their share counts.
const FEW: usize = 2;
/// From this share of unwell nodes on, evictions are held.
const SHARE_PERCENT: usize = 55;

const CAFE_ZONE: &str = "cafe.sofastack.io/zone";
const ZONE: &str = "topology.kubernetes.io/zone";
const CELL: &str = "cafe.sofastack.io/cell";

/// How the nodes around one that is not well fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Around {
    /// Since when the node itself is not well.
    pub since: Option<Time>,
    /// Its zone and cell, for people.
    pub domain: String,
    /// Nodes of its domain that are well.
    pub well: usize,
    /// Nodes of its domain that are not.
    pub unwell: usize,
    /// Some node of the cluster is well.
    pub any_well: bool,
    /// When a node of its domain was given up last.
    pub last_turn: Option<Time>,
    /// It is the next of its domain.
    pub is_next: bool,
}

/// Whether a node may be given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Now.
    Now,
    /// Not before then.
    Later(Time),
    /// Not while most of the domain is gone; look again then.
    Held(Time, String),
    /// Not at all: nothing is left of the cluster. Look again then.
    Never(Time, String),
}

impl Around {
    /// Looks at all nodes on behalf of one.
    pub(crate) fn of<'a>(node: &Node, all: impl Iterator<Item = &'a Arc<Node>>) -> Around {
        let domain = domain(node);
        let mut around = Around {
            since: ready(node).and_then(|c| c.last_transition_time),
            domain: name(domain),
            well: 0,
            unwell: 0,
            any_well: false,
            last_turn: None,
            is_next: true,
        };
        let own_place = place(node);
        for other in all {
            let fares_well = is_well(other);
            around.any_well |= fares_well;
            if self::domain(other) != domain {
                continue;
            }
            if fares_well {
                around.well += 1;
                continue;
            }
            around.unwell += 1;
            match our_eviction(other) {
                Some(taint) => around.last_turn = around.last_turn.max(taint.time_added),
                None => around.is_next &= own_place <= place(other),
            }
        }
        around
    }

    /// Whether the node may be given up at `now`.
    pub(crate) fn turn(&self, now: Time) -> Turn {
        if !self.any_well {
            return Turn::Never(now + PACE, "no node of the cluster is well".to_owned());
        }
        let total = self.well + self.unwell;
        let most_is_gone = self.well > 0 && self.unwell > FEW && self.unwell * 100 >= total * SHARE_PERCENT;
        if most_is_gone && total <= LARGE {
            let why = format!("{} of {total} nodes of {} are not well", self.unwell, self.domain);
            return Turn::Held(now + PACE, why);
        }
        // Nodes that fail together are not found out together.
        if let Some(settled) = self.since.map(|since| since + PACE).filter(|at| *at > now) {
            return Turn::Later(settled);
        }
        let pace = if most_is_gone { PACE_SLOW } else { PACE };
        match self.last_turn.map(|last| last + pace).filter(|next| *next > now) {
            Some(next) => Turn::Later(next),
            None if self.is_next => Turn::Now,
            None => Turn::Later(now + PACE),
        }
    }
}

/// Who has been unwell the longest comes first.
fn place(node: &Node) -> (Option<Time>, &str) {
    (ready(node).and_then(|c| c.last_transition_time), &node.metadata.name)
}

fn domain(node: &Node) -> (&str, &str) {
    let label = |key: &str| node.metadata.labels.get(key).map(String::as_str);
    (label(CAFE_ZONE).or_else(|| label(ZONE)).unwrap_or_default(), label(CELL).unwrap_or_default())
}

fn name((zone, cell): (&str, &str)) -> String {
    match (zone, cell) {
        ("", "") => "the cluster".to_owned(),
        (zone, "") => format!("zone {zone}"),
        ("", cell) => format!("cell {cell}"),
        (zone, cell) => format!("cell {cell} in zone {zone}"),
    }
}
