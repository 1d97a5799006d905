//! Why a pod is where it is, why not elsewhere, and what would have to change: the scheduler's rules, asked here.

use api_client::{Error, ListOptions};
use api_core::{Namespace, Node, Pod};
use api_meta::Object;
use serde_json::Value;
use simulate::why::Cluster;
use view::Answer;

use super::super::lookup::PAGE;
use crate::scene::is_terminating;
use crate::session::Session;

/// Adds what the rules of placement say about a pod, as the cluster stands. A pod that has ended or is going is not asked about,
/// and who may not read the whole cluster is told so.
pub(super) async fn tell(session: &mut Session, object: &Value, out: &mut Answer) -> anyhow::Result<()> {
    let pod: Option<Pod> = serde_json::from_value(object.clone()).ok();
    let Some(pod) = pod.filter(|p| !p.is_finished() && !is_terminating(object)) else { return Ok(()) };
    match cluster(session).await {
        Ok(mut cluster) => {
            let why = cluster.why(&pod);
            out.placing = why.placing();
            why.would_do().into_iter().for_each(|change| out.advise(change));
        }
        Err(error) => session.io.tell(&format!(
            "placing: not told, because all nodes, namespaces and pods are needed for it: {error:#}"
        )),
    }
    Ok(())
}

/// The cluster as the rules see it. Only what they read is kept of each page.
async fn cluster(session: &Session) -> Result<Cluster, Error> {
    let mut cluster = Cluster::of_upstream();
    each::<Node>(session, |node| cluster.node(node)).await?;
    each::<Namespace>(session, |n| cluster.namespace(&n.metadata.name, &n.metadata.labels)).await?;
    each::<Pod>(session, |pod| cluster.pod(pod)).await?;
    Ok(cluster)
}

/// Shows every object of a kind, page by page.
async fn each<T: Object>(session: &Session, mut see: impl FnMut(&T)) -> Result<(), Error> {
    let mut options = ListOptions { limit: PAGE, ..ListOptions::default() };
    loop {
        let page = session.client.list::<T>(&T::RESOURCE, "", &options).await?;
        page.items.iter().for_each(&mut see);
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok(());
        }
    }
}
