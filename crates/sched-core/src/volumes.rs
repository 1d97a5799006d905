//! Claims, volumes, classes of storage and limits of nodes, as far as placing pods reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::NodeSelectorTerm;
use api_meta::{LabelSelector, ObjectKey, ObjectMeta, Requirement, Selector};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::amounts::quantity;
use crate::parse::node_term;
use crate::{NodeFact, NodeTerm};

const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// A claim that a pod uses, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimUse {
    /// Name of the claim in the pod's namespace.
    pub name: Box<str>,
    /// It is made for this pod alone, by a controller.
    pub is_ephemeral: bool,
}

/// What is kept of a PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFact {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Identity.
    pub uid: String,
    /// Version of the object; 0 when unknown.
    pub revision: u64,
    /// Identity of the pod it is made for.
    pub owner: Option<String>,
    /// Class of storage; empty for none.
    pub class: String,
    /// The volume it is bound to, or is to be bound to; empty for none.
    pub volume: String,
    /// Claim and volume know of each other.
    pub is_bound: bool,
    /// Its volume is gone.
    pub is_lost: bool,
    /// Deletion has been asked for.
    pub terminating: bool,
    /// How it may be used.
    pub modes: BTreeSet<String>,
    /// `Filesystem` or `Block`.
    pub shape: String,
    /// Class of attributes; empty for none.
    pub attributes: String,
    /// Bytes asked for.
    pub bytes: i64,
    /// Labels its volume must have.
    pub selector: Option<Selector>,
    /// The node for which a volume is being made.
    pub selected: Option<Arc<str>>,
}

/// What is kept of a PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeFact {
    /// Name.
    pub name: String,
    /// Version of the object; 0 when unknown.
    pub revision: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Class of storage; empty for none.
    pub class: String,
    /// Bytes it has.
    pub bytes: i64,
    /// How it may be used.
    pub modes: BTreeSet<String>,
    /// `Filesystem` or `Block`.
    pub shape: String,
    /// Class of attributes; empty for none.
    pub attributes: String,
    /// The claim it is bound to or set aside for, with its identity when that is known.
    pub claim: Option<(ObjectKey, String)>,
    /// Nodes it can be reached from; absent for all.
    pub terms: Option<Vec<NodeTerm>>,
    /// It is there and free.
    pub is_available: bool,
    /// Deletion has been asked for.
    pub terminating: bool,
    /// CSI driver and handle.
    pub csi: Option<(String, String)>,
}

/// What is kept of a StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassFact {
    /// Name.
    pub name: String,
    /// Claims are bound only once a pod that uses them has a node.
    pub waits: bool,
    /// Who makes volumes; empty when nobody does.
    pub provisioner: String,
    /// Where volumes can be made: of one term all requirements must hold; anywhere without terms.
    pub topologies: Vec<Vec<Requirement>>,
}

/// How many volumes a node takes, by CSI driver: what is kept of a CSINode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsFact {
    /// The node.
    pub node: String,
    /// By driver; drivers without limit are left out.
    pub limits: BTreeMap<String, i64>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn bytes(list: &Value) -> i64 {
    list.get("storage").and_then(quantity).map_or(0, |q| q.units())
}

fn shape(spec: &Value) -> String {
    spec["volumeMode"].as_str().unwrap_or("Filesystem").to_owned()
}

/// The class named in the specification; the annotation of old objects goes before it.
fn class(meta: &ObjectMeta, spec: &Value) -> String {
    meta.annotations.get(OLD_CLASS).cloned().unwrap_or_else(|| text(&spec["storageClassName"]))
}

impl ClaimFact {
    /// The projection of a claim.
    pub fn of(meta: &ObjectMeta, spec: &Value, status: &Value) -> ClaimFact {
        let selector = serde_json::from_value::<LabelSelector>(spec["selector"].clone()).ok();
        let selected = meta.annotations.get(SELECTED_NODE).filter(|node| !node.is_empty());
        ClaimFact {
            key: meta.key(),
            uid: meta.uid.clone(),
            revision: meta.revision(),
            owner: meta.controller().filter(|o| o.kind == "Pod").map(|o| o.uid.clone()),
            class: class(meta, spec),
            volume: text(&spec["volumeName"]),
            is_bound: spec["volumeName"].as_str().is_some_and(|v| !v.is_empty())
                && meta.annotations.contains_key(BIND_COMPLETED),
            is_lost: status["phase"] == "Lost",
            terminating: meta.is_terminating(),
            modes: texts(&spec["accessModes"]),
            shape: shape(spec),
            attributes: text(&spec["volumeAttributesClassName"]),
            bytes: bytes(&spec["resources"]["requests"]),
            selector: selector.filter(|_| !spec["selector"].is_null()).and_then(|s| s.selector().ok()),
            selected: selected.map(|node| node.as_str().into()),
        }
    }

    /// Whether only one pod may use it.
    pub fn is_for_one_pod(&self) -> bool {
        self.modes.contains("ReadWriteOncePod")
    }
}

