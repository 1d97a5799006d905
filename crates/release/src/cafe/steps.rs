//! What each pod set is told: how many pods, how many of them at the old revision.
//!
//! Pods of a group are made first where the cell has too few, then changed. Neither takes a cell below its minimum: a pod
//! that is available is given up only while more than the minimum are, a broken one may be changed at any time, and one
//! whose node is away is left alone: it may serve again as soon as the node is back.
//! Pods that are too many go when the cell, and all cells that are not lost together, keep what they should without them.

use reconcile::Action;

use super::podset::{PodSet, Wanted};
use super::release::Release;
use super::view::{Cell, View};

/// The writes that bring all pod sets to where the started groups want them.
pub(super) fn of(view: &View<'_>, release: &Release) -> Vec<Action> {
    let mut spare = Spare::of(view, release);
    let mut actions = Vec::new();
    for cell in &view.cells {
        match view.is_replicaset() {
            true => exchange(view, release, cell, &mut spare, &mut actions),
            false => actions.extend(in_place(view, release, cell, &mut spare)),
        }
    }
    actions
}

/// Available pods that all cells together can do without.
struct Spare(i32);

impl Spare {
    /// Lost cells are left out on both sides: they neither give nor demand.
    fn of(view: &View<'_>, release: &Release) -> Spare {
        let (mut available, mut total, mut kept, mut lost) = (0, 0, 0, 0);
        for cell in &view.cells {
            if cell.is_lost {
                lost += cell.target;
                continue;
            }
            let own = cell.kept() - exchanged(view, release, cell);
            available += cell.serving().min(own);
            total += release.total(cell, view);
            kept += own;
        }
        Spare((available - total.max(kept.min(view.spec.replicas - lost))).max(0))
    }

    /// How many of `wish` pods may go from a cell that should keep `keep`: those that do not serve, and as many others as
    /// can be done without.
    fn removable(&mut self, cell: &Cell<'_>, wish: i32, keep: i32) -> i32 {
        let free = wish.min(cell.count.unavailable() + cell.missing());
        let paid = (wish - free).min(cell.serving() - keep).min(self.0).max(0);
        self.0 -= paid;
        free + paid
    }
}

/// Old pods of a cell that new ones have been made for, beside them.
fn exchanged(view: &View<'_>, release: &Release, cell: &Cell<'_>) -> i32 {
    if !view.is_replicaset() {
        return 0;
    }
    let committed = cell.committed(view);
    (cell.kept() - committed - release.old_left(cell, view)).clamp(0, committed)
}

/// The write for a cell whose one set changes its pods where they are.
fn in_place(view: &View<'_>, release: &Release, cell: &Cell<'_>, spare: &mut Spare) -> Option<Action> {
    let maker = view.maker();
    let set = cell.sets.first().copied();
    let (kept, total) = (cell.kept(), release.total(cell, view));
    let shrunk = match kept > cell.target {
        true => kept - spare.removable(cell, kept - total, total),
        false => kept,
    };
    let is_left = !view.base.iter().any(|b| b.name == cell.name);
    if is_left || !release.has_begun() {
        return shrink_only(view, cell, set?, shrunk);
    }
    let frozen = release.is_frozen(view) || cell.is_lost;
    let grown = if frozen { 0 } else { (total - kept).max(0) };
    let replicas = if grown > 0 { kept + grown } else { shrunk };
    let committed = commit(view, release, cell, frozen, grown).min(replicas);
    let wanted = Wanted {
        replicas,
        partition: replicas - committed,
        template: maker.template(&view.spec.template, &cell.name, view.update_name()),
        min_ready_seconds: view.spec.strategy.min_ready_seconds,
    };
    match set {
        Some(set) if set.is_terminating => None,
        Some(set) => maker.change(set, &wanted),
        None if view.seen.foreign.contains(&maker.name(&cell.name, view.update_name())) => None,
        None => Some(maker.create(&cell.name, view.update_name(), &wanted)),
    }
}

/// How many pods of the cell the set may bring to the update revision.
fn commit(view: &View<'_>, release: &Release, cell: &Cell<'_>, frozen: bool, grown: i32) -> i32 {
    let count = &cell.count;
    let committed = cell.committed(view);
    let spare = (cell.serving() - release.minimum(cell, view)).max(0);
    let allowed = count.updated + count.old_broken + cell.missing() + spare.min(count.old_available);
    if frozen {
        return committed.min(allowed.max(count.updated));
    }
    release.goal(cell).min(allowed + grown)
}

