//! The compact projection of a pod.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;

use api_core::Pod;
use api_meta::ObjectKey;
use serde::{Deserialize, Serialize};
use stdx::Time;

use crate::{ClaimUse, Demand};

/// What the scheduler keeps of a pod. Parts that pods of one template have in common are shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFact {
    /// Name.
    pub name: Box<str>,
    /// Identity.
    pub uid: Arc<str>,
    /// Version of the object; 0 when unknown.
    pub revision: u64,
    /// Where it is bound.
    pub node: Option<Arc<str>>,
    /// What other pods see of it.
    pub kin: Arc<Kin>,
    /// Deletion has been asked for.
    pub terminating: bool,
    /// Deletion has been asked for by a scheduler, for a more important pod.
    #[serde(default)]
    pub preempted: bool,
    /// What few pods have, apart so that the many pay one word for it; nothing rather than all of it empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare: Option<Box<Rare>>,
    /// Who schedules it.
    pub scheduler: Arc<str>,
    /// When it was created.
    pub created: Time,
    /// What it asks of a node.
    pub demand: Arc<Demand>,
}

/// What few pods have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rare {
    /// The node on which room is being made for it.
    pub nominated: Option<Arc<str>>,
    /// Claims of storage that it uses.
    pub claims: Vec<ClaimUse>,
    /// Names of its scheduling gates.
    pub gates: Vec<String>,
}

impl PodFact {
    /// The node on which room is being made for it.
    pub fn nominated(&self) -> Option<&Arc<str>> {
        self.rare.as_ref().and_then(|rare| rare.nominated.as_ref())
    }

    /// Claims of storage that it uses.
    pub fn claims(&self) -> &[ClaimUse] {
        self.rare.as_ref().map_or(&[], |rare| &rare.claims)
    }

    /// Names of its scheduling gates.
    pub fn gates(&self) -> &[String] {
        self.rare.as_ref().map_or(&[], |rare| &rare.gates)
    }

    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kin.namespace.clone(), self.name.to_string())
    }

    /// Namespaces and names of the claims it uses.
    pub fn claim_keys(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        self.claims().iter().map(|claim| ObjectKey::new(self.kin.namespace.clone(), claim.name.to_string()))
    }
}

/// What other pods' rules see of a pod: all pods of one template under one controller are of one kin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kin {
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Identity of the controller.
    pub owner: Option<Arc<str>>,
}

/// Shares equal parts of projections. Forgets what nobody else holds once it has doubled.
#[derive(Default)]
pub struct Interner {
    demands: Shared<Demand>,
    kins: Shared<Kin>,
    texts: Shared<str>,
}

struct Shared<T: ?Sized> {
    by_hash: HashMap<u64, Vec<Arc<T>>, BuildHasherDefault<DefaultHasher>>,
    len: usize,
    sweep_at: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared { by_hash: HashMap::default(), len: 0, sweep_at: SWEEP_MIN }
    }
}

/// Smallest number of shared values worth sweeping.
const SWEEP_MIN: usize = 1024;

impl<T: ?Sized + Hash + Eq> Shared<T> {
    fn get<B: std::borrow::Borrow<T> + Into<Arc<T>>>(&mut self, value: B) -> Arc<T> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(value.borrow());
        let bucket = self.by_hash.entry(hash).or_default();
        if let Some(found) = bucket.iter().find(|v| ***v == *value.borrow()) {
            return found.clone();
        }
        let shared: Arc<T> = value.into();
        bucket.push(shared.clone());
        self.len += 1;
        if self.len >= self.sweep_at {
            self.sweep();
        }
        shared
    }

    fn sweep(&mut self) {
        self.by_hash.retain(|_, bucket| {
            bucket.retain(|v| Arc::strong_count(v) > 1);
            !bucket.is_empty()
        });
        self.len = self.by_hash.values().map(Vec::len).sum();
        self.sweep_at = (self.len * 2).max(SWEEP_MIN);
    }
}

impl Interner {
    /// The same projection, with its parts shared: one that was read back from a text.
    pub fn share(&mut self, fact: PodFact) -> PodFact {
        let owner = fact.kin.owner.as_deref().map(|owner| self.texts.get(owner));
        let kin = Kin { owner, ..(*fact.kin).clone() };
        PodFact {
            node: fact.node.as_deref().map(|node| self.texts.get(node)),
            kin: self.kins.get(kin),
            scheduler: self.texts.get(&*fact.scheduler),
            demand: self.demands.get((*fact.demand).clone()),
            ..fact
        }
    }

    /// The projection of a pod.
    pub fn project(&mut self, pod: &Pod) -> PodFact {
        let meta = &pod.metadata;
        let gate =
            |g: &serde_json::Value| g.get("name").and_then(|n| n.as_str()).unwrap_or_default().to_owned();
        let kin = Kin {
            namespace: meta.namespace.clone(),
            labels: meta.labels.clone(),
            owner: meta.controller().map(|o| self.texts.get(o.uid.as_str())),
        };
        let nominated = &pod.status.nominated_node_name;
        let rare = Rare {
            nominated: (!nominated.is_empty()).then(|| self.texts.get(nominated.as_str())),
            claims: pod.spec.volumes.iter().filter_map(|v| claim_use(&meta.name, v)).collect(),
            gates: pod.spec.scheduling_gates.iter().map(gate).collect(),
        };
        PodFact {
            name: meta.name.as_str().into(),
            uid: meta.uid.as_str().into(),
            revision: meta.revision(),
            node: (!pod.spec.node_name.is_empty()).then(|| self.texts.get(pod.spec.node_name.as_str())),
            kin: self.kins.get(kin),
            terminating: meta.is_terminating(),
            preempted: meta.is_terminating() && is_preempted(pod),
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            scheduler: self.texts.get(match pod.spec.scheduler_name.as_str() {
                "" => "default-scheduler",
                name => name,
            }),
            created: meta.creation_timestamp.unwrap_or_default(),
            demand: self.demands.get(Demand::of(pod)),
        }
    }
}

/// The claim behind a volume: the one it names, or the one that is made for the pod.
fn claim_use(pod: &str, volume: &serde_json::Value) -> Option<ClaimUse> {
    if let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        return Some(ClaimUse { name: name.into(), is_ephemeral: false });
    }
    let name = volume.get("ephemeral").filter(|e| !e.is_null()).and(volume["name"].as_str())?;
    Some(ClaimUse { name: format!("{pod}-{name}").into(), is_ephemeral: true })
}

fn is_preempted(pod: &Pod) -> bool {
    let condition = pod.condition("DisruptionTarget");
    condition.is_some_and(|c| c.status == "True" && c.reason == "PreemptionByScheduler")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, cpu: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn equal_demands_are_one_value() {
        let mut interner = Interner::default();
        let (a, b) = (interner.project(&pod("a", "1")), interner.project(&pod("b", "1")));
        let c = interner.project(&pod("c", "2"));
        assert!(Arc::ptr_eq(&a.demand, &b.demand) && Arc::ptr_eq(&a.kin, &b.kin));
        assert!(!Arc::ptr_eq(&a.demand, &c.demand));
    }

    #[test]
    fn forgotten_values_do_not_pile_up() {
        let mut interner = Interner::default();
        for i in 0..10_000 {
            interner.project(&pod("a", &i.to_string()));
        }
        assert!(interner.demands.len <= SWEEP_MIN);
    }
}
