//! The caches a planner may look into: typed projections, kept in order, never written by planners.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::{Object, ObjectKey, Resource};
use stdx::Time;

/// Mirrors of the collections that the registered thinkers read.
#[derive(Default)]
pub struct World {
    caches: BTreeMap<TypeId, Box<dyn Any + Send + Sync>>,
    failures: BTreeMap<(&'static str, ObjectKey), Failure>,
    held: BTreeMap<(&'static str, ObjectKey), Held>,
}

/// Why the last plan of a key was not permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// In the user's words.
    pub reason: String,
    /// Since when, for this reason.
    pub since: Time,
}

/// Why the last plan of a key could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub verb: Verb,
    /// On which collection.
    pub resource: Resource,
    /// The server's answer.
    pub message: String,
}

/// What an action does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// [`crate::Action::Require`].
    Require,
    /// [`crate::Action::Create`].
    Create,
    /// [`crate::Action::Patch`].
    Patch,
    /// [`crate::Action::Delete`].
    Delete,
}

impl World {
    /// An empty world that knows no kind.
    pub fn new() -> World {
        World::default()
    }

    /// Makes the kind known; does nothing when it is.
    pub fn register<T: Object>(&mut self) {
        self.caches.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(Cache::<T>::default()));
    }

    /// Why the last plan of this thinker for this key failed; nothing when it succeeded or none was carried out.
    pub fn failure(&self, thinker: &'static str, key: &ObjectKey) -> Option<&Failure> {
        self.failures.get(&(thinker, key.clone()))
    }

    /// Notes the outcome of a plan; the executor's business.
    pub fn set_failure(&mut self, thinker: &'static str, key: &ObjectKey, failure: Option<Failure>) {
        let id = (thinker, key.clone());
        match failure {
            Some(failure) => {
                self.failures.insert(id, failure);
            }
            None => {
                self.failures.remove(&id);
            }
        }
    }

    /// The keys whose last plan was not permitted, with the reason, in order of thinker and key.
    pub fn held(&self) -> impl Iterator<Item = (&'static str, &ObjectKey, &Held)> {
        self.held.iter().map(|((thinker, key), held)| (*thinker, key, held))
    }

    /// Notes whether a plan was held back and why; the executor's business.
    pub fn set_held(&mut self, thinker: &'static str, key: &ObjectKey, reason: Option<&str>, now: Time) {
        let id = (thinker, key.clone());
        let Some(reason) = reason else {
            self.held.remove(&id);
            return;
        };
        if self.held.get(&id).is_none_or(|held| held.reason != reason) {
            self.held.insert(id, Held { reason: reason.to_owned(), since: now });
        }
    }

    /// The mirror of a kind.
    ///
    /// # Panics
    /// When the kind was not registered: a thinker reads what its row does not declare.
    pub fn cache<T: Object>(&self) -> &Cache<T> {
        let cache = self.caches.get(&TypeId::of::<T>()).and_then(|c| c.downcast_ref());
        cache.unwrap_or_else(|| panic!("{} is read but not declared", T::RESOURCE))
    }

    /// The mirror of a kind, to feed it.
    ///
    /// # Panics
    /// As [`World::cache`].
    pub fn cache_mut<T: Object>(&mut self) -> &mut Cache<T> {
        let cache = self.caches.get_mut(&TypeId::of::<T>()).and_then(|c| c.downcast_mut());
        cache.unwrap_or_else(|| panic!("{} is fed but not declared", T::RESOURCE))
    }
}

/// The mirror of one collection.
pub struct Cache<T> {
    items: BTreeMap<ObjectKey, Arc<T>>,
    by_owner: BTreeMap<String, BTreeSet<ObjectKey>>,
    orphans: BTreeSet<ObjectKey>,
    /// Version of the last consistent list or bookmark; nothing before the first list has arrived whole.
    synced: Option<u64>,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { items: BTreeMap::new(), by_owner: BTreeMap::new(), orphans: BTreeSet::new(), synced: None }
    }
}

impl<T: Object> Cache<T> {
    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<T>> {
        self.items.get(key)
    }

    /// All objects in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.items.values()
    }

    /// The objects of one namespace in name order.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        let from = ObjectKey::new(namespace, "");
        self.items.range(from..).take_while(move |(k, _)| k.namespace == namespace).map(|(_, v)| v)
    }

    /// The same from the first name that is not before `name` on.
    pub fn in_namespace_from<'a>(
        &'a self,
        namespace: &'a str,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        let from = ObjectKey::new(namespace, name);
        self.items.range(from..).take_while(move |(k, _)| k.namespace == namespace).map(|(_, v)| v)
    }

    /// The objects whose controller has this uid, in key order.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|k| self.items.get(k))
    }

    /// The objects of one namespace that have no controller, in name order: the candidates for adoption.
    pub fn orphans_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        let from = ObjectKey::new(namespace, "");
        self.orphans
            .range(from..)
            .take_while(move |k| k.namespace == namespace)
            .filter_map(|k| self.items.get(k))
    }

    /// How many objects it holds.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it holds none. Says nothing about the collection unless [`Cache::synced`].
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Version of the last consistent list; `None` means "not seen yet", never "does not exist".
    pub fn synced(&self) -> Option<u64> {
        self.synced
    }

    /// Takes in a new or changed object; gives back the version before it.
    pub fn apply(&mut self, object: T) -> Option<Arc<T>> {
        self.apply_shared(Arc::new(object))
    }

    /// The same for an object that is shared already.
    pub fn apply_shared(&mut self, object: Arc<T>) -> Option<Arc<T>> {
        let key = object.meta().key();
        let old = self.remove(&key);
        match object.meta().controller() {
            Some(owner) => {
                self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
            }
            None => {
                self.orphans.insert(key.clone());
            }
        }
        self.items.insert(key, object);
        old
    }

    /// Forgets an object; gives it back.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let old = self.items.remove(key)?;
        self.orphans.remove(key);
        if let Some(owner) = old.meta().controller()
            && let Some(keys) = self.by_owner.get_mut(&owner.uid)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&owner.uid);
            }
        }
        Some(old)
    }

    /// Notes that the mirror equals the collection at `revision`.
    pub fn set_synced(&mut self, revision: u64) {
        self.synced = Some(revision);
    }
}
