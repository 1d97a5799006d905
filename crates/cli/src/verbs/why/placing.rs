//! Why a pod is where it is, why not elsewhere, and what would have to change: the scheduler's rules, asked here.

use api_client::ListOptions;
use api_core::{Node, Pod};
use api_meta::{ObjectMeta, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use simulate::why::Cluster;
use view::Answer;

use super::super::lookup;
use crate::scene::{NODES, PODS, is_terminating};
use crate::session::Session;

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");

/// Adds what the rules of placement say about a pod, as the cluster stands. A pod that has ended or is going is not asked about,
/// and who may not read the whole cluster is told so.
pub(super) async fn tell(session: &mut Session, object: &Value, out: &mut Answer) -> anyhow::Result<()> {
    let Some(pod) = typed::<Pod>(object).filter(|p| !p.is_finished() && !is_terminating(object)) else {
        return Ok(());
    };
    let mut cluster = Cluster::of_upstream();
    for kind in [&NODES, &NAMESPACES, &PODS] {
        match lookup::list(session, kind, "", ListOptions { limit: lookup::PAGE, ..ListOptions::default() })
            .await
        {
            Ok(objects) => objects.iter().for_each(|o| take(&mut cluster, kind, o)),
            Err(error) => {
                session.io.tell(&format!(
                    "placing: not told, because all {} are needed for it: {error:#}",
                    kind.plural
                ));
                return Ok(());
            }
        }
    }
    let why = cluster.why(&pod);
    out.placing = why.placing();
    why.would_do().into_iter().for_each(|change| out.advise(change));
    Ok(())
}

fn take(cluster: &mut Cluster, kind: &Resource, object: &Value) {
    match kind.plural.as_ref() {
        "nodes" => typed::<Node>(object).iter().for_each(|node| cluster.node(node)),
        "pods" => typed::<Pod>(object).iter().for_each(|pod| cluster.pod(pod)),
        _ => {
            let meta: Option<ObjectMeta> = typed(&object["metadata"]);
            meta.iter().for_each(|m| cluster.namespace(&m.name, &m.labels));
        }
    }
}

/// An object that cannot be read counts for nothing, as with the scheduler.
fn typed<T: DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}
