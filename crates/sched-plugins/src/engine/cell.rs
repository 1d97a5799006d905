//! What one node is to one class: whether the room suffices and how well it is liked, from that node's figures alone.

use std::sync::Arc;

use sched_core::{Demand, NodeInfo, Reason, Rejection, Resolvable, Room};

use crate::Weights;

/// Greatest score of a rule before it is weighed.
pub(crate) const SCORE_MAX: i64 = 100;

/// The figures of a demand that are compared with a node's.
#[derive(Debug)]
pub(crate) struct Ask {
    cpu_milli: i64,
    memory: i64,
    storage: i64,
    extended: Vec<(Arc<str>, i64)>,
    has_ports: bool,
    cpu_milli_scored: i64,
    memory_scored: i64,
    fit: i64,
    balance: i64,
}

impl Ask {
    pub(crate) fn of(demand: &Demand, weights: &Weights) -> Ask {
        let requests = &demand.requests;
        // Pods without requests have no opinion about balance: they would all go to the same node.
        let has_opinion = requests.cpu_milli != 0 || requests.memory != 0;
        Ask {
            cpu_milli: requests.cpu_milli,
            memory: requests.memory,
            storage: requests.ephemeral_storage,
            extended: requests
                .extended
                .iter()
                .filter(|(_, n)| **n > 0)
                .map(|(k, n)| (k.clone(), *n))
                .collect(),
            has_ports: !demand.ports.is_empty(),
            cpu_milli_scored: demand.scored_cpu_milli,
            memory_scored: demand.scored_memory,
            fit: weights.resources_fit,
            balance: if has_opinion { weights.balanced_allocation } else { 0 },
        }
    }

    /// Whether CPU, memory and the number of pods suffice.
    #[inline]
    pub(crate) fn fits(&self, room: &Room) -> bool {
        room.pods < room.pods_max
            && !is_short(self.cpu_milli, room.cpu_milli_taken, room.cpu_milli)
            && !is_short(self.memory, room.memory_taken, room.memory)
    }

    /// Whether it asks for anything that is not in the [`Room`].
    pub(crate) fn is_rare(&self) -> bool {
        self.storage > 0 || !self.extended.is_empty() || self.has_ports
    }

    /// Whether what is not in the [`Room`] suffices.
    pub(crate) fn fits_rare(&self, demand: &Demand, node: &NodeInfo) -> bool {
        let (taken, have) = (&node.requested, &node.fact.allocatable);
        !is_short(self.storage, taken.ephemeral_storage, have.ephemeral_storage)
            && self
                .extended
                .iter()
                .all(|(name, want)| !is_short(*want, taken.extended(name), have.extended(name)))
            && !self.clashes(demand, node)
    }

    fn clashes(&self, demand: &Demand, node: &NodeInfo) -> bool {
        self.has_ports && demand.ports.iter().any(|want| node.ports.keys().any(|used| used.clashes(want)))
    }

    /// The weighted scores that depend on this node alone.
    #[inline]
    pub(crate) fn rate(&self, room: &Room) -> i64 {
        self.rate_fit(room) + self.rate_balance(room)
    }

    /// Weighted score of NodeResourcesFit: the mean over CPU and memory of the part that would stay free.
    #[inline]
    pub(crate) fn rate_fit(&self, room: &Room) -> i64 {
        if self.fit == 0 {
            return 0;
        }
        let cpu = free_part(room.cpu_milli, room.cpu_milli_scored.saturating_add(self.cpu_milli_scored));
        let memory = free_part(room.memory, room.memory_scored.saturating_add(self.memory_scored));
        let mean = match (cpu, memory) {
            (Some(cpu), Some(memory)) => (cpu + memory) / 2,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0,
        };
        mean * self.fit
    }

