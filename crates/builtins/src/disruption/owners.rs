//! How many pods the controllers behind a budget want.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Deployment, Pod, ReplicaSet, StatefulSet};
use api_meta::{Object, ObjectKey, OwnerReference};
use api_workload::{CloneSet, InPlaceSet};
use reconcile::World;

/// What the controllers of some pods want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// All their pods together; nothing when one of them cannot be asked.
    pub wanted: Option<i32>,
    /// Why it cannot.
    pub unknown: Option<String>,
    /// Pods without a controller, by name.
    pub unmanaged: Vec<String>,
}

/// Asks the controller of every pod, each once.
pub(crate) fn scale<const OURS: bool>(world: &World, pods: &[Arc<Pod>]) -> Scale {
    let mut scale = Scale::default();
    let mut by_owner: BTreeMap<&str, Option<(String, i32)>> = BTreeMap::new();
    for pod in pods {
        let Some(owner) = pod.metadata.controller() else {
            scale.unmanaged.push(pod.metadata.name.clone());
            continue;
        };
        let asked = by_owner.entry(&owner.uid);
        if asked.or_insert_with(|| wants::<OURS>(world, pod, owner)).is_none() && scale.unknown.is_none() {
            scale.unknown = Some(format!("found no controllers for pod {:?}", pod.metadata.name));
        }
    }
    if scale.unknown.is_none() {
        // Two ReplicaSets of one Deployment stand for it once.
        let all: BTreeMap<String, i32> = by_owner.into_values().flatten().collect();
        scale.wanted = Some(all.into_values().fold(0, i32::saturating_add));
    }
    scale
}

/// The uid of the controller that decides, and how many pods it wants.
fn wants<const OURS: bool>(world: &World, pod: &Pod, owner: &OwnerReference) -> Option<(String, i32)> {
    let namespace = &pod.metadata.namespace;
    match (group(owner), owner.kind.as_str()) {
        ("apps", "ReplicaSet") => {
            let set = find::<ReplicaSet>(world, namespace, owner)?;
            let above = set.metadata.controller().filter(|o| (group(o), &*o.kind) == ("apps", "Deployment"));
            match above {
                Some(above) => {
                    let deployment = find::<Deployment>(world, namespace, above)?;
                    Some((above.uid.clone(), deployment.spec.replicas.unwrap_or(1)))
                }
                None => Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1))),
            }
        }
        ("apps", "StatefulSet") => {
            let set = find::<StatefulSet>(world, namespace, owner)?;
            Some((owner.uid.clone(), set.spec.replicas.unwrap_or(1)))
        }
        ("apps.kruise.io", "CloneSet") if OURS => {
            let set = find::<CloneSet>(world, namespace, owner)?;
            Some((owner.uid.clone(), number(&set.spec["replicas"])))
        }
        (group, "InPlaceSet") if OURS && group == InPlaceSet::RESOURCE.group => {
            let set = find::<InPlaceSet>(world, namespace, owner)?;
            Some((owner.uid.clone(), number(&set.spec["replicas"])))
        }
        _ => None,
    }
}

fn find<'w, T: Object>(world: &'w World, namespace: &str, owner: &OwnerReference) -> Option<&'w Arc<T>> {
    let found = world.cache::<T>().get(&ObjectKey::new(namespace, &*owner.name));
    found.filter(|o| o.meta().uid == owner.uid)
}

fn group(owner: &OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// A count of replicas as on the wire; 1 when absent.
fn number(value: &serde_json::Value) -> i32 {
    value.as_i64().map_or(1, |n| i32::try_from(n).unwrap_or(i32::MAX))
}
