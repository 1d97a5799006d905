//! Follows the stored definitions: names, conditions, registration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use api_client::{Class, Client, Patch, WriteOptions};
use serde_json::{Value, json};
use store::{Cursor, KeyRange, Revision};

use super::deletion::{self, Emptying};
use super::serve::{self, Ways};
use super::webhook::Webhook;
use super::{RESOURCE, STORAGE_KEY, kind, names, text};
use crate::registry::Convert;
use crate::server::ApiServer;
use crate::stored;
use crate::who::User;

/// Turns stored definitions into served resources.
pub(crate) struct Definitions {
    /// The server they belong to; it owns the store, so nothing here keeps it alive.
    server: Weak<ApiServer>,
    /// What was registered, by name of the definition.
    registered: Mutex<BTreeMap<String, Registered>>,
    emptying: Emptying,
}

/// A registration, and what it was made from.
struct Registered {
    group: String,
    plural: String,
    from: Value,
}

/// How long to wait after a failure before looking again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The server acts on definitions under this name; it is the manager of what it writes.
const USER: &str = "system:apiserver";
const MANAGER: &str = "kube-apiserver";

/// A client for what the server does to definitions by itself.
pub(super) fn client(server: &Arc<ApiServer>) -> Client {
    Client::new(server.transport(User::new(USER, &["system:masters"])), MANAGER)
}

/// Serves every definition that is established already, and follows them from there. Call it before the first request.
pub(crate) fn start(server: &Arc<ApiServer>) {
    let definitions = Definitions {
        server: Arc::downgrade(server),
        registered: Mutex::default(),
        emptying: Emptying::default(),
    };
    let (all, from) = all(server);
    for definition in all.values().filter(|d| kind::is_served(d)) {
        definitions.register(server, definition);
    }
    let groups = all.values().map(|d| text(d, "/spec/group").to_owned()).collect();
    server.env.spawn("custom-definitions", definitions.run(groups, from));
}

impl Definitions {
    /// Follows the definitions for as long as the server lives.
    async fn run(self, mut due: BTreeSet<String>, mut from: Revision) {
        loop {
            let Some(server) = self.server.upgrade() else { return };
            let env = server.env.clone();
            let failed = self.settle(&server, &due).await;
            let followed = server.store.watch(range(), from);
            // While it waits, nothing here keeps the server alive.
            drop(server);
            due.clear();
            if !failed.is_empty() {
                env.sleep(RETRY_AFTER).await;
                due = failed;
                continue;
            }
            let followed = match followed {
                Ok(mut cursor) => next_events(&mut cursor).await,
                Err(error) => Err(error),
            };
            match followed {
                Ok((groups, at)) => (due, from) = (groups, at),
                Err(store::Error::Compacted { .. }) => {
                    let Some(server) = self.server.upgrade() else { return };
                    (due, from) = self.every_group(&server);
                }
                Err(_) => return,
            }
        }
    }

    /// Every group that has or had definitions, when history is gone.
    fn every_group(&self, server: &Arc<ApiServer>) -> (BTreeSet<String>, Revision) {
        let (all, at) = all(server);
        let mut groups: BTreeSet<String> = all.values().map(|d| text(d, "/spec/group").to_owned()).collect();
        groups.extend(self.registered().values().map(|r| r.group.clone()));
        (groups, at)
    }

    /// Brings groups into order; gives those that could not be.
    async fn settle(&self, server: &Arc<ApiServer>, groups: &BTreeSet<String>) -> BTreeSet<String> {
        let mut failed = BTreeSet::new();
        for group in groups {
            if let Err(why) = self.settle_group(server, group).await {
                tracing::debug!(%group, %why, "settle custom definitions; trying again");
                failed.insert(group.clone());
            }
        }
        failed
    }

