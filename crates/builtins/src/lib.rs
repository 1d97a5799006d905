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
pub mod quota;
pub mod replicaset;
pub mod stability;

use reconcile::Row;

/// The table of all controllers that work on typed caches, for a server that has the definitions of our kinds (CloneSet,
/// InPlaceSet, CafeDeployment): a controller waits for all it reads.
pub fn rows() -> Vec<Row> {
    let mut rows = common();
    rows.push(Row::of::<disruption::Disruptions<true>>());
    rows.push(Row::of::<stability::Stability>());
    rows
}

/// The same for a server that knows only the kinds of Kubernetes.
pub fn rows_without_our_kinds() -> Vec<Row> {
    let mut rows = common();
    rows.push(Row::of::<disruption::Disruptions<false>>());
    rows
}

fn common() -> Vec<Row> {
    vec![
        Row::of::<deployment::Deployments>(),
        Row::of::<replicaset::ReplicaSets>(),
        Row::of::<endpointslice::EndpointSlices>(),
        Row::of::<endpoints::EndpointsOfServices>(),
        Row::of::<account::Accounts>(),
        Row::of::<node::Nodes>(),
        eviction::row(),
        Row::of::<podgc::PodGc>(),
    ]
}
