//! Storage, said plainly: each rule looks everything up for each node.

use std::collections::BTreeSet;

use sched_core::{ClaimFact, Hints, NodeFact, NodeInfo, PodFact, Reason, Rejection, Resolvable, Volumes};

use super::{Begin, Cycle, Plugin};

/// A claim that one pod alone may use is not in use.
pub(super) struct VolumeRestrictions;
/// A node takes so many volumes of one driver.
pub(super) struct NodeVolumeLimits;
/// Volumes are reached, found or made where the pod goes.
pub(super) struct VolumeBinding;
/// Volumes with labels of a place are used there.
pub(super) struct VolumeZone;

fn made(text: String) -> Rejection {
    Rejection { reasons: vec![Reason::Made(text.into())], resolvable: Resolvable::No }
}

fn claims<'a>(volumes: &'a Volumes, pod: &PodFact) -> Vec<&'a ClaimFact> {
    pod.claim_keys().filter_map(|key| volumes.claim(&key)).collect()
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let volumes = cycle.snapshot.volumes();
        let mut taken = false;
        for (key, how) in cycle.pod.claim_keys().zip(cycle.pod.claims()) {
            match volumes.claim(&key) {
                _ if how.is_ephemeral => {}
                None => {
                    return Begin::Refuse(made(format!("persistentvolumeclaim \"{}\" not found", key.name)));
                }
                Some(claim) => taken |= claim.modes.contains("ReadWriteOncePod") && volumes.is_used(&key),
            }
        }
        if !taken {
            return Begin::Skip;
        }
        let words = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
        Begin::Check { only: None, check: Box::new(move |_, _| Some(Rejection::resolvable(words))) }
    }

    fn wake(&self) -> Hints {
        Hints::POD_REMOVED | Hints::CLAIM
    }
}

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        if cycle.pod.claims().is_empty() {
            return Begin::Skip;
        }
        let volumes = cycle.snapshot.volumes();
        let of = |pod: &PodFact| -> BTreeSet<(String, String)> {
            claims(volumes, pod).into_iter().filter_map(|c| driver_and_name(volumes, c)).collect()
        };
        let check = move |_, node: &NodeInfo| {
            let limits = &volumes.limits(&node.fact.name)?.limits;
            let there: BTreeSet<(String, String)> = node.facts().flat_map(|p| of(p)).collect();
            let new: BTreeSet<(String, String)> = of(cycle.pod).difference(&there).cloned().collect();
            let count = |set: &BTreeSet<(String, String)>, driver: &String| {
                i64::try_from(set.iter().filter(|(d, _)| d == driver).count()).unwrap_or(i64::MAX)
            };
            let over = |(driver, most): (&String, &i64)| {
                count(&new, driver) > 0 && count(&new, driver) + count(&there, driver) > *most
            };
            limits.iter().any(over).then(|| Rejection::resolvable("node(s) exceed max volume count"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn wake(&self) -> Hints {
        Hints::POD_REMOVED | Hints::CLAIM | Hints::LIMITS
    }
}

/// The driver of the volume behind a claim, and a name that no other volume of that driver has.
fn driver_and_name(volumes: &Volumes, claim: &ClaimFact) -> Option<(String, String)> {
    if !claim.volume.is_empty() {
        return volumes.volume(&claim.volume)?.csi.clone();
    }
    let provisioner = volumes.class(&claim.class)?.provisioner.clone();
    (!provisioner.is_empty()).then(|| (provisioner, claim.key.to_string()))
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let volumes = cycle.snapshot.volumes();
        for (key, how) in cycle.pod.claim_keys().zip(cycle.pod.claims()) {
            let name = &key.name;
            let Some(claim) = volumes.claim(&key) else {
                // Of others VolumeRestrictions has told already.
                let text = "waiting for ephemeral volume controller to create the persistentvolumeclaim";
                return Begin::Refuse(made(format!("{text} \"{name}\"")));
            };
            if claim.is_lost {
                let text = format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume");
                return Begin::Refuse(made(format!("{text} \"{}\"", claim.volume)));
            }
            if claim.terminating {
                return Begin::Refuse(made(format!("persistentvolumeclaim \"{name}\" is being deleted")));
            }
            if how.is_ephemeral && claim.owner.as_deref() != Some(&*cycle.pod.uid) {
                let pod = cycle.pod.key();
                let text = format!("PVC {key} was not created for pod {pod} (pod is not owner)");
                return Begin::Refuse(made(text));
            }
        }
        let all = claims(volumes, cycle.pod);
        if all.is_empty() {
            return Begin::Skip;
        }
        if all.iter().any(|c| !c.is_bound && !is_delayed(volumes, c)) {
            return Begin::Refuse(Rejection::lasting("pod has unbound immediate PersistentVolumeClaims"));
        }
        let check = move |_, node: &NodeInfo| {
            let reasons = unreachable(volumes, &all, &node.fact);
            (!reasons.is_empty()).then(|| Rejection {
                reasons: reasons.into_iter().map(Reason::Fixed).collect(),
                resolvable: Resolvable::No,
            })
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn wake(&self) -> Hints {
        Hints::CLAIM | Hints::VOLUME | Hints::CLASS | Hints::LIMITS | Hints::NODE_LABELS
    }
}

fn is_delayed(volumes: &Volumes, claim: &ClaimFact) -> bool {
    let selected = volumes.selected(claim).is_some();
    claim.volume.is_empty() && (selected || volumes.class(&claim.class).is_some_and(|c| c.waits))
}

fn unreachable(volumes: &Volumes, all: &[&ClaimFact], node: &NodeFact) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let mut lost = false;
    for claim in all.iter().filter(|c| c.is_bound) {
        match volumes.volume(&claim.volume) {
            None => lost = true,
            Some(volume) if volume.is_reached_from(node) => continue,
            Some(_) => reasons.push("node(s) didn't match PersistentVolume's node affinity"),
        }
        break;
    }
    if !all_found(volumes, all, node) {
        reasons.push("node(s) didn't find available persistent volumes to bind");
    }
    if lost {
        reasons.push("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    }
    reasons
}

fn all_found(volumes: &Volumes, all: &[&ClaimFact], node: &NodeFact) -> bool {
    let mut open: Vec<&ClaimFact> = all.iter().filter(|c| !c.is_bound).copied().collect();
    if open.iter().any(|c| volumes.selected(c).is_some_and(|at| *at != node.name)) {
        return false;
    }
    open.sort_by_key(|c| c.bytes);
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for claim in open {
        let mut best: Option<(&str, i64)> = None;
        let mut meant = None;
        for v in volumes.all().filter(|v| !taken.contains(&v.name) && v.class == claim.class) {
            let others = v.claim.is_some() && !v.is_for(claim);
            let unlike = v.shape != claim.shape || v.attributes != claim.attributes || v.bytes < claim.bytes;
            if others || unlike || v.terminating || volumes.is_set_aside(v, claim) {
                continue;
            }
            if v.is_for(claim) {
                meant = meant.or(Some(v));
                continue;
            }
            let selected = claim.selector.as_ref().is_none_or(|s| s.matches(&v.labels));
            let usable = claim.modes.iter().all(|m| v.modes.contains(m));
            let free = v.is_available && selected && usable && v.is_reached_from(node);
            if free && best.is_none_or(|(_, bytes)| v.bytes < bytes) {
                best = Some((&v.name, v.bytes));
            }
        }
        let found = match meant {
            _ if volumes.selected(claim).is_some() => None,
            Some(v) => v.is_reached_from(node).then_some(v.name.as_str()),
            None => best.map(|(name, _)| name),
        };
        if let Some(name) = found {
            taken.insert(name.to_owned());
            continue;
        }
        let class = volumes.class(&claim.class);
        if !class.is_some_and(|c| c.is_provisioned() && c.reaches(node)) {
            return false;
        }
    }
    true
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Begin<'a> {
        let volumes = cycle.snapshot.volumes();
        let mut wanted: Vec<(&str, Vec<&str>)> = Vec::new();
        for (key, how) in cycle.pod.claim_keys().zip(cycle.pod.claims()) {
            let Some(claim) = volumes.claim(&key).filter(|_| !how.is_ephemeral) else { continue };
            if claim.volume.is_empty() {
                if volumes.class(&claim.class).is_none() {
                    let text = format!("storageclass.storage.k8s.io \"{}\" not found", claim.class);
                    return Begin::Refuse(made(text));
                }
                continue;
            }
            let Some(volume) = volumes.volume(&claim.volume) else {
                return Begin::Refuse(made(format!("persistentvolume \"{}\" not found", claim.volume)));
            };
            for kind in ["zone", "region"] {
                for prefix in ["failure-domain.beta.kubernetes.io", "topology.kubernetes.io"] {
                    let label = volume.labels.get_key_value(&format!("{prefix}/{kind}"));
                    wanted.extend(label.map(|(k, v)| (k.as_str(), v.split("__").collect())));
                }
            }
        }
        if wanted.is_empty() {
            return Begin::Skip;
        }
        let check = move |_, node: &NodeInfo| {
            let of = |prefix: &str, kind: &str| node.fact.labels.get(&format!("{prefix}/{kind}"));
            let (old, new) = ("failure-domain.beta.kubernetes.io", "topology.kubernetes.io");
            let any = ["zone", "region"].iter().any(|kind| of(old, kind).or(of(new, kind)).is_some());
            let does = |(key, values): &(&str, Vec<&str>)| {
                let newer = key.replace(old, new);
                let value = node.fact.labels.get(*key).or_else(|| node.fact.labels.get(&newer));
                value.is_some_and(|v| values.contains(&v.as_str()))
            };
            (any && !wanted.iter().all(does))
                .then(|| Rejection::lasting("node(s) had no available volume zone"))
        };
        Begin::Check { only: None, check: Box::new(check) }
    }

    fn wake(&self) -> Hints {
        Hints::CLAIM | Hints::VOLUME | Hints::CLASS | Hints::NODE_LABELS
    }
}