    async fn settle_group(&self, server: &Arc<ApiServer>, group: &str) -> Result<(), api_client::Error> {
        let (all, _) = all(server);
        let mut members: Vec<Value> = all.into_values().filter(|d| text(d, "/spec/group") == group).collect();
        // Who came first keeps its names.
        members.sort_by_key(|d| {
            (text(d, "/metadata/creationTimestamp").to_owned(), text(d, "/metadata/name").to_owned())
        });
        self.forget_missing(server, group, &members);
        for i in 0..members.len() {
            let others = members.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, d)| d);
            let status = names::status(&members[i], others, server.env.now());
            let is_new = status != members[i]["status"];
            members[i]["status"] = status;
            // Served first: who reads that it is established may use it.
            if kind::is_served(&members[i]) {
                self.register(server, &members[i]);
            }
            if is_new {
                write_status(server, &members[i]).await?;
            }
            if deletion::is_wanted(&members[i]) {
                self.emptying.start(server, &members[i]);
            }
        }
        Ok(())
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Registered>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a definition as it is now; does nothing when it is served so already.
    fn register(&self, server: &ApiServer, definition: &Value) {
        let name = text(definition, "/metadata/name").to_owned();
        let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
        let from = json!([
            definition["spec"],
            definition["status"]["acceptedNames"],
            definition["metadata"]["uid"],
            deletion::is_wanted(definition),
        ]);
        let mut registered = self.registered();
        if registered.get(&name).is_some_and(|r| r.from == from) {
            return;
        }
        let resources = serve::resources(definition, &ways(server, definition));
        let is_builtin =
            |s: &crate::registry::Snapshot| s.preferred(group, plural).is_some_and(|r| !r.is_custom());
        server.registry.change(|snapshot| {
            if is_builtin(snapshot) {
                return;
            }
            snapshot.remove(group, plural);
            resources.into_iter().for_each(|r| snapshot.put(r));
        });
        let one = Registered { group: group.to_owned(), plural: plural.to_owned(), from };
        registered.insert(name, one);
    }

    /// Stops serving what has no definition any more.
    fn forget_missing(&self, server: &ApiServer, group: &str, members: &[Value]) {
        let mut registered = self.registered();
        let is_there = |name: &String| members.iter().any(|d| text(d, "/metadata/name") == name);
        let gone: Vec<String> = registered
            .iter()
            .filter(|(name, r)| r.group == group && !is_there(name))
            .map(|(n, _)| n.clone())
            .collect();
        for name in gone {
            if let Some(one) = registered.remove(&name) {
                server.registry.change(|snapshot| snapshot.remove(&one.group, &one.plural));
            }
        }
    }
}

fn ways(server: &ApiServer, definition: &Value) -> Ways {
    let name = text(definition, "/metadata/name");
    let outside = Webhook::of(definition, &server.store, &server.env);
    Ways {
        within: server.converter(name),
        outside: outside.map(|w| Arc::new(w) as Arc<dyn Convert>),
        facts: server.facts.get(name).copied(),
    }
}

/// Every stored definition by name, and the revision that this is.
fn all(server: &ApiServer) -> (BTreeMap<String, Value>, Revision) {
    let Ok(page) = server.store.list(&range(), None, None, 0, None) else {
        return (BTreeMap::new(), server.store.revision());
    };
    let named = |d: Value| (text(&d, "/metadata/name").to_owned(), d);
    (page.items.iter().filter_map(|s| stored::decode(s).ok()).map(named).collect(), page.revision)
}

async fn write_status(server: &Arc<ApiServer>, definition: &Value) -> Result<(), api_client::Error> {
    let name = text(definition, "/metadata/name");
    let version = text(definition, "/metadata/resourceVersion");
    let patch =
        Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": definition["status"]}));
    let written = client(server)
        .patch::<Value>(&RESOURCE, ("", name), "status", &patch, &WriteOptions::default())
        .await;
    match written {
        Err(error) if error.class() == Class::NotFound => Ok(()),
        other => other.map(|_| ()),
    }
}

fn range() -> KeyRange {
    KeyRange { resource: STORAGE_KEY.into(), namespace: None }
}

async fn next_events(cursor: &mut Cursor) -> Result<(BTreeSet<String>, Revision), store::Error> {
    let events = cursor.next().await?;
    // The group is the name without its first part.
    let group = |name: &str| name.split_once('.').map_or(String::new(), |(_, group)| group.to_owned());
    Ok((events.iter().map(|e| group(&e.after.key.name)).collect(), cursor.position()))
}
