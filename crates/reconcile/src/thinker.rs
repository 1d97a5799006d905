//! The shape every controller has, and the table row that registers it.

use std::sync::Arc;

use api_meta::{Object, ObjectKey, Resource};
use stdx::Time;

use crate::{Feed, Plan, World};

/// A controller: observes one key, plans, knows nothing of effects.
pub trait Thinker: 'static {
    /// The kind whose keys it is asked about.
    type Primary: Object;
    /// Everything its decision depends on.
    type Observed;
    /// Its name: user agent, field manager, event source.
    const NAME: &'static str;

    /// What else it reads, and which keys a change there concerns. The primary kind is implied.
    fn watches() -> Vec<Watch>;

    /// What it may do, beyond reading what it watches.
    fn permissions() -> Vec<Permission>;

    /// Gathers what the decision depends on; `None` when the object is not there. Called only when all its caches are synced.
    fn observe(world: &World, key: &ObjectKey) -> Option<Self::Observed>;

    /// Decides. Pure: same input, same plan.
    fn plan(seen: &Self::Observed, now: Time) -> Plan;
}

/// Verbs on one resource, as an RBAC rule says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// API group.
    pub group: &'static str,
    /// Plural, or `plural/subresource`.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
}

/// Another kind a thinker reads.
#[derive(Clone)]
pub struct Watch {
    feed: Feed,
    keys: Keys,
}

type Keys = Arc<dyn Fn(&World, &dyn std::any::Any) -> Vec<ObjectKey> + Send + Sync>;

impl Watch {
    /// Objects of kind `T`; a change of one concerns the keys that `keys` names. It is asked about the old and the new version.
    pub fn mapped<T: Object>(keys: impl Fn(&World, &T) -> Vec<ObjectKey> + Send + Sync + 'static) -> Watch {
        Watch {
            feed: Feed::of::<T>(),
            keys: Arc::new(move |world, object| {
                object.downcast_ref::<T>().map_or_else(Vec::new, |o| keys(world, o))
            }),
        }
    }

    /// Objects of kind `T` whose controller is of kind `owner_kind` in `owner_group`: a change concerns that owner.
    pub fn owned<T: Object>(owner_group: &'static str, owner_kind: &'static str) -> Watch {
        Watch::mapped::<T>(move |_, object| {
            let meta = object.meta();
            let owner = meta.controller().filter(|o| {
                let group = o.api_version.split_once('/').map_or("", |(group, _)| group);
                o.kind == owner_kind && group == owner_group
            });
            owner.map(|o| ObjectKey::new(meta.namespace.clone(), o.name.clone())).into_iter().collect()
        })
    }

    /// Objects of kind `T` that are only looked up: a change concerns nobody by itself.
    pub fn silent<T: Object>() -> Watch {
        Watch::mapped::<T>(|_, _| Vec::new())
    }

    /// Which collection.
    pub fn resource(&self) -> &Resource {
        self.feed.resource()
    }

    /// The keys that a change of `object` (a `T` of the constructor) concerns.
    pub fn keys(&self, world: &World, object: &dyn std::any::Any) -> Vec<ObjectKey> {
        (self.keys)(world, object)
    }

    /// Makes its kind known to a world.
    pub fn register(&self, world: &mut World) {
        self.feed.register(world);
    }

    /// How its objects get into a world.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }
}

/// A thinker as the host's table holds it.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The kind whose keys it is asked about.
    pub primary: Resource,
    /// All it reads; the primary kind first.
    pub watches: Vec<Watch>,
    /// What it may do.
    pub permissions: Vec<Permission>,
    /// Observe and plan in one: `None` when the object is not there.
    pub step: fn(&World, &ObjectKey, Time) -> Option<Plan>,
}

impl Row {
    /// The row of a thinker.
    pub fn of<T: Thinker>() -> Row {
        let own = Watch::mapped::<T::Primary>(|_, object| vec![object.meta().key()]);
        let watches = std::iter::once(own).chain(T::watches()).collect();
        Row {
            name: T::NAME,
            primary: T::Primary::RESOURCE,
            watches,
            permissions: T::permissions(),
            step: |world, key, now| T::observe(world, key).map(|seen| T::plan(&seen, now)),
        }
    }
}
