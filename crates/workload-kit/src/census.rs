//! How many: pods counted once by revision and phase, limits resolved once, and the differences that follow.
//!
//! The arithmetic is OpenKruise's (`calculateDiffsWithExpectation`, master), told as three values:
//! [`Limits`] from the spec, [`Census`] from the pods, [`Diffs`] from both. One thing differs: a pod that is marked for
//! deletion and out of service counts against the ready pods that may be deleted; there it counts for nobody, and a
//! release can fall below its budget.

use api_meta::{IntOrPercent, Round};

/// The numbers that a spec's shares stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Pods wanted.
    pub replicas: i32,
    /// Pods kept at the old revision.
    pub partition: i32,
    /// Pods above replicas.
    pub surge: i32,
    /// Pods that may be unavailable while updating or deleting.
    pub unavailable: i32,
    /// Unavailable pods at which creation pauses.
    pub scale_unavailable: i32,
}

impl Limits {
    /// Resolves shares: partition and surge round up, unavailability rounds up without surge and down with it.
    /// `paused` forbids surge.
    pub fn resolve(
        replicas: i32,
        partition: Option<IntOrPercent>,
        surge: Option<IntOrPercent>,
        unavailable: Option<IntOrPercent>,
        scale_unavailable: Option<IntOrPercent>,
        paused: bool,
    ) -> Limits {
        let surge = surge.map_or(0, |s| s.of(replicas, Round::Up)).max(0);
        let surge = if paused { 0 } else { surge };
        let round = if surge == 0 { Round::Up } else { Round::Down };
        let unavailable = unavailable.unwrap_or(IntOrPercent::Percent(20)).of(replicas, round).max(0);
        Limits {
            replicas,
            partition: partition_count(partition, replicas),
            surge,
            unavailable,
            scale_unavailable: scale_unavailable.map_or(i32::MAX, |s| s.of(replicas, Round::Up)).max(0),
        }
    }
}

/// Pods kept at the old revision. A share below 100 % lets at least one of several pods be updated.
pub fn partition_count(partition: Option<IntOrPercent>, replicas: i32) -> i32 {
    let Some(partition) = partition else { return 0 };
    let count = partition.of(replicas, Round::Up);
    let whole = partition == IntOrPercent::Percent(100);
    let share = matches!(partition, IntOrPercent::Percent(_));
    let count = if share && !whole && replicas > 1 && count == replicas { replicas - 1 } else { count };
    count.clamp(0, replicas.max(0))
}

/// Pods of one side: at the update revision, or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// All.
    pub all: i32,
    /// Waiting for their preDelete hook.
    pub pre_deleting: i32,
    /// Marked for deletion, hook not yet awaited.
    pub to_delete: i32,
    /// Of these, unavailable.
    pub to_delete_unavailable: i32,
    /// Neither of both, and unavailable.
    pub unavailable: i32,
}

impl Side {
    fn active(&self) -> i32 {
        self.all - self.pre_deleting
    }
}

/// All active pods, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// At the update revision.
    pub new: Side,
    /// At others.
    pub old: Side,
}

/// What one pod counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Waits for its preDelete hook.
    PreDeleting,
    /// Marked for deletion, in service.
    ToDelete,
    /// Marked for deletion, not in service.
    ToDeleteUnavailable,
    /// Not in service.
    Unavailable,
    /// In service.
    Available,
}

impl Census {
    /// Counts one pod.
    pub fn add(&mut self, is_new: bool, kind: Kind) {
        let side = if is_new { &mut self.new } else { &mut self.old };
        side.all += 1;
        match kind {
            Kind::PreDeleting => side.pre_deleting += 1,
            Kind::ToDelete => side.to_delete += 1,
            Kind::ToDeleteUnavailable => {
                side.to_delete += 1;
                side.to_delete_unavailable += 1;
            }
            Kind::Unavailable => side.unavailable += 1,
            Kind::Available => {}
        }
    }

    /// All pods.
    pub fn total(&self) -> i32 {
        self.new.all + self.old.all
    }

    /// Pods that count against budgets: unavailable, or on their way out by hook.
    pub fn unavailable(&self) -> i32 {
        self.new.pre_deleting + self.old.pre_deleting + self.new.unavailable + self.old.unavailable
    }

    fn marked(&self) -> i32 {
        self.new.to_delete + self.old.to_delete
    }

