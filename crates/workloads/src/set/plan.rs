//! The decision about one set at one moment.

use reconcile::{Action, Plan};
use stdx::Time;

use super::history::WriteFirst;
use super::refresh::Decided;
use super::scale::Scale;
use super::update::Update;
use super::view::View;
use super::{Observed, claim, history, refresh, scale, status, tidy, update};

/// Decides. Pure: same input, same plan.
pub fn plan(seen: &Observed, now: Time) -> Plan {
    let spec = match &seen.spec {
        Ok(spec) => spec,
        Err(causes) => return status::invalid(seen, causes, now),
    };
    let history = match history::resolve(seen, spec) {
        Ok(history) => history,
        Err(first) => return revision_first(seen, *first),
    };
    let view = View::new(seen, spec, history, now);
    if seen.set.metadata.is_terminating() {
        return status::steps(&view, &[]);
    }
    let (scale, update, decided) = act(&view);
    let mut plan = status::steps(&view, &update.impossible);
    let is_status_written = !plan.is_quiet();
    plan.extend(claim::steps(&view));
    let mut touched = update.chosen;
    touched.extend(scale.leaving);
    for action in scale.plan.actions.iter().chain(&update.plan.actions) {
        touched.insert(action.key().name);
    }
    let creates = scale.plan.actions.iter().any(|a| matches!(a, Action::Create { .. }));
    if creates && !is_status_written {
        // Creation has no fence of its own: it is for the set as seen, or not at all.
        plan.act(Action::Require { target: seen.set.target() });
    }
    plan.extend(scale.plan);
    plan.extend(update.plan);
    plan.extend(refresh::steps(&view, &touched, decided));
    if !is_status_written {
        // Both are fenced by the version of the set: one after the other.
        plan.extend(tidy::steps(&view));
    }
    harmless_first(plan)
}

/// The same plan with what endangers nobody first: the executor stops at the first action that is refused or held, and a
/// restart that has to wait must not keep a pod that is done from going back into service.
fn harmless_first(plan: Plan) -> Plan {
    let mut order: Vec<usize> = (0..plan.actions.len()).collect();
    order.sort_by_key(|i| {
        let action = &plan.actions[*i];
        // Creation keeps its place after its fence.
        let creates = matches!(action, Action::Create { .. } | Action::Require { .. });
        (action.risk(), creates)
    });
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
    let after = plan.after.into_iter().map(|(note, action)| (note, place[action])).collect();
    let mut actions: Vec<Option<Action>> = plan.actions.into_iter().map(Some).collect();
    let actions = order.iter().filter_map(|i| actions[*i].take()).collect();
    Plan { actions, after, notes: plan.notes, wake: plan.wake }
}

/// Scales; updates only when there was nothing to scale.
fn act(view: &View<'_>) -> (Scale, Update, Decided) {
    let scale = scale::steps(view);
    if scale.plan.is_quiet() {
        let update = update::steps(view, &scale.leaving);
        return (scale, update, Decided::Yes);
    }
    (scale, Update::default(), Decided::NotYet)
}

/// Writes the revision before anything refers to it; a new collision is remembered with it.
fn revision_first(seen: &Observed, first: WriteFirst) -> Plan {
    let WriteFirst { write, collisions } = first;
    let mut plan = Plan::new();
    plan.act(write);
    if collisions != seen.set.status.collision_count {
        let mut status = seen.set.status.clone();
        status.collision_count = collisions;
        plan.act(Action::status(seen.set.target(), (seen.set.form)(&status)));
    }
    plan
}
