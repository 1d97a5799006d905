//! Planners of the built-in controllers: what kube-controller-manager decides, as pure functions.
//!
//! ```text
//! World ──observe──> Observed ──plan──> Plan        one folder per kind: observe, plan, status
//! ```
//!
//! What is absent: effects, clocks, queues (see `controller-host`), and the kinds not listed in [`rows`].

pub mod account;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod eviction;
pub mod gc;
mod kit;
pub mod namespace;
pub mod node;
pub mod podgc;
pub mod replicaset;
pub mod stability;

use reconcile::Row;

/// The table of all built-in controllers that work on typed caches. Some of them read our own kinds (CloneSet, InPlaceSet,
/// CafeDeployment), whose definitions the server must have: a controller waits for all it reads.
pub fn rows() -> Vec<Row> {
    vec![
        Row::of::<deployment::Deployments>(),
        Row::of::<replicaset::ReplicaSets>(),
        Row::of::<endpointslice::EndpointSlices>(),
        Row::of::<endpoints::EndpointsOfServices>(),
        Row::of::<account::Accounts>(),
        Row::of::<node::Nodes>(),
        Row::of::<eviction::Evictions>(),
        Row::of::<podgc::PodGc>(),
        Row::of::<disruption::Disruptions>(),
        Row::of::<stability::Stability>(),
    ]
}
