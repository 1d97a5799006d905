//! Storage: where the volumes of a pod can be reached, found or made. Worked out once per pod, then asked per node; pods without
//! claims never come here.

use std::collections::{BTreeMap, BTreeSet};

use api_meta::ObjectKey;
use sched_core::{
    ClaimFact, ClassFact, NodeFact, NodeInfo, PodFact, Reason, Rejection, Resolvable, Snapshot, VolumeFact,
    VolumePlan, Volumes,
};

use super::explain::{NODE_VOLUME_LIMITS, VOLUME_BINDING, VOLUME_RESTRICTIONS, VOLUME_ZONE};

/// Labels that say where a volume is; a node's newer label stands in for the older one.
const PLACES: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// Label of a place, the label that stands in for it, and the values that will do.
type Place<'a> = (&'static str, &'static str, BTreeSet<&'a str>);

/// What a pod wants of storage.
pub(crate) struct Wanted<'a> {
    volumes: &'a Volumes,
    /// Some claim that one pod alone may use is in use.
    is_taken: bool,
    /// Volumes of bound claims, in the order of the pod's; nothing for one that is not there.
    bound: Vec<Option<&'a VolumeFact>>,
    /// Claims that are bound or provided for once the pod has a node, smallest first.
    open: Vec<&'a ClaimFact>,
    /// Where the volumes of bound claims say they are.
    places: Vec<Place<'a>>,
    /// Volumes that count against the limits of nodes, by name, with their driver.
    attached: BTreeMap<String, &'a str>,
}

/// What is against all nodes at once: the number of the rule, and what it says.
pub(crate) type Upfront = (usize, Reason);

fn upfront(rule: usize, text: String) -> Upfront {
    (rule, Reason::Made(text.into()))
}

