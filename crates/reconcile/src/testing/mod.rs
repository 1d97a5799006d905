//! A small API server in memory that carries plans out, so that planners can be tested as state machines.
//!
//! ```text
//! put / edit (a user)  ──┐
//! kubelet() (nodes)    ──┼─> objects ──> World ──> Thinker::observe, plan ──> Plan ──┐
//!                        └───────────────────────── apply (fences checked) <────────┘
//! ```
//!
//! It checks the fences of every action, counts generations, keeps finalizers and grace. It knows no schema: no defaults, no
//! validation, no admission; and it cascades nothing.

mod merge;

use std::collections::BTreeMap;
use std::time::Duration;

use api_meta::{ObjectKey, Resource};
use serde_json::{Value, json};
use stdx::Time;

use crate::{Action, Feed, Form, Plan, Row, Target, Thinker, World};

/// Objects, the mirrors that planners read, and a clock that is moved by hand.
pub struct Bench {
    /// The caches, always in step with the objects.
    pub world: World,
    /// The moment given to planners.
    pub now: Time,
    /// Whether a deleted pod stays, terminating, until [`Bench::kubelet`] ends it. On by default.
    pub graceful: bool,
    feeds: Vec<Feed>,
    objects: BTreeMap<Id, Value>,
    revision: u64,
    uids: u64,
}

type Id = (String, String, ObjectKey);

const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");

/// Why an action was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is an object of that name.
    Exists,
    /// There is none.
    NotFound,
    /// It is another object, or another version of it.
    Conflict,
}

impl Default for Bench {
    fn default() -> Bench {
        Bench::new()
    }
}

impl Bench {
    /// Nothing, at a fixed moment.
    pub fn new() -> Bench {
        Bench {
            world: World::new(),
            now: Time::from_secs(1_700_000_000),
            graceful: true,
            feeds: Vec::new(),
            objects: BTreeMap::new(),
            revision: 100,
            uids: 0,
        }
    }

    /// With the caches of one thinker; chain for several.
    pub fn with<T: Thinker>(mut self) -> Bench {
        for watch in Row::of::<T>().watches {
            self.watch(watch.feed().clone());
        }
        self
    }

    fn watch(&mut self, feed: Feed) {
        if self.feeds.iter().any(|f| f.is_same(&feed)) {
            return;
        }
        feed.register(&mut self.world);
        feed.set_synced(&mut self.world, self.revision);
        for ((group, plural, _), object) in &self.objects {
            if *group == feed.resource().group && *plural == feed.resource().plural {
                Bench::tell(&mut self.world, &feed, object);
            }
        }
        self.feeds.push(feed);
    }

    fn tell(world: &mut World, feed: &Feed, object: &Value) {
        let decoded =
            feed.decode(&object.to_string()).unwrap_or_else(|e| panic!("{object} is unreadable: {e}"));
        feed.apply(world, decoded.object);
    }

    /// Moves the clock.
    pub fn pass(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
    }

