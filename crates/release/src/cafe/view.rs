//! The CafeDeployment as the steps see it: cells with their sets and counts, worked out once.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_core::{ControllerRevision, Pod, drain, lost};
use api_meta::{IntOrPercent, Round};
use api_workload::names::cafe as words;
use api_workload::{CafeDeploymentSpec, CafeDeploymentStatus, GroupCell, MovedQuota, PodSetType, UnitType};
use stdx::Time;
use workload_kit::drain::{Policy, Progress, progress};
use workload_kit::{gate, podfact};

use super::podset::{Maker, PodSet};
use super::{Observed, groups, moves};

/// The CafeDeployment as the steps see it.
pub(super) struct View<'a> {
    pub seen: &'a Observed,
    pub spec: &'a CafeDeploymentSpec,
    pub update: Arc<ControllerRevision>,
    pub now: Time,
    /// Pods of each cell by the spec alone, before quota moved.
    pub base: Vec<GroupCell>,
    /// Quota that has moved, or moves with this look.
    pub moved: Vec<MovedQuota>,
    /// Cells of the spec in order, then those that are being left.
    pub cells: Vec<Cell<'a>>,
}

/// One cell.
pub(super) struct Cell<'a> {
    pub name: String,
    /// Pods wanted here.
    pub target: i32,
    /// None of its nodes is ready.
    pub is_lost: bool,
    /// Its sets; for ReplicaSets the newest revision first.
    pub sets: Vec<&'a PodSet>,
    pub count: Count,
    pub members: Vec<Member>,
}

/// One active pod.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub pod: Arc<Pod>,
    pub is_updated: bool,
    /// In service, as far as its node and its workload say.
    pub is_ready: bool,
    /// The same for as long as asked, and back in traffic.
    pub is_available: bool,
    /// Its node is not ready, or gone, or has not said a word on it since it came back: the pod may serve.
    pub is_stranded: bool,
    /// Its node still speaks of a revision before: what it says is no word on the new one.
    pub reports_old: bool,
    /// Since when no node has room for it.
    pub unplaced_since: Option<Time>,
}

/// Pods of a cell by what matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Active pods.
    pub current: i32,
    pub ready: i32,
    pub available: i32,
    pub updated: i32,
    pub updated_ready: i32,
    pub updated_available: i32,
    pub old_available: i32,
    /// Old pods that do not serve, for reasons of their own.
    pub old_broken: i32,
    /// Pods whose node is not ready.
    pub stranded: i32,
    /// Updated pods that no node has room for.
    pub unplaced: i32,
}

