//! What the duties that look at one object at a time have in common: a mirror of their kind and the keys that are due.

use api_client::{Client, Error, ListOptions};
use api_meta::{Object, ObjectKey, Resource};
use reconcile::{Feed, Queue, World};
use serde::de::DeserializeOwned;
use stdx::Env;
use tokio::sync::mpsc;

use crate::mirror::{self, Tiding};

const PAGE: usize = 500;

/// One kind as its mirror tells of it, and which objects to look at when.
pub(super) struct Desk {
    env: Env,
    tidings: mpsc::Receiver<Tiding>,
    pub(super) feed: Feed,
    pub(super) world: World,
    pub(super) queue: Queue<ObjectKey>,
}

/// What is next.
pub(super) enum Next {
    /// The mirror told something.
    Told(Tiding),
    /// An object is due; [`Queue::done`] belongs after the look.
    Due(ObjectKey),
}

impl Desk {
    /// Starts the mirror of kind `T`.
    pub(super) fn open<T: Object>(env: &Env, client: &Client) -> Desk {
        let feed = Feed::of::<T>();
        let (inbox, tidings) = mpsc::channel(mirror::INBOX);
        mirror::start(env, client.clone(), 0, feed.clone(), inbox);
        let mut world = World::new();
        feed.register(&mut world);
        Desk { env: env.clone(), tidings, feed, world, queue: Queue::new() }
    }

    /// Waits for what is next; what was told goes before what is due. Nothing when the mirror has ended.
    pub(super) async fn next(&mut self) -> Option<Next> {
        loop {
            if let Ok(tiding) = self.tidings.try_recv() {
                return Some(Next::Told(tiding));
            }
            let now = self.env.now();
            if let Some(key) = self.queue.pop(now) {
                return Some(Next::Due(key));
            }
            let sleep = match self.queue.next_due() {
                Some(at) => self.env.sleep(at.since(now)),
                None => Box::pin(std::future::pending()),
            };
            tokio::select! {
                biased;
                tiding = self.tidings.recv() => return tiding.map(Next::Told),
                () = sleep => {}
            }
        }
    }
}

/// A whole collection in one namespace, page by page.
pub(super) async fn list<T: DeserializeOwned>(
    client: &Client,
    resource: &Resource,
    namespace: &str,
) -> Result<Vec<T>, Error> {
    let mut options = ListOptions { limit: PAGE, ..ListOptions::default() };
    let mut items = Vec::new();
    loop {
        let page = client.list::<T>(resource, namespace, &options).await?;
        items.extend(page.items);
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok(items);
        }
    }
}
