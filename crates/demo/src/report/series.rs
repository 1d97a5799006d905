//! The chronicle as things that can be drawn: seconds of traffic, lanes of pods, bars of groups.

use std::collections::BTreeMap;

use crate::facts::{Chronicle, Fact, GroupPhase, Micros, PodSeen, SECOND};
use crate::steps::StepId;

/// One second of a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Second {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) p99_us: u32,
    pub(super) versions: BTreeMap<String, u64>,
}

/// The seconds of a load from `begin` until before `end`.
pub(super) fn seconds(seen: &Chronicle, load: &str, begin: Micros, end: Micros) -> Vec<Second> {
    let count = usize::try_from((end - begin).max(0).div_euclid(SECOND) + 1).unwrap_or(0);
    let mut out = vec![Second::default(); count];
    for tick in seen.ticks(load) {
        let index = (tick.at.midpoint(tick.until) - begin).div_euclid(SECOND);
        let Some(second) = usize::try_from(index).ok().and_then(|i| out.get_mut(i)) else { continue };
        second.ok += tick.ok;
        second.p99_us = second.p99_us.max(tick.p99_us);
        for (version, n) in &tick.versions {
            *second.versions.entry(version.clone()).or_default() += n;
        }
    }
    for failure in seen.failures(load) {
        let index = (failure.due - begin).div_euclid(SECOND);
        if let Some(second) = usize::try_from(index).ok().and_then(|i| out.get_mut(i)) {
            second.failed += 1;
        }
    }
    out
}

/// Versions in the order in which they answered first.
pub(super) fn versions(seconds: &[Second]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for version in seconds.iter().flat_map(|s| s.versions.keys()) {
        if !out.contains(version) {
            out.push(version.clone());
        }
    }
    out
}

/// A step and when it was told.
pub(super) fn steps(seen: &Chronicle, steps: &[StepId]) -> Vec<(StepId, Micros, Micros)> {
    steps.iter().filter_map(|id| seen.span(*id).map(|s| (*id, s.begin, s.end))).collect()
}

/// What a pod does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Takes requests.
    Serving,
    /// Its gate is closed; a traffic component still protects it.
    Draining,
    /// Out of service.
    Out,
    /// Its process does not run.
    Broken,
}

/// A stretch of a pod's life.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) from: Micros,
    pub(super) to: Micros,
    pub(super) state: State,
    pub(super) version: String,
}

/// A pod's life.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) cell: String,
    pub(super) name: String,
    pub(super) stretches: Vec<Stretch>,
}

fn state(pod: &PodSeen) -> State {
    match pod {
        p if p.in_service() => State::Serving,
        p if !p.broken.is_empty() => State::Broken,
        p if p.gate == Some(false) && p.protected => State::Draining,
        _ => State::Out,
    }
}

/// The lanes of an application's pods, by cell and name.
pub(super) fn lanes(seen: &Chronicle, app: &str) -> Vec<Lane> {
    let end = seen.bounds().1;
    let mut lanes: BTreeMap<&str, Lane> = BTreeMap::new();
    for entry in seen.entries() {
        match &entry.fact {
            Fact::Pod(pod) if pod.app == app => {
                let lane = lanes.entry(&pod.uid).or_insert_with(|| Lane {
                    cell: String::new(),
                    name: pod.name.clone(),
                    stretches: Vec::new(),
                });
                lane.cell.clone_from(&pod.cell);
                lane.see(entry.at, end, state(pod), pod.version());
            }
            Fact::PodGone(uid) => {
                if let Some(last) = lanes.get_mut(uid.as_str()).and_then(|l| l.stretches.last_mut()) {
                    last.to = entry.at;
                }
            }
            _ => {}
        }
    }
    let mut out: Vec<Lane> = lanes.into_values().filter(|l| !l.cell.is_empty()).collect();
    out.sort_by(|a, b| (&a.cell, &a.name).cmp(&(&b.cell, &b.name)));
    out
}

impl Lane {
    fn see(&mut self, at: Micros, end: Micros, state: State, version: &str) {
        if let Some(last) = self.stretches.last_mut() {
            if last.state == state && last.version == version {
                return;
            }
            last.to = at;
        }
        self.stretches.push(Stretch { from: at, to: end, state, version: version.to_owned() });
    }
}

/// A group on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) from: Micros,
    pub(super) to: Micros,
    pub(super) label: String,
    pub(super) version: String,
}

/// The groups of a CafeDeployment, each from when it began until it was done.
pub(super) fn bars(seen: &Chronicle, app: &str) -> Vec<Bar> {
    let end = seen.bounds().1;
    let mut out: Vec<Bar> = Vec::new();
    let mut open: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for entry in seen.entries() {
        let Fact::Cafe(cafe) = &entry.fact else { continue };
        if cafe.name != app {
            continue;
        }
        for group in &cafe.groups {
            let key = (cafe.update_revision.clone(), group.index);
            let is_running = group.phase == GroupPhase::Running;
            match open.get(&key) {
                None if is_running => {
                    let (from, to) = (entry.at, end);
                    open.insert(key, out.len());
                    out.push(Bar { from, to, label: label(&group.name), version: cafe.version.clone() });
                }
                Some(i) if !is_running => {
                    out[*i].to = entry.at;
                    open.remove(&key);
                }
                _ => {}
            }
        }
        // A group of another revision than the present one is no longer on its way.
        let stale = open.keys().filter(|(r, _)| *r != cafe.update_revision).cloned().collect::<Vec<_>>();
        for key in stale {
            if let Some(i) = open.remove(&key) {
                out[i].to = entry.at;
            }
        }
    }
    out
}

/// `beta` stays, `group-1` becomes `1`: there is little room.
fn label(name: &str) -> String {
    let short = name.strip_prefix("group-").unwrap_or(if name == "beta" { "β" } else { name });
    short.to_owned()
}