    /// Stores an object as a user would: a new one gets an identity, a known one is replaced (its status stays).
    pub fn put(&mut self, resource: &Resource, mut body: Value) -> ObjectKey {
        let key = key_of(&body);
        match self.objects.get(&id(resource, &key)) {
            None => self.create(resource, body).expect("there is none of that name"),
            Some(old) => {
                body["metadata"]["uid"] = old["metadata"]["uid"].clone();
                body["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
                if body.get("status").is_none() {
                    body["status"] = old["status"].clone();
                }
                self.store(resource, body);
            }
        }
        key
    }

    /// Changes an object in place; does nothing when it is not there.
    pub fn edit(&mut self, resource: &Resource, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
        if let Some(mut object) = self.objects.get(&id(resource, key)).cloned() {
            change(&mut object);
            self.store(resource, object);
        }
    }

    /// Changes every object of a collection, in key order.
    pub fn each(&mut self, resource: &Resource, mut change: impl FnMut(&mut Value)) {
        for key in self.keys(resource) {
            self.edit(resource, &key, &mut change);
        }
    }

    /// One object.
    pub fn get(&self, resource: &Resource, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(&id(resource, key))
    }

    /// All objects of a collection, in key order.
    pub fn list(&self, resource: &Resource) -> Vec<&Value> {
        self.keys(resource).iter().filter_map(|k| self.get(resource, k)).collect()
    }

    /// The keys of a collection, in order.
    pub fn keys(&self, resource: &Resource) -> Vec<ObjectKey> {
        let own = |(group, plural, _): &&Id| *group == resource.group && *plural == resource.plural;
        self.objects.keys().filter(own).map(|(_, _, key)| key.clone()).collect()
    }

    /// Takes an object away at once, as a forced deletion does.
    pub fn drop(&mut self, resource: &Resource, key: &ObjectKey) {
        if self.objects.remove(&id(resource, key)).is_some() {
            self.revision += 1;
            for feed in self.feeds.iter().filter(|f| same_collection(f.resource(), resource)) {
                feed.remove(&mut self.world, key);
                feed.set_synced(&mut self.world, self.revision);
            }
        }
    }

    /// What a thinker plans for a key now; nothing when its object is not there.
    pub fn plan<T: Thinker>(&self, key: &ObjectKey) -> Option<Plan> {
        T::observe(&self.world, key).map(|seen| T::plan(&seen, self.now))
    }

    /// Carries a plan out; stops at the first refusal, as the executor does.
    pub fn apply(&mut self, plan: &Plan) -> Result<(), Refused> {
        plan.actions.iter().try_for_each(|action| self.act(action))
    }

    /// Plans and applies until nothing is left to do; gives back how many rounds acted.
    ///
    /// # Panics
    /// When an action is refused, or the plan is not empty after `rounds_max` rounds.
    pub fn settle<T: Thinker>(&mut self, key: &ObjectKey, rounds_max: usize) -> usize {
        for round in 0..=rounds_max {
            let Some(plan) = self.plan::<T>(key).filter(|p| !p.is_quiet()) else { return round };
            assert!(round < rounds_max, "{} is not settled after {round} rounds: {plan:#?}", T::NAME);
            self.apply(&plan).unwrap_or_else(|refused| panic!("{refused:?} in {plan:#?}"));
        }
        unreachable!("the last round returns or panics")
    }

    /// What nodes do: unfinished pods run and become ready on one node, terminating ones end.
    pub fn kubelet(&mut self) {
        for key in self.keys(&PODS) {
            self.kubelet_of(&key);
        }
    }

    /// The same for one pod.
    pub fn kubelet_of(&mut self, key: &ObjectKey) {
        let now = self.now;
        let Some(pod) = self.get(&PODS, key) else { return };
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if pod["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
                self.drop(&PODS, key);
            }
        } else if !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            self.edit(&PODS, key, |pod| run_pod(pod, now));
        }
    }

    /// Counts everything that was ever written.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Carries one action out, with its fences.
    pub fn act(&mut self, action: &Action) -> Result<(), Refused> {
        match action {
            Action::Require { target } => {
                let object = self.fenced(&Target { revision: None, ..target.clone() })?;
                if object["metadata"]["deletionTimestamp"].is_null() {
                    Ok(())
                } else {
                    Err(Refused::Conflict)
                }
            }
            Action::Create { resource, body } => self.create(resource, body.clone()),
            Action::Patch { target, subresource, form, body, .. } => {
                let mut object = self.fenced(target)?;
                match form {
                    Form::Merge | Form::Apply => merge::merge(&mut object, body),
                    Form::Strategic => merge::strategic(&mut object, body),
                    Form::Replace => replace(&mut object, body, subresource),
                }
                self.store(&target.resource, object);
                Ok(())
            }
            Action::Delete { target, grace_seconds, .. } => {
                let mut object = self.fenced(target)?;
                let held = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
                let graceful = self.graceful && target.resource.plural == "pods" && *grace_seconds != Some(0);
                if !held && !graceful {
                    self.drop(&target.resource, &target.key);
                } else if object["metadata"]["deletionTimestamp"].is_null() {
                    object["metadata"]["deletionTimestamp"] = json!(self.now);
                    self.store(&target.resource, object);
                }
                Ok(())
            }
        }
    }

    fn fenced(&self, target: &Target) -> Result<Value, Refused> {
        let object = self.get(&target.resource, &target.key).ok_or(Refused::NotFound)?;
        let meta = &object["metadata"];
        let version = meta["resourceVersion"].as_str().unwrap_or_default();
        let moved = target.revision.is_some_and(|r| r.to_string() != version);
        if moved || meta["uid"] != json!(target.uid) { Err(Refused::Conflict) } else { Ok(object.clone()) }
    }

    fn create(&mut self, resource: &Resource, mut body: Value) -> Result<(), Refused> {
        let key = key_of(&body);
        assert!(!key.name.is_empty(), "a planner names what it creates: {body}");
        if self.objects.contains_key(&id(resource, &key)) {
            return Err(Refused::Exists);
        }
        self.uids += 1;
        body["apiVersion"] = json!(resource.api_version());
        body["kind"] = json!(resource.kind);
        body["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        body["metadata"]["creationTimestamp"] = json!(self.now);
        self.store(resource, body);
        Ok(())
    }

    fn store(&mut self, resource: &Resource, mut object: Value) {
        let id = id(resource, &key_of(&object));
        let old = self.objects.get(&id);
        if old == Some(&object) {
            return;
        }
        let generation = old.map_or(0, |o| o["metadata"]["generation"].as_i64().unwrap_or(0));
        let changed = old.is_none_or(|o| o["spec"] != object["spec"]);
        self.revision += 1;
        object["metadata"]["generation"] = json!(generation + i64::from(changed));
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let meta = &object["metadata"];
        let free = meta["finalizers"].as_array().is_none_or(Vec::is_empty);
        if !meta["deletionTimestamp"].is_null() && free && resource.plural != "pods" {
            return self.drop(resource, &id.2);
        }
        for feed in self.feeds.iter().filter(|f| same_collection(f.resource(), resource)) {
            Bench::tell(&mut self.world, feed, &object);
            feed.set_synced(&mut self.world, self.revision);
        }
        self.objects.insert(id, object);
    }
}

