//! Follows the stored definitions: names, conditions, registration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use api_client::{Class, Client, Patch, WriteOptions};
use serde_json::{Value, json};
use store::{Cursor, KeyRange, Revision, Stored};

use super::deletion::{self, Emptying};
use super::serve::{self, Ways};
use super::webhook::Webhook;
use super::{RESOURCE, STORAGE_KEY, kind, names, text};
use crate::registry::{Convert, Life, Served};
use crate::server::ApiServer;
use crate::stored;
use crate::who::User;

/// Turns stored definitions into served resources.
pub(crate) struct Definitions {
    /// The server they belong to; it owns the store, so nothing here keeps it alive.
    server: Weak<ApiServer>,
    /// What is known of the definitions, by name: not their schemas, which are large.
    known: Mutex<BTreeMap<String, Known>>,
    emptying: Emptying,
}

/// A definition that was looked at.
#[derive(Clone)]
struct Known {
    group: String,
    plural: String,
    /// The version that was looked at; anything else has to be looked at again.
    revision: Revision,
    /// Nothing is left to do until it changes, whatever the others of its group do.
    is_settled: bool,
    /// When it came and what it is called: who came first keeps its names.
    order: (String, String),
    /// Names it has.
    accepted: Value,
    /// What its registration was made from: identity, generation, names, whether it is going.
    served: Option<Value>,
}

/// A definition of a group that is being brought into order.
struct Member {
    name: String,
    revision: Revision,
    order: (String, String),
    accepted: Value,
    /// The whole definition, when it has to be looked at.
    whole: Option<Value>,
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
        known: Mutex::default(),
        emptying: Emptying::default(),
    };
    let (all, from) = all(server);
    for definition in all.iter().filter_map(|s| stored::decode(s).ok()).filter(kind::is_served) {
        let member = Member::of(&definition, Revision(0));
        definitions.register(server, &member, &definition);
    }
    let groups = all.iter().map(|s| group_of(&s.key.name)).collect();
    server.env.spawn("custom-definitions", definitions.run(groups, from));
}

impl Member {
    fn of(definition: &Value, revision: Revision) -> Member {
        let name = text(definition, "/metadata/name").to_owned();
        Member {
            order: (text(definition, "/metadata/creationTimestamp").to_owned(), name.clone()),
            name,
            revision,
            accepted: definition["status"]["acceptedNames"].clone(),
            whole: None,
        }
    }
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
        let mut groups: BTreeSet<String> = all.iter().map(|s| group_of(&s.key.name)).collect();
        groups.extend(self.known().values().map(|k| k.group.clone()));
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
        let mut members = self.members(server, group);
        self.forget_missing(server, group, &members);
        for i in 0..members.len() {
            let Some(mut definition) = members[i].whole.take() else { continue };
            let others = members.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, m)| &m.accepted);
            let status = names::status(&definition, others, server.env.now());
            let is_new = status != definition["status"];
            definition["status"] = status;
            members[i].accepted = definition["status"]["acceptedNames"].clone();
            // Served first: who reads that it is established may use it.
            self.register(server, &members[i], &definition);
            if is_new {
                write_status(server, &definition).await?;
            }
            if deletion::is_wanted(&definition) {
                self.emptying.start(server, &definition);
            }
        }
        Ok(())
    }

    /// The definitions of a group in order; those that have to be looked at are whole.
    fn members(&self, server: &ApiServer, group: &str) -> Vec<Member> {
        let known = self.known();
        let mut members = Vec::new();
        for stored in all(server).0.iter().filter(|s| group_of(&s.key.name) == group) {
            match known.get(&*stored.key.name).filter(|k| k.is_settled && k.revision == stored.revision) {
                Some(k) => members.push(Member {
                    name: stored.key.name.to_string(),
                    revision: stored.revision,
                    order: k.order.clone(),
                    accepted: k.accepted.clone(),
                    whole: None,
                }),
                None => {
                    let Ok(definition) = stored::decode(stored) else { continue };
                    let member = Member::of(&definition, stored.revision);
                    members.push(Member { whole: Some(definition), ..member });
                }
            }
        }
        members.sort_by(|a, b| a.order.cmp(&b.order));
        members
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a definition, and serves it as it is now if it may be served and is not served so already.
    fn register(&self, server: &ApiServer, member: &Member, definition: &Value) {
        let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
        let is_going = deletion::is_wanted(definition);
        let is_served = kind::is_served(definition);
        let from = json!([
            definition["metadata"]["uid"],
            definition["metadata"]["generation"],
            member.accepted,
            is_going
        ]);
        let mut known = self.known();
        let before = known.get(&member.name).and_then(|k| k.served.clone());
        if is_served && before.as_ref() != Some(&from) {
            serve(server, definition);
        }
        let one = Known {
            group: group.to_owned(),
            plural: plural.to_owned(),
            revision: member.revision,
            is_settled: is_served && !is_going,
            order: member.order.clone(),
            accepted: member.accepted.clone(),
            served: if is_served { Some(from) } else { before },
        };
        known.insert(member.name.clone(), one);
    }

    /// Stops serving what has no definition any more.
    fn forget_missing(&self, server: &ApiServer, group: &str, members: &[Member]) {
        let mut known = self.known();
        let is_there = |name: &String| members.iter().any(|m| m.name == *name);
        let gone: Vec<String> = known
            .iter()
            .filter(|(name, k)| k.group == group && !is_there(name))
            .map(|(n, _)| n.clone())
            .collect();
        for name in gone {
            if let Some(one) = known.remove(&name)
                && one.served.is_some()
            {
                replace(server, &one.group, &one.plural, Vec::new());
            }
        }
    }
}

