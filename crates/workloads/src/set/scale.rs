//! How many pods: creates the missing, deletes the surplus and those marked, as far as budgets allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{PersistentVolumeClaim, Pod};
use reconcile::{Action, Note, Plan, Risk, Severity, Target};
use workload_kit::census::Diffs;
use workload_kit::gate::{self, Hold};
use workload_kit::lifecycle::{self, State};
use workload_kit::{order, podfact, revision};

use super::drain::{Drains, Way};
use super::pods;
use super::update::patch;
use super::view::{Member, View, listed, why};

/// Name of the hold that the preDelete hook has on the shared gate.
pub(super) const PRE_DELETE: &str = "preDeleteHook";

/// What scaling does now.
#[derive(Default)]
pub(super) struct Scale {
    /// Actions and notes.
    pub plan: Plan,
    /// Pods out of traffic that are still to be deleted, by name: nobody else touches them.
    pub leaving: BTreeSet<String>,
}

/// Creates or deletes.
pub(super) fn steps(view: &View<'_>) -> Scale {
    let diffs = view.diffs();
    let surplus = surplus(view, &diffs);
    let goes = |m: &&Member| m.is_marked || m.state == State::PreparingDelete;
    let gone = view.members.iter().filter(goes).chain(surplus.iter().copied());
    let leaving = gone.filter(|m| m.is_leaving()).map(|m| m.name().to_owned()).collect();
    Scale { plan: decide(view, diffs, &surplus), leaving }
}

fn decide(view: &View<'_>, mut diffs: Diffs, surplus: &[&Member]) -> Plan {
    let regretted = cancel_deletions(view);
    if !regretted.is_quiet() {
        return regretted;
    }
    let mut plan = if diffs.up > 0 { create(view, &diffs) } else { Plan::new() };
    if !plan.is_quiet() {
        return plan;
    }
    // Also when pods are missing: it may be these that creation waits for.
    let hooked: Vec<&Member> = view.members.iter().filter(|m| m.state == State::PreparingDelete).collect();
    delete(view, &hooked, &mut plan);
    if diffs.up > 0 {
        return plan;
    }
    if !plan.is_quiet() {
        return plan;
    }
    let marked: Vec<&Member> =
        view.members.iter().filter(|m| m.is_marked && m.state != State::PreparingDelete).collect();
    let allowed = within_budget(view, &marked, &mut diffs, &mut plan);
    delete(view, &allowed, &mut plan);
    if plan.is_quiet() && diffs.down > 0 {
        scale_in(view, surplus, &mut diffs, hooked.len() + marked.len(), &mut plan);
    }
    plan
}

/// Pods that wait for their preDelete hook are kept after all when replicas were raised again; not when the hook took
/// them out of service, and not when they are marked.
fn cancel_deletions(view: &View<'_>) -> Plan {
    let mut plan = Plan::new();
    let hooks = [&view.spec.lifecycle.pre_delete, &view.spec.lifecycle.in_place_update];
    if hooks.into_iter().any(|h| h.as_ref().is_some_and(|h| h.mark_pod_not_ready)) {
        return plan;
    }
    let is_leaving = |m: &&Member| m.is_marked || m.state == State::PreparingDelete;
    let leaving = view.members.iter().filter(is_leaving).count();
    let wanted = usize::try_from(view.spec.replicas).unwrap_or(0);
    let missing = (wanted + leaving).saturating_sub(view.members.len());
    let hooked = view.members.iter().filter(|m| m.state == State::PreparingDelete && !m.is_marked);
    for member in hooked.take(missing) {
        plan.act(set_state(&member.pod, &State::PreparingNormal, view));
    }
    plan
}

/// Patch that brings a pod into a state.
pub(super) fn set_state(pod: &Arc<Pod>, state: &State, view: &View<'_>) -> Action {
    patch(pod, "", lifecycle::state_patch(state, view.now), Risk::None)
}

fn create(view: &View<'_>, diffs: &Diffs) -> Plan {
    let mut plan = Plan::new();
    if diffs.up_limit < diffs.up {
        let message =
            format!("scaleUp is limited because of scaleStrategy.maxUnavailable, limit: {}", diffs.up_limit);
        plan.note(Note::new(Severity::Warning, "ScaleUpLimited", message));
        let begun = usize::try_from(diffs.up_limit).unwrap_or(0);
        let told = view.budget_told(view.limits.scale_unavailable, begun);
        let held = format!(
            "held: {} of {} missing pods not created yet, because {told} (scaleStrategy.maxUnavailable)",
            diffs.up - diffs.up_limit,
            diffs.up,
        );
        plan.note(why("ScaleUpLimited", held));
    }
    let count = usize::try_from(diffs.up_limit).unwrap_or(0);
    let old = usize::try_from(diffs.up_old).unwrap_or(0).min(count);
    let revisions = [(&view.history.current, old), (&view.history.update, count - old)];
    let mut ids = view.seen.ids.iter();
    let mut made = Plan::new();
    for (revision, count) in revisions {
        let template = revision::template(revision).unwrap_or_default();
        for id in ids.by_ref().take(count) {
            let (claims, pod) = pods::create(view, &revision.metadata.name, &template, id);
            claims.into_iter().for_each(|claim| plan.act(claim));
            made.extend(pod);
        }
    }
    plan.extend(made);
    plan
}

