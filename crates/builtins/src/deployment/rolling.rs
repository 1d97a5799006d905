//! The rolling update: up with the new set within the surge, down with the old ones within what may be unavailable.

use reconcile::Plan;
use stdx::Time;

use crate::deployment::Observed;
use crate::deployment::plan::{News, create_newest};
use crate::deployment::sets::Sets;

/// One step: create the new set, or scale it, or scale the old ones; never both ways in one plan.
pub(crate) fn steps(sets: &mut Sets<'_>, seen: &Observed, plan: &mut Plan, now: Time) -> News {
    if sets.newest.is_none() {
        return create_newest(sets, seen, plan, now);
    }
    scale_newest(sets);
    if sets.all().all(|m| m.size == m.size_now()) {
        scale_old(sets);
    }
    sets.scale(plan);
    None
}

/// Up as far as the surge allows; down when fewer are wanted.
pub(crate) fn scale_newest(sets: &mut Sets<'_>) {
    let size = sets.newest_size();
    let wanted = sets.wanted;
    if let Some(newest) = &mut sets.newest {
        newest.size = if newest.size > wanted { wanted } else { size };
    }
}

/// Down with old sets: first their unhealthy pods, whose loss costs nothing, then as many as others can stand in for.
fn scale_old(sets: &mut Sets<'_>) {
    let floor = sets.budget.available_min(sets.wanted);
    let not_yet = sets.newest.as_ref().map_or(0, |m| m.size - m.standing());
    let removable = sets.total() - floor - not_yet;
    if removable <= 0 {
        return;
    }
    let mut left = removable;
    for member in &mut sets.old {
        let unhealthy = (member.size - member.standing()).clamp(0, left);
        member.size -= unhealthy;
        left -= unhealthy;
    }
    // A set that was made smaller may still report pods that are about to go: they cannot stand in for others. Upstream
    // counts them, and does not count both kinds of removal together; with a lagging report it goes below the floor.
    let standing: i32 = sets.all().map(|m| m.size.min(m.standing())).sum();
    let mut left = left.min(standing - floor);
    for member in &mut sets.old {
        let removed = member.size.min(left).max(0);
        member.size -= removed;
        left -= removed;
    }
}
