//! The live state, copied: what controllers would see now, and a place where their plans can be carried out without harm.
//!
//! ```text
//! API server ──read──> Scene { objects as trees, World of typed mirrors } ──Row::step──> Plan
//!                        ^───────────────── act (fences checked) ──────────────────────────┘
//! ```
//!
//! It checks the fences of every action, counts generations, keeps finalizers and grace, and takes the children of a removed
//! object along. It knows no schema: no defaults, no validation, no admission. Nothing here ever writes to the server.

mod merge;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use api_meta::{GroupVersionKind, ObjectKey, Resource};
use reconcile::{Action, Feed, Form, Target, World};
use serde_json::{Value, json};
use stdx::Time;

pub(crate) use read::{counts_everywhere, read, read_values};

/// Objects and the mirrors of them.
pub(crate) struct Scene {
    /// The mirrors, always in step with the objects.
    pub(crate) world: World,
    /// The moment given to planners.
    pub(crate) now: Time,
    feeds: Vec<Feed>,
    objects: BTreeMap<Id, Value>,
    revision: u64,
    uids: u64,
}

/// Group, plural, namespace and name.
type Id = (String, String, ObjectKey);

pub(crate) const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
pub(crate) const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
pub(crate) const SERVICES: Resource = Resource::namespaced("", "v1", "services", "Service");

/// Why an action was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is an object of that name.
    Exists,
    /// There is none.
    NotFound,
    /// It is another object, or another version of it.
    Conflict,
    /// It would no longer be readable as its kind.
    Unreadable,
}

impl Scene {
    /// Nothing, at a moment.
    pub(crate) fn new(now: Time) -> Scene {
        Scene { world: World::new(), now, feeds: Vec::new(), objects: BTreeMap::new(), revision: 0, uids: 0 }
    }

    /// Mirrors a kind from now on; its objects must be read after that.
    pub(crate) fn mirror(&mut self, feed: &Feed) {
        if !self.feeds.iter().any(|f| f.is_same(feed)) {
            feed.register(&mut self.world);
            self.feeds.push(feed.clone());
        }
    }

    /// The collections that are mirrored.
    pub(crate) fn mirrored(&self) -> Vec<Resource> {
        let mut out: Vec<Resource> = Vec::new();
        for feed in &self.feeds {
            if !out.iter().any(|r| is_same(r, feed.resource())) {
                out.push(feed.resource().clone());
            }
        }
        out
    }

    /// Takes an object in as the server has it.
    pub(crate) fn take(&mut self, resource: &Resource, object: Value) -> anyhow::Result<()> {
        let key = key_of(&object);
        let version = object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
        self.revision = self.revision.max(version.unwrap_or(0));
        self.tell(resource, &object).with_context(|| format!("read {} {key}", resource.plural))?;
        self.objects.insert(id(resource, &key), object);
        Ok(())
    }

    /// All kinds have been read: the mirrors equal the collections.
    pub(crate) fn synced(&mut self) {
        let revision = self.revision.max(1);
        self.revision = revision;
        for feed in &self.feeds {
            feed.set_synced(&mut self.world, revision);
        }
    }

    /// Puts an object where a user's write would: a new one gets an identity, a known one its next version.
    pub(crate) fn put(&mut self, resource: &Resource, mut object: Value) -> Result<(), Refused> {
        if self.get(resource, &key_of(&object)).is_none() {
            self.name_new(resource, &mut object);
        }
        self.store(resource, object)
    }

    /// Counts everything that was ever written.
    pub(crate) fn version(&self) -> u64 {
        self.revision
    }

    /// The object of a kind and name, whatever its collection.
    pub(crate) fn owner(&self, namespace: &str, kind: &str, name: &str) -> Option<&Value> {
        let is_it = |(_, _, key): &Id, object: &Value| {
            key.name == name && key.namespace == namespace && object["kind"] == kind
        };
        self.objects.iter().find(|(id, object)| is_it(id, object)).map(|(_, object)| object)
    }

