//! What would happen: the controllers' plans, carried out on a copy of the live state until nothing moves any more.
//!
//! ```text
//! Scene (live, plus the applied objects)
//!   loop: every controller of the family plans, permit is asked, actions are carried out on the copy   (controllers)
//!         pods start, become ready, leave and enter traffic, end; confirmations are given               (rest)
//!         what happened is written down                                                                 (record)
//! ```
//!
//! The rest of the cluster is assumed to be kind, and only that: new and changed containers start and become ready, traffic
//! components drain, persons confirm. Pods that are in trouble now stay so unless they are changed. What is absent: room on
//! nodes (only labels, affinity and taints place a pod), the length of starts and drains, anything outside the family.
//! Nothing here does I/O.

mod place;
mod record;
mod rest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use api_meta::{ObjectKey, Resource};
use reconcile::{Outcome, Permit, PermitRequest, Plan, Row, Severity, Verdict};
use serde_json::{Value, json};
use stdx::Time;
use view::{Forecast, Reason};

use crate::output::reference;
use crate::scene::{PODS, Scene, controller, is_same, key_of};
use crate::words;
use record::Record;
use rest::Rest;

/// One object that is applied.
pub(crate) struct Root {
    /// Its collection.
    pub(crate) resource: Resource,
    /// Where it lives.
    pub(crate) key: ObjectKey,
}

/// Who decides in the copy.
pub(crate) struct Minds<'a> {
    /// The controllers.
    pub(crate) rows: Vec<&'a Row>,
    /// Who is asked before anything dangerous.
    pub(crate) permit: Option<&'a dyn Permit>,
    /// Kinds outside the family whose controllers keep counts that others decide by: budgets.
    pub(crate) counted: &'a [Resource],
}

/// Passes over all controllers at one moment before something is taken to run in circles.
const PASSES_MAX: usize = 200;
/// Moments that are looked at.
const MOMENTS_MAX: usize = 20_000;
/// Length of a moment in which the rest of the cluster acts.
const MOMENT: Duration = Duration::from_secs(1);
/// How far ahead a controller's wish to look again is followed.
const HORIZON: Duration = Duration::from_secs(24 * 3600);
/// Wishes in a row that are followed without anything happening.
const IDLE_MAX: usize = 60;

/// How a run of the copy came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing moves any more.
    Quiet,
    /// It still moved when the bound was reached.
    Bound,
}

/// One run.
struct Run<'a> {
    scene: &'a mut Scene,
    minds: &'a Minds<'a>,
    roots: &'a [Root],
    rest: Rest,
    record: Record,
    /// What the permit point held, by whom and why.
    held: BTreeMap<(String, String), Held>,
    confirmed: Vec<(usize, String)>,
}

/// What was held for one reason.
#[derive(Default)]
struct Held {
    /// The steps, in the order in which they were held first.
    steps: Vec<String>,
    last: Time,
}

/// Lets the copy run; one forecast per root, in their order. `change` and `fields` of the forecasts are the caller's.
pub(crate) fn run(scene: &mut Scene, minds: &Minds<'_>, roots: &[Root]) -> Vec<Forecast> {
    let family = family(scene, roots);
    let rest = Rest::of(scene, &family);
    let record = Record::of(scene, roots);
    let mut run = Run { scene, minds, roots, rest, record, held: BTreeMap::new(), confirmed: Vec::new() };
    let end = run.until_quiet();
    (0..roots.len()).map(|i| run.forecast(i, end)).collect()
}

/// The roots and all they own.
fn family(scene: &Scene, roots: &[Root]) -> Vec<(Resource, ObjectKey)> {
    let uid = |r: &Root| Some(scene.get(&r.resource, &r.key)?["metadata"]["uid"].as_str()?.to_owned());
    let uids: Vec<String> = roots.iter().filter_map(uid).collect();
    let mut out: Vec<(Resource, ObjectKey)> =
        roots.iter().map(|r| (r.resource.clone(), r.key.clone())).collect();
    out.extend(scene.family(&uids));
    out
}