fn id(resource: &Resource, key: &ObjectKey) -> Id {
    (resource.group.to_string(), resource.plural.to_string(), key.clone())
}

fn same_collection(a: &Resource, b: &Resource) -> bool {
    a.group == b.group && a.plural == b.plural
}

fn key_of(object: &Value) -> ObjectKey {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    ObjectKey { namespace: text("namespace"), name: text("name") }
}

fn replace(object: &mut Value, body: &Value, subresource: &str) {
    if subresource == "finalize" {
        object["spec"]["finalizers"] = body["spec"]["finalizers"].clone();
    } else {
        *object = body.clone();
    }
}

/// Marks a pod running and ready; container statuses follow the spec, with identities that change with the image.
fn run_pod(pod: &mut Value, now: Time) {
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let statuses: Vec<Value> = containers.iter().map(|c| container_status(&uid, c)).collect();
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        pod["spec"]["nodeName"] = json!("node-1");
    }
    let status = &mut pod["status"];
    status["phase"] = json!("Running");
    if status["podIP"].is_null() {
        status["podIP"] = json!(format!("10.0.0.{}", uid.trim_start_matches("uid-")));
    }
    status["containerStatuses"] = json!(statuses);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    if conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
        return;
    }
    let mut conditions: Vec<Value> = conditions.into_iter().filter(|c| c["type"] != "Ready").collect();
    conditions.push(json!({"type": "Ready", "status": "True", "lastTransitionTime": now}));
    status["conditions"] = json!(conditions);
}

fn container_status(uid: &str, container: &Value) -> Value {
    let text = |field: &str| container[field].as_str().unwrap_or_default().to_owned();
    let (name, image) = (text("name"), text("image"));
    json!({
        "name": name, "image": image, "ready": true, "restartCount": 0,
        "imageID": format!("sha256:{image}"),
        "containerID": format!("bench://{uid}/{name}/{image}"),
        "state": {"running": {}},
    })
}
