//! A change of size in the middle of a roll-out, or while it is paused: every active set gets its share.

use std::cmp::Reverse;

use reconcile::Plan;

use crate::deployment::annotations::{self, DESIRED, MAX};
use crate::deployment::plan::is_recreating;
use crate::deployment::sets::{Member, Sets};

/// Scales as kube-controller-manager does: one active set takes it all; a finished roll-out drops the old sets; in between
/// the difference is shared by size.
pub(crate) fn steps(sets: &mut Sets<'_>, plan: &mut Plan) {
    let wanted = sets.wanted;
    if let Some(only) = only_active_or_latest(sets) {
        if only.size == wanted {
            return sets.remember_sizes(plan);
        }
        only.size = wanted;
    } else if is_saturated(sets) {
        sets.old.iter_mut().for_each(|m| m.size = 0);
    } else if !is_recreating(sets.deployment) {
        share(sets);
    }
    sets.scale(plan);
    sets.remember_sizes(plan);
}

/// The only set with pods; with none, the newest, else the latest. Nothing when several have pods.
fn only_active_or_latest<'s>(sets: &'s mut Sets<'_>) -> Option<&'s mut Member> {
    let active = sets.all().filter(|m| m.size > 0).count();
    let members = sets.newest.iter_mut().chain(sets.old.iter_mut().rev());
    match active {
        0 => members.into_iter().next(),
        1 => members.into_iter().find(|m| m.size > 0),
        _ => None,
    }
}

fn is_saturated(sets: &Sets<'_>) -> bool {
    sets.newest.as_ref().is_some_and(|newest| {
        annotations::number(&newest.set, DESIRED) == Some(i64::from(sets.wanted))
            && newest.size == sets.wanted
            && newest.available() == sets.wanted
    })
}

/// Shares the difference between what may be and what is among the active sets, in proportion; the largest set takes the
/// rest, the newer one of equals when it grows, the older one when it shrinks.
fn share(sets: &mut Sets<'_>) {
    let allowed = if sets.wanted > 0 { sets.budget.total_max(sets.wanted) } else { 0 };
    let (wanted, surge, known) = (sets.wanted, sets.budget.surge, sets.deployment.status.replicas);
    let mut active: Vec<&mut Member> =
        sets.newest.iter_mut().chain(sets.old.iter_mut()).filter(|m| m.size > 0).collect();
    let to_add = allowed - active.iter().map(|m| m.size).sum::<i32>();
    if to_add == 0 {
        return;
    }
    active.sort_by_cached_key(|m| (Reverse(m.size), m.age_order()));
    if to_add > 0 {
        active.sort_by_cached_key(|m| (Reverse(m.size), Reverse(m.age_order())));
    }
    let mut added = 0;
    for member in &mut active {
        let fraction = fraction(member, wanted, surge, known);
        let rest = to_add - added;
        let part = if to_add > 0 { fraction.min(rest) } else { fraction.max(rest) };
        member.size += part;
        added += part;
    }
    if let Some(first) = active.first_mut() {
        first.size += to_add - added;
    }
    active.iter_mut().for_each(|m| m.size = m.size.max(0));
}

/// By how much a set changes when the whole goes from the size it was scaled by to the wanted one.
fn fraction(member: &Member, wanted: i32, surge: i32, known: i32) -> i32 {
    if wanted == 0 {
        return -member.size;
    }
    let before = annotations::number(&member.set, MAX).filter(|n| *n != 0).unwrap_or(i64::from(known));
    if before == 0 {
        return 0;
    }
    let scaled = f64::from(member.size) * f64::from(wanted + surge) / before as f64;
    scaled.round() as i32 - member.size
}