    /// One object.
    pub(crate) fn get(&self, resource: &Resource, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(&id(resource, key))
    }

    /// All objects of a collection, in key order.
    pub(crate) fn list(&self, resource: &Resource) -> impl Iterator<Item = (&ObjectKey, &Value)> {
        let (group, plural) = (resource.group.to_string(), resource.plural.to_string());
        let from = (group.clone(), plural.clone(), ObjectKey::default());
        self.objects
            .range(from..)
            .take_while(move |((g, p, _), _)| *g == group && *p == plural)
            .map(|((_, _, key), object)| (key, object))
    }

    /// The objects that have one of `roots` (uids) as their controller, directly or through others, with their collections.
    pub(crate) fn family(&self, roots: &[String]) -> Vec<(Resource, ObjectKey)> {
        let mut uids: BTreeSet<&str> = roots.iter().map(String::as_str).collect();
        let mut out: BTreeMap<&Id, &Value> = BTreeMap::new();
        loop {
            let before = out.len();
            for (id, object) in &self.objects {
                let owner = controller(object).and_then(|o| o["uid"].as_str());
                if owner.is_some_and(|uid| uids.contains(uid)) && out.insert(id, object).is_none() {
                    uids.extend(object["metadata"]["uid"].as_str());
                }
            }
            if out.len() == before {
                break;
            }
        }
        out.into_iter().map(|((_, plural, key), object)| (resource_of(object, plural), key.clone())).collect()
    }

    /// Changes an object as a component of the cluster does; nothing happens when it is not there or not changed.
    pub(crate) fn edit(&mut self, resource: &Resource, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.get(resource, key).cloned() {
            change(&mut object);
            // What nodes and users write here keeps the object readable; a change that does not is left out.
            let _ = self.store(resource, object);
        }
    }

    /// Takes an object away, and what it owns.
    pub(crate) fn remove(&mut self, resource: &Resource, key: &ObjectKey) {
        let Some(gone) = self.objects.remove(&id(resource, key)) else { return };
        self.revision += 1;
        let own = |f: &&Feed| is_same(f.resource(), resource);
        for feed in self.feeds.iter().filter(own) {
            feed.remove(&mut self.world, key);
        }
        self.sync(resource);
        let uid = gone["metadata"]["uid"].clone();
        let is_child = |object: &Value| controller(object).is_some_and(|o| o["uid"] == uid);
        let children = self.objects.iter().filter(|(_, o)| is_child(o));
        let children: Vec<(Resource, ObjectKey)> =
            children.map(|((_, plural, key), o)| (resource_of(o, plural), key.clone())).collect();
        for (resource, key) in children {
            self.end(&resource, &key);
        }
    }

    /// Carries one action out, with its fences.
    pub(crate) fn act(&mut self, action: &Action) -> Result<(), Refused> {
        match action {
            Action::Require { target } => {
                let object = self.fenced(&Target { revision: None, ..target.clone() })?;
                if is_terminating(&object) { Err(Refused::Conflict) } else { Ok(()) }
            }
            Action::Create { resource, body } => {
                let key = key_of(body);
                if self.get(resource, &key).is_some() {
                    return Err(Refused::Exists);
                }
                let mut body = body.clone();
                body["apiVersion"] = json!(resource.api_version());
                body["kind"] = json!(resource.kind);
                self.name_new(resource, &mut body);
                self.store(resource, body)
            }
            Action::Patch { target, form, body, subresource, .. } => {
                let mut object = self.fenced(target)?;
                match form {
                    Form::Merge | Form::Apply => merge::merge(&mut object, body),
                    Form::Strategic => merge::strategic(&mut object, body),
                    Form::Replace if *subresource == "finalize" => {
                        object["spec"]["finalizers"] = body["spec"]["finalizers"].clone();
                    }
                    Form::Replace => object = body.clone(),
                }
                self.store(&target.resource, object)
            }
            Action::Delete { target, .. } => {
                self.fenced(target)?;
                self.end(&target.resource, &target.key);
                Ok(())
            }
        }
    }