/// Puts a definition's resources in place of what it made before; built-in kinds are not replaced.
fn serve(server: &ApiServer, definition: &Value) {
    let (group, plural) = (text(definition, "/spec/group"), text(definition, "/spec/names/plural"));
    let mut resources = serve::resources(definition, &ways(server, definition));
    if deletion::is_wanted(definition) {
        // Its objects are going, which watches are to tell before they end.
        let snapshot = server.registry.snapshot();
        for one in &mut resources {
            let before = snapshot.get(group, &one.resource.version, plural).filter(|r| r.is_custom());
            one.life = before.map_or_else(Life::new, |r| r.life.clone());
        }
    }
    replace(server, group, plural, resources);
}

/// Serves these in place of what a definition made before, whose watches end unless it goes on in them.
fn replace(server: &ApiServer, group: &str, plural: &str, resources: Vec<Served>) {
    let mut before = Vec::new();
    server.registry.change(|snapshot| {
        if snapshot.preferred(group, plural).is_some_and(|r| !r.is_custom()) {
            return;
        }
        before = snapshot.remove(group, plural);
        before.retain(|old| !resources.iter().any(|new| new.life.is(&old.life)));
        resources.into_iter().for_each(|r| snapshot.put(r));
    });
    before.iter().for_each(|old| old.life.end());
}

fn ways(server: &ApiServer, definition: &Value) -> Ways {
    let name = text(definition, "/metadata/name");
    let outside = Webhook::of(definition, &server.caller, &server.env);
    Ways {
        within: server.converter(name),
        outside: outside.map(|w| Arc::new(w) as Arc<dyn Convert>),
        facts: server.facts.get(name).copied(),
    }
}

/// Every stored definition, and the revision that this is.
fn all(server: &ApiServer) -> (Vec<Arc<Stored>>, Revision) {
    match server.store.list(&range(), None, None, 0, None) {
        Ok(page) => (page.items, page.revision),
        Err(_) => (Vec::new(), server.store.revision()),
    }
}

/// The group of a definition: its name without the first part.
fn group_of(name: &str) -> String {
    name.split_once('.').map_or(String::new(), |(_, group)| group.to_owned())
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
    Ok((events.iter().map(|e| group_of(&e.after.key.name)).collect(), cursor.position()))
}
