//! What happened, or is to happen, to a cluster, moment by moment.

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::{Node, Pod};
use stdx::Time;

/// A named course of events.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// What it is called in reports.
    pub name: String,
    /// The events, by time and then in their order.
    pub moments: Vec<Moment>,
}

/// An event with its time.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
}

/// A change that nobody here decides.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node came or changed.
    Node(Box<Node>),
    /// A node went.
    NodeGone(String),
    /// A namespace came or changed, with its labels.
    Namespace(String, BTreeMap<String, String>),
    /// A pod asks for a place, or changed while it waits. A pod with a node's name stays there.
    Pod {
        /// The pod; its uid is its identity.
        pod: Box<Pod>,
        /// It leaves so long after it was placed; absent for pods whose going is an event of its own.
        lifetime: Option<Duration>,
    },
    /// A pod ended or went, by uid.
    PodGone(String),
}

impl Story {
    /// Brings the moments into the order of time; those of one time keep theirs.
    pub(super) fn sorted(mut self) -> Story {
        self.moments.sort_by_key(|m| m.at);
        self
    }

    /// Whether it has nodes.
    pub fn has_nodes(&self) -> bool {
        self.moments.iter().any(|m| matches!(m.event, Event::Node(_)))
    }

    /// How many pods ask for a place.
    pub fn pods(&self) -> usize {
        let uids = self.moments.iter().filter_map(|m| match &m.event {
            Event::Pod { pod, .. } => Some(pod.metadata.uid.as_str()),
            _ => None,
        });
        uids.collect::<std::collections::BTreeSet<_>>().len()
    }
}
