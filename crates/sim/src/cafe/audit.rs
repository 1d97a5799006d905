//! The promises of a release by cells and groups, judged from the pods alone: nothing the controllers say is believed.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{Pod, drain};

use super::traffic::Requests;
use crate::Violation;
use crate::machine::SimClock;
use crate::stage::Judge;

/// What is watched over.
pub(crate) struct CafeAudit {
    pub(crate) shape: Shape,
    clock: SimClock,
    requests: Requests,
    pods: BTreeMap<String, Life>,
    release: Option<Release>,
    violations: Vec<Violation>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Pods wanted in each cell, by name.
    pub(crate) cells: BTreeMap<String, usize>,
    /// Pods of the groups, in order, over all cells.
    pub(crate) groups: Vec<usize>,
    /// Greatest number of pods of a cell in one group.
    pub(crate) shares: BTreeMap<String, usize>,
    /// A person confirms each group but the last.
    pub(crate) is_confirmed: bool,
    /// Pods keep identity, name and address.
    pub(crate) is_in_place: bool,
    /// The cell of each node.
    pub(crate) nodes: BTreeMap<String, String>,
}

/// A release under way.
struct Release {
    image: String,
    /// Groups that a person has let go on.
    confirmed: usize,
    /// Pods brought to the image, by identity.
    touched: BTreeSet<String>,
    /// Pods there were when it began.
    starters: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct Life {
    name: String,
    ip: String,
    cell: String,
    image: String,
    /// Image that its process was seen running.
    ran: String,
    protected: bool,
    gate: String,
    is_ending: bool,
    is_gone: bool,
    in_service: bool,
}

impl CafeAudit {
    pub(crate) fn new(shape: Shape, clock: SimClock, requests: Requests) -> CafeAudit {
        CafeAudit { shape, clock, requests, pods: BTreeMap::new(), release: None, violations: Vec::new() }
    }

    /// A release begins, or another one in its stead.
    pub(crate) fn begin_release(&mut self, image: &str) {
        let alive = self.pods.iter().filter(|(_, p)| !p.is_gone);
        let starters = alive.map(|(uid, _)| uid.clone()).collect();
        self.release =
            Some(Release { image: image.to_owned(), confirmed: 0, touched: BTreeSet::new(), starters });
    }

    /// A person lets the next group go on.
    pub(crate) fn confirm(&mut self) {
        if let Some(release) = &mut self.release {
            release.confirmed += 1;
        }
    }

    /// Pods brought to the image of the release.
    pub(crate) fn touched(&self) -> usize {
        self.release.as_ref().map_or(0, |r| r.touched.len())
    }

    /// Whether every pod wanted is in service with this image, in its cell.
    pub(crate) fn has_converged(&self, image: &str) -> bool {
        self.shape.cells.iter().all(|(cell, wanted)| {
            let here: Vec<&Life> = self.pods.values().filter(|p| !p.is_gone && p.cell == *cell).collect();
            here.len() == *wanted && here.iter().all(|p| p.in_service && p.image == image)
        })
    }

    /// What there is, in a line.
    pub(crate) fn told(&self) -> String {
        let alive = self.pods.values().filter(|p| !p.is_gone);
        let one = |p: &Life| {
            let state = if p.in_service { "" } else { " (out of service)" };
            format!("{}@{} {}{state}", p.name, p.cell, p.image)
        };
        alive.map(one).collect::<Vec<_>>().join(", ")
    }

    fn check_drain(&mut self, uid: &str, before: &Life, now: &Life) {
        if before.name.is_empty() {
            return;
        }
        let is_changed = before.image != now.image;
        let is_deleted = now.is_ending && !before.is_ending;
        if !is_changed && !is_deleted {
            return;
        }
        let what = if is_changed { "was changed" } else { "was deleted" };
        if before.protected {
            self.accuse(
                "drained-first",
                format!("{} {what} while a traffic component protected it", now.name),
            );
        }
        if self.requests.is_open(uid, self.clock.elapsed()) {
            self.accuse("requests-lost", format!("{} {what} while requests to it were open", now.name));
        }
        if is_changed && before.gate != "False" {
            self.accuse("gate-first", format!("{} was changed with its gate {:?}", now.name, before.gate));
        }
    }

    /// A gate opens for what runs, not for what shall run.
    fn check_gate(&mut self, before: &Life, now: &Life) {
        if before.gate == "False" && now.gate == "True" && now.ran != now.image {
            let seen =
                format!("{} went into service running {:?} instead of {:?}", now.name, now.ran, now.image);
            self.accuse("gate-last", seen);
        }
    }

