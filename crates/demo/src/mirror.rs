//! Watches pods and CafeDeployments, and reads the lines of the loads: facts on one channel, in the order of their arrival.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_client::{Client, Error, ListOptions, WatchEvent, WatchOptions};
use api_core::Pod;
use api_meta::Object;
use futures_util::StreamExt;
use stdx::Env;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;

use crate::facts::{CafeDeployment, Fact, PodSeen};
use crate::objects::NAMESPACE;

/// Facts that may wait to be taken in.
pub(crate) const FACTS_MAX: usize = 8192;
/// Wait before a broken watch is begun anew: the API server may be away for a while.
const AGAIN: Duration = Duration::from_millis(100);

/// Starts both watches. They end when nobody takes their facts any more.
pub(crate) fn start(client: &Client, env: &Env, cells: BTreeMap<String, String>, facts: &mpsc::Sender<Fact>) {
    let cells = Arc::new(cells);
    let pod = move |pod: Pod| Fact::Pod(PodSeen::of(&pod, &cells));
    let gone = |uid: String| Some(Fact::PodGone(uid));
    env.spawn("pods", mirror(client.clone(), env.clone(), facts.clone(), pod, gone));
    let cafe = |cafe: CafeDeployment| Fact::Cafe(cafe.into());
    env.spawn("cafes", mirror(client.clone(), env.clone(), facts.clone(), cafe, |_| None));
}

/// Lists, watches, and lists again whenever the watch ends.
async fn mirror<T: Object>(
    client: Client,
    env: Env,
    facts: mpsc::Sender<Fact>,
    seen: impl Fn(T) -> Fact + Send + Sync + 'static,
    gone: impl Fn(String) -> Option<Fact> + Send + Sync + 'static,
) {
    let mut known = BTreeSet::new();
    while !facts.is_closed() {
        if let Err(error) = round(&client, &facts, &mut known, &seen, &gone).await {
            tracing::debug!(%error, resource = %T::RESOURCE, "watch interrupted");
        }
        env.sleep(AGAIN).await;
    }
}

async fn round<T: Object>(
    client: &Client,
    facts: &mpsc::Sender<Fact>,
    known: &mut BTreeSet<String>,
    seen: &(impl Fn(T) -> Fact + Sync),
    gone: &(impl Fn(String) -> Option<Fact> + Sync),
) -> Result<(), Error> {
    let list = client.list::<T>(&T::RESOURCE, NAMESPACE, &ListOptions::default()).await?;
    let now: BTreeSet<String> = list.items.iter().map(|o| o.meta().uid.clone()).collect();
    let missing: Vec<String> = known.difference(&now).cloned().collect();
    *known = now;
    let told = missing.into_iter().filter_map(gone).chain(list.items.into_iter().map(seen));
    for fact in told.collect::<Vec<_>>() {
        // Nobody takes facts any more: the caller notices.
        let _ = facts.send(fact).await;
    }
    let resource_version = list.metadata.resource_version;
    let options = WatchOptions { resource_version, ..WatchOptions::default() };
    let mut events = client.watch::<T>(&T::RESOURCE, NAMESPACE, &options).await?;
    while let Some(event) = events.next().await {
        let fact = match event? {
            WatchEvent::Applied(object) => {
                known.insert(object.meta().uid.clone());
                Some(seen(object))
            }
            WatchEvent::Deleted(object) => {
                known.remove(&object.meta().uid);
                gone(object.meta().uid.clone())
            }
            WatchEvent::Bookmark(_) => None,
        };
        if let Some(fact) = fact
            && facts.send(fact).await.is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Passes on what a load says until it has ended.
pub(crate) async fn listen(app: String, lines: ChildStdout, facts: mpsc::Sender<Fact>) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let line = match serde_json::from_str(&text) {
            Ok(line) => line,
            Err(error) => {
                tracing::warn!(%error, text, "a line of the load cannot be read");
                continue;
            }
        };
        if facts.send(Fact::Load(app.clone(), line)).await.is_err() {
            return;
        }
    }
}