    /// Begins the deletion of an object. Pods stay until their node has ended them, all others until no finalizer is left.
    fn end(&mut self, resource: &Resource, key: &ObjectKey) {
        let Some(object) = self.get(resource, key) else { return };
        if !is_pod(resource) && finalizers(object).is_empty() {
            return self.remove(resource, key);
        }
        let now = self.now;
        self.edit(resource, key, |object| {
            if !is_terminating(object) {
                object["metadata"]["deletionTimestamp"] = json!(now);
            }
        });
    }

    fn fenced(&self, target: &Target) -> Result<Value, Refused> {
        let object = self.get(&target.resource, &target.key).ok_or(Refused::NotFound)?;
        let meta = &object["metadata"];
        let version = meta["resourceVersion"].as_str().unwrap_or_default();
        let moved = target.revision.is_some_and(|r| r.to_string() != version);
        if moved || meta["uid"] != json!(target.uid) { Err(Refused::Conflict) } else { Ok(object.clone()) }
    }

    fn name_new(&mut self, _resource: &Resource, object: &mut Value) {
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("foreseen-{}", self.uids));
        object["metadata"]["creationTimestamp"] = json!(self.now);
    }

    fn store(&mut self, resource: &Resource, mut object: Value) -> Result<(), Refused> {
        let key = key_of(&object);
        let old = self.get(resource, &key);
        if old == Some(&object) {
            return Ok(());
        }
        let generation = old.map_or(0, |o| o["metadata"]["generation"].as_i64().unwrap_or(0));
        let changed = old.is_none_or(|o| o["spec"] != object["spec"]);
        let revision = self.revision + 1;
        object["metadata"]["generation"] = json!(generation + i64::from(changed));
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        if self.tell(resource, &object).is_err() {
            return Err(Refused::Unreadable);
        }
        self.revision = revision;
        let ends = is_terminating(&object) && finalizers(&object).is_empty() && !is_pod(resource);
        self.objects.insert(id(resource, &key), object);
        self.sync(resource);
        if ends {
            self.remove(resource, &key);
        }
        Ok(())
    }

    fn sync(&mut self, resource: &Resource) {
        for feed in self.feeds.iter().filter(|f| is_same(f.resource(), resource)) {
            feed.set_synced(&mut self.world, self.revision);
        }
    }

    fn tell(&mut self, resource: &Resource, object: &Value) -> Result<(), serde_json::Error> {
        let mut text = String::new();
        for feed in self.feeds.iter().filter(|f| is_same(f.resource(), resource)) {
            if text.is_empty() {
                text = object.to_string();
            }
            let decoded = feed.decode(&text)?;
            feed.apply(&mut self.world, decoded.object);
        }
        Ok(())
    }
}

fn id(resource: &Resource, key: &ObjectKey) -> Id {
    (resource.group.to_string(), resource.plural.to_string(), key.clone())
}

/// The collection of an object.
fn resource_of(object: &Value, plural: &str) -> Resource {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = GroupVersionKind::parse(text("apiVersion"), text("kind"));
    Resource {
        group: kind.group,
        version: kind.version,
        plural: plural.to_owned().into(),
        kind: kind.kind,
        namespaced: !object["metadata"]["namespace"].is_null(),
    }
}

/// Whether both name the same collection; the version on the wire does not matter.
pub(crate) fn is_same(a: &Resource, b: &Resource) -> bool {
    a.group == b.group && a.plural == b.plural
}

fn is_pod(resource: &Resource) -> bool {
    is_same(resource, &PODS)
}

/// Where an object lives.
pub(crate) fn key_of(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    ObjectKey { namespace: text("namespace"), name: text("name") }
}

/// The owner that manages an object.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    object["metadata"]["ownerReferences"].as_array()?.iter().find(|o| o["controller"] == true)
}

/// Whether its deletion has been asked for.
pub(crate) fn is_terminating(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Who must act before it may go.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
