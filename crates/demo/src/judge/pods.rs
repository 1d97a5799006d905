//! What the pods of an application went through.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{CafeSeen, Fact, Mark, Micros, PodSeen, Span, World};

/// Every pod is the same object at the same address, and runs the version in another process than before.
pub(super) fn in_place(span: &Span<'_>, app: &str, version: &str) -> Vec<String> {
    let after = span.after();
    let mut out = Vec::new();
    for before in span.before.pods_of(app) {
        let Some(now) = after.pods.get(&before.uid) else {
            out.push(format!("{}: its pod is gone; it was to be updated in place", before.name));
            continue;
        };
        if now.ip != before.ip {
            out.push(format!("{}: its address moved from {} to {}", now.name, before.ip, now.ip));
        }
        if now.container == before.container {
            out.push(format!("{}: it still runs the process from before", now.name));
        }
        out.extend(serves(now, version));
    }
    let known = |p: &&PodSeen| !span.before.pods.contains_key(&p.uid);
    out.extend(after.pods_of(app).filter(known).map(|p| format!("{}: it is a new pod", p.name)));
    out
}

/// The pod runs the version and takes requests.
pub(super) fn serves(pod: &PodSeen, version: &str) -> Option<String> {
    if pod.version() != version {
        return Some(format!("{}: it is at {}, not at {version}", pod.name, pod.version()));
    }
    (!pod.in_service()).then(|| format!("{}: it is not in service", pod.name))
}

/// Instances each pod has run beyond the first one, by name.
pub(super) fn restarts(span: &Span<'_>, app: &str) -> BTreeMap<String, usize> {
    let mut runs: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for pod in span.before.pods_of(app).chain(span.pods(app).map(|(_, pod)| pod)) {
        let run = runs.entry(&pod.uid).or_insert_with(|| (&pod.name, BTreeSet::new()));
        if !pod.container.is_empty() {
            run.1.insert(&pod.container);
        }
    }
    runs.into_values().map(|(name, ids)| (name.to_owned(), ids.len().saturating_sub(1))).collect()
}

/// Pods that were asked to run another image than before, or run another process.
pub(super) fn touched(span: &Span<'_>, app: &str) -> BTreeSet<String> {
    let is_other = |pod: &PodSeen| {
        let before = span.before.pods.get(&pod.uid);
        before.is_none_or(|b| {
            b.image != pod.image || (!pod.container.is_empty() && b.container != pod.container)
        })
    };
    span.pods(app).filter(|(_, pod)| is_other(pod)).map(|(_, pod)| pod.name.clone()).collect()
}

/// At every moment each of the cells has its minimum in service, and no more pods are out over all of them than a group has.
pub(super) fn budgets(span: &Span<'_>, app: &str, cells: &[String], min: usize, batch: usize) -> Vec<String> {
    let mut out = BTreeSet::new();
    for (_, world) in span.worlds() {
        let (mut there, mut serving) = (0, 0);
        for cell in cells {
            let of_cell: Vec<&PodSeen> = world.pods_of(app).filter(|p| p.cell == *cell).collect();
            let in_service = of_cell.iter().filter(|p| p.in_service()).count();
            there += of_cell.len();
            serving += in_service;
            if in_service < min {
                out.insert(format!("{cell} had {in_service} pods in service; its minimum is {min}"));
            }
        }
        if there - serving > batch {
            out.insert(format!("{} pods were out of service at once; a group has {batch}", there - serving));
        }
    }
    out.into_iter().collect()
}

/// Pods that left service or changed their image, in the order in which they did.
struct Departures<'a> {
    before: &'a World,
    order: Vec<String>,
}

impl Departures<'_> {
    /// Uids that departed with this world.
    fn see(&mut self, world: &World, app: &str) -> Vec<String> {
        let has_left = |p: &&PodSeen| {
            let other = self.before.pods.get(&p.uid).is_some_and(|b| b.image != p.image);
            (other || !p.in_service()) && !self.order.contains(&p.uid)
        };
        let new: Vec<String> = world.pods_of(app).filter(has_left).map(|p| p.uid.clone()).collect();
        self.order.extend(new.iter().cloned());
        new
    }
}

/// No pod of a group leaves service before all pods of the groups before it are back with the new version, and none before
/// its group was confirmed.
pub(super) fn group_order(span: &Span<'_>, app: &str, version: &str) -> Vec<String> {
    let Some(table) = table(span, app, version) else { return vec!["no group table was seen".into()] };
    let ends = group_ends(table);
    let mut out = Vec::new();
    let mut departures = Departures { before: &span.before, order: Vec::new() };
    let mut world = span.before.clone();
    let mut confirmed = 0;
    for entry in span.entries {
        confirmed += usize::from(matches!(&entry.fact, Fact::Mark(Mark::Confirmed(name)) if name == app));
        world.see(&entry.fact);
        for uid in departures.see(&world, app) {
            let nth = departures.order.iter().position(|u| *u == uid).unwrap_or(0);
            let group = ends.iter().position(|end| nth < *end).unwrap_or(ends.len());
            let name = world.pods.get(&uid).map(|p| p.name.clone()).unwrap_or_default();
            if confirmed < group {
                out.push(format!("{name} left service in group {group}, which nobody had confirmed"));
            }
            let earlier = group.checked_sub(1).and_then(|g| ends.get(g)).copied().unwrap_or(0);
            let before = departures.order[..earlier.min(nth)].iter().filter_map(|u| world.pods.get(u));
            if let Some(late) = before.into_iter().find(|p| serves(p, version).is_some()) {
                out.push(format!("{name} left service in group {group} before {} was back", late.name));
            }
        }
    }
    out
}

/// The group table of a version, as it was seen last.
pub(super) fn table<'a>(span: &'a Span<'_>, app: &'a str, version: &str) -> Option<&'a CafeSeen> {
    let is_it =
        |c: &&CafeSeen| c.version == version && c.generation.1 >= c.generation.0 && !c.groups.is_empty();
    span.cafes(app).map(|(_, cafe)| cafe).filter(is_it).last()
}

/// How many pods the groups up to each have, all cells together.
pub(super) fn group_ends(cafe: &CafeSeen) -> Vec<usize> {
    cafe.groups
        .iter()
        .scan(0, |sum, group| {
            *sum += group.size();
            Some(*sum)
        })
        .collect()
}

/// Pods that were out of service at a moment.
pub(super) fn out_at(span: &Span<'_>, app: &str, at: Micros) -> Vec<PodSeen> {
    let mut world = span.before.clone();
    span.entries.iter().take_while(|e| e.at <= at).for_each(|e| world.see(&e.fact));
    world.pods_of(app).filter(|p| !p.in_service()).cloned().collect()
}

/// The first pod that was changed, or came back, after a moment.
pub(super) fn first_moved(span: &Span<'_>, app: &str, after: Micros) -> Option<PodSeen> {
    let mut world = span.before.clone();
    for entry in span.entries {
        if let Fact::Pod(pod) = &entry.fact
            && entry.at > after
            && pod.app == app
        {
            let before = world.pods.get(&pod.uid);
            if before.is_none_or(|b| b.image != pod.image || (!b.in_service() && pod.in_service())) {
                return Some(pod.clone());
            }
        }
        world.see(&entry.fact);
    }
    None
}