fn shrink_only(view: &View<'_>, cell: &Cell<'_>, set: &PodSet, replicas: i32) -> Option<Action> {
    let maker = view.maker();
    if set.is_terminating {
        return None;
    }
    let is_left = !view.base.iter().any(|b| b.name == cell.name);
    if is_left && is_empty(cell, set) {
        return Some(maker.delete(set));
    }
    let wanted = Wanted {
        replicas,
        partition: set.partition.min(replicas),
        template: set.template.clone(),
        min_ready_seconds: set.min_ready_seconds,
    };
    maker.change(set, &wanted)
}

fn is_empty(cell: &Cell<'_>, set: &PodSet) -> bool {
    let owned =
        |m: &super::view::Member| m.pod.metadata.controller().is_some_and(|o| o.uid == set.target.uid);
    set.replicas == 0 && set.counted == Some(0) && !cell.members.iter().any(owned)
}

/// The writes for a cell that has one ReplicaSet for each revision: the new one grows, then the old ones shrink by as
/// many as are in service, or find no room beside the old ones.
fn exchange(
    view: &View<'_>,
    release: &Release,
    cell: &Cell<'_>,
    spare: &mut Spare,
    actions: &mut Vec<Action>,
) {
    let maker = view.maker();
    let newest = cell.sets.iter().copied().find(|s| s.revision == view.update_name());
    let old: Vec<&PodSet> = cell.sets.iter().copied().filter(|s| s.revision != view.update_name()).collect();
    let frozen = release.is_frozen(view) || cell.is_lost;
    let is_left = !view.base.iter().any(|b| b.name == cell.name);
    let (committed, goal) = (cell.committed(view), release.goal(cell));
    let total = release.total(cell, view);
    let taken = match frozen && !is_left {
        true => vec![0; old.len()],
        false => removable_old(view, release, cell, spare, &old),
    };
    if release.has_begun() && !is_left {
        let replicas = match goal < committed {
            true => committed - spare.removable(cell, committed - goal, total),
            false if frozen => committed,
            false => goal,
        };
        let wanted = Wanted {
            replicas,
            partition: 0,
            template: maker.template(&view.spec.template, &cell.name, view.update_name()),
            min_ready_seconds: view.spec.strategy.min_ready_seconds,
        };
        actions.extend(match newest {
            Some(set) if set.is_terminating => None,
            Some(set) => maker.change(set, &wanted),
            None => Some(maker.create(&cell.name, view.update_name(), &wanted)),
        });
    } else if let Some(set) = newest {
        let surplus = (committed - cell.target).max(0);
        let replicas = committed - if surplus > 0 { spare.removable(cell, surplus, total) } else { 0 };
        actions.extend(shrink_only(view, cell, set, replicas));
    }
    for (set, taken) in old.into_iter().zip(taken).filter(|(s, _)| !s.is_terminating) {
        actions.extend(match is_empty(cell, set) {
            true => Some(maker.delete(set)),
            false => shrink_only(view, cell, set, set.replicas - taken),
        });
    }
}

/// How many pods may go from each of the old sets. Those that do not serve go first; of the others those that new ones
/// have been made for go when these serve, the rest when all cells together can do without them. New pods that no node has
/// room for stand in for those that serve, down to the minimum.
fn removable_old(
    view: &View<'_>,
    release: &Release,
    cell: &Cell<'_>,
    spare: &mut Spare,
    old: &[&PodSet],
) -> Vec<i32> {
    let kept: i32 = old.iter().map(|s| s.replicas).sum();
    let mut wish = (kept - release.old_left(cell, view)).max(0);
    let exchanged = exchanged(view, release, cell);
    let mut taken: Vec<i32> = Vec::with_capacity(old.len());
    for set in old {
        let idle = set.replicas - cell.count_of(set).available;
        taken.push(idle.clamp(0, wish));
        wish -= taken[taken.len() - 1];
    }
    let above = (cell.serving() - release.total(cell, view)).max(0);
    let backed = wish.min(exchanged).min(above);
    let paid = (wish - backed).min(above - backed).min(spare.0).max(0);
    spare.0 -= paid;
    let over_minimum = cell.serving() - backed - paid - release.minimum(cell, view);
    let for_room = (wish - backed - paid).min(cell.count.unplaced).min(over_minimum).max(0);
    let mut serving = backed + paid + for_room;
    // The oldest goes first.
    for (set, taken) in old.iter().zip(&mut taken).rev() {
        let more = serving.clamp(0, set.replicas - *taken);
        *taken += more;
        serving -= more;
    }
    taken
}
