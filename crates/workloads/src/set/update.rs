//! Brings pods to the wanted revision: which ones, and the next step of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_core::{ControllerRevision, Pod};
use api_workload::{PodUpdatePolicy, UpdateType, names};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::json;
use workload_kit::gate::{self, Hold};
use workload_kit::inplace::{self, Change, Start};
use workload_kit::lifecycle::{self, State};
use workload_kit::{order, revision};

use super::announce;
use super::drain::{Drains, Way};
use super::scale::set_state;
use super::view::{Member, View, listed, pods, why};

/// Name of the hold that the inPlaceUpdate hook has on the shared gate.
pub(super) const PRE_UPDATE: &str = "preUpdateHook";

/// What changes, by the revision that pods come from; nothing when that cannot be done in place.
type Changes<'a> = BTreeMap<&'a str, Option<Change>>;

/// What the update does now.
#[derive(Default)]
pub(super) struct Update {
    /// Actions and notes.
    pub plan: Plan,
    /// Pods whose update goes on, by name: nobody else touches them.
    pub chosen: BTreeSet<String>,
    /// Pods that cannot be updated as asked.
    pub impossible: Vec<String>,
}

/// Begins or continues the update of as many pods as the budget allows.
/// Members in `leaving` are left alone.
pub(super) fn steps(view: &View<'_>, leaving: &BTreeSet<String>) -> Update {
    let mut update = Update::default();
    let diffs = view.diffs();
    let old = view.members.iter().filter(|m| !m.is_new).count();
    if !view.updates_by_itself() {
        if old > 0 {
            update.plan.note(why("UpdateHeld", reason_to_stand_still(view, old)));
        }
        return update;
    }
    if diffs.update == 0 {
        if old > 0 && view.limits.partition > 0 {
            let message = format!(
                "held: partition keeps {} of {} pods at the revision before {}",
                view.limits.partition,
                view.limits.replicas,
                view.update_name()
            );
            update.plan.note(why("Partition", message));
        }
        return update;
    }
    let target = if diffs.update > 0 { &view.history.update } else { &view.history.current };
    let waiting = in_order(view, diffs.update > 0, leaving);
    if call_back(view, &waiting, target, &mut update) {
        return update;
    }
    requested(view, diffs.update > 0, &mut update.plan);
    let count = usize::try_from(diffs.update.unsigned_abs()).unwrap_or(usize::MAX);
    let allowed = within_budget(view, &waiting, count, diffs.update_unavailable, target, &mut update.plan);
    let mut changes = Changes::new();
    let mut drains = Drains::default();
    for member in allowed.into_iter().filter(|m| !leaving.contains(m.name())) {
        update.chosen.insert(member.name().to_owned());
        let change =
            changes.entry(revision::label(&member.pod)).or_insert_with(|| change_of(view, member, target));
        update_one(view, member, target, change.as_ref(), &mut drains, &mut update);
    }
    drains.tell(&mut update.plan);
    update
}

/// Tells which pods are not updated now because an operation of somebody else takes them out of service.
fn requested(view: &View<'_>, forward: bool, plan: &mut Plan) {
    let all = view.members.iter().filter(|m| m.is_requested && m.is_new != forward);
    let names: Vec<&str> = all.map(Member::name).collect();
    if !names.is_empty() {
        let message =
            format!("held: not updated while an operation wants them out of service: {}", listed(&names));
        plan.note(why("OperationFirst", message));
    }
}

/// Gives pods back to service whose traffic did not end in time, where their owner wants the release to go back: no pod
/// goes to this target any more. True when there is such a pod.
fn call_back(view: &View<'_>, waiting: &[&Member], target: &ControllerRevision, update: &mut Update) -> bool {
    let name = &target.metadata.name;
    let given_back = waiting.iter().filter(|m| m.goes_back() && gate::is_closed_to_update(&m.pod));
    for member in given_back {
        update.chosen.insert(member.name().to_owned());
        let body = gate::give_back(name, view.now);
        update.plan.act(patch(&member.pod, "status", body, Risk::None));
    }
    !update.chosen.is_empty() || view.members.iter().any(|m| !m.is_new && m.refuses(name))
}

fn reason_to_stand_still(view: &View<'_>, old: usize) -> String {
    match view.spec.update_strategy.r#type {
        UpdateType::OnDelete => {
            format!(
                "held: {old} pods are updated when somebody deletes them (updateStrategy.type is OnDelete)"
            )
        }
        UpdateType::RollingUpdate => {
            format!("held: {} to be updated, because updateStrategy.rollingUpdate.paused is true", pods(old))
        }
    }
}

