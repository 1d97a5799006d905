//! How objects of a kind get from the wire into a world, for a shell that does not know the kind.

use std::any::{Any, TypeId};
use std::sync::Arc;

use api_meta::{Object, ObjectKey, ObjectMeta, Resource};

use crate::World;

/// An object of some kind, shared.
pub type AnyObject = Arc<dyn Any + Send + Sync>;

/// The ways into and out of the mirror of one kind.
#[derive(Clone)]
pub struct Feed {
    resource: Resource,
    kind: fn() -> TypeId,
    register: fn(&mut World),
    decode: fn(&str) -> Result<Decoded, serde_json::Error>,
    apply: fn(&mut World, AnyObject) -> Option<AnyObject>,
    remove: fn(&mut World, &ObjectKey) -> Option<AnyObject>,
    set_synced: fn(&mut World, u64),
    synced: fn(&World) -> Option<u64>,
    len: fn(&World) -> usize,
    get: fn(&World, &ObjectKey) -> Option<AnyObject>,
    meta: fn(&AnyObject) -> Option<&ObjectMeta>,
}

/// An object as read from the wire.
#[derive(Clone)]
pub struct Decoded {
    /// Where it lives.
    pub key: ObjectKey,
    /// Its `resourceVersion`.
    pub version: String,
    /// The view of it that the kind's mirror keeps.
    pub object: AnyObject,
}

impl Feed {
    /// The ways of kind `T`.
    pub fn of<T: Object>() -> Feed {
        Feed {
            resource: T::RESOURCE,
            kind: TypeId::of::<T>,
            register: World::register::<T>,
            decode: |text| {
                let object = T::decode(text)?;
                let (key, version) = (object.meta().key(), object.meta().resource_version.clone());
                Ok(Decoded { key, version, object: Arc::new(object) })
            },
            apply: |world, object| {
                let object = object.downcast::<T>().ok()?;
                world.cache_mut::<T>().apply_shared(object).map(|o| o as AnyObject)
            },
            remove: |world, key| world.cache_mut::<T>().remove(key).map(|o| o as AnyObject),
            set_synced: |world, revision| world.cache_mut::<T>().set_synced(revision),
            synced: |world| world.cache::<T>().synced(),
            len: |world| world.cache::<T>().len(),
            get: |world, key| world.cache::<T>().get(key).map(|o| o.clone() as AnyObject),
            meta: |object| object.downcast_ref::<T>().map(Object::meta),
        }
    }

    /// Which collection.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Whether both feed the same mirror.
    pub fn is_same(&self, other: &Feed) -> bool {
        (self.kind)() == (other.kind)()
    }

    /// Makes the kind known to a world.
    pub fn register(&self, world: &mut World) {
        (self.register)(world);
    }

    /// Reads an object from its JSON text.
    pub fn decode(&self, text: &str) -> Result<Decoded, serde_json::Error> {
        (self.decode)(text)
    }

    /// Takes in a decoded object; gives back the version before it. An object of another kind is left out.
    pub fn apply(&self, world: &mut World, object: AnyObject) -> Option<AnyObject> {
        (self.apply)(world, object)
    }

    /// Forgets an object; gives it back.
    pub fn remove(&self, world: &mut World, key: &ObjectKey) -> Option<AnyObject> {
        (self.remove)(world, key)
    }

    /// Notes that the mirror equals the collection at `revision`.
    pub fn set_synced(&self, world: &mut World, revision: u64) {
        (self.set_synced)(world, revision);
    }

    /// See [`crate::Cache::synced`].
    pub fn synced(&self, world: &World) -> Option<u64> {
        (self.synced)(world)
    }

    /// How many objects the mirror holds.
    pub fn len(&self, world: &World) -> usize {
        (self.len)(world)
    }

    /// Whether the mirror holds none.
    pub fn is_empty(&self, world: &World) -> bool {
        self.len(world) == 0
    }

    /// One object of the mirror.
    pub fn get(&self, world: &World, key: &ObjectKey) -> Option<AnyObject> {
        (self.get)(world, key)
    }

    /// Metadata of an object of this kind.
    pub fn meta<'a>(&self, object: &'a AnyObject) -> Option<&'a ObjectMeta> {
        (self.meta)(object)
    }
}