impl Run<'_> {
    fn until_quiet(&mut self) -> End {
        let mut idle = 0;
        let horizon = self.scene.now + HORIZON;
        for _ in 0..MOMENTS_MAX {
            let wake = self.controllers();
            let confirmed = self.confirm();
            let before = self.scene.version();
            self.scene.now = self.scene.now + MOMENT;
            let begun = self.rest.act(self.scene, &family(self.scene, self.roots));
            self.record.sample(self.scene, self.roots);
            if confirmed || begun || self.scene.version() != before {
                idle = 0;
                continue;
            }
            let Some(at) = wake.filter(|at| *at < horizon && idle < IDLE_MAX) else { return End::Quiet };
            idle += 1;
            self.scene.now = self.scene.now.max(at);
        }
        End::Bound
    }

    /// Lets all controllers plan and act until none has anything left to do now; the earliest wish to look again.
    fn controllers(&mut self) -> Option<Time> {
        for _ in 0..PASSES_MAX {
            let before = self.scene.version();
            let mut wake: Option<Time> = None;
            for (kind, key) in self.concerned() {
                for row in &self.minds.rows {
                    if is_same(&row.primary, &kind)
                        && let Some(plan) = (row.step)(&self.scene.world, &key, self.scene.now)
                    {
                        let retry = self.carry_out(row, &key, &plan);
                        let earliest = [wake, plan.wake, retry].into_iter().flatten().min();
                        wake = earliest;
                    }
                }
            }
            if self.scene.version() == before {
                return wake;
            }
        }
        None
    }

    /// The family, and what counts its pods.
    fn concerned(&self) -> Vec<(Resource, ObjectKey)> {
        let mut out = family(self.scene, self.roots);
        for kind in self.minds.counted {
            out.extend(self.scene.list(kind).map(|(key, _)| (kind.clone(), key.clone())));
        }
        out
    }

    /// Carries a plan out up to the first action that is held or refused; when to ask again if one was held.
    fn carry_out(&mut self, row: &Row, key: &ObjectKey, plan: &Plan) -> Option<Time> {
        let now = self.scene.now;
        let mut retry = None;
        for action in &plan.actions {
            let request = PermitRequest::of(row.name, &key.to_string(), action);
            if let (Some(permit), Some(request)) = (self.minds.permit, &request)
                && let Verdict::Held { reason, retry_after } =
                    permit.ask(request, Some(&self.scene.world), now)
            {
                let who = reference(&row.primary.api_version(), &row.primary.kind, &key.name);
                let what = words::told(action).unwrap_or_else(|| "its next step".to_owned());
                self.hold(who, reason, what, now);
                retry = Some(now + retry_after.max(MOMENT));
                break;
            }
            let served = record::is_served(action, self.scene);
            let done = self.scene.act(action).is_ok();
            if let (Some(permit), Some(request)) = (self.minds.permit, &request) {
                let outcome = if done { Outcome::Done(Some(self.scene.version())) } else { Outcome::Undone };
                permit.settle(request, outcome, now);
            }
            if !done {
                break;
            }
            self.record.note(action, served, self.scene, self.roots);
        }
        if !plan.actions.is_empty() {
            self.record.sample(self.scene, self.roots);
            if let Some(permit) = self.minds.permit {
                permit.observe(&self.scene.world, now);
            }
        }
        retry
    }

    fn hold(&mut self, who: String, why: String, what: String, now: Time) {
        let held = self.held.entry((who, why)).or_default();
        if !held.steps.contains(&what) {
            held.steps.push(what);
        }
        held.last = now;
    }

    /// Gives every confirmation that is asked for; whether there was one.
    fn confirm(&mut self) -> bool {
        let mut any = false;
        for (i, root) in self.roots.iter().enumerate() {
            let Some(object) = self.scene.get(&root.resource, &root.key) else { continue };
            if object["metadata"]["annotations"][view::CONFIRMED] != "false" {
                continue;
            }
            let release = view::release(object).unwrap_or_default();
            let group = release.unconfirmed().map_or("the group that is done".to_owned(), view::Group::title);
            self.confirmed.push((i, group));
            self.scene.edit(&root.resource, &root.key, |object| {
                object["metadata"]["annotations"][view::CONFIRMED] = json!("true");
            });
            any = true;
        }
        any
    }

    fn forecast(&self, i: usize, end: End) -> Forecast {
        let root = &self.roots[i];
        let object = self.scene.get(&root.resource, &root.key).unwrap_or(&Value::Null);
        let mut out = Forecast {
            object: crate::output::name(object),
            namespace: root.key.namespace.clone(),
            groups: self.record.groups(i),
            steps: self.record.steps(i),
            availability: self.record.lows(i, object),
            services: self.record.services(i),
            ..Forecast::default()
        };
        let at = crate::words::namespace_flag(&root.key.namespace);
        let confirm = |group: &String| format!("after {group}: knarr release confirm {}{at}", root.key.name);
        out.confirmations =
            self.confirmed.iter().filter(|(root, _)| *root == i).map(|(_, group)| confirm(group)).collect();
        out.held = self.reasons(i);
        (out.finishes, out.end) = self.ending(i, object, end);
        out
    }

    /// What stands in the way in the end, and what the permit point held on the way.
    fn reasons(&self, i: usize) -> Vec<Reason> {
        let mut out: Vec<Reason> = Vec::new();
        let family = family(self.scene, &self.roots[i..=i]);
        let names: Vec<&str> = family.iter().map(|(_, key)| key.name.as_str()).collect();
        for ((who, why), held) in &self.held {
            if !who.rsplit('/').next().is_some_and(|name| names.contains(&name)) {
                continue;
            }
            let lasts = held.last + MOMENT * 2 >= self.scene.now;
            let told = match (lasts, held.steps.as_slice()) {
                (true, [step]) => format!("{step}: {why}"),
                (true, [step, more @ ..]) => format!("{step} and {} further steps: {why}", more.len()),
                _ => format!("{why}; slows {} steps down, which go on by themselves", held.steps.len()),
            };
            out.push(Reason::new(who, "Held", told));
        }
        for (kind, key) in &family {
            for row in self.minds.rows.iter().filter(|r| is_same(&r.primary, kind)) {
                let Some(plan) = (row.step)(&self.scene.world, key, self.scene.now) else { continue };
                let who = reference(&row.primary.api_version(), &row.primary.kind, &key.name);
                // What a plan says about its own next steps is no news where these are held.
                let standing = plan.is_quiet();
                for note in plan.notes.iter().filter(|n| standing && n.severity == Severity::Why) {
                    let message = note.message.strip_prefix("held: ").unwrap_or(&note.message);
                    out.push(Reason::new(&who, note.reason, message));
                }
            }
        }
        out.extend(self.rest.complaints(self.scene, &family));
        out.dedup_by(|a, b| a.message == b.message);
        out
    }

    fn ending(&self, i: usize, object: &Value, end: End) -> (bool, String) {
        if end == End::Bound {
            return (false, format!("it still moves after {MOMENTS_MAX} steps; the rest is not foreseen"));
        }
        let Some(progress) = view::progress(object) else {
            return (true, "nothing that runs is concerned".to_owned());
        };
        let pods = format!("{} of {} pods are available", progress.available, progress.desired);
        let revision = match progress.revision.as_str() {
            "" => String::new(),
            revision => format!(", {} of them at {revision}", progress.updated),
        };
        let moved = if self.record.steps(i).is_empty() { "no pod is touched; " } else { "" };
        match progress.stage {
            view::Stage::Done => (true, format!("{moved}{pods}{revision}")),
            view::Stage::Paused => (false, format!("{moved}it stays paused: {pods}{revision}")),
            view::Stage::Failed(why) => (false, format!("it stops: {why}; {pods}{revision}")),
            view::Stage::Unseen => (false, "no controller here acts on it".to_owned()),
            view::Stage::Rolling(what) => (false, format!("it does not finish: {what}; {pods}{revision}")),
        }
    }
}

/// Whether an object is a pod of the family of a root: by the chain of its owners.
pub(crate) fn root_of(scene: &Scene, roots: &[Root], pod: &Value) -> Option<usize> {
    let namespace = key_of(pod).namespace;
    let mut at = pod.clone();
    for _ in 0..8 {
        let owner = controller(&at)?.clone();
        let is_owner = |object: &Value| object["metadata"]["uid"] == owner["uid"];
        let found = roots.iter().position(|r| scene.get(&r.resource, &r.key).is_some_and(is_owner));
        if found.is_some() {
            return found;
        }
        let name = owner["name"].as_str().unwrap_or_default();
        at = scene.owner(&namespace, owner["kind"].as_str().unwrap_or_default(), name)?.clone();
    }
    None
}

/// The pods of a root's family.
fn pods_of(scene: &Scene, root: &Root) -> Vec<ObjectKey> {
    let family = family(scene, std::slice::from_ref(root));
    family.into_iter().filter(|(kind, _)| is_same(kind, &PODS)).map(|(_, key)| key).collect()
}