/// The members to update, in the order the set asks for; those already begun first. A member in `leaving` is there only if
/// it is marked: then its replacement is one of those to be updated.
fn in_order<'m>(view: &'m View<'_>, forward: bool, leaving: &BTreeSet<String>) -> Vec<&'m Member> {
    let is_waiting = |m: &&Member| {
        m.is_new != forward
            && m.state != State::PreparingDelete
            && !m.is_requested
            && (m.is_marked || !leaving.contains(m.name()))
    };
    let waiting: Vec<&Member> = view.members.iter().filter(is_waiting).collect();
    let mut sorted: Vec<Arc<Pod>> = waiting.iter().map(|m| m.pod.clone()).collect();
    sorted.sort_by_cached_key(|p| order::Worth::plain(p));
    let rolling = &view.spec.update_strategy.rolling_update;
    order::by_priority(&mut sorted, &rolling.priority_strategy);
    let all: Vec<Arc<Pod>> = view.members.iter().map(|m| m.pod.clone()).collect();
    let sorted = order::scatter(sorted, &all, &rolling.scatter_strategy);
    let rank: BTreeMap<&str, usize> =
        sorted.iter().enumerate().map(|(i, p)| (p.metadata.name.as_str(), i)).collect();
    let mut waiting = waiting;
    waiting.sort_by_key(|m| (!is_begun(m), rank.get(m.name()).copied()));
    waiting
}

/// Whether an update of this pod has begun and waits for its next step.
fn is_begun(member: &Member) -> bool {
    member.state == State::PreparingUpdate
        || gate::is_closed_to_update(&member.pod)
        || announce::is_begun(&member.pod)
        || member.pod.metadata.labels.contains_key(names::SPECIFIED_DELETE_LABEL)
}

/// The first `count` members as far as the budget reaches: neither all unavailable pods nor those at the target may be
/// more than `unavailable_max`, so that a bad image stops there; a pod that is unavailable already costs nothing of the former.
fn within_budget<'m>(
    view: &View<'_>,
    waiting: &[&'m Member],
    count: usize,
    unavailable_max: i32,
    target: &ControllerRevision,
    plan: &mut Plan,
) -> Vec<&'m Member> {
    let limit = usize::try_from(unavailable_max).unwrap_or(0);
    let mut unavailable = view.unavailable_names().len();
    let is_at_target = |m: &&Member| !m.is_available && revision::is_at(&m.pod, &target.metadata.name);
    let at_target = view.members.iter().filter(is_at_target).count();
    let mut allowed: Vec<&Member> = Vec::new();
    for member in waiting.iter().take(count) {
        let free = !member.is_available;
        if at_target + allowed.len() >= limit || (!free && unavailable >= limit) {
            break;
        }
        unavailable += usize::from(!free);
        allowed.push(*member);
    }
    let held = waiting.len().min(count) - allowed.len();
    if held > 0 {
        let begun = allowed.iter().filter(|m| m.is_available).count();
        let told = view.budget_told(unavailable_max, begun);
        let message =
            format!("held: {} to be updated to {}, because {told}", pods(held), target.metadata.name);
        plan.note(why("UpdateHeld", message));
    }
    allowed
}

fn update_one(
    view: &View<'_>,
    member: &Member,
    target: &ControllerRevision,
    change: Option<&Change>,
    drains: &mut Drains,
    update: &mut Update,
) {
    let policy = view.spec.update_strategy.rolling_update.pod_update_policy;
    if let Some(change) = change {
        return in_place(view, member, target, change, drains, &mut update.plan);
    }
    if policy == PodUpdatePolicy::InPlaceOnly {
        update.impossible.push(member.name().to_owned());
        update.chosen.remove(member.name());
        return;
    }
    recreate(member, target, &mut update.plan);
}

/// What changes when the member goes from its revision to the target; nothing when that cannot or must not be done in
/// place, or when its revision is no longer known.
fn change_of(view: &View<'_>, member: &Member, target: &ControllerRevision) -> Option<Change> {
    if view.spec.update_strategy.rolling_update.pod_update_policy == PodUpdatePolicy::ReCreate {
        return None;
    }
    let old = view.seen.revisions.iter().find(|r| revision::is_at(&member.pod, &r.metadata.name))?;
    inplace::change(&revision::template(old)?, &revision::template(target)?)
}