/// The marked pods that may go now: unready ones always, ready ones as far as the budget reaches.
fn within_budget<'m>(
    view: &View<'_>,
    candidates: &[&'m Member],
    diffs: &mut Diffs,
    plan: &mut Plan,
) -> Vec<&'m Member> {
    let (mut allowed, mut held) = (Vec::new(), Vec::new());
    for member in candidates {
        if !member.is_ready {
            allowed.push(*member);
        } else if diffs.delete_ready_limit > 0 {
            diffs.delete_ready_limit -= 1;
            allowed.push(*member);
        } else {
            held.push(member.name());
        }
    }
    if !held.is_empty() {
        let surplus = i32::try_from(view.members.len()).unwrap_or(i32::MAX) - view.limits.replicas;
        let begun = allowed.iter().filter(|m| m.is_available).count();
        let told = view.budget_told(view.limits.unavailable.saturating_add(surplus), begun);
        let message = format!("held: {} not deleted yet, because {told}", listed(&held));
        plan.note(why("DeleteLimited", message));
    }
    allowed
}

fn scale_in(view: &View<'_>, surplus: &[&Member], diffs: &mut Diffs, leaving: usize, plan: &mut Plan) {
    if leaving > 0 {
        let message = format!(
            "held: scaling in by {} waits until {leaving} pods that are to be deleted are gone",
            diffs.down
        );
        plan.note(why("ScaleInWaits", message));
        return;
    }
    let allowed = within_budget(view, surplus, diffs, plan);
    delete(view, &allowed, plan);
}

/// The members to scale in by, those at the old revision first as far as the partition asks.
fn surplus<'m>(view: &'m View<'_>, diffs: &Diffs) -> Vec<&'m Member> {
    let total = usize::try_from(diffs.down).unwrap_or(0);
    let old = usize::try_from(diffs.down_old).unwrap_or(0).min(total);
    let mut chosen = choose(view, false, old);
    chosen.extend(choose(view, true, total - chosen.len()));
    chosen
}

/// The `count` most dispensable members of one side. Whose drain has begun goes first, so that a choice once made stands.
fn choose<'m>(view: &'m View<'_>, is_new: bool, count: usize) -> Vec<&'m Member> {
    if count == 0 {
        return Vec::new();
    }
    let side: Vec<Arc<Pod>> =
        view.members.iter().filter(|m| m.is_new == is_new).map(|m| m.pod.clone()).collect();
    let ranks = order::ranks(&side, &pods::topologies(&view.spec.template), |n| view.seen.nodes.get(n));
    let is_available = |pod: &Pod| podfact::is_available(pod, view.spec.min_ready_seconds, view.now);
    let mut sorted = order::by_worth(&side, is_available, &ranks);
    sorted.sort_by_key(|pod| !gate::is_closed_to_leave(pod));
    let by_name: BTreeMap<&str, &Member> = view.members.iter().map(|m| (m.name(), m)).collect();
    sorted.iter().take(count).filter_map(|p| by_name.get(p.metadata.name.as_str()).copied()).collect()
}

/// Deletes members with their claims; those with a preDelete hook wait for it first, those in traffic for its end.
fn delete(view: &View<'_>, members: &[&Member], plan: &mut Plan) {
    let hook = view.spec.lifecycle.pre_delete.as_ref();
    let (hooked, free): (Vec<&Member>, Vec<&Member>) =
        members.iter().partition(|m| lifecycle::is_hooked(hook, &m.pod));
    let mark = hook.is_some_and(|h| h.mark_pod_not_ready);
    for member in &hooked {
        let hold = gate::hold(&member.pod, &Hold::hook(PRE_DELETE), true, view.now).filter(|_| mark);
        match hold {
            Some(body) => plan.act(patch(&member.pod, "status", body, Risk::Restart)),
            None if member.state != State::PreparingDelete => {
                plan.act(set_state(&member.pod, &State::PreparingDelete, view));
            }
            None => {
                let message = format!("held: {} waits for its preDelete hook to be taken off", member.name());
                plan.note(why("PreDeleteHook", message));
            }
        }
    }
    let mut drains = Drains::default();
    for member in free {
        match drains.way(member) {
            Way::Free => delete_one(view, member, plan),
            Way::Close => {
                // Judged as the removal that it begins: better held in service than out of it.
                let body = gate::close(&member.pod, gate::LEAVING, view.now);
                plan.act(patch(&member.pod, "status", body, Risk::RemovePod));
            }
            Way::Wait => {}
        }
    }
    drains.tell(plan);
}

fn delete_one(view: &View<'_>, member: &Member, plan: &mut Plan) {
    let delete = Action::Delete {
        target: Target::at(&*member.pod),
        grace_seconds: None,
        propagation: None,
        risk: Risk::RemovePod,
    };
    let message = format!("succeed to delete pod {}", member.name());
    plan.act_noting(delete, Note::new(Severity::Normal, "SuccessfulDelete", message));
    let id = podfact::instance_id(&member.pod.metadata.labels);
    let is_its =
        |c: &&Arc<PersistentVolumeClaim>| id.is_some() && podfact::instance_id(&c.metadata.labels) == id;
    for claim in view.claims.iter().filter(is_its) {
        plan.act(Action::Delete {
            target: Target::of(&**claim),
            grace_seconds: None,
            propagation: None,
            risk: Risk::Destroy,
        });
    }
}
