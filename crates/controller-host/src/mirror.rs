//! Runs one reflector and hands its changes to the host's owner task, waiting while that is busy.

use api_client::{Client, Consumer, Delta, Reflector, Seen};
use reconcile::{AnyObject, Feed};
use stdx::Env;
use tokio::sync::mpsc;

/// What a mirror tells the owner.
pub(crate) enum Tiding {
    /// A new list is about to come.
    Relisted { feed: usize, before: usize, gone: usize },
    /// One change; `version` is the collection's after it, 0 within a list.
    Change { feed: usize, delta: Delta<AnyObject>, version: u64 },
}

/// Changes that may wait for the owner.
pub(crate) const INBOX: usize = 4096;

struct Mirror {
    number: usize,
    feed: Feed,
    inbox: mpsc::Sender<Tiding>,
}

impl Consumer for Mirror {
    type Item = AnyObject;

    fn open(&self, json: &str) -> Result<Seen<AnyObject>, serde_json::Error> {
        let seen = self.feed.decode(json)?;
        Ok(Seen { key: seen.key, version: seen.version, item: seen.object })
    }

    async fn relisted(&mut self, before: usize, gone: usize) {
        let tiding = Tiding::Relisted { feed: self.number, before, gone };
        // The owner has ended: the next change ends the mirror.
        let _ = self.inbox.send(tiding).await;
    }

    async fn take(&mut self, delta: Delta<AnyObject>, version: u64) -> bool {
        self.inbox.send(Tiding::Change { feed: self.number, delta, version }).await.is_ok()
    }
}

/// Starts mirror `number`. It ends with the owner.
pub(crate) fn start(env: &Env, client: Client, number: usize, feed: Feed, inbox: mpsc::Sender<Tiding>) {
    let reflector = Reflector::new(client, env.clone(), feed.resource().clone());
    env.spawn("mirror", reflector.run_into(Mirror { number, feed, inbox }));
}