fn in_place(
    view: &View<'_>,
    member: &Member,
    target: &ControllerRevision,
    change: &Change,
    drains: &mut Drains,
    plan: &mut Plan,
) {
    let restarts = !change.images.is_empty();
    let is_gated = gate::is_listed(&member.pod, names::INPLACE_READY);
    if is_asked_first(view, member, plan)
        || (restarts && is_gated && is_drained_first(view, member, drains, plan))
    {
        return;
    }
    let pod = &member.pod;
    // Where no hook waits for it, and the gate says it, the state says nothing new.
    let is_hookless = view.spec.lifecycle.in_place_update.is_none();
    let stays = is_hookless && member.state.is_settled() && (is_gated || !restarts);
    let mut body = inplace::start(&Start {
        pod,
        revision: &target.metadata.name,
        change,
        grace_seconds: view.spec.update_strategy.rolling_update.in_place_update_strategy.grace_period_seconds,
        state: (!stays).then_some(State::Updating),
        now: view.now,
    });
    if restarts && is_gated {
        announce::operate(pod, &mut body, view.now);
    }
    let risk = if restarts { Risk::Restart } else { Risk::None };
    let message =
        format!("successfully update pod {} in-place(revision {})", member.name(), target.metadata.name);
    plan.act_noting(
        patch(pod, "", body, risk),
        Note::new(Severity::Normal, "SuccessfulUpdatePodInPlace", message),
    );
}

/// Whether the owner of the hook has his say now; asks him.
fn is_asked_first(view: &View<'_>, member: &Member, plan: &mut Plan) -> bool {
    let hook = view.spec.lifecycle.in_place_update.as_ref();
    let is_hooked = lifecycle::is_hooked(hook, &member.pod);
    match (&member.state, hook) {
        (State::PreparingUpdate, _) if is_hooked => {
            let message = format!("held: {} waits for its inPlaceUpdate hook to be taken off", member.name());
            plan.note(why("InPlaceUpdateHook", message));
        }
        (State::Unset | State::PreparingNormal | State::Normal, _) if is_hooked => {
            prepare(view, member, lifecycle::state_patch(&State::PreparingUpdate, view.now), plan);
        }
        (State::Updated, Some(hook)) => {
            let body = lifecycle::state_patch_with_hook(&State::PreparingUpdate, hook, view.now);
            prepare(view, member, body, plan);
        }
        _ => return false,
    }
    true
}

/// Whether the pod is still to leave traffic; takes it out.
fn is_drained_first(view: &View<'_>, member: &Member, drains: &mut Drains, plan: &mut Plan) -> bool {
    let pod = &member.pod;
    let way = if gate::is_closed_to_update(pod) { drains.way(member) } else { Way::Close };
    if way == Way::Close {
        plan.act(match announce::begin(pod, view.now) {
            Some(body) => patch(pod, "", body, Risk::None),
            None => patch(pod, "status", gate::close(pod, gate::STARTED, view.now), Risk::Restart),
        });
    }
    way != Way::Free
}

/// Asks the owner of the hook: unready first when the hook says so, then the state.
fn prepare(view: &View<'_>, member: &Member, body: serde_json::Value, plan: &mut Plan) {
    let mark = view.spec.lifecycle.in_place_update.as_ref().is_some_and(|h| h.mark_pod_not_ready);
    let hold = gate::hold(&member.pod, &Hold::hook(PRE_UPDATE), true, view.now).filter(|_| mark);
    match hold {
        Some(hold) => plan.act(patch(&member.pod, "status", hold, Risk::Restart)),
        None => plan.act(patch(&member.pod, "", body, Risk::None)),
    }
}

/// Marks the pod for deletion; scaling replaces it within the same budgets as any other marked pod.
fn recreate(member: &Member, target: &ControllerRevision, plan: &mut Plan) {
    if member.pod.metadata.labels.contains_key(names::SPECIFIED_DELETE_LABEL) {
        return;
    }
    let body = json!({"metadata": {"labels": {names::SPECIFIED_DELETE_LABEL: "true"}}});
    let message = format!(
        "successfully patch pod {} specified-delete for update(revision {})",
        member.name(),
        target.metadata.name
    );
    let note = Note::new(Severity::Normal, "SuccessfulUpdatePodReCreate", message);
    plan.act_noting(patch(&member.pod, "", body, Risk::None), note);
}

/// A strategic patch of a pod in exactly the version seen.
pub(super) fn patch(pod: &Pod, subresource: &'static str, body: serde_json::Value, risk: Risk) -> Action {
    Action::Patch { target: Target::at(pod), subresource, form: Form::Strategic, body, risk }
}

/// Takes the marks of a state into account that only [`set_state`] may change.
pub(super) fn settle(view: &View<'_>, pod: &Arc<Pod>, state: &State) -> Action {
    let hold = gate::hold(pod, &Hold::hook(PRE_UPDATE), false, view.now);
    match hold {
        Some(hold) => patch(pod, "status", hold, Risk::None),
        None => set_state(pod, state, view),
    }
}