    fn check_identity(&mut self, uid: &str, before: &Life, now: &Life, is_new: bool) {
        let Some(release) = &self.release else { return };
        if !self.shape.is_in_place {
            return;
        }
        let is_starter = release.starters.contains(uid);
        if is_new && !is_starter {
            self.accuse("same-pods", format!("{} was created during a release in place", now.name));
        }
        if now.is_gone && !before.is_gone {
            self.accuse("same-pods", format!("{} was deleted during a release in place", now.name));
        }
        if is_starter && !before.ip.is_empty() && before.ip != now.ip {
            self.accuse("same-address", format!("{} had {} and has {}", now.name, before.ip, now.ip));
        }
    }

    /// A pod counts when it is brought to the image. One that had it all along is only heard of.
    fn check_groups(&mut self, uid: &str, before: &Life, now: &Life) {
        let Some(release) = &mut self.release else { return };
        if before.image == now.image {
            return;
        }
        if now.image != release.image || now.is_gone || !release.touched.insert(uid.to_owned()) {
            return;
        }
        let open = if self.shape.is_confirmed { release.confirmed + 1 } else { self.shape.groups.len() };
        let allowed: usize = self.shape.groups.iter().take(open).sum();
        let touched = release.touched.len();
        if touched > allowed {
            let seen = format!(
                "{touched} pods are at {} with {} groups confirmed: {allowed} were allowed",
                release.image, release.confirmed
            );
            self.accuse("confirmation", seen);
        }
    }

    /// No cell is taken below its minimum by the release. What a cell lost otherwise is not counted against it, so stories that
    /// lose pods say so by [`Shape::shares`].
    fn check_minimum(&mut self, changed: &Life) {
        if self.release.is_none() || changed.cell.is_empty() {
            return;
        }
        let cell = &changed.cell;
        let Some(wanted) = self.shape.cells.get(cell) else { return };
        let serving = self.pods.values().filter(|p| !p.is_gone && p.cell == *cell && p.in_service).count();
        let least = wanted.saturating_sub(self.shape.shares.get(cell).copied().unwrap_or(0));
        if serving < least {
            self.accuse("cell-minimum", format!("{serving} of {wanted} pods of {cell} serve, {least} must"));
        }
    }

    /// What is missing at one time is of one group. Pods made anew beside those they replace are not missing.
    fn check_one_group(&mut self) {
        let Some(release) = &self.release else { return };
        let wanted: usize = self.shape.cells.values().sum();
        let serving = self.pods.values().filter(|p| !p.is_gone && p.in_service).count();
        let (missing, largest) =
            (wanted.saturating_sub(serving), self.shape.groups.iter().copied().max().unwrap_or(0));
        if missing > largest {
            let seen = format!("{missing} pods are missing for {}, a group has {largest}", release.image);
            self.accuse("one-group", seen);
        }
    }
}

impl Judge for CafeAudit {
    fn pod(&mut self, pod: &Pod, is_deleted: bool) {
        let uid = pod.metadata.uid.clone();
        let is_new = !self.pods.contains_key(&uid);
        let before = self.pods.get(&uid).cloned().unwrap_or_default();
        let mut now = before.clone();
        now.take(pod, is_deleted, &self.shape.nodes);
        self.pods.insert(uid.clone(), now.clone());
        self.check_drain(&uid, &before, &now);
        self.check_gate(&before, &now);
        self.check_identity(&uid, &before, &now, is_new);
        self.check_groups(&uid, &before, &now);
        self.check_minimum(&now);
        self.check_one_group();
    }

    fn accuse(&mut self, rule: &'static str, seen: String) {
        self.violations.push(Violation { rule, seen });
    }

    fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

impl Life {
    fn take(&mut self, pod: &Pod, is_deleted: bool, nodes: &BTreeMap<String, String>) {
        self.name.clone_from(&pod.metadata.name);
        if !pod.status.pod_ip.is_empty() {
            self.ip.clone_from(&pod.status.pod_ip);
        }
        if let Some(cell) = nodes.get(&pod.spec.node_name) {
            self.cell.clone_from(cell);
        }
        if let Some(main) = pod.spec.containers.first() {
            self.image.clone_from(&main.image);
        }
        if let Some(status) = pod.status.container_statuses.first() {
            self.ran.clone_from(&status.image);
        }
        self.protected = drain::protections(pod).next().is_some();
        let gate = drain::gate(pod).and_then(|gate| pod.condition(gate));
        self.gate = gate.map_or(String::new(), |c| c.status.clone());
        self.is_ending = pod.metadata.is_terminating();
        self.is_gone = is_deleted || self.is_gone;
        self.in_service =
            !self.is_gone && pod.is_active() && pod.is_ready() && !self.is_ending && drain::is_back(pod);
    }
}
