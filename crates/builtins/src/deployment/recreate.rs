//! Recreate: all old pods end before the first new one starts.

use reconcile::Plan;
use stdx::Time;

use crate::deployment::Observed;
use crate::deployment::plan::{News, create_newest};
use crate::deployment::sets::Sets;

/// One step: old sets to nothing; wait for the end of their pods; then the new set in full.
pub(crate) fn steps(sets: &mut Sets<'_>, seen: &Observed, plan: &mut Plan, now: Time) -> News {
    if sets.old.iter().any(|m| m.size > 0) {
        sets.old.iter_mut().for_each(|m| m.size = 0);
        sets.scale(plan);
        return None;
    }
    let has_pods = |uid: &str| seen.pods.get(uid).is_some_and(|pods| !pods.is_empty());
    if sets.old.iter().any(|m| has_pods(&m.set.metadata.uid)) {
        return None;
    }
    let wanted = sets.wanted;
    let Some(newest) = &mut sets.newest else {
        return create_newest(sets, seen, plan, now);
    };
    newest.size = wanted;
    sets.scale(plan);
    None
}