impl VolumeFact {
    /// The projection of a volume.
    pub fn of(meta: &ObjectMeta, spec: &Value, status: &Value) -> VolumeFact {
        let terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"].as_array();
        let term = |t: &Value| {
            let parsed = serde_json::from_value::<NodeSelectorTerm>(t.clone());
            parsed.map_or(NodeTerm { broken: true, ..NodeTerm::default() }, |t| node_term(&t))
        };
        let claim = &spec["claimRef"];
        VolumeFact {
            name: meta.name.clone(),
            revision: meta.revision(),
            labels: meta.labels.clone(),
            class: class(meta, spec),
            bytes: bytes(&spec["capacity"]),
            modes: texts(&spec["accessModes"]),
            shape: shape(spec),
            attributes: text(&spec["volumeAttributesClassName"]),
            claim: (!claim.is_null()).then(|| {
                (ObjectKey::new(text(&claim["namespace"]), text(&claim["name"])), text(&claim["uid"]))
            }),
            terms: terms.map(|list| list.iter().map(term).collect()),
            is_available: status["phase"] == "Available",
            terminating: meta.is_terminating(),
            csi: spec["csi"]["driver"].as_str().map(|d| (d.to_owned(), text(&spec["csi"]["volumeHandle"]))),
        }
    }

    /// Whether the node can reach it.
    pub fn is_reached_from(&self, node: &NodeFact) -> bool {
        self.terms.as_ref().is_none_or(|terms| terms.iter().any(|t| t.matches(node)))
    }

    /// Whether it is bound to the claim or set aside for it.
    pub fn is_for(&self, claim: &ClaimFact) -> bool {
        let theirs = self.claim.as_ref();
        theirs.is_some_and(|(key, uid)| *key == claim.key && (uid.is_empty() || *uid == claim.uid))
    }
}

impl ClassFact {
    /// The projection of a class.
    pub fn of(meta: &ObjectMeta, object: &Value) -> ClassFact {
        let requirement =
            |e: &Value| Requirement::In(text(&e["key"]), texts(&e["values"]).into_iter().collect());
        let term = |t: &Value| -> Vec<Requirement> {
            t["matchLabelExpressions"].as_array().into_iter().flatten().map(requirement).collect()
        };
        let terms = object["allowedTopologies"].as_array();
        ClassFact {
            name: meta.name.clone(),
            waits: object["volumeBindingMode"] == "WaitForFirstConsumer",
            provisioner: text(&object["provisioner"]),
            topologies: terms.into_iter().flatten().map(term).collect(),
        }
    }

    /// Whether somebody makes volumes of it.
    pub fn is_provisioned(&self) -> bool {
        !self.provisioner.is_empty() && self.provisioner != "kubernetes.io/no-provisioner"
    }

    /// Whether a volume can be made for a node.
    pub fn reaches(&self, node: &NodeFact) -> bool {
        // A term without requirements matches nothing.
        let holds = |t: &Vec<Requirement>| !t.is_empty() && t.iter().all(|r| r.matches(&node.labels));
        self.topologies.is_empty() || self.topologies.iter().any(holds)
    }
}

impl LimitsFact {
    /// The projection of a CSINode.
    pub fn of(meta: &ObjectMeta, spec: &Value) -> LimitsFact {
        let limit = |d: &Value| Some((text(&d["name"]), d["allocatable"]["count"].as_i64()?));
        let drivers = spec["drivers"].as_array();
        LimitsFact {
            node: meta.name.clone(),
            limits: drivers.into_iter().flatten().filter_map(limit).collect(),
        }
    }
}

/// What is to be done to claims and volumes before a pod can be bound to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumePlan {
    /// Volumes to be bound to claims.
    pub matches: Vec<(ClaimFact, VolumeFact)>,
    /// Claims for which a volume is to be made.
    pub provisions: Vec<ClaimFact>,
    /// The node.
    pub node: Arc<str>,
}

impl VolumePlan {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty() && self.provisions.is_empty()
    }

    /// The claims it is about.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimFact> {
        self.matches.iter().map(|(claim, _)| claim).chain(&self.provisions)
    }
}

/// All of it, with what is assumed on top of what the mirrors say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    claims: BTreeMap<ObjectKey, ClaimFact>,
    volumes: BTreeMap<String, VolumeFact>,
    classes: BTreeMap<String, ClassFact>,
    limits: BTreeMap<String, LimitsFact>,
    /// How many placed pods use a claim.
    users: BTreeMap<ObjectKey, u32>,
    /// Volumes set aside for claims, and claims for which a volume is to be made on a node: not yet seen in the mirrors.
    set_aside: BTreeMap<String, (ObjectKey, String)>,
    selected: BTreeMap<ObjectKey, Arc<str>>,
}

impl Volumes {
    /// A claim, as assumed.
    pub fn claim(&self, key: &ObjectKey) -> Option<&ClaimFact> {
        self.claims.get(key)
    }

