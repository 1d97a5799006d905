//! Carries on what was begun: gates, hooks and grace periods of every pod that no other step touches now.

use std::collections::BTreeSet;

use api_workload::{LifecycleHook, names};
use reconcile::{Action, Plan, Risk};
use serde_json::Value;
use workload_kit::gate;
use workload_kit::inplace::{self, Progress};
use workload_kit::lifecycle::{self, State};
use workload_kit::revision;

use super::announce;
use super::drain::{Drains, Way};
use super::update::{patch, settle};
use super::view::{Member, View};

/// Whether the update step has had its say in this look.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Decided {
    /// It has: what it left out does not go on.
    Yes,
    /// It has not, because scaling came first: leave what was begun.
    NotYet,
}

/// Carries on with all members but those in `touched`.
pub(super) fn steps(view: &View<'_>, touched: &BTreeSet<String>, decided: Decided) -> Plan {
    let mut plan = Plan::new();
    let mut drains = Drains::default();
    let (mut status, mut main) = (Vec::new(), Vec::new());
    for member in view.members.iter().filter(|m| !touched.contains(m.name())) {
        match next(view, member, decided, &mut drains, &mut plan) {
            Some(Action::Patch { subresource: "status", target, form, body, risk }) => {
                status.push(Action::Patch { subresource: "status", target, form, body, risk });
            }
            Some(action) => main.push(action),
            None => {}
        }
    }
    // Of one sort together: the executor sends neighbours at once.
    status.into_iter().chain(main).for_each(|action| plan.act(action));
    drains.tell(&mut plan);
    plan
}

fn next(
    view: &View<'_>,
    member: &Member,
    decided: Decided,
    drains: &mut Drains,
    plan: &mut Plan,
) -> Option<Action> {
    let pod = &member.pod;
    if is_at_rest(member) {
        return None;
    }
    match inplace::progress(pod) {
        Progress::Grace(pending) if !revision::is_at(pod, &pending.revision) => {
            Some(patch(pod, "", inplace::drop_grace(pod), Risk::None))
        }
        Progress::Grace(pending) => match inplace::due(pod, &pending) {
            Some(due) if due > view.now => {
                plan.wake_at(due);
                None
            }
            _ => change(view, member, drains, inplace::finish_grace(pod, &pending, view.now)),
        },
        Progress::Running(_) => None,
        Progress::NextBatch(record) => {
            change(view, member, drains, inplace::next_batch(pod, &record, view.now))
        }
        Progress::Idle => {
            let is_begun = gate::is_closed_to_update(pod) || announce::is_begun(pod);
            if is_begun && !member.is_new && decided == Decided::NotYet {
                return None;
            }
            let over = || announce::end(pod).map(|body| patch(pod, "", body, Risk::None));
            open_gates(view, member).or_else(|| move_on(view, member)).or_else(over)
        }
    }
}

/// Changes further containers of a pod that is out of traffic since its first ones; should anybody have sent it traffic
/// since, that ends first.
fn change(view: &View<'_>, member: &Member, drains: &mut Drains, body: Value) -> Option<Action> {
    let pod = &member.pod;
    match drains.way(member) {
        Way::Free => Some(patch(pod, "", body, Risk::Restart)),
        Way::Close => Some(patch(pod, "status", gate::close(pod, gate::STARTED, view.now), Risk::Restart)),
        Way::Wait => None,
    }
}

/// Whether nothing is under way with a pod; spares most pods of a large set the reading of their records.
fn is_at_rest(member: &Member) -> bool {
    let pod = &member.pod;
    let shared = gate::is_listed(pod, names::KRUISE_READY) && pod.condition(names::KRUISE_READY).is_none();
    let is_told = announce::end(pod).is_some();
    member.state.is_settled() && !needs_opening(member) && !shared && !inplace::has_pending(pod) && !is_told
}

/// Whether the gate is to be opened: not while somebody else wants the pod out of service, and not to forget that the pod
/// refused a revision it still is not at.
fn needs_opening(member: &Member) -> bool {
    let keeps_refusal = gate::refused(&member.pod).is_some() && !member.is_new;
    gate::needs_opening(&member.pod) && !member.is_requested && !keeps_refusal
}

/// Opens the gates that nothing holds closed.
fn open_gates(view: &View<'_>, member: &Member) -> Option<Action> {
    let pod = &member.pod;
    let shared = gate::first_shared(pod, view.now);
    let own = needs_opening(member).then(|| gate::open(pod, view.now));
    let body = match (own, shared) {
        (Some(mut own), Some(mut shared)) => {
            if let (Some(a), Some(b)) =
                (own["status"]["conditions"].as_array_mut(), shared["status"]["conditions"].as_array_mut())
            {
                a.append(b);
            }
            own
        }
        (own, shared) => own.or(shared)?,
    };
    Some(patch(pod, "status", body, Risk::None))
}

/// The next state of a pod whose containers are as they should be.
fn move_on(view: &View<'_>, member: &Member) -> Option<Action> {
    let pod = &member.pod;
    let hooks = &view.spec.lifecycle;
    let hook = hooks.in_place_update.as_ref();
    let after_update = |hook: Option<&LifecycleHook>| match hook {
        Some(hook) if !lifecycle::is_all_hooked(Some(hook), pod) => State::Updated,
        _ => State::Normal,
    };
    let state = match member.state {
        State::PreparingNormal => {
            let pre_normal = hooks.pre_normal.as_ref();
            let is_scheduled = !pod.spec.node_name.is_empty();
            let may = pre_normal.map_or(is_scheduled, |h| lifecycle::is_all_hooked(Some(h), pod));
            may.then_some(State::Normal)?
        }
        State::PreparingUpdate if member.is_new => after_update(hook),
        State::Updating => after_update(hook),
        State::Updated => Some(after_update(hook)).filter(|s| *s == State::Normal)?,
        _ => return None,
    };
    Some(settle(view, pod, &state))
}
