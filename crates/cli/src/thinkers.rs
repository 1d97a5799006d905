//! What the binary brings to the verbs that ask controllers: `why` and `plan`.

use std::sync::Arc;

use api_client::Client;
use api_meta::Resource;
use reconcile::{Permit, Row};

use crate::scene::{PODS, Scene, is_same};

/// The controllers whose decisions are foretold, as the binary runs them. Empty where the binary brings none: then `why`
/// tells what objects say by themselves, and `plan` refuses.
#[derive(Default)]
pub struct Thinkers {
    /// The controllers.
    pub rows: Vec<Row>,
    /// Who is asked before anything dangerous, as the host asks; nobody when absent.
    pub permit: Option<Arc<dyn Permit>>,
}

impl From<Vec<Row>> for Thinkers {
    fn from(rows: Vec<Row>) -> Thinkers {
        Thinkers { rows, permit: None }
    }
}

/// Kinds that own pods or own those that do. Reasons are looked for along them and not in controllers of other kinds, so
/// that nobody needs the right to list what has no say.
const WORKLOADS: [&str; 11] = [
    "cafedeployments",
    "inplacesets",
    "clonesets",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "uniteddeployments",
    "rollouts",
    "pods",
];

impl Thinkers {
    /// The controllers that have a say about objects of these kinds and about what they own.
    pub(crate) fn about(&self, kinds: &[Resource]) -> Vec<&Row> {
        let mut wanted: Vec<Resource> = kinds.to_vec();
        let mut chosen: Vec<usize> = Vec::new();
        loop {
            let is_new = |(i, row): &(usize, &Row)| {
                !chosen.contains(i) && wanted.iter().any(|k| is_same(k, &row.primary))
            };
            let found: Vec<usize> = self.rows.iter().enumerate().filter(is_new).map(|(i, _)| i).collect();
            if found.is_empty() {
                break;
            }
            for i in found {
                let watched = self.rows[i].watches.iter().map(reconcile::Watch::resource);
                wanted.extend(watched.filter(|r| WORKLOADS.contains(&&*r.plural)).cloned());
                chosen.push(i);
            }
        }
        chosen.sort_unstable();
        chosen.into_iter().map(|i| &self.rows[i]).collect()
    }

    /// Which namespaces have to be read for a decision in `wanted`; the empty name stands for all.
    pub(crate) async fn places(&self, client: &Client, wanted: Vec<String>) -> anyhow::Result<Vec<String>> {
        if self.permit.is_some() && !wanted.is_empty() && crate::scene::counts_everywhere(client).await? {
            return Ok(vec![String::new()]);
        }
        Ok(wanted)
    }

    /// Makes the mirrors that these controllers and the permit read.
    pub(crate) fn mirror(&self, scene: &mut Scene, rows: &[&Row]) {
        rows.iter().flat_map(|row| &row.watches).for_each(|watch| scene.mirror(watch.feed()));
        let permit = self.permit.iter().flat_map(|permit| permit.watches());
        permit.for_each(|watch| scene.mirror(watch.feed()));
    }
}

/// Whether a kind owns pods, or owns those that do.
pub(crate) fn is_workload(resource: &Resource) -> bool {
    WORKLOADS.contains(&&*resource.plural) && !is_same(resource, &PODS)
}
