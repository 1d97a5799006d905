//! When what is killed.

use std::time::Duration;

use crate::cluster::{PARTS, Part};
use crate::machine::Dice;

/// One blow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Every process ends; the machine is back after the pause.
    Crash,
    /// Power is lost at the disk operation after so many more: in the middle of a commit, perhaps.
    PowerLoss(u64),
    /// One component ends.
    Restart(Part),
}

/// A blow, how long after the one before, and how long the victim is away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appointment {
    pub(crate) after: Duration,
    pub(crate) blow: Blow,
    pub(crate) away: Duration,
}

/// A few blows, thrown by `dice`.
pub(crate) fn appointments(dice: &Dice, crashes_max: u64) -> Vec<Appointment> {
    let count = dice.below(crashes_max + 1);
    (0..count)
        .map(|_| {
            let blow = match dice.below(5) {
                0 | 1 => Blow::Crash,
                2 => Blow::PowerLoss(dice.below(400)),
                _ => Blow::Restart(PARTS[usize::try_from(dice.below(PARTS.len() as u64)).unwrap_or(0)]),
            };
            Appointment {
                after: dice.between(Duration::from_millis(100), Duration::from_secs(15)),
                blow,
                away: dice.between(Duration::from_millis(10), Duration::from_secs(8)),
            }
        })
        .collect()
}