impl<'a> Wanted<'a> {
    /// What the pod wants; nothing when it has no claims.
    pub(crate) fn of(snapshot: &'a Snapshot, pod: &PodFact) -> Result<Option<Wanted<'a>>, Upfront> {
        if pod.claims().is_empty() {
            return Ok(None);
        }
        let volumes = snapshot.volumes();
        let claims = present(volumes, pod)?;
        let (mut bound, mut open) = (Vec::new(), Vec::new());
        for claim in &claims {
            if claim.is_bound {
                bound.push(volumes.volume(&claim.volume));
            } else if waits(volumes, claim) && claim.volume.is_empty() {
                open.push(*claim);
            } else {
                let text = "pod has unbound immediate PersistentVolumeClaims";
                return Err((VOLUME_BINDING, Reason::Fixed(text)));
            }
        }
        let places = places(volumes, pod, &claims)?;
        open.sort_by_key(|claim| claim.bytes);
        let is_taken = claims
            .iter()
            .zip(pod.claims())
            .any(|(claim, how)| !how.is_ephemeral && claim.is_for_one_pod() && volumes.is_used(&claim.key));
        let attached = claims.iter().filter_map(|claim| attachment(volumes, claim)).collect();
        Ok(Some(Wanted { volumes, is_taken, bound, open, places, attached }))
    }

    /// What is against a node: the number of the rule, and its words.
    pub(crate) fn against(&self, node: &NodeInfo) -> Option<(usize, Rejection)> {
        if self.is_taken {
            let words = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
            return Some((VOLUME_RESTRICTIONS, Rejection::resolvable(words)));
        }
        if self.exceeds_limits(node) {
            return Some((NODE_VOLUME_LIMITS, Rejection::resolvable("node(s) exceed max volume count")));
        }
        let reasons = self.unreachable(&node.fact);
        if !reasons.is_empty() {
            return Some((VOLUME_BINDING, Rejection { reasons, resolvable: Resolvable::No }));
        }
        if self.is_elsewhere(&node.fact) {
            return Some((VOLUME_ZONE, Rejection::lasting("node(s) had no available volume zone")));
        }
        None
    }

    fn exceeds_limits(&self, node: &NodeInfo) -> bool {
        let Some(limits) = self.volumes.limits(&node.fact.name) else { return false };
        if limits.limits.is_empty() || self.attached.is_empty() {
            return false;
        }
        let there: BTreeMap<String, &str> = node
            .facts()
            .flat_map(|pod| pod.claim_keys().collect::<Vec<_>>())
            .filter_map(|key| attachment(self.volumes, self.volumes.claim(&key)?))
            .collect();
        limits.limits.iter().any(|(driver, most)| {
            let new =
                self.attached.iter().filter(|(name, d)| **d == driver && !there.contains_key(*name)).count();
            let old = there.values().filter(|d| **d == driver).count();
            new > 0 && i64::try_from(new + old).unwrap_or(i64::MAX) > *most
        })
    }

    fn unreachable(&self, node: &NodeFact) -> Vec<Reason> {
        let mut reasons = Vec::new();
        // Only the first bound claim that fails is told of.
        let first = self.bound.iter().find(|v| v.is_none_or(|v| !v.is_reached_from(node)));
        if let Some(Some(_)) = first {
            reasons.push(Reason::Fixed("node(s) didn't match PersistentVolume's node affinity"));
        }
        if !self.open.is_empty() && self.plan(node).is_none() {
            reasons.push(Reason::Fixed("node(s) didn't find available persistent volumes to bind"));
        }
        if let Some(None) = first {
            let words = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
            reasons.push(Reason::Fixed(words));
        }
        reasons
    }

    /// What would be done to claims and volumes for this node; nothing when they cannot be had there.
    pub(crate) fn plan(&self, node: &NodeFact) -> Option<VolumePlan> {
        let mut plan = VolumePlan { node: node.name.clone(), ..VolumePlan::default() };
        let selected = |claim: &ClaimFact| self.volumes.selected(claim).cloned();
        if self.open.iter().any(|claim| selected(claim).is_some_and(|at| at != node.name)) {
            return None;
        }
        let mut chosen = BTreeSet::new();
        for claim in &self.open {
            let found = match selected(claim) {
                Some(_) => None,
                None => find(self.volumes, claim, node, &chosen),
            };
            match found {
                Some(volume) => {
                    chosen.insert(volume.name.as_str());
                    plan.matches.push(((*claim).clone(), volume.clone()));
                }
                None => {
                    let class = self.volumes.class(&claim.class)?;
                    if !class.is_provisioned() || !class.reaches(node) {
                        return None;
                    }
                    plan.provisions.push((*claim).clone());
                }
            }
        }
        Some(plan)
    }

    fn is_elsewhere(&self, node: &NodeFact) -> bool {
        // A node that is in no zone and no region takes volumes of all.
        if !PLACES.iter().any(|(label, _)| node.labels.contains_key(*label)) {
            return false;
        }
        let does = |(label, newer, values): &Place<'_>| {
            let value = node.labels.get(*label).or_else(|| node.labels.get(*newer));
            value.is_some_and(|v| values.contains(v.as_str()))
        };
        !self.places.iter().all(does)
    }
}

/// The pod's claims, all of them there and fit for use.
fn present<'a>(volumes: &'a Volumes, pod: &PodFact) -> Result<Vec<&'a ClaimFact>, Upfront> {
    let missing = |key: &ObjectKey| format!("persistentvolumeclaim {:?} not found", key.name);
    let uses = || pod.claim_keys().zip(pod.claims());
    if let Some((key, _)) = uses().find(|(key, how)| !how.is_ephemeral && volumes.claim(key).is_none()) {
        return Err(upfront(VOLUME_RESTRICTIONS, missing(&key)));
    }
    let one = |(key, how): (ObjectKey, &sched_core::ClaimUse)| {
        let Some(claim) = volumes.claim(&key) else {
            let text = format!(
                "waiting for ephemeral volume controller to create the persistentvolumeclaim {:?}",
                key.name
            );
            return Err(upfront(VOLUME_BINDING, text));
        };
        let name = &claim.key.name;
        if claim.is_lost {
            let text = format!(
                "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {:?}",
                claim.volume
            );
            return Err(upfront(VOLUME_BINDING, text));
        }
        if claim.terminating {
            return Err(upfront(VOLUME_BINDING, format!("persistentvolumeclaim {name:?} is being deleted")));
        }
        if how.is_ephemeral && claim.owner.as_deref() != Some(&*pod.uid) {
            let text = format!("PVC {key} was not created for pod {} (pod is not owner)", pod.key());
            return Err(upfront(VOLUME_BINDING, text));
        }
        Ok(claim)
    };
    uses().map(one).collect()
}