    /// The node for which a volume is made, as assumed.
    pub fn selected<'a>(&'a self, claim: &'a ClaimFact) -> Option<&'a Arc<str>> {
        self.selected.get(&claim.key).or(claim.selected.as_ref())
    }

    /// A volume by name.
    pub fn volume(&self, name: &str) -> Option<&VolumeFact> {
        self.volumes.get(name)
    }

    /// All volumes, by name.
    pub fn all(&self) -> impl Iterator<Item = &VolumeFact> {
        self.volumes.values()
    }

    /// Whether a volume is assumed to be set aside for another claim.
    pub fn is_set_aside(&self, volume: &VolumeFact, claim: &ClaimFact) -> bool {
        self.set_aside.get(&volume.name).is_some_and(|(_, uid)| *uid != claim.uid)
    }

    /// A class by name.
    pub fn class(&self, name: &str) -> Option<&ClassFact> {
        self.classes.get(name)
    }

    /// The limits of a node, if it has any.
    pub fn limits(&self, node: &str) -> Option<&LimitsFact> {
        self.limits.get(node)
    }

    /// Whether some placed pod uses a claim.
    pub fn is_used(&self, key: &ObjectKey) -> bool {
        self.users.contains_key(key)
    }

    pub(crate) fn set_claim(&mut self, fact: ClaimFact) -> bool {
        self.claims.insert(fact.key.clone(), fact.clone()) != Some(fact)
    }

    pub(crate) fn drop_claim(&mut self, key: &ObjectKey) {
        self.claims.remove(key);
    }

    pub(crate) fn set_volume(&mut self, fact: VolumeFact) -> bool {
        self.volumes.insert(fact.name.clone(), fact.clone()) != Some(fact)
    }

    pub(crate) fn drop_volume(&mut self, name: &str) {
        self.volumes.remove(name);
    }

    pub(crate) fn set_class(&mut self, fact: ClassFact) -> bool {
        self.classes.insert(fact.name.clone(), fact.clone()) != Some(fact)
    }

    pub(crate) fn drop_class(&mut self, name: &str) {
        self.classes.remove(name);
    }

    pub(crate) fn set_limits(&mut self, fact: LimitsFact) -> bool {
        self.limits.insert(fact.node.clone(), fact.clone()) != Some(fact)
    }

    pub(crate) fn drop_limits(&mut self, node: &str) {
        self.limits.remove(node);
    }

    pub(crate) fn use_claim(&mut self, key: ObjectKey) {
        *self.users.entry(key).or_default() += 1;
    }

    pub(crate) fn leave_claim(&mut self, key: &ObjectKey) {
        if let Some(count) = self.users.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(key);
            }
        }
    }

    pub(crate) fn assume(&mut self, plan: &VolumePlan) {
        for (claim, volume) in &plan.matches {
            self.set_aside.insert(volume.name.clone(), (claim.key.clone(), claim.uid.clone()));
        }
        for claim in &plan.provisions {
            self.selected.insert(claim.key.clone(), plan.node.clone());
        }
    }

    pub(crate) fn revert(&mut self, plan: &VolumePlan) {
        for (claim, volume) in &plan.matches {
            if self.set_aside.get(&volume.name).is_some_and(|(_, uid)| *uid == claim.uid) {
                self.set_aside.remove(&volume.name);
            }
        }
        for claim in &plan.provisions {
            self.selected.remove(&claim.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_claim_is_bound_when_both_sides_know() {
        let spec = json!({"volumeName": "v", "accessModes": ["ReadWriteOncePod"],
            "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"});
        let half = ClaimFact::of(&meta(json!({"name": "c", "namespace": "d"})), &spec, &json!({}));
        assert!(!half.is_bound && half.is_for_one_pod());
        assert_eq!((half.bytes, &*half.class), (1 << 30, "fast"));
        let annotated =
            json!({"name": "c", "namespace": "d", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}});
        assert!(ClaimFact::of(&meta(annotated), &spec, &json!({})).is_bound);
    }

    #[test]
    fn what_is_assumed_is_taken_back_as_a_whole() {
        let claim = ClaimFact { uid: "u".into(), ..ClaimFact::default() };
        let volume = VolumeFact { name: "v".into(), ..VolumeFact::default() };
        let other = ClaimFact { uid: "other".into(), ..ClaimFact::default() };
        let plan = VolumePlan {
            matches: vec![(claim.clone(), volume.clone())],
            provisions: vec![claim.clone()],
            node: "n1".into(),
        };
        let (mut all, before) = (Volumes::default(), Volumes::default());
        all.assume(&plan);
        assert!(all.is_set_aside(&volume, &other) && !all.is_set_aside(&volume, &claim));
        assert_eq!(all.selected(&claim).map(|n| &**n), Some("n1"));
        all.revert(&plan);
        assert_eq!(all, before);
    }
}
