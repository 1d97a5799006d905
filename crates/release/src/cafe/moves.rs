//! Quota that moves away from cells without room.
//!
//! A move is written into status together with the groups that follow from it, so that it is seen and survives. It lasts
//! until replicas or topology change; then the shares of the spec count again.

use std::time::Duration;

use api_workload::{GroupCell, MovedQuota};
use stdx::Time;

use super::release;
use super::view::{Cell, Member, View};

/// The moves in force: those of before while the shares are the same, and those that begin now.
pub(super) fn of(view: &View<'_>) -> Vec<MovedQuota> {
    let before = view.status().release.as_ref().is_some_and(|r| release::is_of_shares(&r.what, &view.base));
    let mut moved = if before { view.status().moved.clone() } else { Vec::new() };
    if view.spec.topology.auto_reschedule.enable {
        begin(view, &mut moved);
    }
    moved
}

fn begin(view: &View<'_>, moved: &mut Vec<MovedQuota>) {
    let targets = |moved: &[MovedQuota]| -> Vec<GroupCell> {
        let base = |c: &GroupCell| GroupCell { name: c.name.clone(), pods: c.pods + shift(moved, &c.name) };
        view.base.iter().map(base).collect()
    };
    for giver in &view.cells {
        for _ in 0..overflow(view, giver, moved) {
            let now = targets(moved);
            let taker = now.iter().filter(|c| c.name != giver.name && has_room(view, &c.name, moved));
            let Some(taker) = taker.min_by_key(|c| c.pods).map(|c| c.name.clone()) else { return };
            let same = moved.iter_mut().find(|m| m.from == giver.name && m.to == taker);
            match same {
                Some(one) => one.pods += 1,
                None => moved.push(MovedQuota {
                    from: giver.name.clone(),
                    to: taker,
                    pods: 1,
                    since: Some(view.now.whole_secs()),
                }),
            }
        }
    }
}

/// Pods of the cell that have waited for room for too long, beyond those that are too many anyhow.
fn overflow(view: &View<'_>, cell: &Cell<'_>, moved: &[MovedQuota]) -> i32 {
    let Some(base) = view.base.iter().find(|b| b.name == cell.name) else { return 0 };
    let target = base.pods + shift(moved, &cell.name);
    let waited = cell.members.iter().filter(|m| due_at(view, m).is_some_and(|at| at <= view.now)).count();
    let surplus = (cell.count.current - target).max(0);
    (i32::try_from(waited).unwrap_or(i32::MAX) - surplus).clamp(0, target.max(0))
}

/// When the quota of a pod without room moves.
pub(super) fn due_at(view: &View<'_>, member: &Member) -> Option<Time> {
    let delay = view.spec.topology.auto_reschedule.initial_delay_seconds;
    Some(member.unplaced_since? + Duration::from_secs(u64::try_from(delay).unwrap_or(0)))
}

/// A cell has room when it is not lost, none of its own pods waits for room, and none of its quota has moved away.
fn has_room(view: &View<'_>, name: &str, moved: &[MovedQuota]) -> bool {
    let Some(cell) = view.cell(name) else { return false };
    let waits = cell.members.iter().any(|m| m.unplaced_since.is_some());
    !cell.is_lost && !waits && !moved.iter().any(|m| m.from == name)
}

fn shift(moved: &[MovedQuota], cell: &str) -> i32 {
    let gained = moved.iter().filter(|m| m.to == cell).map(|m| m.pods).sum::<i32>();
    gained - moved.iter().filter(|m| m.from == cell).map(|m| m.pods).sum::<i32>()
}

/// Moves the targets.
pub(super) fn apply(moved: &[MovedQuota], cells: &mut [Cell<'_>]) {
    for cell in cells {
        cell.target = (cell.target + shift(moved, &cell.name)).max(0);
    }
}