impl Member {
    fn new(pod: &Arc<Pod>, view: &Basis<'_, '_>) -> Member {
        let min_ready = view.spec.strategy.min_ready_seconds;
        let label = pod.metadata.labels.get(words::REVISION_LABEL);
        let unplaced =
            pod.condition("PodScheduled").filter(|c| c.status == "False" && c.reason == "Unschedulable");
        Member {
            is_updated: label.is_some_and(|l| l == view.update),
            is_ready: podfact::is_ready(pod, 0, view.now),
            is_available: podfact::is_available(pod, min_ready, view.now) && drain::is_back(pod),
            is_stranded: is_stranded(pod, view.seen),
            reports_old: reports_old(pod, &view.seen.revisions),
            unplaced_since: unplaced.map(|c| c.last_transition_time.unwrap_or(view.now)),
            pod: pod.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.pod.metadata.name
    }

    /// Why it will not come into service by waiting: a failure of the revision it has.
    pub(super) fn failure(&self) -> Option<String> {
        let is_elsewhere = self.is_stranded || self.unplaced_since.is_some();
        if self.is_available || is_elsewhere {
            return None;
        }
        podfact::trouble(&self.pod).or_else(|| ended(&self.pod).filter(|_| !self.reports_old))
    }

    /// Whether its set gave it back to its traffic, which had not ended in time, instead of bringing it to this revision of
    /// the set's own.
    pub(super) fn is_given_back(&self, revision: &str) -> bool {
        let refused = gate::refused(&self.pod);
        !revision.is_empty() && refused.is_some_and(|r| workload_kit::revision::same(r, revision))
    }

    /// Traffic components that have not let go of it in time, and what its owner declared for this case.
    pub(super) fn overdue(&self, now: Time) -> Option<(Vec<String>, Policy)> {
        match progress(&self.pod, now) {
            Progress::Overdue { waits_for, policy, .. } => Some((waits_for, policy)),
            _ => None,
        }
    }
}

fn is_stranded(pod: &Pod, seen: &Observed) -> bool {
    let ready = seen.nodes.get(&pod.spec.node_name).is_some_and(|n| n.is_ready);
    !pod.spec.node_name.is_empty() && (!ready || lost::is_marked(pod))
}

/// A container that has just ended badly: the node has not yet given up on it, a release has.
fn ended(pod: &Pod) -> Option<String> {
    pod.status.container_statuses.iter().find_map(|s| {
        let ended =
            s.state.terminated.as_ref().filter(|t| t.exit_code != 0 && !podfact::is_from_before(pod, s));
        let code = ended?.exit_code;
        Some(format!("container {} ended with exit code {code}", s.name))
    })
}

/// Whether a node still reports the image of another revision for one of the containers. Nodes may write images in a
/// longer form than the template does.
fn reports_old(pod: &Pod, revisions: &[Arc<ControllerRevision>]) -> bool {
    let is = |reported: &str, image: &str| !image.is_empty() && reported.ends_with(image);
    pod.status.container_statuses.iter().any(|s| {
        let wanted = pod.spec.containers.iter().find(|c| c.name == s.name).map_or("", |c| c.image.as_str());
        let in_revision = |r: &Arc<ControllerRevision>| {
            let containers = r.data.pointer("/spec/template/spec/containers").and_then(|c| c.as_array());
            let own = containers.into_iter().flatten().find(|c| c["name"] == s.name.as_str());
            own.and_then(|c| c["image"].as_str()).is_some_and(|i| i != wanted && is(&s.image, i))
        };
        // While the new image cannot be had, the node keeps the old name: that waiting is about the new one.
        let waiting = s.state.waiting.as_ref().map_or("", |w| w.reason.as_str());
        let is_of_old = waiting.is_empty() || waiting == "CrashLoopBackOff";
        is_of_old && !is(&s.image, wanted) && revisions.iter().any(in_revision)
    })
}

/// What members are judged by.
struct Basis<'a, 'u> {
    seen: &'a Observed,
    spec: &'a CafeDeploymentSpec,
    update: &'u str,
    now: Time,
}

impl<'a> View<'a> {
    pub(super) fn new(
        seen: &'a Observed,
        spec: &'a CafeDeploymentSpec,
        update: Arc<ControllerRevision>,
        now: Time,
    ) -> View<'a> {
        let base = groups::shares(spec.replicas, &groups::cells(spec));
        let mut cells: Vec<Cell<'_>> = Vec::new();
        {
            let basis = Basis { seen, spec, update: &update.metadata.name, now };
            let mut names: Vec<&str> = base.iter().map(|c| c.name.as_str()).collect();
            let left: BTreeSet<&str> = seen.sets.iter().map(|s| s.cell.as_str()).collect();
            names.extend(left.into_iter().filter(|cell| base.iter().all(|b| b.name != *cell)));
            cells.extend(names.into_iter().map(|name| Cell::new(name, &basis)));
        }
        for cell in &mut cells {
            cell.target = base.iter().find(|b| b.name == cell.name).map_or(0, |b| b.pods);
        }
        let mut view = View { seen, spec, update, now, base, moved: Vec::new(), cells };
        view.moved = moves::of(&view);
        moves::apply(&view.moved, &mut view.cells);
        view
    }

    pub(super) fn status(&self) -> &CafeDeploymentStatus {
        &self.seen.cafe.status
    }

    pub(super) fn update_name(&self) -> &str {
        &self.update.metadata.name
    }

    pub(super) fn maker(&self) -> Maker<'_> {
        Maker { cafe: &self.seen.cafe, spec: self.spec }
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.seen.cafe.metadata.annotations.get(key).map(String::as_str)
    }

    pub(super) fn cell(&self, name: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|c| c.name == name)
    }

    pub(super) fn is_replicaset(&self) -> bool {
        self.spec.pod_set_type == PodSetType::ReplicaSet
    }

    /// Pods that stay available in a cell, where the user says so.
    pub(super) fn asked_minimum(&self, cell: &Cell<'_>) -> Option<i32> {
        let text = self.annotation(words::CELL_MIN_AVAILABLE)?;
        let number = text.parse().ok().map(IntOrPercent::Int);
        let share = number.or_else(|| IntOrPercent::parse_percent(text))?;
        Some(share.of(cell.target, Round::Up).clamp(0, cell.target))
    }
}