    /// Weighted score of NodeResourcesBalancedAllocation: how much evener the pod makes the node; 75 changes nothing.
    #[inline]
    pub(crate) fn rate_balance(&self, room: &Room) -> i64 {
        if self.balance == 0 {
            return 0;
        }
        let even = |cpu: i64, memory: i64| {
            // What a node has none of is in nobody's way.
            if room.cpu_milli == 0 || room.memory == 0 {
                return SCORE_MAX;
            }
            evenness((cpu, room.cpu_milli), (memory, room.memory))
        };
        let (cpu, memory) = (room.cpu_milli_taken, room.memory_taken);
        let with = even(cpu.saturating_add(self.cpu_milli), memory.saturating_add(self.memory));
        (SCORE_MAX / 2 + (SCORE_MAX / 2 + with - even(cpu, memory)) / 2) * self.balance
    }

    /// Whether NodeResourcesFit has an opinion, and whether NodeResourcesBalancedAllocation has.
    pub(crate) fn opinions(&self) -> (bool, bool) {
        (self.fit != 0, self.balance != 0)
    }

    /// Why a node does not do as far as it alone decides: the ports first, then all that is short.
    pub(crate) fn against(&self, demand: &Demand, node: &NodeInfo, room: &Room) -> Option<Against> {
        if self.clashes(demand, node) {
            return Some(Against::Ports);
        }
        let (taken, have) = (&node.requested, &node.fact.allocatable);
        let mut short = Short::default();
        if room.pods >= room.pods_max {
            short.0 |= Short::PODS;
        }
        short.note(Short::CPU, self.cpu_milli, room.cpu_milli_taken, room.cpu_milli);
        short.note(Short::MEMORY, self.memory, room.memory_taken, room.memory);
        short.note(Short::STORAGE, self.storage, taken.ephemeral_storage, have.ephemeral_storage);
        for (i, (name, want)) in self.extended.iter().enumerate() {
            short.note(
                Short::FIRST_EXTENDED << i.min(EXTENDED_MAX),
                *want,
                taken.extended(name),
                have.extended(name),
            );
        }
        (short.0 & !Short::BEYOND != 0).then_some(Against::Room(short))
    }

    /// The words for what is short.
    pub(crate) fn words(&self, short: Short) -> Rejection {
        const FIXED: [(u64, &str); 4] = [
            (Short::PODS, "Too many pods"),
            (Short::CPU, "Insufficient cpu"),
            (Short::MEMORY, "Insufficient memory"),
            (Short::STORAGE, "Insufficient ephemeral-storage"),
        ];
        let fixed = FIXED.iter().filter(|(bit, _)| short.0 & bit != 0).map(|(_, text)| Reason::Fixed(text));
        let named = self.extended.iter().enumerate();
        let named = named.filter(|(i, _)| short.0 & (Short::FIRST_EXTENDED << (*i).min(EXTENDED_MAX)) != 0);
        let named = named.map(|(_, (name, _))| Reason::Made(format!("Insufficient {name}").into()));
        let resolvable =
            if short.0 & Short::BEYOND == 0 { Resolvable::ByRemovingPods } else { Resolvable::No };
        Rejection { reasons: fixed.chain(named).collect(), resolvable }
    }
}

/// What is against a node by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// A port is taken.
    Ports,
    /// Something is short.
    Room(Short),
}

/// What is short, as a set; and whether even the empty node would be too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Short(u64);

/// Extended resources beyond so many share a bit.
const EXTENDED_MAX: usize = 58;

impl Short {
    const PODS: u64 = 1;
    const CPU: u64 = 1 << 1;
    const MEMORY: u64 = 1 << 2;
    const STORAGE: u64 = 1 << 3;
    const BEYOND: u64 = 1 << 4;
    const FIRST_EXTENDED: u64 = 1 << 5;

    fn note(&mut self, bit: u64, want: i64, taken: i64, have: i64) {
        if is_short(want, taken, have) {
            self.0 |= bit;
            if want > have {
                self.0 |= Short::BEYOND;
            }
        }
    }
}

