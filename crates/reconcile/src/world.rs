//! The caches a planner may look into: typed projections, kept in order, never written by planners.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_meta::{Object, ObjectKey};

/// Mirrors of the collections that the registered thinkers read.
#[derive(Default)]
pub struct World {
    caches: BTreeMap<TypeId, Box<dyn Any + Send + Sync>>,
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
    /// Version of the last consistent list or bookmark; nothing before the first list has arrived whole.
    synced: Option<u64>,
}

impl<T> Default for Cache<T> {
    fn default() -> Cache<T> {
        Cache { items: BTreeMap::new(), by_owner: BTreeMap::new(), synced: None }
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

    /// The objects whose controller has this uid, in key order.
    pub fn owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> {
        self.by_owner.get(uid).into_iter().flatten().filter_map(|k| self.items.get(k))
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
        let key = object.meta().key();
        let old = self.remove(&key);
        if let Some(owner) = object.meta().controller() {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        self.items.insert(key, Arc::new(object));
        old
    }

    /// Forgets an object; gives it back.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let old = self.items.remove(key)?;
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