    fn pre_deleting(&self) -> i32 {
        self.new.pre_deleting + self.old.pre_deleting
    }
}

/// Switches that change the arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Pods may go back to the current revision when the partition is raised.
    pub partition_rollback: bool,
    /// Pods that wait for their preDelete hook no longer count.
    pub exclude_pre_deleting: bool,
}

/// How many pods to create, delete and update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diffs {
    /// Missing pods.
    pub up: i32,
    /// Of these, at the old revision; may exceed `up`.
    pub up_old: i32,
    /// Of these, allowed now.
    pub up_limit: i32,
    /// Surplus pods, beside those marked for deletion.
    pub down: i32,
    /// Of these, at the old revision; may exceed `down`.
    pub down_old: i32,
    /// Ready pods that may be deleted now.
    pub delete_ready_limit: i32,
    /// Pods above replicas in use.
    pub surge: i32,
    /// Of these, at the old revision.
    pub surge_old: i32,
    /// Pods to bring to the update revision; negative: back to the current one.
    pub update: i32,
    /// Pods that may be unavailable while updating.
    pub update_unavailable: i32,
}

impl Diffs {
    /// The differences between what is wanted and what is there.
    pub fn of(limits: &Limits, census: &Census, rules: Rules) -> Diffs {
        let mut diffs = Diffs::default();
        let (old_diff, new_diff) = update_diffs(limits, census, rules);
        (diffs.surge, diffs.surge_old) = surge_in_use(limits, census, old_diff, new_diff);
        diffs.scale(limits, census, rules);
        diffs.update = if old_diff.abs() <= new_diff.abs() { old_diff } else { -new_diff };
        if diffs.update != 0 {
            diffs.update_unavailable = limits.unavailable + census.total() - limits.replicas;
        }
        diffs
    }

    fn scale(&mut self, limits: &Limits, census: &Census, rules: Rules) {
        let (mut total, mut total_old) = (census.total(), census.old.all);
        if rules.exclude_pre_deleting {
            total -= census.pre_deleting();
            total_old -= census.old.pre_deleting;
        }
        let wanted = limits.replicas + self.surge;
        let wanted_old = limits.partition + self.surge_old;
        if wanted > total {
            self.up = wanted - total;
            self.up_old = (wanted_old - total_old).max(0);
            self.up_limit = self.up.min((limits.scale_unavailable - census.unavailable()).max(0));
        }
        let surplus = total - census.marked() - wanted;
        if surplus > 0 {
            self.down = surplus;
            self.down_old = (total_old - census.old.to_delete - wanted_old).max(0);
        }
        if census.marked() > 0 || self.down > 0 {
            let unavailable =
                census.unavailable() + census.new.to_delete_unavailable + census.old.to_delete_unavailable;
            let slack = limits.unavailable + census.total() - limits.replicas - unavailable;
            self.delete_ready_limit = slack.max(0);
        }
    }
}

/// (old pods too many, new pods too many); negative means too few.
fn update_diffs(limits: &Limits, census: &Census, rules: Rules) -> (i32, i32) {
    let old = census.old.active() - limits.partition;
    let new = census.new.active() - (limits.replicas - limits.partition);
    if rules.partition_rollback { (old, new) } else { (old.max(0), new.min(0)) }
}

/// (pods above replicas to use, of these at the old revision): the greater of what deletions and the update need.
fn surge_in_use(limits: &Limits, census: &Census, old_diff: i32, new_diff: i32) -> (i32, i32) {
    if limits.surge <= 0 {
        return (0, 0);
    }
    let to_delete = census.marked();
    let for_delete = (census.unavailable() + to_delete - limits.unavailable).max(0).min(to_delete);
    let for_delete_old = (for_delete - census.new.to_delete).max(0);
    let (mut for_update, mut for_update_old) = (0, 0);
    if (old_diff > 0 && new_diff < 0) || (old_diff < 0 && new_diff > 0) {
        for_update = old_diff.abs().min(new_diff.abs());
        for_update_old = if old_diff < 0 { for_update } else { 0 };
    }
    let (wanted, wanted_old) =
        if for_delete >= for_update { (for_delete, for_delete_old) } else { (for_update, for_update_old) };
    let used = limits.surge.min(wanted);
    (used, used.min(wanted_old))
}

#[cfg(test)]
#[path = "census_tests.rs"]
mod tests;