#[inline]
fn is_short(want: i64, taken: i64, have: i64) -> bool {
    want > 0 && want > have.saturating_sub(taken)
}

/// Hundredths of `have` that stay free, rounded down; nothing when the node has none of it at all.
#[inline]
fn free_part(have: i64, taken: i64) -> Option<i64> {
    if have == 0 {
        return None;
    }
    if taken > have {
        return Some(0);
    }
    let free = have - taken;
    // Below 2^57 the product fits, and 64-bit division is several times faster than 128-bit.
    if free < 1 << 56 {
        return Some(free * SCORE_MAX / have);
    }
    let hundredths = i128::from(free) * i128::from(SCORE_MAX) / i128::from(have);
    Some(i64::try_from(hundredths).unwrap_or(SCORE_MAX))
}

/// `100 * (1 - |a - b| / 2)` of two fractions (part, whole) capped at one, rounded down, without leaving whole numbers.
#[inline]
fn evenness(a: (i64, i64), b: (i64, i64)) -> i64 {
    // Amounts of memory are multiples of large powers of two: what both parts share can go.
    let common = |(part, whole): (i64, i64)| {
        let shift = (part | whole).trailing_zeros();
        (part.min(whole) >> shift, whole >> shift)
    };
    let ((a, a_of), (b, b_of)) = (common(a), common(b));
    if a_of < 1 << 28 && b_of < 1 << 28 && a_of > 0 && b_of > 0 {
        let (gap, whole) = ((a * b_of - b * a_of).unsigned_abs(), (a_of * b_of).unsigned_abs());
        let lost = (gap * SCORE_MAX.unsigned_abs()).div_ceil(2 * whole);
        return SCORE_MAX - i64::try_from(lost).unwrap_or(SCORE_MAX);
    }
    evenness_wide((a, a_of), (b, b_of))
}

fn evenness_wide(a: (i64, i64), b: (i64, i64)) -> i64 {
    let wide = |(part, whole): (i64, i64)| (i128::from(part), i128::from(whole));
    let ((a, a_of), (b, b_of)) = (wide(a), wide(b));
    // Both products stay within 2^126.
    let gap = (a * b_of - b * a_of).unsigned_abs();
    let whole = (a_of * b_of).unsigned_abs();
    // 100 * gap / (2 * whole), rounded up; in coarser units where the product would not fit.
    let (gap, whole) = if gap.leading_zeros() < 8 { (gap >> 7, whole >> 7) } else { (gap, whole) };
    let lost = (gap * u128::from(SCORE_MAX.unsigned_abs())).div_ceil(2 * whole);
    SCORE_MAX - i64::try_from(lost).unwrap_or(SCORE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_use_scores_a_hundred_and_one_sided_use_half() {
        assert_eq!(evenness((1, 2), (2, 4)), 100);
        assert_eq!(evenness((2, 2), (0, 4)), 50);
        assert_eq!(evenness((9, 2), (0, 4)), 50);
        assert_eq!(evenness((1, 3), (0, 4)), 83);
        assert_eq!(evenness((i64::MAX, i64::MAX), (0, i64::MAX)), 50);
    }

    #[test]
    fn narrow_and_wide_division_agree() {
        let mut x: u64 = 7;
        for _ in 0..20_000 {
            let mut next = || {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                i64::try_from(x >> 37).unwrap()
            };
            let (a, b) = ((next(), next() + 1), (next() << 12, (next() + 1) << 12));
            let capped = |(p, w): (i64, i64)| (p.min(w), w);
            assert_eq!(evenness(a, b), evenness_wide(capped(a), capped(b)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn free_part_rounds_down_and_never_below_zero() {
        assert_eq!(free_part(3, 1), Some(66));
        assert_eq!(free_part(3, 4), Some(0));
        assert_eq!(free_part(0, 4), None);
        assert_eq!(free_part(i64::MAX, 0), Some(100));
    }
}
