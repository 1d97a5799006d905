//! How many nodes, what they look like, and how long things take on them.

use std::collections::BTreeMap;
use std::time::Duration;

use stdx::Rng;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose nodes these are: two simulators of one cluster need two names.
    pub owner: String,
    /// How many nodes.
    pub nodes: usize,
    /// Nodes are called by this and their number: `sim-0`.
    pub name_prefix: String,
    /// Cells over which nodes are spread in turn; none for no cell label.
    pub cells: Vec<String>,
    /// Zones over which nodes are spread in turn; none for no zone label.
    pub zones: Vec<String>,
    /// What each node has.
    pub capacity: BTreeMap<String, String>,
    /// Further labels of each node.
    pub labels: BTreeMap<String, String>,
    /// Taints of each node, as `key=value:Effect`.
    pub taints: Vec<String>,
    /// How long things take.
    pub timings: Timings,
    /// Time between two renewals of a node's Lease; nodes share it evenly. It is a quarter of how long a Lease lasts: so long a
    /// silent node counts as alive.
    pub lease_renewal: Duration,
    /// Most requests under way at once.
    pub writes_max: usize,
}

/// How long things take on simulated nodes, unless an annotation says otherwise.
#[derive(Clone, Debug)]
pub struct Timings {
    /// From the decision to start a container until it runs.
    pub start: Span,
    /// From running until ready, beyond the probe's initial delay; containers without a readiness probe are ready at once.
    pub ready: Span,
    /// From TERM until the container has ended.
    pub stop: Span,
    /// How long an init container runs.
    pub init: Span,
}

/// A range of times from which each case draws its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Shortest.
    pub min: Duration,
    /// Longest.
    pub max: Duration,
}

impl Span {
    /// A range in milliseconds.
    pub const fn millis(min: u64, max: u64) -> Span {
        Span { min: Duration::from_millis(min), max: Duration::from_millis(max) }
    }

    /// Always this long.
    pub const fn exactly(length: Duration) -> Span {
        Span { min: length, max: length }
    }

    pub(crate) fn draw(self, rng: &dyn Rng) -> Duration {
        let width = self.max.saturating_sub(self.min).as_micros();
        let extra = u64::try_from(width).unwrap_or(u64::MAX);
        if extra == 0 {
            return self.min;
        }
        self.min + Duration::from_micros(rng.next_u64() % (extra + 1))
    }
}

impl Config {
    /// `nodes` nodes of 32 CPUs and 256 GiB with room for 110 pods, quick to act.
    pub fn new(owner: &str, nodes: usize) -> Config {
        let capacity = [("cpu", "32"), ("memory", "256Gi"), ("ephemeral-storage", "1Ti"), ("pods", "110")];
        Config {
            owner: owner.to_owned(),
            nodes,
            name_prefix: "sim-".to_owned(),
            cells: Vec::new(),
            zones: Vec::new(),
            capacity: capacity.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            timings: Timings {
                start: Span::millis(300, 800),
                ready: Span::millis(500, 1500),
                stop: Span::millis(200, 600),
                init: Span::millis(200, 400),
            },
            // The kubelet renews every 10 s and lets its Lease last 40 s. Beyond a thousand nodes that alone would be more than
            // 100 writes per second.
            lease_renewal: Duration::from_secs(if nodes > 1000 { 25 } else { 10 }),
            writes_max: 32,
        }
    }

    /// `leaseDurationSeconds` of the nodes' Leases.
    pub(crate) fn lease_seconds(&self) -> u64 {
        self.lease_renewal.saturating_mul(4).as_secs().max(1)
    }
}