impl<'a> Cell<'a> {
    fn new(name: &str, basis: &Basis<'a, '_>) -> Cell<'a> {
        let mut sets: Vec<&PodSet> = basis.seen.sets.iter().filter(|s| s.cell == name).collect();
        let number = |set: &PodSet| {
            let held = basis.seen.revisions.iter().find(|r| r.metadata.name == set.revision);
            held.map_or(0, |r| r.revision)
        };
        sets.sort_by_key(|s| (std::cmp::Reverse(number(s)), s.name().to_owned()));
        let own = basis.seen.pods.iter().filter(|p| p.cell == name && p.pod.is_active());
        let mut members: Vec<Member> = own.map(|p| Member::new(&p.pod, basis)).collect();
        members.sort_by(|a, b| a.name().cmp(b.name()));
        Cell {
            name: name.to_owned(),
            target: 0,
            is_lost: is_lost(basis.seen, basis.spec.topology.unit_type, name),
            sets,
            count: Count::of(members.iter()),
            members,
        }
    }

    /// Pods its sets are told to keep.
    pub(super) fn kept(&self) -> i32 {
        self.sets.iter().map(|s| s.replicas).sum()
    }

    /// Of these, how many are told to be at the update revision. A set that has not heard of it counts what it has of it.
    pub(super) fn committed(&self, view: &View<'_>) -> i32 {
        let at = |set: &&&PodSet| set.revision == view.update_name();
        if view.is_replicaset() {
            return self.sets.iter().filter(at).map(|s| s.replicas).sum();
        }
        match self.sets.first() {
            Some(set) if set.revision == view.update_name() => (set.replicas - set.partition).max(0),
            Some(_) => self.count.updated.min(self.kept()),
            None => 0,
        }
    }

    /// Available pods that stay so: a set that was told to keep fewer has yet to take the others.
    pub(super) fn serving(&self) -> i32 {
        let doomed = |set: &&PodSet| {
            let own = self.count_of(set);
            (own.current - set.replicas).max(0) - own.unavailable()
        };
        self.count.available - self.sets.iter().map(|s| doomed(s).max(0)).sum::<i32>()
    }

    /// Pods of one of its sets.
    pub(super) fn count_of(&self, set: &PodSet) -> Count {
        let is_own = |m: &&Member| m.pod.metadata.controller().is_some_and(|o| o.uid == set.target.uid);
        Count::of(self.members.iter().filter(is_own))
    }

    /// Pods that its sets keep and that are not there.
    pub(super) fn missing(&self) -> i32 {
        (self.kept() - self.count.current).max(0)
    }
}

/// Whether none of the nodes of a cell that its pods may go to is ready.
fn is_lost(seen: &Observed, unit: UnitType, name: &str) -> bool {
    let mut own = seen.nodes.values().filter(|n| match unit {
        UnitType::None => true,
        UnitType::Cell => n.cell.as_deref() == Some(name),
        UnitType::Zone => n.zone.as_deref() == Some(name),
    });
    !own.any(|n| n.is_ready && n.is_meant)
}

impl Count {
    fn of<'m>(members: impl Iterator<Item = &'m Member> + Clone) -> Count {
        let number = |is: &dyn Fn(&Member) -> bool| {
            i32::try_from(members.clone().filter(|m| is(m)).count()).unwrap_or(i32::MAX)
        };
        Count {
            current: number(&|_| true),
            ready: number(&|m| m.is_ready),
            available: number(&|m| m.is_available),
            updated: number(&|m| m.is_updated),
            updated_ready: number(&|m| m.is_updated && m.is_ready),
            updated_available: number(&|m| m.is_updated && m.is_available),
            old_available: number(&|m| !m.is_updated && m.is_available),
            old_broken: number(&|m| !m.is_updated && !m.is_available && !m.is_stranded),
            stranded: number(&|m| m.is_stranded),
            unplaced: number(&|m| m.is_updated && m.unplaced_since.is_some()),
        }
    }

    pub(super) fn unavailable(&self) -> i32 {
        self.current - self.available
    }
}