/// Whether a claim is bound only once a pod that uses it has a node.
fn waits(volumes: &Volumes, claim: &ClaimFact) -> bool {
    volumes.selected(claim).is_some() || volumes.class(&claim.class).is_some_and(|class| class.waits)
}

/// Where volumes say they are.
fn places<'a>(
    volumes: &'a Volumes,
    pod: &PodFact,
    claims: &[&'a ClaimFact],
) -> Result<Vec<Place<'a>>, Upfront> {
    let mut places = Vec::new();
    for (claim, how) in claims.iter().zip(pod.claims()) {
        if how.is_ephemeral {
            continue;
        }
        if claim.volume.is_empty() {
            // Upstream reads the class here, whoever the claim waits for.
            if volumes.class(&claim.class).is_none() {
                let text = format!("storageclass.storage.k8s.io {:?} not found", claim.class);
                return Err(upfront(VOLUME_ZONE, text));
            }
            continue;
        }
        let Some(volume) = volumes.volume(&claim.volume) else {
            return Err(upfront(VOLUME_ZONE, format!("persistentvolume {:?} not found", claim.volume)));
        };
        for (label, newer) in PLACES {
            if let Some(value) = volume.labels.get(label) {
                places.push((label, newer, value.split("__").collect()));
            }
        }
    }
    Ok(places)
}

/// The volume behind a claim as far as limits of nodes go: its name among all, and its driver. One that is yet to be made
/// counts by the claim.
fn attachment<'a>(volumes: &'a Volumes, claim: &'a ClaimFact) -> Option<(String, &'a str)> {
    if claim.volume.is_empty() {
        let driver = volumes.class(&claim.class).map(|class: &ClassFact| class.provisioner.as_str());
        let driver = driver.filter(|d| !d.is_empty())?;
        return Some((format!("{driver}/{}", claim.key), driver));
    }
    let (driver, handle) = volumes.volume(&claim.volume)?.csi.as_ref()?;
    Some((format!("{driver}/{handle}"), driver))
}

/// The volume to bind to a claim on a node: one that is meant for it, else the smallest that will do, by name among equals.
fn find<'a>(
    volumes: &'a Volumes,
    claim: &ClaimFact,
    node: &NodeFact,
    chosen: &BTreeSet<&str>,
) -> Option<&'a VolumeFact> {
    let fits = |v: &&VolumeFact| {
        v.class == claim.class
            && !chosen.contains(v.name.as_str())
            && !volumes.is_set_aside(v, claim)
            && (v.claim.is_none() || v.is_for(claim))
            && v.bytes >= claim.bytes
            && v.shape == claim.shape
            && v.attributes == claim.attributes
            && !v.terminating
    };
    if let Some(meant) = volumes.all().filter(fits).find(|v| v.is_for(claim)) {
        return meant.is_reached_from(node).then_some(meant);
    }
    let free = |v: &&VolumeFact| {
        v.is_available
            && claim.selector.as_ref().is_none_or(|s| s.matches(&v.labels))
            && v.is_reached_from(node)
            && claim.modes.is_subset(&v.modes)
    };
    volumes.all().filter(fits).filter(free).min_by_key(|v| v.bytes)
}

/// What is to be done to claims and volumes before the pod can be bound to a node that was chosen for it.
pub fn volume_plan(snapshot: &Snapshot, pod: &PodFact, node: &str) -> Option<VolumePlan> {
    let wanted = Wanted::of(snapshot, pod).ok()?;
    let (_, info) = snapshot.find(node)?;
    match wanted {
        None => Some(VolumePlan::default()),
        Some(wanted) => wanted.plan(&info.fact),
    }
}
